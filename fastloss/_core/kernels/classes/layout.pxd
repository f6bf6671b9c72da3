"""What the drivers of softmax and margin losses share: layouts, tiles of samples, weights, and transposed copies.

The predictions are seen as an array (outer, classes, inner), and a sample is a pair (outer, inner). A tile is a number
of samples. Long rows are read along the row. Otherwise a loop runs across samples, so that a vector register holds one
class of many samples. A driver sets RESULT of each sample in a tile, and TARGET_WEIGHT if the target holds
probabilities. It also writes the derivatives.

Arrays are read and written in place if that is possible. Otherwise a tile of them is copied: see tiles.pxd.
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_MAX, FLT_MAX

from fastloss._core.kernels.base.chunks cimport Partial
from fastloss._core.kernels.base.job cimport Common, take_call
from fastloss._core.kernels.base.memory cimport address, prefetch_all
from fastloss._core.kernels.base.operands cimport expand, is_half, store, type_of
from fastloss._core.kernels.base.sums cimport LANES, weighted_sum
from fastloss._core.kernels.base.vecmath cimport at_most, max_lanes
from fastloss._core.kernels.classes.labels cimport Labels, labels_of, read_labels
from fastloss._core.request.call cimport GRAD, HESS, RUN, VALUE, Call

cdef enum:
    MAX_SAMPLES = 256       # samples in a tile
    CELL_BYTES = 32768      # bytes of a tile
    SPARE_BYTES = 65536     # bytes of spare memory
    SCRATCH_BYTES = 8192    # of these, what `expand` needs
    FAR_TILES = 64          # so many tiles do not fit the L2 cache
    COPIED_BYTES = 163840   # bytes that copies may have, unless they are of the fewest samples
    VECTOR = 16             # elements; LANES is a multiple of it
    BLOCK = 1024            # elements of a row at a time
    SHORT_INNER = 16        # If at least this many samples lie side by side, lanes need no transposed copy.

cdef enum Layout:
    ROWS            # along the row
    TRANSPOSED      # across samples, through a transposed copy of the tile
    DIRECT          # across samples that lie side by side

cdef enum:
    PRED            # and the gradient
    TARGET
    CURVATURE       # the diagonal of the Hessian
    ARRAYS

cdef struct Job:
    Common common
    Layout layout
    Py_ssize_t outer
    Py_ssize_t classes
    Py_ssize_t inner
    Py_ssize_t tile_samples     # samples in a tile
    Py_ssize_t tiles
    const void* pred
    const void* target          # probabilities; NULL for labels
    int typenum                 # of pred, the derivatives and single losses
    Py_ssize_t itemsize         # of these
    int computed                # the typenum of the computation
    int target_typenum
    bint[ARRAYS] copied
    Py_ssize_t[ARRAYS] place    # where the copy begins in the memory of a thread; spare memory and fields are before it
    Py_ssize_t spare_bytes
    Py_ssize_t nbytes           # the memory of a thread
    Labels labels
    const void* class_weight    # in the dtype of the computation, or NULL
    double smoothing
    bint spread                 # whether q_c has a spread part: see softmax_sums.pxd. Only softmax uses it.

# The fields that every driver keeps of a sample. The fields of one driver come after them.
cdef enum:
    TARGET_WEIGHT   # sum w_c t_c: the weight that the target brings to the mean
    RESULT          # the loss, before the sample weight
    OWN_FIELDS

cdef struct Samples:                # of a tile
    Py_ssize_t n
    Py_ssize_t lanes                # n. Of transposed copies: n rounded up to whole vectors, the last sample repeated.
    double[MAX_SAMPLES] weight      # sample weight; 0 for a sample that is ignored
    long long[MAX_SAMPLES] label    # in [0, classes): an invalid or ignored label is 0
    Py_ssize_t start                # number of the first
    Py_ssize_t offset               # of its class 0; not for the layout TRANSPOSED
    Py_ssize_t dropped              # samples with weight 0; only softmax uses it
    # The arrays: element c of sample i is at [c * stride + i], or for ROWS at [i * classes + c].
    const void* logits
    const void* target
    void* grad                      # may be logits
    void* hess
    Py_ssize_t stride
    Py_ssize_t target_stride
    bint prefetch_next              # whether prefetch_class reads ahead
    # The memory of the thread
    char* memory                    # begins with spare memory, which a driver may use as it likes
    void* fields                    # floating[...][MAX_SAMPLES]


cdef inline floating* field(Samples* samples, int which, floating* as_type) noexcept nogil:
    """A field of all samples."""
    return <floating*> samples.fields + which * MAX_SAMPLES


cdef inline void place_tile(const Job* job, Samples* samples, Py_ssize_t tile, void* memory) noexcept nogil:
    """Set the samples of a tile, and their memory."""
    cdef Py_ssize_t inside, per_outer
    samples.memory = <char*> memory
    samples.fields = samples.memory + job.spare_bytes
    if job.layout == DIRECT:
        per_outer = (job.inner + job.tile_samples - 1) // job.tile_samples
        inside = tile % per_outer * job.tile_samples
        samples.start = tile // per_outer * job.inner + inside
        samples.offset = tile // per_outer * job.classes * job.inner + inside
        samples.n = min(job.tile_samples, job.inner - inside)
    else:
        samples.start = tile * job.tile_samples
        samples.offset = samples.start * job.classes
        samples.n = min(job.tile_samples, job.outer * job.inner - samples.start)
    samples.prefetch_next = (
        job.tiles >= FAR_TILES and tile + 1 < job.tiles
        and (job.layout == TRANSPOSED or job.inner >= 2 * job.tile_samples)
    )
    samples.lanes = (samples.n + VECTOR - 1) // VECTOR * VECTOR if job.layout == TRANSPOSED else samples.n


cdef inline bint prepare_samples(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Set weights, labels and their TARGET_WEIGHT. Return whether a label is invalid."""
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, as_type)
    cdef const floating* class_weight = <const floating*> job.class_weight
    cdef bint invalid = False
    cdef Py_ssize_t i
    if job.common.weight.data == NULL:
        for i in range(samples.n):
            samples.weight[i] = 1
    else:
        expand(&job.common.weight, samples.start, samples.weight, samples.n, <double*> samples.memory)
    for i in range(samples.n):
        target_weight[i] = 1
    if job.labels.data == NULL:
        for i in range(samples.n):
            samples.label[i] = 0
    else:
        invalid = read_labels(&job.labels, samples.start, samples.label, samples.weight, samples.n, NULL)
        if class_weight != NULL:
            for i in range(samples.n):
                target_weight[i] = class_weight[samples.label[i]]
    for i in range(samples.n, samples.lanes):
        samples.weight[i] = 1
        samples.label[i] = 0
        target_weight[i] = 1
    return invalid


cdef inline floating scale_of(
    const Job* job, const Samples* samples, Py_ssize_t i, double factor, floating* as_type
) noexcept nogil:
    """The scale of the derivatives of sample i. It is finite, because a slope of 0 times inf would be NaN."""
    cdef double largest = FLT_MAX if floating is float else DBL_MAX
    return <floating> at_most(samples.weight[i] * job.common.scale * factor, largest)


cdef inline void finish_tile(const Job* job, Samples* samples, Partial* sums, floating* as_type) noexcept nogil:
    """Write the losses of a tile if the caller asks for them, and add up what its weighted samples bring."""
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, as_type)
    cdef floating* result = field(samples, RESULT, as_type)
    cdef floating* value = <floating*> job.common.out[VALUE]
    cdef bint halves = is_half(job.typenum)
    cdef Py_ssize_t i
    if job.common.stage != RUN:
        sums.target_weight += weighted_sum(target_weight, samples.weight, samples.n)
        return
    if value != NULL:
        value = <floating*> samples.memory if halves else value + samples.start
        for i in range(samples.n):
            value[i] = 0 if samples.weight[i] == 0 else <floating> (samples.weight[i] * result[i])
        if halves:
            store(<float*> value, job.common.out[VALUE], job.typenum, samples.start, samples.n)
    if job.common.sum_values:
        sums.loss += weighted_sum(result, samples.weight, samples.n)


cdef inline floating maximum(const floating* x, Py_ssize_t n) noexcept nogil:
    """max x[:n] for n >= LANES. A NaN may be skipped."""
    cdef floating[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = x[n - LANES + j]  # the last group may overlap the one before
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = x[i + j] if x[i + j] > lane[j] else lane[j]
        i += LANES
    return max_lanes(lane)


cdef inline void prefetch_class(const Job* job, const Samples* samples, Py_ssize_t c) noexcept nogil:
    """If prefetch_next is set: prefetch a share of the next tile, as much as one class, of pred and of the gradient.

    It helps if the samples of a class side by side are too few for the hardware to foresee the next stretch, and if
    tiles are copied: then memory would be idle during the arithmetic.
    """
    cdef Py_ssize_t n = job.tile_samples * job.itemsize, first = samples.offset * job.itemsize
    if job.layout == DIRECT:
        first += c * job.inner * job.itemsize + n
    else:
        first += (job.classes + c) * n
    prefetch_all(<const float*> (<const char*> job.pred + first), n // <Py_ssize_t> sizeof(float))
    if job.common.out[GRAD] != NULL:
        prefetch_all(<const float*> (<const char*> job.common.out[GRAD] + first), n // <Py_ssize_t> sizeof(float))


# ---------------------------------------------------------------------------------------------------------------------
# From a call to a job


cdef inline void choose_layout(Job* job, Py_ssize_t itemsize, Py_ssize_t short_row) noexcept:
    """Set layout and tiles, from the shape, the size of a number in the computation, and `short_row`.

    For rows of up to `short_row` classes, lanes across samples are faster than a pass along the row.
    """
    cdef Py_ssize_t cells = CELL_BYTES // itemsize, fit = cells // job.classes // VECTOR * VECTOR
    if job.inner == 1 and job.classes > short_row:
        job.layout = ROWS
        job.tile_samples = min(MAX_SAMPLES, max(1, cells // job.classes))
    elif job.inner < SHORT_INNER and fit > 0:
        job.layout = TRANSPOSED
        job.tile_samples = min(MAX_SAMPLES, fit)
    else:
        job.layout = DIRECT
        job.tile_samples = min(MAX_SAMPLES, max(LANES, fit))


cdef inline void divide_memory(Job* job, Py_ssize_t itemsize, int fields) noexcept:
    """Set which arrays are copied, and the memory of a thread."""
    cdef bint labels_alone = job.common.stage != RUN and job.target == NULL
    cdef Py_ssize_t copies, k, size
    job.copied[PRED] = job.layout == TRANSPOSED or is_half(job.typenum)
    job.copied[TARGET] = job.target != NULL and (job.layout == TRANSPOSED or job.target_typenum != job.computed)
    job.copied[CURVATURE] = job.copied[PRED] and job.common.out[HESS] != NULL
    if job.layout == ROWS and job.copied[PRED]:
        job.tile_samples = max(1, job.tile_samples // 2)  # The L1 cache holds a copy and exponentials.
    copies = job.copied[PRED] + job.copied[TARGET] + job.copied[CURVATURE]
    if job.layout == DIRECT and copies * job.tile_samples * job.classes * itemsize > COPIED_BYTES:
        job.tile_samples = VECTOR
    size = (job.tile_samples * job.classes * itemsize + 127) // 64 * 64  # A tile has no power of two as its distance.
    job.spare_bytes = SCRATCH_BYTES if labels_alone else SPARE_BYTES
    job.nbytes = job.spare_bytes + (OWN_FIELDS if labels_alone else fields) * MAX_SAMPLES * itemsize
    for k in range(ARRAYS):
        job.place[k] = job.nbytes
        job.nbytes += size if job.copied[k] and not labels_alone else 0


cdef inline int take_classes(
    Job* job, Call call, int loss, cnp.ndarray pred, cnp.ndarray target, tuple shape, cnp.ndarray class_weight,
    long long ignore_index, double smoothing, Py_ssize_t short_row, int fields
) except -1:
    """Set a job from the arguments of a driver, which keeps so many fields of a sample.

    `shape` is that of pred, as (outer, classes, inner).
    """
    cdef bint single = cnp.PyArray_TYPE(pred) != cnp.NPY_DOUBLE
    cdef Py_ssize_t itemsize = sizeof(float) if single else sizeof(double), samples
    take_call(&job.common, call, loss, single, single)
    job.outer, job.classes, job.inner = shape
    job.pred = cnp.PyArray_DATA(pred)
    job.typenum = type_of(pred)
    job.itemsize = cnp.PyArray_ITEMSIZE(pred)
    job.computed = cnp.NPY_FLOAT if single else cnp.NPY_DOUBLE
    job.labels = labels_of(pred, target, job.classes, ignore_index)
    job.target = cnp.PyArray_DATA(target) if job.labels.data == NULL else NULL
    job.target_typenum = type_of(target)
    job.class_weight = address(class_weight)
    job.smoothing = smoothing
    choose_layout(job, itemsize, short_row)
    divide_memory(job, itemsize, fields)
    samples = job.outer * job.inner
    if job.layout == DIRECT:
        samples = (job.inner + job.tile_samples - 1) // job.tile_samples * job.tile_samples * job.outer
    job.tiles = (samples + job.tile_samples - 1) // job.tile_samples
    return 0
