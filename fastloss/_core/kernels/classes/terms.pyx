"""The driver of the losses that are sums of terms along a class axis, one term for each class.

The input is seen as an array (outer, classes, inner), and a sample is a pair (outer, inner). A tile is a number of
samples. Their elements are read in pieces that are contiguous in memory: all elements at once if they are few, else
some of the classes, or for samples that lie side by side, one class of each.

The loops of a loss (base/loops.pxd) do not know where in a sample an element is. Without weights, and if only the sum
is needed, the driver need not either: then it reads pieces in the order of memory.

For class indices without label smoothing, only one class of each sample has a term. These elements are gathered into
one piece. The gradients are zeros, and one element of each sample is written.

terms.pxi holds the losses: the math of each, and its place in the table.
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_MAX, FLT_MAX
from libc.string cimport memset

from fastloss._core.kernels.base.chunks cimport Partial, run_job
from fastloss._core.kernels.base.domains cimport any_outside_domain
from fastloss._core.kernels.base.job cimport take_call
from fastloss._core.kernels.base.loops cimport (
    Table, Tile, double_loops, exp_minus_abs, loops, nothing, register, run_loops, single_loops
)
from fastloss._core.kernels.base.memory cimport address, at, end_stream, prefetch_all
from fastloss._core.kernels.base.operands cimport (
    TILE, Operand, expand, is_half, load, prefetch_halves, store, take_leading, take_whole
)
from fastloss._core.kernels.base.sums cimport ordered_sum, weighted_sum
from fastloss._core.kernels.base.vecmath cimport (
    at_least, exp, exp_difference_and_fall, expm1, expm1_minus_x, fabs, gap_near_one, log, log1p_01, log1p_and_gap,
    normal
)
from fastloss._core.kernels.base.weights cimport weigh
from fastloss._core.kernels.classes.labels cimport labels_of, read_labels
from fastloss._core.kernels.classes.layout cimport VECTOR
from fastloss._core.kernels.classes.terms_samples cimport Job, Memory, Samples, add_terms, weights_of
from fastloss._core.request.call cimport (
    CHECK, ELEMENTWISE_OUTPUTS, GRAD, GRAD_2, HESS, HESS_2, MEASURE, OUTPUTS, RUN, VALUE, Call
)

cnp.import_array()

LOSSES = {}  # name -> place in the table
cdef Table TABLE


cdef add(str name, single_loops single, double_loops double_):
    register(&TABLE, LOSSES, name, single, double_)


include "terms.pxi"

cdef enum:
    REACH = 65536           # A tile of labels covers about this many elements of the gradient.
    STRIP = 4 * TILE        # samples side by side whose gradient is cleared class by class: short stretches cost more
    TILES = 3 + OUTPUTS     # of numbers in the dtype of the computation, in the memory of a thread
    DOUBLE_TILES = 5

# ---------------------------------------------------------------------------------------------------------------------
# Samples and pieces


cdef bint prepare_samples(const Job* job, Samples* samples, Memory* memory) noexcept nogil:
    """Set weights of the samples of a tile, and places of their labels. Return whether a label is invalid."""
    cdef Py_ssize_t per_block = samples.n // samples.blocks, place, b, k
    cdef bint invalid, ignored
    samples.weighted = job.common.weight.data != NULL
    samples.target_weight = 0
    if job.common.out[VALUE] != NULL:
        for k in range(samples.n):
            samples.total[k] = 0
    if job.common.weight.data != NULL:
        expand(&job.common.weight, samples.start, samples.weight, samples.n, memory.weight)  # not in use yet
    if job.labels.data == NULL:
        return False
    if job.common.weight.data == NULL:
        for k in range(samples.n):
            samples.weight[k] = 1
    invalid = read_labels(&job.labels, samples.start, samples.place, samples.weight, samples.n, &ignored)
    samples.weighted = samples.weighted or ignored
    if job.weight_of == NULL:
        samples.target_weight = ordered_sum(samples.weight, samples.n)
    else:
        for k in range(samples.n):
            memory.weight[k] = samples.weight[k] * job.weight_of[samples.place[k]]
        samples.target_weight = ordered_sum(memory.weight, samples.n)
        if job.one_class:
            samples.weighted = True
            for k in range(samples.n):
                samples.weight[k] = memory.weight[k]
    place = samples.first
    if job.inner == 1:
        for k in range(samples.n):
            samples.place[k] += place + k * job.classes
    else:
        for b in range(samples.blocks):
            for k in range(b * per_block, (b + 1) * per_block):
                samples.place[k] = place + samples.place[k] * job.inner + k
            place += job.classes * job.inner - per_block
    return invalid


cdef inline bint in_place(const Job* job) noexcept nogil:
    """Whether a derivative is written over an input."""
    cdef int j, k
    for j in range(GRAD, ELEMENTWISE_OUTPUTS):
        for k in range(2):
            if job.common.out[j] != NULL and job.common.out[j] == job.inputs[k].data:
                return True
    return False


cdef inline void clear_derivatives(const Job* job, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    cdef int k
    for k in range(GRAD, ELEMENTWISE_OUTPUTS):
        if job.common.out[k] != NULL:
            memset(<char*> job.common.out[k] + start * job.itemsize, 0, n * job.itemsize)


cdef inline const floating* read(
    const Job* job, Memory* memory, int k, Py_ssize_t start, Py_ssize_t n, floating* as_type
) noexcept nogil:
    """Elements of an input: in place, or as a copy."""
    cdef const Operand* x = &job.inputs[k]
    cdef int j
    cdef bint copied = x.typenum != job.computed
    # If a derivative is written over an input, the loops get a copy: see `direct` in elementwise/driver.pyx.
    for j in range(GRAD, ELEMENTWISE_OUTPUTS):
        copied |= x.data == job.common.out[j]
    if not copied:
        return <const floating*> x.data + start
    if start + n < job.outer * job.classes * job.inner:
        prefetch_halves(x, start + n, n)  # the next piece
    load(x.data, x.typenum, start, <floating*> memory.copies[k], n)
    return <const floating*> memory.copies[k]


cdef inline void prefetch_piece(const Job* job, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """Prefetch a piece of the next class: the hardware looks ahead no further than the page of this one."""
    cdef Py_ssize_t first = start * job.itemsize, floats = n * job.itemsize // <Py_ssize_t> sizeof(float)
    cdef int k
    for k in range(2):
        if job.inputs[k].data != NULL and job.inputs[k].typenum == job.inputs[0].typenum:
            prefetch_all(<const float*> (<const char*> job.inputs[k].data + first), floats)
    for k in range(GRAD, ELEMENTWISE_OUTPUTS):
        if job.common.out[k] != NULL:
            prefetch_all(<const float*> (<const char*> job.common.out[k] + first), floats)


cdef inline void set_tile(
    const Job* job, const Memory* memory, const double* weight, Py_ssize_t n, Tile* tile
) noexcept nogil:
    """Set what the loops need besides the inputs and the places of the derivatives."""
    cdef bint values = job.common.out[VALUE] != NULL or job.common.sum_values
    tile.third = tile.target  # not read, or replaced by the loops of the loss
    tile.first = memory.scratch
    tile.n = n
    tile.scale = job.common.scale_unweighted if weight == NULL else 1
    tile.out[VALUE] = memory.out[VALUE] if values else NULL


cdef double run_piece(
    const Job* job, Samples* samples, Memory* memory, Py_ssize_t start, Py_ssize_t n, bint* invalid, floating* as_type
) noexcept nogil:
    """Run elements start to start + n of all classes. Return the sum of their weighted terms."""
    cdef const double* weight = weights_of(job, samples, memory, start, n)
    cdef const floating* pred
    cdef const floating* target
    cdef floating* one_hot
    cdef floating* value
    cdef Py_ssize_t k, place
    cdef Tile tile
    if job.labels.data == NULL:
        target = read(job, memory, 1, start, n, as_type)
        invalid[0] |= any_outside_domain(job.domains[1], target, weight, n)
        if job.class_weight.data != NULL:
            samples.target_weight += weighted_sum(target, weight, n)
    else:
        target = one_hot = <floating*> memory.copies[1]
        for k in range(n):
            one_hot[k] = 0
        for k in range(samples.n):
            place = samples.place[k] - start
            if 0 <= place < n:
                one_hot[place] = 1
    if job.common.stage == MEASURE:
        return 0
    pred = read(job, memory, 0, start, n, as_type)
    invalid[0] |= any_outside_domain(job.domains[0], pred, weight, n)
    if job.common.stage == CHECK:
        return 0
    tile.pred = pred
    tile.target = target
    tile.stream = job.stream and weight == NULL and not job.half
    set_tile(job, memory, weight, n, &tile)
    for k in range(GRAD, ELEMENTWISE_OUTPUTS):
        tile.out[k] = at(<floating*> job.common.out[k], start)
        if job.half and tile.out[k] != NULL:
            tile.out[k] = memory.out[k]
    run_loops(&TABLE, job.common.loss, &tile, job.common.parameters, as_type)
    for k in range(GRAD, ELEMENTWISE_OUTPUTS):
        if weight != NULL:
            weigh(<floating*> tile.out[k], weight, job.common.scale, n)
        if job.half and tile.out[k] != NULL:
            store(<float*> tile.out[k], job.common.out[k], job.inputs[0].typenum, start, n, job.stream)
    value = <floating*> tile.out[VALUE]
    if job.common.out[VALUE] != NULL:
        if weight != NULL:
            weigh(value, weight, 1, n)
        add_terms(job, samples, value, start, n)
    if not job.common.sum_values:
        return 0
    return ordered_sum(value, n) if weight == NULL else weighted_sum(value, weight, n)


cdef double run_all_classes(
    const Job* job, Samples* samples, Memory* memory, bint* invalid, floating* as_type
) noexcept nogil:
    """Run samples that have a term in each class, piece by piece."""
    cdef Py_ssize_t start = samples.first, stop = start + samples.blocks * job.classes * job.inner, following, c
    cdef double total = 0
    if not job.in_strips:
        while start < stop:
            total += run_piece(job, samples, memory, start, min(TILE, stop - start), invalid, as_type)
            start += TILE
    else:
        for c in range(job.classes):
            if job.classes > 1:
                following = start + ((c + 1) * job.inner if c + 1 < job.classes else job.width)
                prefetch_piece(job, following, samples.n)
            total += run_piece(job, samples, memory, start + c * job.inner, samples.n, invalid, as_type)
    return total


cdef inline void gather(
    const Job* job, Samples* samples, Memory* memory, floating* gathered
) noexcept nogil:
    """Gather the elements of pred that are the classes of the labels."""
    cdef const void* pred = job.inputs[0].data
    cdef unsigned short* halves = <unsigned short*> memory.scratch
    cdef Py_ssize_t k
    if job.half:
        for k in range(samples.n):
            halves[k] = (<const unsigned short*> pred)[samples.place[k]]
        load(halves, job.inputs[0].typenum, 0, gathered, samples.n)
    else:
        for k in range(samples.n):
            gathered[k] = (<const floating*> pred)[samples.place[k]]


cdef inline void scatter(
    const Job* job, Samples* samples, Memory* memory, const floating* derivative, void* out
) noexcept nogil:
    """Write derivatives to these elements."""
    cdef unsigned short* halves = <unsigned short*> memory.scratch
    cdef Py_ssize_t k
    if job.half:
        store(<const float*> derivative, halves, job.inputs[0].typenum, 0, samples.n)
        for k in range(samples.n):
            (<unsigned short*> out)[samples.place[k]] = halves[k]
    else:
        for k in range(samples.n):
            (<floating*> out)[samples.place[k]] = derivative[k]


cdef double run_one_class(
    const Job* job, Samples* samples, Memory* memory, bint* invalid, floating* as_type
) noexcept nogil:
    """Run samples that have a term only in the class of their label."""
    cdef floating* gathered = <floating*> memory.copies[0]
    cdef floating* ones = <floating*> memory.copies[1]
    cdef const double* weight = samples.weight if samples.weighted else NULL
    cdef floating* value
    cdef Py_ssize_t n = samples.n, c, k
    cdef Tile tile
    cdef int j
    for k in range(n):
        ones[k] = 1
    gather(job, samples, memory, gathered)
    invalid[0] |= any_outside_domain(job.domains[0], gathered, weight, n)
    if job.common.stage == CHECK:
        return 0
    tile.pred = gathered
    tile.target = ones
    tile.stream = False
    set_tile(job, memory, weight, n, &tile)
    for j in range(GRAD, ELEMENTWISE_OUTPUTS):
        tile.out[j] = NULL if job.common.out[j] == NULL else memory.out[j]
    run_loops(&TABLE, job.common.loss, &tile, job.common.parameters, as_type)
    if not job.in_strips:
        clear_derivatives(job, samples.first, job.classes * job.inner * samples.blocks)
    elif in_place(job):
        for c in range(job.classes):
            clear_derivatives(job, samples.first + c * job.inner, n)
    for j in range(GRAD, ELEMENTWISE_OUTPUTS):
        if job.common.out[j] != NULL:
            if weight != NULL:
                weigh(<floating*> tile.out[j], weight, job.common.scale, n)
            scatter(job, samples, memory, <floating*> tile.out[j], job.common.out[j])
    value = <floating*> tile.out[VALUE]
    if job.common.out[VALUE] != NULL:
        for k in range(n):
            samples.total[k] = 0 if samples.weight[k] == 0 else samples.weight[k] * value[k]
    if not job.common.sum_values:
        return 0
    return ordered_sum(value, n) if weight == NULL else weighted_sum(value, weight, n)


# ---------------------------------------------------------------------------------------------------------------------
# The driver


cdef double run_samples(
    const Job* job, Samples* samples, Memory* memory, Partial* sums, floating* as_type
) noexcept nogil:
    """The sum of the weighted terms of at most TILE samples, or of pieces of at most TILE elements."""
    cdef floating* value
    cdef double total = 0
    cdef bint invalid = prepare_samples(job, samples, memory)
    cdef Py_ssize_t k
    if job.common.stage == MEASURE and job.labels.data != NULL:
        pass
    elif job.one_class:
        total = run_one_class(job, samples, memory, &invalid, as_type)
    else:
        total = run_all_classes(job, samples, memory, &invalid, as_type)
    sums.invalid |= invalid
    sums.target_weight += samples.target_weight
    if job.common.out[VALUE] != NULL and job.common.stage == RUN:
        value = <floating*> memory.scratch if job.half else <floating*> job.common.out[VALUE] + samples.start
        for k in range(samples.n):
            value[k] = <floating> samples.total[k]
        if job.half:
            store(<float*> value, job.common.out[VALUE], job.inputs[0].typenum, samples.start, samples.n)
    return total


cdef double run_tile(
    const Job* job, Samples* samples, Memory* memory, Py_ssize_t tile, Partial* sums, floating* as_type
) noexcept nogil:
    """The sum of the weighted terms of a tile."""
    cdef Py_ssize_t block = job.classes * job.inner, strips, strip, stop, k
    cdef double total = 0
    if not job.in_strips:
        samples.blocks = min(job.blocks, job.outer - tile * job.blocks)
        samples.n = samples.blocks * job.inner
        samples.start = tile * job.blocks * job.inner
        samples.first = tile * job.blocks * block
        return run_samples(job, samples, memory, sums, as_type)
    strips = (job.inner + job.width - 1) // job.width
    strip = tile % strips * job.width
    stop = min(strip + job.width, job.inner)
    if job.one_class and job.common.stage == RUN and not in_place(job):
        for k in range(job.classes):
            clear_derivatives(job, tile // strips * block + k * job.inner + strip, stop - strip)
    while strip < stop:
        samples.blocks = 1
        samples.n = min(TILE, stop - strip)
        samples.start = tile // strips * job.inner + strip
        samples.first = tile // strips * block + strip
        total += run_samples(job, samples, memory, sums, as_type)
        strip += samples.n
    return total


cdef void run_chunk(
    const Job* job, Py_ssize_t start, Py_ssize_t stop, Partial* sums, floating* array
) noexcept nogil:
    """Run tiles start to stop, with the memory of the thread from `array` on."""
    cdef double* doubles = <double*> (array + TILES * TILE)
    cdef Memory memory
    cdef Samples samples
    cdef Py_ssize_t tile
    cdef int k
    for k in range(2):
        memory.copies[k] = array + k * TILE
    memory.scratch = array + 2 * TILE
    for k in range(OUTPUTS):
        memory.out[k] = array + (3 + k) * TILE
    memory.phase = memory.reach = 0
    memory.weight, memory.class_weight = doubles, doubles + TILE
    samples.weight, samples.total = doubles + 2 * TILE, doubles + 3 * TILE
    samples.place = <long long*> (doubles + 4 * TILE)
    for tile in range(start, stop):
        sums.loss += run_tile(job, &samples, &memory, tile, sums, array)
    if job.stream:
        end_stream()


cdef void run_floats(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, sums, <float*> memory)


cdef void run_doubles(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, sums, <double*> memory)


cdef void choose_tiles(Job* job) noexcept:
    """Set the partition into tiles. It depends on the arrays of the call and its outputs, not on threads."""
    cdef Py_ssize_t strip = STRIP if job.one_class else TILE, block, strips
    cdef bint by_sample = job.labels.data != NULL or job.common.weight.data != NULL or job.class_weight.data != NULL
    if not by_sample and job.common.out[VALUE] == NULL:
        # Without weights, labels and single losses, a term need not know its sample. Each element is a sample with one
        # class, in the order of memory.
        job.inner *= job.outer * job.classes
        job.outer = job.classes = 1
    job.in_strips = job.inner > TILE
    job.width = job.inner
    job.blocks = 1
    if job.in_strips:
        strips = (job.inner + strip - 1) // strip
        job.width = (job.inner + strips - 1) // strips
        job.width = (job.width + VECTOR - 1) // VECTOR * VECTOR
    elif job.inner != 0:
        block = job.classes * job.inner
        job.blocks = max(1, min(TILE // job.inner, REACH // block) if job.one_class else TILE // block)
    if job.outer * job.inner == 0:
        job.tiles = 0
    elif job.in_strips:
        job.tiles = job.outer * ((job.inner + job.width - 1) // job.width)
    else:
        job.tiles = (job.outer + job.blocks - 1) // job.blocks


def run(
    Call call, int loss, cnp.ndarray pred, cnp.ndarray target, bint one_class, tuple shape, cnp.ndarray class_weight,
    long long ignore_index, tuple domains
):
    """Run one loss over checked, C-contiguous arrays.

    Return the weighted sum of the losses and the sum of the weights of the targets, or None if an element is outside
    its domain. Weights are summed for class indices, and for probabilities with class weights. `shape` is that of pred,
    as (outer, classes, inner). The target has no class axis if it holds class indices; with `one_class`, only these
    elements of pred have a term. `class_weight` is float64 or None. `domains` are those of pred and target.
    """
    cdef Job job
    cdef Partial total
    cdef bint single = cnp.PyArray_TYPE(pred) != cnp.NPY_DOUBLE
    cdef Py_ssize_t number = sizeof(float) if single else sizeof(double)
    cdef int k
    take_call(&job.common, call, loss, single, single)
    job.one_class = one_class
    job.outer, job.classes, job.inner = shape
    job.labels = labels_of(pred, target, job.classes, ignore_index)
    take_whole(&job.inputs[0], pred)
    take_whole(&job.inputs[1], target if job.labels.data == NULL else None)
    for k in range(2):
        job.domains[k] = domains[k]
    take_leading(&job.class_weight, None if class_weight is None else class_weight.reshape(1, -1), shape)
    job.weight_of = <const double*> address(class_weight)
    choose_tiles(&job)
    # Second derivatives do not go past the caches: see base/loops.pxd.
    job.stream = call.stream and job.common.out[GRAD] != NULL and job.common.out[HESS] == NULL
    job.computed = cnp.NPY_FLOAT if single else cnp.NPY_DOUBLE
    job.half = is_half(job.inputs[0].typenum)
    job.itemsize = cnp.PyArray_ITEMSIZE(pred)
    total = run_job(
        run_floats if single else run_doubles, &job, job.tiles, 1, call.threads,
        TILE * (TILES * number + DOUBLE_TILES * <Py_ssize_t> sizeof(double))
    )
    return None if total.invalid else (total.loss, total.target_weight)
