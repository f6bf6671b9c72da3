"""The driver of the multi-class margin losses: class indices against the logits of all wrong classes.

The excess of a wrong class j is max(0, z_j - z_y + margin). One pass over the classes sums the excesses, or finds the
largest, and writes the derivatives of the wrong classes. Those of the right class follow from the sums. The pass goes
along rows or across samples: see layout.pxd.

A logit of -inf rules a class out. The right class is not compared with itself: a loop skips it, or takes its logit as
-inf, or sets its excess to 0.
"""

from cython cimport floating
cimport numpy as cnp
from libc.math cimport INFINITY, NAN

from fastloss._core.kernels.base.chunks cimport Partial, run_job
from fastloss._core.kernels.base.memory cimport aligned, at, clear, prefetch_all
from fastloss._core.kernels.base.sums cimport LANES, ordered_sum
from fastloss._core.kernels.classes.layout cimport (
    BLOCK, CELL_BYTES, FAR_TILES, MAX_SAMPLES, OWN_FIELDS, RESULT, ROWS, TARGET_WEIGHT, Job, Samples, field,
    finish_tile, maximum, place_tile, prefetch_class, prepare_samples, scale_of, take_classes
)
from fastloss._core.kernels.classes.tiles cimport give_derivatives, take_pred
from fastloss._core.request.call cimport GRAD, RUN, Call

cnp.import_array()

cdef enum Aggregate:
    HINGE           # sum of the excesses
    SQUARED         # sum of their squares
    LARGEST         # the largest excess

# Classes, of each loss: up to here, lanes across samples are faster than a pass along the row.
cdef int[3] SHORT_ROW = [63, 63, 96]

LOSSES = {"multiclass_hinge": HINGE, "squared_multiclass_hinge": SQUARED, "crammer_singer": LARGEST}

cdef enum:
    RIGHT = OWN_FIELDS  # z_y
    SLOPE               # weight and scale of the derivatives
    PULL                # the gradient with respect to z_y is -SLOPE * PULL
    BEND                # the second derivative with respect to z_y is SLOPE * BEND
    FIELDS


cdef inline double excess(double logit, double right, double margin) noexcept nogil:
    """max(0, logit - right + margin), and 0 for a class that is ruled out. NaN stays NaN.

    It is computed in double precision, because it cancels near the kink.
    """
    cdef double gap = (logit - right) + margin
    return 0 if (gap <= 0) | (logit == -INFINITY) else gap


cdef inline floating twice(floating slope, floating x) noexcept nogil:
    """2 slope x, where a slope of 0 gives 0 even if x is inf or NaN."""
    return 0 if slope == 0 else 2 * (slope * x)


cdef inline void set_loss_and_right_class(
    Samples* samples, Py_ssize_t i, double total, double pull, double bend, floating* as_type
) noexcept nogil:
    """Set the loss of sample i, and what the derivatives of its right class are made of."""
    cdef floating right = field(samples, RIGHT, as_type)[i], loss = <floating> total if right == right else right
    field(samples, RESULT, as_type)[i] = field(samples, TARGET_WEIGHT, as_type)[i] * loss
    field(samples, PULL, as_type)[i] = <floating> pull
    field(samples, BEND, as_type)[i] = <floating> bend


# ---------------------------------------------------------------------------------------------------------------------
# Along the row


cdef inline void prefetch_ahead(const Job* job, Py_ssize_t element, Py_ssize_t n, floating* as_type) noexcept nogil:
    """Prefetch n elements of the gradient, and of pred as many as far ahead as a tile is long.

    They are needed soon: otherwise memory is idle during the arithmetic.
    """
    cdef Py_ssize_t next_tile = element + CELL_BYTES // <Py_ssize_t> sizeof(floating)
    cdef Py_ssize_t floats = n * job.itemsize // <Py_ssize_t> sizeof(float)
    prefetch_all(<const float*> (<const char*> job.pred + next_tile * job.itemsize), floats)
    if job.common.out[GRAD] != NULL:
        prefetch_all(<const float*> (<const char*> job.common.out[GRAD] + element * job.itemsize), floats)


cdef void hinge_row(
    const Job* job, Samples* samples, Py_ssize_t i, const floating* logits, floating* grad, floating* hess, bint squared
) noexcept nogil:
    """The sum of the excesses of one sample, or of their squares, and the derivatives of the wrong classes."""
    cdef floating[2 * BLOCK + 16] memory
    cdef floating* x = aligned(memory)
    cdef floating* square = x + BLOCK
    cdef floating slope = field(samples, SLOPE, x)[i]
    cdef double margin = job.common.parameters[0], right = logits[samples.label[i]], total = 0, squares = 0
    cdef Py_ssize_t start = 0, active = 0, c, n
    cdef int count
    field(samples, RIGHT, x)[i] = logits[samples.label[i]]
    while start < job.classes:
        n = min(BLOCK, job.classes - start)
        if job.tiles >= FAR_TILES:
            prefetch_ahead(job, samples.offset + i * job.classes + start, n, x)
        count = 0
        for c in range(n):
            x[c] = <floating> excess(logits[start + c], right, margin)
        if start <= samples.label[i] < start + n:
            x[samples.label[i] - start] = 0
        for c in range(n):
            count += x[c] > 0
        active += count
        total += ordered_sum(x, n)
        if squared:
            for c in range(n):
                square[c] = x[c] * x[c]
            squares += ordered_sum(square, n)
        if grad != NULL and squared:
            for c in range(n):
                grad[start + c] = twice(slope, x[c])
        elif grad != NULL:
            for c in range(n):
                grad[start + c] = slope if x[c] > 0 else 0
        if hess != NULL and squared:
            for c in range(n):
                hess[start + c] = 2 * slope if x[c] > 0 else 0
        elif hess != NULL:
            clear(hess + start, n)
        start += n
    if squared:
        set_loss_and_right_class(samples, i, squares, 2 * total, 2 * active, x)
    else:
        set_loss_and_right_class(samples, i, total, active, 0, x)


cdef inline Py_ssize_t find(
    const floating* logits, Py_ssize_t start, Py_ssize_t stop, floating x, Py_ssize_t excluded
) noexcept nogil:
    """The first place from `start` on, other than `excluded`, where logits is x. There must be one before `stop`."""
    cdef Py_ssize_t i = start, j
    cdef int here
    while i + LANES <= stop:
        here = 0
        for j in range(LANES):
            here |= logits[i + j] == x
        if here:
            break
        i += LANES
    while logits[i] != x or i == excluded:
        i += 1
    return i


cdef void largest_row(
    const Job* job, Samples* samples, Py_ssize_t i, const floating* logits, floating* grad, floating* hess
) noexcept nogil:
    """The largest excess of one sample, and the gradient of the class that has it."""
    cdef floating[BLOCK + 16] memory
    cdef floating* x = aligned(memory)
    cdef floating peak = -INFINITY, here, right = logits[samples.label[i]]
    cdef double over
    cdef Py_ssize_t start = 0, best = 0, label = samples.label[i], c, n
    cdef int nans = 0
    field(samples, RIGHT, x)[i] = right
    while start < job.classes:
        n = min(BLOCK, job.classes - start)
        if job.tiles >= FAR_TILES:
            prefetch_ahead(job, samples.offset + i * job.classes + start, n, x)
        for c in range(n):
            x[c] = logits[start + c]
        if start <= label < start + n:
            x[label - start] = -INFINITY
        for c in range(n, LANES):
            x[c] = -INFINITY
        for c in range(n):
            nans |= x[c] != x[c]
        here = maximum(x, max(n, LANES))
        if here > peak:
            peak = here
            best = start
        start += n
    over = NAN if nans else excess(peak, right, job.common.parameters[0])
    set_loss_and_right_class(samples, i, over, over > 0, 0, x)
    if grad == NULL:
        return
    if over > 0:
        best = find(logits, best, job.classes, peak, label)
    clear(grad, job.classes)
    if over > 0:
        grad[best] = field(samples, SLOPE, x)[i]
    if hess != NULL:
        clear(hess, job.classes)


# ---------------------------------------------------------------------------------------------------------------------
# Across samples: element c of sample i is at [c * stride + i]


cdef void hinge_lanes(
    const Job* job, Samples* samples, const floating* logits, floating* grad, floating* hess, Py_ssize_t stride,
    bint squared
) noexcept nogil:
    """As hinge_row, for the samples of a tile."""
    cdef floating* slope = field(samples, SLOPE, grad)
    cdef int[MAX_SAMPLES] label
    cdef int[MAX_SAMPLES] active
    cdef floating[MAX_SAMPLES] x
    cdef double[MAX_SAMPLES] right
    cdef double[MAX_SAMPLES] total
    cdef double[MAX_SAMPLES] squares
    cdef double margin = job.common.parameters[0], over
    cdef Py_ssize_t n = samples.lanes, c, i
    cdef const floating* class_logits
    cdef floating* g
    cdef floating* h
    for i in range(n):
        label[i] = <int> samples.label[i]
        right[i] = logits[samples.label[i] * stride + i]
        field(samples, RIGHT, x)[i] = <floating> right[i]
        active[i] = 0
    clear(total, n)
    clear(squares, n)
    for c in range(job.classes):
        class_logits = logits + c * stride
        if samples.prefetch_next:
            prefetch_class(job, samples, c)
        for i in range(n):
            over = excess(-INFINITY if label[i] == <int> c else class_logits[i], right[i], margin)
            total[i] += over
            if squared:
                squares[i] += over * over
            x[i] = <floating> over
        for i in range(n):
            active[i] += x[i] > 0
        if grad != NULL:
            g = grad + c * stride
            if squared:
                for i in range(n):
                    g[i] = twice(slope[i], x[i])
            else:
                for i in range(n):
                    g[i] = slope[i] if x[i] > 0 else 0
        if hess != NULL:
            h = hess + c * stride
            if squared:
                for i in range(n):
                    h[i] = 2 * slope[i] if x[i] > 0 else 0
            else:
                clear(h, n)
    if squared:
        for i in range(n):
            set_loss_and_right_class(samples, i, squares[i], 2 * total[i], 2 * active[i], x)
    else:
        for i in range(n):
            set_loss_and_right_class(samples, i, total[i], active[i], 0, x)


cdef void largest_lanes(
    const Job* job, Samples* samples, const floating* logits, floating* grad, floating* hess, Py_ssize_t stride
) noexcept nogil:
    """As largest_row, for the samples of a tile."""
    cdef floating* slope = field(samples, SLOPE, grad)
    cdef floating* right = field(samples, RIGHT, grad)
    cdef double over
    cdef int[MAX_SAMPLES] label
    cdef int[MAX_SAMPLES] best
    cdef floating[MAX_SAMPLES] peak
    cdef floating logit
    cdef Py_ssize_t n = samples.lanes, c, i
    cdef const floating* class_logits
    cdef int better
    for i in range(n):
        label[i] = <int> samples.label[i]
        right[i] = logits[samples.label[i] * stride + i]
        best[i] = 0
        peak[i] = -INFINITY
    for c in range(job.classes):
        class_logits = logits + c * stride
        if samples.prefetch_next:
            prefetch_class(job, samples, c)
        for i in range(n):
            logit = class_logits[i]
            better = (logit > peak[i]) & (label[i] != <int> c) | (logit != logit)  # NaN stays
            peak[i] = logit if better else peak[i]
            best[i] = <int> c if better else best[i]
    if grad != NULL:
        for c in range(job.classes):
            clear(grad + c * stride, n)
            if hess != NULL:
                clear(hess + c * stride, n)
    for i in range(n):
        over = excess(peak[i], right[i], job.common.parameters[0])
        set_loss_and_right_class(samples, i, over, over > 0, 0, peak)
        if grad != NULL and over > 0:
            grad[best[i] * stride + i] = slope[i]


# ---------------------------------------------------------------------------------------------------------------------
# The driver


cdef void write_right(
    const Job* job, Samples* samples, floating* grad, floating* hess, Py_ssize_t sample_stride, Py_ssize_t class_stride
) noexcept nogil:
    """Write the derivatives of the right classes. If a sample is ignored or its loss is NaN, write those of all."""
    cdef floating slope, fill
    cdef Py_ssize_t i, c, right
    for i in range(samples.n):
        slope = field(samples, SLOPE, grad)[i]
        fill = field(samples, RESULT, grad)[i]
        if samples.weight[i] == 0 or fill != fill:
            fill = 0 if samples.weight[i] == 0 else fill
            for c in range(job.classes):
                grad[i * sample_stride + c * class_stride] = fill
            fill = fill if job.common.loss == SQUARED else 0
            if hess != NULL:
                for c in range(job.classes):
                    hess[i * sample_stride + c * class_stride] = fill
        else:
            right = i * sample_stride + samples.label[i] * class_stride
            grad[right] = 0 if slope == 0 else 0 - slope * field(samples, PULL, grad)[i]
            if hess != NULL:
                hess[right] = slope * field(samples, BEND, grad)[i]


cdef void run_rows(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Run a tile of samples that are rows in memory."""
    cdef Py_ssize_t classes = job.classes, i
    cdef const floating* logits = <const floating*> samples.logits
    cdef floating* grad = <floating*> samples.grad
    cdef floating* hess = <floating*> samples.hess
    for i in range(samples.n):
        if samples.weight[i] == 0:
            continue
        if job.common.loss == LARGEST:
            largest_row(job, samples, i, logits + i * classes, at(grad, i * classes), at(hess, i * classes))
        elif job.common.loss == SQUARED:
            hinge_row(job, samples, i, logits + i * classes, at(grad, i * classes), at(hess, i * classes), True)
        else:
            hinge_row(job, samples, i, logits + i * classes, at(grad, i * classes), at(hess, i * classes), False)
    if grad != NULL:
        write_right(job, samples, grad, hess, classes, 1)


cdef void run_lanes(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Run a tile of samples that lie side by side."""
    cdef const floating* logits = <const floating*> samples.logits
    cdef floating* grad = <floating*> samples.grad
    cdef floating* hess = <floating*> samples.hess
    cdef Py_ssize_t stride = samples.stride
    if job.common.loss == LARGEST:
        largest_lanes(job, samples, logits, grad, hess, stride)
    elif job.common.loss == SQUARED:
        hinge_lanes(job, samples, logits, grad, hess, stride, True)
    else:
        hinge_lanes(job, samples, logits, grad, hess, stride, False)
    if grad != NULL:
        write_right(job, samples, grad, hess, 1, stride)


cdef void take(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    take_pred(job, samples, as_type)


cdef void give(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    give_derivatives(job, samples, as_type)


cdef void run_tile(const Job* job, Py_ssize_t tile, void* memory, Partial* sums, floating* as_type) noexcept nogil:
    cdef Samples samples
    cdef floating* target_weight
    cdef floating* slope
    cdef Py_ssize_t i
    place_tile(job, &samples, tile, memory)
    sums.invalid |= prepare_samples(job, &samples, as_type)
    if job.common.stage == RUN:
        target_weight = field(&samples, TARGET_WEIGHT, as_type)
        slope = field(&samples, SLOPE, as_type)
        for i in range(samples.lanes):
            samples.weight[i] = 0 if target_weight[i] == 0 else samples.weight[i]  # a class of weight 0 is ignored too
            slope[i] = scale_of(job, &samples, i, target_weight[i], as_type)
        take(job, &samples, as_type)
        if job.layout == ROWS:
            run_rows(job, &samples, as_type)
        else:
            run_lanes(job, &samples, as_type)
        give(job, &samples, as_type)
    finish_tile(job, &samples, sums, as_type)


cdef void run_floats(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    cdef Py_ssize_t tile
    for tile in range(start, stop):
        run_tile(<const Job*> job, tile, memory, sums, <float*> NULL)


cdef void run_doubles(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    cdef Py_ssize_t tile
    for tile in range(start, stop):
        run_tile(<const Job*> job, tile, memory, sums, <double*> NULL)


def run(
    Call call, int loss, cnp.ndarray pred, cnp.ndarray target, tuple shape, cnp.ndarray class_weight,
    long long ignore_index, double smoothing
):
    """As `run` in softmax.pyx. The target always holds class indices.

    `smoothing` is always 0. It is there because both drivers have the same signature.
    """
    cdef Job job
    cdef Partial total
    take_classes(&job, call, loss, pred, target, shape, class_weight, ignore_index, smoothing, SHORT_ROW[loss], FIELDS)
    total = run_job(
        run_floats if job.computed == cnp.NPY_FLOAT else run_doubles, &job, job.tiles, 1, call.threads, job.nbytes
    )
    return None if total.invalid else (total.loss, total.target_weight)
