"""CTC: the probability that the frames of a sequence spell its labels, summed over all alignments.

The states of a sequence of L labels are blank 0, label 0, blank 1, ..., label L - 1, blank L. An alignment begins in
one of the first two and ends in one of the last two. A frame stays in a state or moves to the next one. From a label it
may also move to the next label, if that is another class.

`reach` of a frame holds, for each state, the probability of all ways to it through the frames before. `advance` goes to
the next frame. The backward pass is the same over reversed frames and labels. A state lies on an alignment with the
probability reach forward * reach backward * probability of its class, divided by that of all alignments.

The states of a sequence lie side by side, blanks and labels apart, so that loops over them vectorise. Slots behind the
last state hold anything: no way leads back from them.
"""

from cpython.pyport cimport PY_SSIZE_T_MAX
cimport numpy as cnp
from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, NAN

from fastloss._core.kernels.base.chunks cimport Partial, run_job
from fastloss._core.kernels.base.job cimport Common, take_call
from fastloss._core.kernels.base.operands cimport expand, is_half, load, load_labels, store, type_of
from fastloss._core.kernels.base.sums cimport LANES, ordered_sum
from fastloss._core.kernels.base.vecmath cimport at_least, at_most, exp_difference, log, max_lanes
from fastloss._core.kernels.base.wide cimport LEAST_POWER, LOWEST, normalize, power_of_two, wide_exp_difference
from fastloss._core.request.call cimport CHECK, GRAD, VALUE, Call

cnp.import_array()

cdef enum:
    FRONT = 8           # slots before those of the labels. The last of them stands for label -1, which does not exist.
    NORMALIZE = 32      # frames after which numbers are brought into [1, 2). A frame multiplies them by 0.7 to 4.5.

cdef double LN_2 = 0.6931471805599453

cdef extern from *:
    """typedef double *restrict fl_apart;"""
    ctypedef double* apart "fl_apart"   # a pointer to what no other argument points to

cdef struct Job:
    Common common
    const char* logits
    void* grad
    int typenum
    bint half
    Py_ssize_t frames
    Py_ssize_t sequences
    Py_ssize_t classes
    Py_ssize_t frame_stride         # of the logits, in bytes. The classes of a frame lie side by side.
    Py_ssize_t sequence_stride
    const void* targets
    int target_typenum
    const long long* starts         # where the labels of each sequence begin
    const long long* input_lengths
    const long long* target_lengths
    long long blank
    bint zero_infinity
    # Sizes of the memory of a thread, for the longest sequences.
    Py_ssize_t most_frames
    Py_ssize_t most_labels

cdef struct Reach:      # for each state m and e of a number m 2^e: see base/wide.pxd
    double* label
    double* label_e
    double* blank
    double* blank_e

cdef struct Direction:  # the labels of a sequence, first to last or last to first
    long long* classes  # and behind them blank
    double* skip        # 1 if a way leads from the label before to this label, 0 if both are the same class
    double* skip_e

cdef struct Sequence:
    Py_ssize_t number
    Py_ssize_t frames
    Py_ssize_t labels
    Py_ssize_t slots
    Py_ssize_t rows         # of `reach` that are kept
    Direction[2] directions
    double* reach           # rows of the forward pass
    double* back            # two rows of the backward pass
    double* p               # the probabilities of the labels of a frame, and of blank behind them, not normalised
    double* p_e
    double* state           # probabilities of states, given the labels: blanks, then labels
    double* logits          # of a frame, as doubles; then their exponentials; then the gradient
    float* single           # the same for half precision
    double* peak            # the largest logit of each frame
    double* total           # the sum of exp(logit - peak) of each frame


# ---------------------------------------------------------------------------------------------------------------------
# The memory of a thread

cdef inline Py_ssize_t whole_lines(Py_ssize_t n) noexcept nogil:
    """n doubles, rounded up to lines of the cache."""
    return (n + 7) // 8 * 8


cdef inline double* take(double** memory, Py_ssize_t n) noexcept nogil:
    """The next n doubles. `memory` begins at NULL to count them."""
    cdef double* taken = memory[0]
    memory[0] = <double*> (<size_t> taken + <size_t> whole_lines(n) * sizeof(double))
    return taken


cdef inline Py_ssize_t row_length(Py_ssize_t slots) noexcept nogil:
    return 2 * FRONT + 4 * slots


cdef size_t divide_memory(const Job* job, Sequence* sequence, double* memory) noexcept nogil:
    """Set the pointers of a sequence, for the longest one. Return the number of bytes."""
    cdef Py_ssize_t labels = whole_lines(job.most_labels + 1)
    cdef Py_ssize_t slots = whole_lines(min(job.most_labels, job.most_frames) + 1)  # more have no alignment
    cdef double* start = memory
    cdef int k
    sequence.rows = job.most_frames + 1 if job.grad != NULL else 2
    for k in range(2):
        sequence.directions[k].classes = <long long*> take(&memory, labels)
        sequence.directions[k].skip = take(&memory, labels)
        sequence.directions[k].skip_e = take(&memory, labels)
    sequence.p = take(&memory, FRONT + slots) + FRONT
    sequence.p_e = take(&memory, FRONT + slots) + FRONT
    sequence.state = take(&memory, 2 * slots)
    sequence.logits = take(&memory, job.classes)
    sequence.single = <float*> take(&memory, job.classes if job.half else 0)
    sequence.peak = take(&memory, job.most_frames)
    sequence.total = take(&memory, job.most_frames)
    sequence.back = take(&memory, 2 * row_length(slots))
    sequence.reach = take(&memory, sequence.rows * row_length(slots))
    return <size_t> memory - <size_t> start


cdef inline Reach reach_at(const Sequence* sequence, double* rows, Py_ssize_t row) noexcept nogil:
    cdef Reach reach
    cdef double* x = rows + row * row_length(sequence.slots)
    reach.label = x + FRONT
    reach.label_e = reach.label + sequence.slots + FRONT
    reach.blank = reach.label_e + sequence.slots
    reach.blank_e = reach.blank + sequence.slots
    return reach


# ---------------------------------------------------------------------------------------------------------------------
# Ways through the states

cdef inline void clear_front(double* m, double* e) noexcept nogil:
    """Make the number of label -1 a 0."""
    (m - 1)[0], (e - 1)[0] = 0, LOWEST


cdef inline void begin(const Sequence* sequence, Reach* reach) noexcept nogil:
    """The states of the first frame: blank 0 and label 0."""
    cdef Py_ssize_t j
    clear_front(reach.label, reach.label_e)
    for j in range(sequence.slots):
        reach.label[j] = reach.blank[j] = 1 if j == 0 else 0
        reach.label_e[j] = reach.blank_e[j] = 0 if j == 0 else LOWEST


cdef void step(
    Py_ssize_t slots, const double* label, const double* label_e, const double* blank, const double* blank_e,
    const double* p, const double* p_e, double p_blank, double p_blank_e, const double* skip, const double* skip_e,
    apart next_label, apart next_label_e, apart next_blank, apart next_blank_e
) noexcept nogil:
    cdef double stay, stay_e, on, on_e, before, before_e, e
    cdef Py_ssize_t j
    for j in range(slots):
        stay, stay_e = label[j] * p[j], label_e[j] + p_e[j]
        on, on_e = blank[j] * p_blank, blank_e[j] + p_blank_e
        before, before_e = label[j - 1] * p[j - 1], label_e[j - 1] + p_e[j - 1]
        e = at_least(at_least(on_e, before_e), LOWEST)
        next_blank[j] = on * power_of_two(on_e - e) + before * power_of_two(before_e - e)
        next_blank_e[j] = e
        before, before_e = before * skip[j], before_e + skip_e[j]
        e = at_least(at_least(at_least(stay_e, on_e), before_e), LOWEST)
        next_label[j] = (
            stay * power_of_two(stay_e - e) + on * power_of_two(on_e - e) + before * power_of_two(before_e - e)
        )
        next_label_e[j] = e


cdef inline void normalize_all(double* m, double* e, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        normalize(m + j, e + j)


cdef inline void advance(
    const Sequence* sequence, const Direction* direction, const Reach* reach, Reach* next_, Py_ssize_t step_number
) noexcept nogil:
    """From a frame, whose probabilities are in sequence.p, to the next one."""
    clear_front(next_.label, next_.label_e)
    step(
        sequence.slots, reach.label, reach.label_e, reach.blank, reach.blank_e, sequence.p, sequence.p_e,
        sequence.p[sequence.labels], sequence.p_e[sequence.labels], direction.skip, direction.skip_e,
        next_.label, next_.label_e, next_.blank, next_.blank_e
    )
    if step_number % NORMALIZE == NORMALIZE - 1:
        normalize_all(next_.label, next_.label_e, sequence.slots)
        normalize_all(next_.blank, next_.blank_e, sequence.slots)


# ---------------------------------------------------------------------------------------------------------------------
# A frame

cdef inline void load_frame(const Job* job, const Sequence* sequence, Py_ssize_t frame) noexcept nogil:
    load(
        job.logits + frame * job.frame_stride + sequence.number * job.sequence_stride, job.typenum, 0, sequence.logits,
        job.classes
    )


cdef inline double largest_of(const double* x, Py_ssize_t n) noexcept nogil:
    """The maximum; a NaN may be lost."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = -INFINITY
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = at_least(x[i + j], lane[j])
        i += LANES
    for j in range(n - i):
        lane[j] = at_least(x[i + j], lane[j])
    return max_lanes(lane)


cdef void find_probabilities(const Sequence* sequence, const Direction* direction, double peak) noexcept nogil:
    """exp(logit - peak) of the class of each label, and of blank."""
    cdef double* p = sequence.p
    cdef double* p_e = sequence.p_e
    cdef Py_ssize_t j
    for j in range(sequence.labels + 1):
        p[j] = sequence.logits[direction.classes[j]]
    for j in range(sequence.labels + 1, sequence.slots):
        p[j] = peak
    for j in range(sequence.slots):
        wide_exp_difference(p[j], peak, p + j, p_e + j)


cdef double exponentiate(double* logits, Py_ssize_t n, double peak) noexcept nogil:
    """Replace logits by exp(logit - peak), and return the sum."""
    cdef Py_ssize_t i
    for i in range(n):
        logits[i] = exp_difference(logits[i], peak)
    return ordered_sum(logits, n)


cdef void find_states(
    Py_ssize_t n, const double* forward, const double* forward_e, const double* back, const double* back_e,
    const double* p, const double* p_e, double all_, double all_e, apart state
) noexcept nogil:
    """state[j] = forward[n - 1 - j] back[j] p[j] / all_, the probabilities of states given the labels."""
    cdef Py_ssize_t j
    cdef double scale = 1 / all_, e
    for j in range(n):
        e = forward_e[n - 1 - j] + back_e[j] + p_e[j] - all_e
        state[j] = 0 if e < LEAST_POWER else forward[n - 1 - j] * back[j] * p[j] * scale * power_of_two(e)


cdef void find_blanks(
    Py_ssize_t n, const double* forward, const double* forward_e, const double* back, const double* back_e,
    double p, double p_e, double all_, double all_e, apart state
) noexcept nogil:
    """The same for blanks."""
    cdef Py_ssize_t j
    cdef double scale = p / all_, e
    for j in range(n):
        e = forward_e[n - 1 - j] + back_e[j] + (p_e - all_e)
        state[j] = 0 if e < LEAST_POWER else forward[n - 1 - j] * back[j] * scale * power_of_two(e)


cdef void write_scaled(const double* x, double scale, float* single, double* out, Py_ssize_t n) noexcept nogil:
    """Write scale * x to `single`, or to `out` if that is not NULL."""
    cdef Py_ssize_t i
    if out != NULL:
        for i in range(n):
            out[i] = scale * x[i]
    else:
        for i in range(n):
            single[i] = <float> (scale * x[i])


cdef inline void store_frame(
    const Job* job, const Sequence* sequence, Py_ssize_t frame, double scale
) noexcept nogil:
    """Write the gradient of a frame, which is sequence.logits times scale."""
    cdef Py_ssize_t start = (frame * job.sequences + sequence.number) * job.classes
    if job.typenum == cnp.NPY_DOUBLE:
        write_scaled(sequence.logits, scale, NULL, <double*> job.grad + start, job.classes)
    elif job.half:
        write_scaled(sequence.logits, scale, sequence.single, NULL, job.classes)
        store(sequence.single, job.grad, job.typenum, start, job.classes)
    else:
        write_scaled(sequence.logits, scale, <float*> job.grad + start, NULL, job.classes)


cdef void fill_frames(const Job* job, const Sequence* sequence, Py_ssize_t start, double x) noexcept nogil:
    """Fill the gradient of the frames of a sequence from `start` on. For NaN, these are those of its length."""
    cdef Py_ssize_t stop = sequence.frames if x != x else job.frames, frame, i
    if job.grad == NULL or start >= stop:
        return
    for i in range(job.classes):
        sequence.logits[i] = x
    for frame in range(start, stop):
        store_frame(job, sequence, frame, 1)


# ---------------------------------------------------------------------------------------------------------------------
# A sequence

cdef bint read_labels(const Job* job, Sequence* sequence) noexcept nogil:
    """Load the labels in both directions. Return whether one is no class index, or is blank."""
    cdef Py_ssize_t n = sequence.labels, j
    cdef long long* classes = sequence.directions[0].classes
    cdef Direction* direction
    cdef bint invalid = False, outside, allowed
    cdef int k
    load_labels(job.targets, job.target_typenum, job.starts[sequence.number], classes, n, -1)
    for j in range(n):
        outside = not 0 <= classes[j] < job.classes
        invalid |= outside or classes[j] == job.blank
        classes[j] = 0 if outside else classes[j]  # another thread may write to the array after the check
    for j in range(n):
        sequence.directions[1].classes[j] = classes[n - 1 - j]
    for k in range(2):
        direction = &sequence.directions[k]
        direction.classes[n] = job.blank
        for j in range(sequence.slots):
            allowed = 0 < j < n and direction.classes[j] != direction.classes[j - 1]
            direction.skip[j] = 1.0 if allowed else 0.0
            direction.skip_e[j] = 0 if allowed else LOWEST
    return invalid


cdef inline bint has_an_alignment(const Sequence* sequence) noexcept nogil:
    """Whether there are enough frames: one for each label, and one between two labels that are the same."""
    cdef Py_ssize_t needed = sequence.labels, j
    for j in range(1, sequence.labels):
        needed += sequence.directions[0].skip[j] == 0
    return needed <= sequence.frames


cdef bint has_nan(const Job* job, Sequence* sequence) noexcept nogil:
    """Whether a logit of the sequence is NaN or inf."""
    cdef int found = 0
    cdef Py_ssize_t frame, i
    for frame in range(sequence.frames):
        load_frame(job, sequence, frame)
        for i in range(job.classes):
            found |= not sequence.logits[i] < INFINITY
    return found != 0


cdef void go_forward(const Job* job, Sequence* sequence, double* m, double* e) noexcept nogil:
    """m 2^e = the probability of all alignments, if the total of each frame were 1."""
    cdef Direction* direction = &sequence.directions[0]
    cdef Reach reach = reach_at(sequence, sequence.reach, 0), next_
    cdef Py_ssize_t frame
    clear_front(sequence.p, sequence.p_e)
    begin(sequence, &reach)
    for frame in range(sequence.frames):
        load_frame(job, sequence, frame)
        sequence.peak[frame] = largest_of(sequence.logits, job.classes)
        find_probabilities(sequence, direction, sequence.peak[frame])
        if job.grad == NULL:  # otherwise the backward pass needs the exponentials
            sequence.total[frame] = exponentiate(sequence.logits, job.classes, sequence.peak[frame])
        next_ = reach_at(sequence, sequence.reach, (frame + 1) % sequence.rows)
        advance(sequence, direction, &reach, &next_, frame)
        reach = next_
    m[0], e[0] = reach.blank[sequence.labels], reach.blank_e[sequence.labels]


cdef void go_back(const Job* job, Sequence* sequence, double all_, double all_e, double scale) noexcept nogil:
    """Write the gradient, from the last frame to the first."""
    cdef Direction* direction = &sequence.directions[1]
    cdef Reach back = reach_at(sequence, sequence.back, 0), next_, reach
    cdef Py_ssize_t n = sequence.labels, steps, frame, j
    cdef double factor
    begin(sequence, &back)
    for steps in range(sequence.frames):
        frame = sequence.frames - 1 - steps
        load_frame(job, sequence, frame)
        find_probabilities(sequence, direction, sequence.peak[frame])
        sequence.total[frame] = exponentiate(sequence.logits, job.classes, sequence.peak[frame])
        reach = reach_at(sequence, sequence.reach, frame)
        find_blanks(
            n + 1, reach.blank, reach.blank_e, back.blank, back.blank_e, sequence.p[n], sequence.p_e[n],
            all_, all_e, sequence.state
        )
        find_states(
            n, reach.label, reach.label_e, back.label, back.label_e, sequence.p, sequence.p_e,
            all_, all_e, sequence.state + sequence.slots
        )
        factor = 1 / sequence.total[frame]
        for j in range(job.classes):
            sequence.logits[j] *= factor
        sequence.logits[job.blank] -= ordered_sum(sequence.state, n + 1)
        for j in range(n):
            sequence.logits[direction.classes[j]] -= sequence.state[sequence.slots + j]
        store_frame(job, sequence, frame, scale)
        next_ = reach_at(sequence, sequence.back, (steps + 1) % 2)
        advance(sequence, direction, &back, &next_, steps)
        back = next_


cdef double loss_of(const Job* job, Sequence* sequence, double weight) noexcept nogil:
    """The loss of a sequence; the gradient is written too."""
    cdef double m, e, loss = INFINITY, scale = at_most(job.common.scale * weight, <double> DBL_MAX)
    cdef Py_ssize_t frame
    if has_an_alignment(sequence):
        go_forward(job, sequence, &m, &e)
        if job.grad != NULL:
            go_back(job, sequence, m, e, scale)
        loss = INFINITY if m == 0 or e < LOWEST / 2 else 0 - (log(m) + e * LN_2)
        for frame in range(sequence.frames):
            loss += log(sequence.total[frame])
        loss = at_least(loss, <double> 0)
    if loss == INFINITY and has_nan(job, sequence):
        loss = NAN
    if loss == INFINITY and job.zero_infinity:
        loss = 0
        fill_frames(job, sequence, 0, 0)
    elif not loss < INFINITY:
        fill_frames(job, sequence, 0, NAN)
    fill_frames(job, sequence, sequence.frames, 0)
    return weight * loss


cdef void run_sequence(const Job* job, Sequence* sequence, Py_ssize_t number, Partial* sums) noexcept nogil:
    cdef double weight = 1, scratch, loss = 0
    cdef float single
    sequence.number = number
    if job.common.weight.data != NULL:
        expand(&job.common.weight, number, &weight, 1, &scratch)
    if weight == 0:
        if job.common.stage != CHECK:
            fill_frames(job, sequence, 0, 0)
    else:
        sequence.frames, sequence.labels = job.input_lengths[number], job.target_lengths[number]
        sequence.slots = whole_lines(sequence.labels + 1)
        sums.invalid |= read_labels(job, sequence)
        if job.common.stage == CHECK:
            return
        loss = loss_of(job, sequence, weight)
    if job.common.sum_values:
        sums.loss += loss
    if job.common.out[VALUE] != NULL:
        if job.typenum == cnp.NPY_DOUBLE:
            (<double*> job.common.out[VALUE])[number] = loss
        else:
            single = <float> loss
            if job.half:
                store(&single, job.common.out[VALUE], job.typenum, number, 1)
            else:
                (<float*> job.common.out[VALUE])[number] = single


cdef void run_chunk(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    """Run sequences start to stop."""
    cdef Sequence sequence
    cdef Py_ssize_t number
    divide_memory(<const Job*> job, &sequence, <double*> memory)
    for number in range(start, stop):
        run_sequence(<const Job*> job, &sequence, number, sums)


cdef Py_ssize_t largest(const long long* lengths, Py_ssize_t n) noexcept:
    cdef Py_ssize_t result = 0, i
    for i in range(n):
        result = max(result, <Py_ssize_t> lengths[i])
    return result


def run(
    Call call, cnp.ndarray logits, cnp.ndarray targets, cnp.ndarray starts, cnp.ndarray input_lengths,
    cnp.ndarray target_lengths, long long blank, bint zero_infinity
):
    """Run CTC over checked arrays. Return the weighted sum of the losses, or None if a label is invalid.

    `logits` (T, N, C) may have any strides but the last one. `starts` says where the labels of each sequence begin in
    the C-contiguous `targets`. `starts` and the lengths are arrays of int64 that no other thread knows.
    """
    cdef Job job
    cdef Sequence sequence
    cdef Partial total
    cdef size_t nbytes
    job.typenum = type_of(logits)
    job.half = is_half(job.typenum)
    take_call(&job.common, call, 0, job.typenum != cnp.NPY_DOUBLE, False)
    job.logits = <const char*> cnp.PyArray_DATA(logits)
    job.grad = job.common.out[GRAD]
    job.frames = cnp.PyArray_DIM(logits, 0)
    job.sequences = cnp.PyArray_DIM(logits, 1)
    job.classes = cnp.PyArray_DIM(logits, 2)
    job.frame_stride = cnp.PyArray_STRIDE(logits, 0)
    job.sequence_stride = cnp.PyArray_STRIDE(logits, 1)
    job.targets = cnp.PyArray_DATA(targets)
    job.target_typenum = type_of(targets)
    job.starts = <const long long*> cnp.PyArray_DATA(starts)
    job.input_lengths = <const long long*> cnp.PyArray_DATA(input_lengths)
    job.target_lengths = <const long long*> cnp.PyArray_DATA(target_lengths)
    job.blank = blank
    job.zero_infinity = zero_infinity
    job.most_frames = largest(job.input_lengths, job.sequences)
    job.most_labels = largest(job.target_lengths, job.sequences)
    # In doubles: the product of two lengths may be out of range.
    if 64 * max(1, call.threads) * (job.most_frames + 2.0) * (job.most_labels + 16.0) > PY_SSIZE_T_MAX:
        raise MemoryError
    nbytes = divide_memory(&job, &sequence, NULL)
    total = run_job(run_chunk, &job, job.sequences, 1, call.threads, nbytes)
    return None if total.invalid else total.loss
