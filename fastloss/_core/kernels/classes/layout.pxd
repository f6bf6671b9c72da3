"""What the drivers of softmax and margin losses share: layouts, tiles of samples, weights, and transposed copies.

The predictions are seen as an array (outer, classes, inner), and a sample is a pair (outer, inner). A tile is a number
of samples. Long rows are read along the row. Otherwise a loop runs across samples, so that a vector register holds one
class of many samples. A driver sets RESULT of each sample in a tile, and TARGET_WEIGHT if the target holds
probabilities. It also writes the derivatives.
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_MAX, FLT_MAX

from fastloss._core.kernels.base.chunks cimport Partial
from fastloss._core.kernels.base.job cimport Common, take_call
from fastloss._core.kernels.base.memory cimport address, transpose
from fastloss._core.kernels.base.operands cimport expand
from fastloss._core.kernels.base.sums cimport LANES, weighted_sum
from fastloss._core.kernels.base.vecmath cimport at_most, max_lanes
from fastloss._core.kernels.classes.labels cimport Labels, labels_of, read_labels
from fastloss._core.request.call cimport RUN, VALUE, Call

cdef enum:
    MAX_SAMPLES = 256       # samples in a tile
    CELL_BYTES = 32768      # bytes of a transposed tile
    VECTOR = 16             # elements; LANES is a multiple of it
    BLOCK = 1024            # elements of a row at a time
    SHORT_INNER = 16        # If at least this many samples lie side by side, lanes need no transposed copy.

cdef enum Layout:
    ROWS            # along the row
    TRANSPOSED      # across samples, through a transposed copy of the tile
    DIRECT          # across samples, in place

cdef struct Job:
    Common common
    Layout layout
    Py_ssize_t outer
    Py_ssize_t classes
    Py_ssize_t inner
    Py_ssize_t tile_samples     # samples in a tile
    Py_ssize_t tiles
    const void* pred
    const void* target          # probabilities, in the dtype of pred; NULL for labels
    Labels labels
    const void* class_weight    # in the dtype of pred, or NULL
    double smoothing

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
    # Only softmax uses the next two.
    Py_ssize_t offset               # of class 0 of the first sample, for the layout DIRECT
    Py_ssize_t dropped              # samples with weight 0
    void* fields                    # floating[...][MAX_SAMPLES]


cdef inline floating* field(Samples* samples, int which, floating* as_type) noexcept nogil:
    """A field of all samples."""
    return <floating*> samples.fields + which * MAX_SAMPLES


cdef inline Py_ssize_t place_tile(const Job* job, Samples* samples, Py_ssize_t tile) noexcept nogil:
    """Set the number of samples of a tile; return its first sample."""
    cdef Py_ssize_t start, inside, per_outer
    if job.layout == DIRECT:
        per_outer = (job.inner + job.tile_samples - 1) // job.tile_samples
        inside = tile % per_outer * job.tile_samples
        start = tile // per_outer * job.inner + inside
        samples.n = min(job.tile_samples, job.inner - inside)
    else:
        start = tile * job.tile_samples
        samples.n = min(job.tile_samples, job.outer * job.inner - start)
    samples.lanes = (samples.n + VECTOR - 1) // VECTOR * VECTOR if job.layout == TRANSPOSED else samples.n
    return start


cdef inline bint prepare_samples(
    const Job* job, Samples* samples, Py_ssize_t start, floating* as_type
) noexcept nogil:
    """Set weights, labels and their TARGET_WEIGHT, for a tile that begins with sample `start`.

    Return whether a label is invalid.
    """
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, as_type)
    cdef const floating* class_weight = <const floating*> job.class_weight
    cdef double[MAX_SAMPLES] scratch
    cdef bint invalid = False
    cdef Py_ssize_t i
    if job.common.weight.data == NULL:
        for i in range(samples.n):
            samples.weight[i] = 1
    else:
        expand(&job.common.weight, start, samples.weight, samples.n, scratch)
    for i in range(samples.n):
        target_weight[i] = 1
    if job.labels.data == NULL:
        for i in range(samples.n):
            samples.label[i] = 0
    else:
        invalid = read_labels(&job.labels, start, samples.label, samples.weight, samples.n, NULL)
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


cdef inline void finish_tile(
    const Job* job, Samples* samples, Py_ssize_t start, Partial* sums, floating* as_type
) noexcept nogil:
    """Write the losses of a tile if the caller asks for them, and add up what its weighted samples bring."""
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, as_type)
    cdef floating* result = field(samples, RESULT, as_type)
    cdef floating* value = <floating*> job.common.out[VALUE]
    cdef Py_ssize_t i
    if job.common.stage != RUN:
        sums.target_weight += weighted_sum(target_weight, samples.weight, samples.n)
        return
    if value != NULL:
        for i in range(samples.n):
            value[start + i] = 0 if samples.weight[i] == 0 else <floating> (samples.weight[i] * result[i])
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


cdef inline bint prefetches_next(const Job* job) noexcept nogil:
    """Whether to prefetch each class of the next tile: its stretch is too short for the hardware to foresee it."""
    return job.layout == DIRECT and job.inner >= 2 * job.tile_samples


cdef inline Py_ssize_t offset_of(const Job* job, Py_ssize_t sample) noexcept nogil:
    """The element that is class 0 of a sample."""
    if job.inner == 1:  # a division costs as much as ten exponentials
        return sample * job.classes
    return sample // job.inner * job.classes * job.inner + sample % job.inner


cdef inline void transpose_in(
    const Job* job, Samples* samples, const floating* x, Py_ssize_t start, floating* tile
) noexcept nogil:
    """Copy a tile of samples to tile[class][sample]. Lanes without a sample repeat the last one."""
    cdef const floating* sample
    cdef Py_ssize_t i, c
    if job.inner == 1:
        transpose(x + start * job.classes, job.classes, samples.n, job.classes, tile, job.tile_samples)
        for c in range(job.classes):
            for i in range(samples.n, samples.lanes):
                tile[c * job.tile_samples + i] = tile[c * job.tile_samples + samples.n - 1]
    else:
        for i in range(samples.lanes):
            sample = x + offset_of(job, start + min(i, samples.n - 1))
            for c in range(job.classes):
                tile[c * job.tile_samples + i] = sample[c * job.inner]


cdef inline void transpose_out(
    const Job* job, Samples* samples, const floating* tile, Py_ssize_t start, floating* x
) noexcept nogil:
    """Copy tile[class][sample] to a tile of samples."""
    cdef floating* sample
    cdef Py_ssize_t i, c
    if job.inner == 1:
        transpose(tile, job.tile_samples, job.classes, samples.n, x + start * job.classes, job.classes)
    else:
        for i in range(samples.n):
            sample = x + offset_of(job, start + i)
            for c in range(job.classes):
                sample[c * job.inner] = tile[c * job.tile_samples + i]


# ---------------------------------------------------------------------------------------------------------------------
# From a call to a job


cdef inline void choose_layout(Job* job, Py_ssize_t itemsize, Py_ssize_t short_row) noexcept:
    """Set layout and tiles. They depend on the shape, the dtype and `short_row`, not on the number of threads.

    For rows of up to `short_row` classes, lanes across samples are faster than a pass along the row.
    """
    cdef Py_ssize_t samples = job.outer * job.inner, cells = CELL_BYTES // itemsize
    cdef Py_ssize_t fit = cells // job.classes // VECTOR * VECTOR
    if job.inner == 1 and job.classes > short_row:
        job.layout = ROWS
        job.tile_samples = min(MAX_SAMPLES, max(1, cells // job.classes))
    elif job.inner < SHORT_INNER and fit > 0:
        job.layout = TRANSPOSED
        job.tile_samples = min(MAX_SAMPLES, fit)
    else:
        job.layout = DIRECT
        job.tile_samples = min(MAX_SAMPLES, max(LANES, fit))
        samples = (job.inner + job.tile_samples - 1) // job.tile_samples * job.tile_samples * job.outer
    job.tiles = (samples + job.tile_samples - 1) // job.tile_samples


cdef inline int take_classes(
    Job* job, Call call, int loss, cnp.ndarray pred, cnp.ndarray target, tuple shape, cnp.ndarray class_weight,
    long long ignore_index, double smoothing, Py_ssize_t short_row
) except -1:
    """Set a job from the arguments of a driver. `shape` is that of pred, as (outer, classes, inner)."""
    cdef bint single = cnp.PyArray_TYPE(pred) == cnp.NPY_FLOAT
    take_call(&job.common, call, loss, single, single)
    job.outer, job.classes, job.inner = shape
    job.pred = cnp.PyArray_DATA(pred)
    job.labels = labels_of(pred, target, job.classes, ignore_index)
    job.target = cnp.PyArray_DATA(target) if job.labels.data == NULL else NULL
    job.class_weight = address(class_weight)
    job.smoothing = smoothing
    choose_layout(job, cnp.PyArray_ITEMSIZE(pred), short_row)
    return 0
