"""What the drivers of losses with a class axis share: layouts, labels and weights, transposed copies, the run of tiles.

The predictions are seen as an array (outer, classes, inner), and a sample is a pair (outer, inner). Samples are taken
in tiles, along their rows where these are long, and else across samples, so that a vector register holds one class of
many samples. A driver fills MASS and RESULT for each sample of a tile, and writes the derivatives.
"""

from cython cimport floating
from cython.parallel cimport prange
cimport numpy as cnp

from fastloss.kernels.tiles cimport (
    LANES, MAX_CHUNKS, MAX_PARAMETERS, Operand, address, chunk_size, expand, grain, load_labels, operand,
    take_parameters, weighted_sum
)
from fastloss.kernels.vecmath cimport at_most, max_lanes, transpose4
from libc.float cimport DBL_MAX, FLT_MAX

cdef extern from *:
    void prefetch "__builtin_prefetch" (const void* address) noexcept nogil

cdef enum:
    MAX_SAMPLES = 256       # samples in a tile
    CELL_BYTES = 32768      # of a transposed tile
    VECTOR = 16             # elements; LANES is a multiple of it
    BLOCK = 1024            # elements of a row at a time
    SHORT_INNER = 16        # samples side by side in memory: from here, lanes need no transposed copy

cdef enum Layout:
    ROWS            # along the row
    TRANSPOSED      # across samples, through a transposed copy of the tile
    DIRECT          # across samples, where they lie

cdef struct Call:
    int loss
    Layout layout
    bint measure            # only check the target and sum the weights
    Py_ssize_t outer
    Py_ssize_t classes
    Py_ssize_t inner
    Py_ssize_t tile         # samples
    Py_ssize_t tiles
    const void* pred
    const void* target      # probabilities, or NULL
    const void* labels      # class indices, or NULL
    int label_type
    long long ignore_index
    Operand weight
    const void* class_weight
    double smoothing
    double[MAX_PARAMETERS] parameters
    double scale
    bint sum_values
    void* value
    void* grad
    void* hess

# The fields of a sample that all drivers have; their own come after.
cdef enum:
    MASS            # sum w_c t_c: the weight that the target brings to the mean
    RESULT          # the loss, not yet weighted by the sample
    OWN_FIELDS

cdef struct Stats:
    Py_ssize_t n                    # samples in the tile
    Py_ssize_t lanes                # n, or rounded up to whole vectors where lanes without a sample do no harm
    double[MAX_SAMPLES] weight      # sample weight; 0 where the sample does not count
    long long[MAX_SAMPLES] label    # in [0, classes), whatever the array said
    Py_ssize_t offset               # of class 0 of the first sample, where they lie side by side
    Py_ssize_t dropped              # samples with weight 0
    void* fields                    # floating[...][MAX_SAMPLES]


cdef inline floating* field(Stats* s, int which, floating* _) noexcept nogil:
    return <floating*> s.fields + which * MAX_SAMPLES


cdef inline Py_ssize_t place_tile(const Call* call, Stats* s, Py_ssize_t tile) noexcept nogil:
    """Set the number of samples of a tile; return its first sample."""
    cdef Py_ssize_t start, inside, per_outer
    if call.layout == DIRECT:
        per_outer = (call.inner + call.tile - 1) // call.tile
        inside = tile % per_outer * call.tile
        start = tile // per_outer * call.inner + inside
        s.n = min(call.tile, call.inner - inside)
    else:
        start = tile * call.tile
        s.n = min(call.tile, call.outer * call.inner - start)
    s.lanes = (s.n + VECTOR - 1) // VECTOR * VECTOR if call.layout == TRANSPOSED else s.n
    return start


cdef inline bint prepare(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """Weights, labels and their MASS, for samples start to start + s.n; whether a label is not valid."""
    cdef floating* mass = field(s, MASS, _)
    cdef const floating* class_weight = <const floating*> call.class_weight
    cdef double[MAX_SAMPLES] scratch
    cdef long long invalid = -1 if call.ignore_index != -1 else -2
    cdef Py_ssize_t i
    cdef int bad = 0, outside
    if call.weight.data == NULL:
        for i in range(s.n):
            s.weight[i] = 1
    else:
        expand(&call.weight, start, s.weight, s.n, scratch)
    for i in range(s.n):
        mass[i] = 1
    if call.labels == NULL:
        for i in range(s.n):
            s.label[i] = 0
    else:
        load_labels(call.labels, call.label_type, start, s.label, s.n, invalid)
        for i in range(s.n):
            outside = (s.label[i] < 0) | (s.label[i] >= call.classes)
            bad |= outside & (s.label[i] != call.ignore_index)
            # Also in the second pass, after all labels were found valid: another thread may write to the array.
            outside |= s.label[i] == call.ignore_index
            s.weight[i] = 0 if outside else s.weight[i]
            s.label[i] = 0 if outside else s.label[i]
        if class_weight != NULL:
            for i in range(s.n):
                mass[i] = class_weight[s.label[i]]
    for i in range(s.n, s.lanes):
        s.weight[i] = 1
        s.label[i] = 0
        mass[i] = 1
    return bad


cdef inline floating scale_of(
    const Call* call, const Stats* s, Py_ssize_t i, double factor, floating* _
) noexcept nogil:
    """What the derivatives of sample i are scaled by: finite, since a slope of 0 times inf would be NaN."""
    cdef double largest = FLT_MAX if floating is float else DBL_MAX
    return <floating> at_most(s.weight[i] * call.scale * factor, largest)


cdef inline double finish_tile(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """Write the losses of a tile if wanted, and return their weighted sum, or with `measure` that of the weights."""
    cdef floating* mass = field(s, MASS, _)
    cdef floating* result = field(s, RESULT, _)
    cdef Py_ssize_t i
    if call.measure:
        return weighted_sum(mass, s.weight, s.n)
    if call.value != NULL:
        for i in range(s.n):
            (<floating*> call.value)[start + i] = 0 if s.weight[i] == 0 else <floating> (s.weight[i] * result[i])
    return weighted_sum(result, s.weight, s.n) if call.sum_values else 0


cdef inline void clear(floating* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = 0


cdef inline void prefetch_all(const floating* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i < n:
        prefetch(x + i)
        i += 64 // sizeof(floating)  # a cache line


cdef inline floating maximum(const floating* z, Py_ssize_t n) noexcept nogil:
    """max z[:n], n >= LANES; NaNs may be passed over."""
    cdef floating[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = z[n - LANES + j]  # the last ones may be looked at twice
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = z[i + j] if z[i + j] > lane[j] else lane[j]
        i += LANES
    return max_lanes(lane)


cdef inline Py_ssize_t offset_of(const Call* call, Py_ssize_t sample) noexcept nogil:
    """Where class 0 of a sample lies."""
    if call.inner == 1:  # a division costs as much as ten exponentials
        return sample * call.classes
    return sample // call.inner * call.classes * call.inner + sample % call.inner


cdef inline void transpose(
    const floating* x, Py_ssize_t x_stride, Py_ssize_t rows, Py_ssize_t columns, floating* y, Py_ssize_t y_stride
) noexcept nogil:
    """y[j * y_stride + i] = x[i * x_stride + j], four by four; the last fours may overlap those before. x is not y."""
    cdef Py_ssize_t i, j, row
    if rows < 4 or columns < 4:
        for i in range(rows):
            for j in range(columns):
                y[j * y_stride + i] = x[i * x_stride + j]
        return
    for i in range(0, rows, 4):
        row = min(i, rows - 4)
        for j in range(0, columns - 3, 4):
            transpose4(x + row * x_stride + j, x_stride, y + j * y_stride + row, y_stride)
        if columns % 4 != 0:
            j = columns - 4
            transpose4(x + row * x_stride + j, x_stride, y + j * y_stride + row, y_stride)


cdef inline void transpose_in(
    const Call* call, Stats* s, const floating* x, Py_ssize_t start, floating* tile
) noexcept nogil:
    """A tile of samples to tile[class][sample]; lanes without a sample repeat the last one."""
    cdef const floating* sample
    cdef Py_ssize_t i, c
    if call.inner == 1:
        transpose(x + start * call.classes, call.classes, s.n, call.classes, tile, call.tile)
        for c in range(call.classes):
            for i in range(s.n, s.lanes):
                tile[c * call.tile + i] = tile[c * call.tile + s.n - 1]
    else:
        for i in range(s.lanes):
            sample = x + offset_of(call, start + min(i, s.n - 1))
            for c in range(call.classes):
                tile[c * call.tile + i] = sample[c * call.inner]


cdef inline void transpose_out(
    const Call* call, Stats* s, const floating* tile, Py_ssize_t start, floating* x
) noexcept nogil:
    cdef floating* sample
    cdef Py_ssize_t i, c
    if call.inner == 1:
        transpose(tile, call.tile, call.classes, s.n, x + start * call.classes, call.classes)
    else:
        for i in range(s.n):
            sample = x + offset_of(call, start + i)
            for c in range(call.classes):
                sample[c * call.inner] = tile[c * call.tile + i]


# ---------------------------------------------------------------------------------------------------------------------
# The run over all tiles

ctypedef double (*single_tile)(const Call*, float*, Py_ssize_t, char*) noexcept nogil
ctypedef double (*double_tile)(const Call*, double*, Py_ssize_t, char*) noexcept nogil


cdef inline double run_chunk(
    const Call* call, bint single, single_tile run_single, double_tile run_double,
    Py_ssize_t start, Py_ssize_t stop, char* bad
) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t tile
    bad[0] = 0
    for tile in range(start, stop):
        total += run_single(call, NULL, tile, bad) if single else run_double(call, NULL, tile, bad)
    return total


cdef inline double run_all(
    const Call* call, bint single, single_tile run_single, double_tile run_double, int threads, char* bad
) noexcept nogil:
    """Run all chunks; their sums are added in order, so the result does not depend on the number of threads."""
    cdef double[MAX_CHUNKS] partial
    cdef char[MAX_CHUNKS] flag
    cdef Py_ssize_t size = chunk_size(call.tiles, 1), chunks = (call.tiles + size - 1) // size, k
    cdef double total = 0
    if threads <= 1:
        for k in range(chunks):
            partial[k] = run_chunk(
                call, single, run_single, run_double, k * size, min(call.tiles, (k + 1) * size), &flag[k]
            )
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
            partial[k] = run_chunk(
                call, single, run_single, run_double, k * size, min(call.tiles, (k + 1) * size), &flag[k]
            )
    for k in range(chunks):
        total += partial[k]
        bad[0] |= flag[k]
    return total


cdef inline void choose_layout(Call* call, Py_ssize_t itemsize, Py_ssize_t short_row) noexcept:
    """Layout and tile: they depend on shape and dtype alone, as all partitions do."""
    cdef Py_ssize_t samples = call.outer * call.inner, cells = CELL_BYTES // itemsize
    cdef Py_ssize_t fit = cells // call.classes // VECTOR * VECTOR
    if call.inner == 1 and call.classes > short_row:
        call.layout = ROWS
        call.tile = min(MAX_SAMPLES, max(1, cells // call.classes))
    elif call.inner < SHORT_INNER and fit > 0:
        call.layout = TRANSPOSED
        call.tile = min(MAX_SAMPLES, fit)
    else:
        call.layout = DIRECT
        call.tile = min(MAX_SAMPLES, max(LANES, fit))
        samples = (call.inner + call.tile - 1) // call.tile * call.tile * call.outer
    call.tiles = (samples + call.tile - 1) // call.tile


cdef inline object run_loss(
    single_tile run_single, double_tile run_double, Py_ssize_t short_row,
    int loss, cnp.ndarray pred, cnp.ndarray target, bint labels, tuple shape, cnp.ndarray weight,
    Py_ssize_t weight_inner, cnp.ndarray class_weight, long long ignore_index, double smoothing, tuple parameters,
    bint measure, double scale, bint sum_values, cnp.ndarray value, cnp.ndarray grad, cnp.ndarray hess, int threads
):
    """Run one loss over checked, C-contiguous arrays: the weighted sum, or None where the target is not valid.

    With `measure`, nothing is written, and the sum is that of the weights. `shape` is (outer, classes, inner). Target
    probabilities and class weights are of the dtype of pred. threads = 0 stands for an input so small that releasing
    the GIL would cost more than it gives. Up to `short_row` classes, lanes across samples beat a pass along the row.
    """
    cdef Call call
    cdef bint single = cnp.PyArray_TYPE(pred) == cnp.NPY_FLOAT
    cdef char bad = 0
    cdef double total
    call.loss = loss
    call.outer, call.classes, call.inner = shape
    call.measure = measure
    call.pred = cnp.PyArray_DATA(pred)
    call.target = NULL if labels else cnp.PyArray_DATA(target)
    call.labels = cnp.PyArray_DATA(target) if labels else NULL
    call.label_type = cnp.PyArray_TYPE(target)
    call.ignore_index = ignore_index
    call.weight = operand(weight, weight_inner)
    call.class_weight = address(class_weight)
    call.smoothing = smoothing
    take_parameters(call.parameters, parameters, single)
    call.scale = scale
    call.sum_values = sum_values
    call.value = address(value)
    call.grad = address(grad)
    call.hess = address(hess)
    choose_layout(&call, cnp.PyArray_ITEMSIZE(pred), short_row)
    if threads == 0:
        total = run_all(&call, single, run_single, run_double, 0, &bad)
    else:
        with nogil:
            total = run_all(&call, single, run_single, run_double, threads, &bad)
    return None if bad else total
