"""The driver of the losses of vectors: functions of the distances between vectors, or of their cosine.

The first pass sums over a row of each input: see sums.pxd. From the sums, the loss computes its value and its slopes:
see losses.pxi. The second pass writes the gradients by the chain rule: see gradients.pxd.

A tile is as many whole rows as fit a piece, so that both passes read memory once. A longer row is a tile of several
pieces. Rows shorter than LANES are transposed, so that a vector register holds one element of many rows. Sums are in
double precision, in which the square of a float32 cannot overflow.
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_MAX, DBL_MIN, FLT_MAX, FLT_MIN
from libc.math cimport INFINITY, NAN, fmin, frexp, isfinite, ldexp

from fastloss._core.kernels.base.chunks cimport Partial, run_job
from fastloss._core.kernels.base.domains cimport any_outside_domain
from fastloss._core.kernels.base.job cimport MAX_LOSSES, MAX_PARAMETERS, place_for, take_call
from fastloss._core.kernels.base.memory cimport at, clear, end_stream, transpose
from fastloss._core.kernels.base.operands cimport expand, is_half, load, store, take_whole, type_of
from fastloss._core.kernels.base.sums cimport LANES, weighted_sum
from fastloss._core.kernels.base.vecmath cimport at_least, at_most, fabs, pow, sqrt
from fastloss._core.kernels.vectors.gradients cimport (
    by_euclidean, by_largest, by_power, by_sum, differentiate, differentiate_cosine
)
from fastloss._core.kernels.vectors.sums cimport (
    LIMIT, MAX_ROWS, OF_FIRST, OF_OTHER, OF_SECOND, PIECE, SCALE, SCALE_2, Job, Sums, Tile, add_rows,
    largest_difference, largest_element, magnitude, nearly_parallel, power, products, scaled_difference, scaled_square,
    square, tie
)
from fastloss._core.request.call cimport CHECK, GRAD, VALUE, Call
from fastloss._core.request.domains cimport Domain

cnp.import_array()

# ---------------------------------------------------------------------------------------------------------------------
# The table of losses

ctypedef void (*loss_of_rows)(const Job*, Tile*) noexcept nogil

cdef struct Loss:
    loss_of_rows find_losses_and_slopes
    int distances           # how many it takes; 0 for a cosine

LOSSES = {}  # name -> place in the table
cdef Loss[MAX_LOSSES] TABLE


cdef add(str name, loss_of_rows rows, int distances):
    TABLE[place_for(LOSSES, name)] = Loss(rows, distances)


cdef inline void find_losses_and_slopes(
    double (*loss)(const double*, double, const double*, double*) noexcept nogil, int n_slopes,
    const Job* job, Tile* tile
) noexcept nogil:
    """The losses of the rows, and the slopes, which are weighted and scaled."""
    cdef double[MAX_PARAMETERS] parameters
    cdef double[3] measures, row_slopes
    cdef double scale = job.common.scale, factor, value, slope
    cdef Py_ssize_t row
    cdef int k
    for k in range(MAX_PARAMETERS):
        parameters[k] = job.common.parameters[k]
    for row in range(tile.n):
        for k in range(3):
            measures[k] = tile.measure[k][row]
        value = loss(measures, tile.label[row], parameters, row_slopes)
        tile.value[row] = value
        factor = at_most(scale * tile.weight[row], <double> DBL_MAX)
        for k in range(n_slopes):
            # If the loss is NaN, every slope is NaN. The function of the loss may have written a finite one: step(NaN)
            # is 0.
            slope = row_slopes[k] * factor if value == value else <double> NAN
            tile.slope[k][row] = 0 if tile.weight[row] == 0 else slope


include "losses.pxi"

# ---------------------------------------------------------------------------------------------------------------------
# A piece of each row of a tile

cdef inline void transpose_few(
    Py_ssize_t columns, bint back, const floating* x, floating* y, Py_ssize_t n, Py_ssize_t stride
) noexcept nogil:
    """As transpose_rows. The number of columns is constant, so the compiler unrolls the loop."""
    cdef Py_ssize_t row, column
    for row in range(n):
        for column in range(columns):
            if back:
                y[row * columns + column] = x[column * stride + row]
            else:
                y[column * stride + row] = x[row * columns + column]


cdef inline void transpose_rows(bint back, const Job* job, const floating* x, floating* y, Py_ssize_t n) noexcept nogil:
    """Transpose n rows x into y, a transposed tile. With `back`, x is the tile and y are the rows."""
    if job.length == 1:
        transpose_few(1, back, x, y, n, job.tile_rows)
    elif job.length == 2:
        transpose_few(2, back, x, y, n, job.tile_rows)
    elif job.length == 3:
        transpose_few(3, back, x, y, n, job.tile_rows)
    elif back:
        transpose(x, job.tile_rows, job.length, n, y, job.length)
    else:
        transpose(x, job.length, n, job.length, y, job.tile_rows)


cdef void load_piece(const Job* job, Tile* tile, floating* buffer, Py_ssize_t piece) noexcept nogil:
    """Set `tile.x` to a piece of each row."""
    cdef Py_ssize_t start = tile.start * job.length + piece * PIECE
    cdef const floating* x
    cdef int k
    if tile.loaded == piece:
        return
    tile.loaded = piece
    tile.length = min(job.length - piece * PIECE, PIECE)
    for k in range(job.inputs):
        x = <const floating*> job.data[k] + start
        if not job.direct[k]:
            x = buffer + (3 + k) * job.piece
            load(job.data[k], job.typenums[k], start, <floating*> x, tile.n * tile.length)
        if job.transposed:
            if tile.n % LANES != 0:  # what memory holds for lanes past the last row may be subnormal: slow
                clear(buffer + k * job.piece, job.piece)
            transpose_rows(False, job, x, buffer + k * job.piece, tile.n)
            x = buffer + k * job.piece
        tile.x[k] = x


# ---------------------------------------------------------------------------------------------------------------------
# The first pass. Each sum is a function of its own. In one function, their loops would run out of registers.

cdef void add_squares(const Job* job, const Tile* tile, const Sums* sums, floating* as_type) noexcept nogil:
    add_rows(square[floating], 1, False, job, tile, sums)
cdef void add_scaled_squares(const Job* job, const Tile* tile, const Sums* sums, floating* as_type) noexcept nogil:
    add_rows(scaled_square[floating], 1, False, job, tile, sums)
cdef void add_powers(const Job* job, const Tile* tile, const Sums* sums, floating* as_type) noexcept nogil:
    add_rows(power[floating], 1, False, job, tile, sums)
cdef void add_magnitudes(const Job* job, const Tile* tile, const Sums* sums, floating* as_type) noexcept nogil:
    add_rows(magnitude[floating], 1, False, job, tile, sums)
cdef void find_largest_differences(
    const Job* job, const Tile* tile, const Sums* sums, floating* as_type
) noexcept nogil:
    add_rows(largest_difference[floating], 1, True, job, tile, sums)
cdef void count_ties(const Job* job, const Tile* tile, const Sums* sums, floating* as_type) noexcept nogil:
    add_rows(tie[floating], 1, False, job, tile, sums)
cdef void find_largest_elements(const Job* job, const Tile* tile, const Sums* sums, floating* as_type) noexcept nogil:
    add_rows(largest_element[floating], 1, True, job, tile, sums)
cdef void add_products(const Job* job, const Tile* tile, const Sums* sums, floating* as_type) noexcept nogil:
    add_rows(products[floating], 3, False, job, tile, sums)
cdef void add_scaled_differences(const Job* job, const Tile* tile, const Sums* sums, floating* as_type) noexcept nogil:
    add_rows(scaled_difference[floating], 1, False, job, tile, sums)


cdef void sum_rows(
    void (*add_piece)(const Job*, const Tile*, const Sums*, floating*) noexcept nogil, const Job* job, Tile* tile,
    floating* buffer, int first, int second, const double* scale, const double* scale_2, double* result
) noexcept nogil:
    """Sums over whole rows of two inputs."""
    cdef Sums sums = Sums(first, second, scale, scale_2, result, True)
    cdef Py_ssize_t piece
    for piece in range(tile.pieces):
        load_piece(job, tile, buffer, piece)
        add_piece(job, tile, &sums, buffer)
        sums.fresh = False


cdef void sum_differences(
    void (*add_piece)(const Job*, const Tile*, const Sums*, floating*) noexcept nogil, const Job* job, Tile* tile,
    floating* buffer, int k, const double* scale, double* result
) noexcept nogil:
    """Sums over whole rows of difference k: inputs 0 and 1, 0 and 2, 1 and 2."""
    sum_rows(add_piece, job, tile, buffer, k // 2, (k + 3) // 2, scale, scale, result)


cdef void find_sizes(const Job* job, Tile* tile, floating* buffer) noexcept nogil:
    """Sizes before the root is taken; for a cosine also the scalar product."""
    cdef int k
    if job.distances == 0:
        sum_rows(add_products[floating], job, tile, buffer, 0, 1, tile.scale[0], tile.scale[1], tile.size[0])
    for k in range(job.distances):
        if job.p == 1:
            sum_differences(add_magnitudes[floating], job, tile, buffer, k, tile.scale[k], tile.size[k])
        elif job.p == INFINITY:
            sum_differences(find_largest_differences[floating], job, tile, buffer, k, tile.scale[k], tile.size[k])
        elif job.p != 2:
            sum_differences(add_powers[floating], job, tile, buffer, k, tile.scale[k], tile.size[k])
        elif tile.scaled:
            sum_differences(add_scaled_squares[floating], job, tile, buffer, k, tile.scale[k], tile.size[k])
        else:
            sum_differences(add_squares[floating], job, tile, buffer, k, tile.scale[k], tile.size[k])


cdef inline bint out_of_range(double size) noexcept nogil:
    """Whether a sum of squares may have lost digits to overflow or underflow. A sum over float32 cannot."""
    return (size > 1e290) | (size < 1e-270)


cdef inline bint needs_scale(const Job* job, const Tile* tile, int k, Py_ssize_t row) noexcept nogil:
    """Whether vector k needs a scale. For a cosine both do if one does: else their ratio would be out of range."""
    return out_of_range(tile.size[k][row]) or job.distances == 0 and out_of_range(tile.size[1 - k][row])


cdef bint any_out_of_range(const Tile* tile) noexcept nogil:
    cdef Py_ssize_t row
    cdef int k, found = 0
    for k in range(tile.vectors):
        for row in range(tile.n):
            found |= out_of_range(tile.size[k][row])
    return found


cdef void find_scales(const Job* job, Tile* tile, floating* buffer) noexcept nogil:
    """Set scales that bring the largest element close to 1. Sums of squares get one only if they are out of range."""
    cdef Py_ssize_t row
    cdef double* scale
    cdef int k, exponent
    for k in range(tile.vectors):
        scale = tile.scale[k]
        if job.distances == 0:
            sum_rows(find_largest_elements[floating], job, tile, buffer, k, k, scale, scale, scale)
        else:
            sum_differences(find_largest_differences[floating], job, tile, buffer, k, scale, scale)
        for row in range(tile.n):
            if not isfinite(scale[row]) or scale[row] == 0 or job.p == 2 and not needs_scale(job, tile, k, row):
                scale[row] = 1
            elif job.p == 2:
                frexp(scale[row], &exponent)
                scale[row] = ldexp(1, max(-1000, min(1000, -exponent)))
            else:  # not a power of two: 0.5 to a power above 1074 is 0
                scale[row] = fmin(1 / scale[row], ldexp(1, 1000))
    tile.scaled = True


cdef void find_cosines(const Job* job, Tile* tile, floating* buffer) noexcept nogil:
    """The cosine, and 1 - cosine more accurately: for nearly parallel vectors it is |x / |x| - y / |y||^2 / 2."""
    cdef double* cosine = tile.measure[0]
    cdef double* one_minus_cosine = tile.measure[1]
    cdef double[MAX_ROWS] to_shorter, to_shorter_2  # factors that bring both vectors to the length of the shorter one
    cdef double[MAX_ROWS] squared                   # the squared length of their difference, or sum if cosine < 0
    cdef double first, second, shorter, half
    cdef int parallel = 0
    cdef Py_ssize_t row
    for row in range(tile.n):
        first = tile.size[0][row]
        second = tile.size[1][row]
        # Of a vector of zeros: 0, or NaN if the other vector is not finite.
        cosine[row] = first * second if (first == 0) | (second == 0) else tile.size[2][row] / first / second
        one_minus_cosine[row] = 1 - cosine[row]
        shorter = second if second < first else first  # to shorten the longer vector cannot overflow
        to_shorter[row] = tile.scale[0][row] * (shorter / first)
        to_shorter_2[row] = tile.scale[1][row] * (-shorter / second if cosine[row] < 0 else shorter / second)
        parallel |= nearly_parallel(cosine[row], buffer)
    if parallel:
        sum_rows(add_scaled_differences[floating], job, tile, buffer, 0, 1, to_shorter, to_shorter_2, squared)
        for row in range(tile.n):
            shorter = tile.size[1][row] if tile.size[1][row] < tile.size[0][row] else tile.size[0][row]
            half = squared[row] / shorter / shorter / 2
            if nearly_parallel(cosine[row], buffer):
                one_minus_cosine[row] = half if cosine[row] > 0 else 2 - half
                cosine[row] = 1 - half if cosine[row] > 0 else half - 1


cdef void find_measures(const Job* job, Tile* tile, floating* buffer) noexcept nogil:
    """The measures of the loss, and the sizes, scales and ties that its gradients need."""
    cdef double one_by_p = 1 / job.p
    cdef Py_ssize_t row
    cdef int k
    tile.scaled = False
    for k in range(tile.vectors):
        for row in range(tile.n):
            tile.scale[k][row] = 1
    if job.p != 1 and job.p != 2 and job.p != INFINITY:
        find_scales(job, tile, buffer)
    find_sizes(job, tile, buffer)
    if job.p == 2 and floating is double and any_out_of_range(tile):
        find_scales(job, tile, buffer)
        find_sizes(job, tile, buffer)
    for k in range(tile.vectors):
        if job.p == 2:
            for row in range(tile.n):
                tile.size[k][row] = sqrt(tile.size[k][row])
        elif job.p != 1 and job.p != INFINITY:
            for row in range(tile.n):
                tile.size[k][row] = pow(tile.size[k][row], one_by_p)
        for row in range(tile.n):
            tile.measure[k][row] = tile.size[k][row] / tile.scale[k][row] if tile.scaled else tile.size[k][row]
    if job.distances == 0:
        find_cosines(job, tile, buffer)
    elif job.p == INFINITY and job.common.out[GRAD] != NULL:
        for k in range(tile.vectors):
            sum_differences(count_ties[floating], job, tile, buffer, k, tile.size[k], tile.ties[k])


# ---------------------------------------------------------------------------------------------------------------------
# The second pass

cdef void differentiate_euclidean(
    const Job* job, const Tile* tile, floating** out, const floating* factors
) noexcept nogil:
    differentiate(by_euclidean[floating], job, tile, out, factors)
cdef void differentiate_sum(const Job* job, const Tile* tile, floating** out, const floating* factors) noexcept nogil:
    differentiate(by_sum[floating], job, tile, out, factors)
cdef void differentiate_largest(
    const Job* job, const Tile* tile, floating** out, const floating* factors
) noexcept nogil:
    differentiate(by_largest[floating], job, tile, out, factors)
cdef void differentiate_power(const Job* job, const Tile* tile, floating** out, const floating* factors) noexcept nogil:
    differentiate(by_power[floating], job, tile, out, factors)


cdef void differentiate_cosine_first(const Job* job, const Tile* tile, floating** out) noexcept nogil:
    differentiate_cosine(False, job, tile, out)
cdef void differentiate_cosine_both(const Job* job, const Tile* tile, floating** out) noexcept nogil:
    differentiate_cosine(True, job, tile, out)


cdef void find_factors(const Job* job, Tile* tile, int k, floating* row_size, floating* row_slope) noexcept nogil:
    """The two numbers of each row from which the gradient of difference k is computed: see by_euclidean and others."""
    cdef double smallest = FLT_MIN if floating is float else DBL_MIN
    cdef double largest = FLT_MAX if floating is float else DBL_MAX
    cdef double* size = tile.size[k]
    cdef double* scale = tile.scale[k]
    cdef double* slope = tile.slope[k]
    cdef double factor, quotient, p = job.p
    cdef Py_ssize_t row
    cdef bint none, fits
    if p == 2:
        for row in range(tile.n):
            # slope / size may be beyond the dtype while its product with a difference is not. Then there are two
            # factors. Otherwise there is one: an element much smaller than the others may not survive the first of two.
            quotient = slope[row] * scale[row] / size[row]
            factor = at_most(at_least(1 / size[row], smallest), largest)
            factor = <double> <floating> factor if scale[row] == 1 else scale[row]
            row_slope[row] = <floating> (slope[row] / (size[row] * factor if scale[row] == 1 else size[row]))
            fits = (smallest <= fabs(quotient)) & (fabs(quotient) <= largest)
            none = (slope[row] == 0) | (size[row] == 0)
            tile.limit[k][row] = 0 if none else <double> INFINITY
            row_size[row] = <floating> (0 if none else 1 if fits else factor)
            row_slope[row] = 0 if none else <floating> quotient if fits else row_slope[row]
    elif p == 1:
        for row in range(tile.n):
            row_slope[row] = <floating> slope[row]
    elif p == INFINITY:
        for row in range(tile.n):
            row_size[row] = <floating> size[row]
            row_slope[row] = <floating> (0 if slope[row] == 0 else slope[row] / tile.ties[k][row])
    else:
        for row in range(tile.n):
            row_size[row] = <floating> (0 if slope[row] == 0 else size[row])
            # Where the dtype does not hold the size exactly, the slope makes up for it.
            row_slope[row] = <floating> (
                slope[row] * pow(1 if row_size[row] == size[row] else row_size[row] / size[row], p - 1)
            )


cdef void find_cosine_factors(Tile* tile) noexcept nogil:
    cdef double first, second, slope
    cdef Py_ssize_t row
    for row in range(tile.n):
        first, second = tile.size[0][row], tile.size[1][row]
        slope = 0 if first * second == 0 else tile.slope[0][row]
        tile.factors[SCALE][row], tile.factors[SCALE_2][row] = tile.scale[0][row], tile.scale[1][row]
        tile.factors[LIMIT][row] = 0 if slope == 0 else <double> INFINITY
        tile.factors[OF_FIRST][row] = 0 if slope == 0 else slope * tile.measure[0][row] / (first * first)
        tile.factors[OF_SECOND][row] = 0 if slope == 0 else slope * tile.measure[0][row] / (second * second)
        tile.factors[OF_OTHER][row] = 0 if slope == 0 else slope / (first * second)


cdef void write_gradients(const Job* job, Tile* tile, floating* buffer) noexcept nogil:
    cdef floating[6 * MAX_ROWS] factors
    cdef floating* out[3]
    cdef floating* rows
    cdef Py_ssize_t piece, start
    cdef int k
    if job.distances == 0:
        find_cosine_factors(tile)
    for k in range(job.distances):
        find_factors(job, tile, k, factors + k * MAX_ROWS, factors + (3 + k) * MAX_ROWS)
    for piece in range(tile.pieces):
        load_piece(job, tile, buffer, piece)
        start = tile.start * job.length + piece * PIECE
        for k in range(3):
            out[k] = NULL
            if job.common.out[GRAD + 2 * k] != NULL:
                if job.transposed:
                    out[k] = buffer + (3 + k) * job.piece
                elif job.half:
                    out[k] = buffer + k * job.piece
                else:
                    out[k] = <floating*> job.common.out[GRAD + 2 * k] + start
        if job.distances == 0:
            if out[1] == NULL:
                differentiate_cosine_first(job, tile, out)
            else:
                differentiate_cosine_both(job, tile, out)
        elif job.p == 2:
            differentiate_euclidean(job, tile, out, factors)
        elif job.p == 1:
            differentiate_sum(job, tile, out, factors)
        elif job.p == INFINITY:
            differentiate_largest(job, tile, out, factors)
        else:
            differentiate_power(job, tile, out, factors)
        for k in range(3):
            rows = out[k]
            if job.transposed and rows != NULL:  # no one needs the transposed inputs any more
                rows = buffer + k * job.piece if job.half else <floating*> job.common.out[GRAD + 2 * k] + start
                transpose_rows(True, job, out[k], rows, tile.n)
            if job.half and rows != NULL:
                store(
                    <float*> rows, job.common.out[GRAD + 2 * k], job.typenum, start, tile.n * tile.length,
                    job.past_caches
                )


# ---------------------------------------------------------------------------------------------------------------------
# The driver

cdef void run_tile(const Job* job, Tile* tile, floating* buffer) noexcept nogil:
    tile.loaded = -1
    find_measures(job, tile, buffer)
    TABLE[job.common.loss].find_losses_and_slopes(job, tile)
    if job.common.out[GRAD] != NULL:
        write_gradients(job, tile, buffer)


cdef void run_batch(const Job* job, floating* buffer, Py_ssize_t batch, Partial* sums) noexcept nogil:
    """Run the tiles of a batch: rows whose labels and weights are loaded together."""
    cdef double[MAX_ROWS] weight
    cdef double[MAX_ROWS] label
    cdef double[MAX_ROWS] value
    cdef double[MAX_ROWS] scratch
    cdef Py_ssize_t start = batch * job.batch_rows, n = min(job.batch_rows, job.rows - start), row
    cdef floating* values = at(<floating*> job.common.out[VALUE], start)
    cdef Tile tile
    for row in range(n):
        weight[row] = 1
    if job.common.weight.data != NULL:
        expand(&job.common.weight, start, weight, n, scratch)
    if job.label.data != NULL:
        expand(&job.label, start, label, n, scratch)
        sums.invalid |= any_outside_domain(job.domain, label, weight, n)
    if job.common.stage == CHECK:
        return
    tile.pieces = (job.length + PIECE - 1) // PIECE
    tile.vectors = job.distances if job.distances > 0 else 2
    row = 0
    while row < n:
        tile.start, tile.n = start + row, min(job.tile_rows, n - row)
        tile.weight, tile.label, tile.value = weight + row, label + row, value + row
        run_tile(job, &tile, buffer)
        row += job.tile_rows
    if values != NULL:
        if job.half:
            values = <floating*> scratch
        for row in range(n):
            values[row] = 0 if weight[row] == 0 else <floating> (weight[row] * value[row])
        if job.half:
            store(<float*> values, job.common.out[VALUE], job.typenum, start, n)
    if job.common.sum_values:
        sums.loss += weighted_sum(value, weight, n)


cdef void run_chunk(
    const Job* job, Py_ssize_t start, Py_ssize_t stop, Partial* sums, floating* buffer
) noexcept nogil:
    """Run batches start to stop."""
    cdef Py_ssize_t batch
    for batch in range(start, stop):
        run_batch(job, buffer, batch, sums)
    if job.past_caches:
        end_stream()


cdef void run_floats(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, sums, <float*> memory)


cdef void run_doubles(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, sums, <double*> memory)


cdef void divide_into_tiles(Job* job) noexcept:
    """Set the rows of tiles and batches, and how gradients are written. They depend on the shape alone."""
    job.transposed = job.length < LANES
    job.stream = job.past_caches and job.length <= PIECE // 2 and not job.half
    # The tile of few rows needs little memory: that of a small call fits the stack.
    job.tile_rows = max(1, min(MAX_ROWS, PIECE // job.length, (job.rows // LANES + 1) * LANES))
    job.ahead = 2 * job.tile_rows if job.stream else job.rows
    if job.transposed:
        job.tile_rows = job.tile_rows // LANES * LANES
    job.piece = (job.tile_rows * min(job.length, PIECE) + LANES - 1) // LANES * LANES
    job.batch_rows = job.tile_rows * max(1, min(MAX_ROWS, 4 * PIECE // job.length) // job.tile_rows)


def run(Call call, int loss, tuple inputs, cnp.ndarray label, Domain domain, double p, double eps):
    """Run one loss over checked, C-contiguous arrays.

    Return the weighted sum of the losses, or None if a label is outside its domain. `inputs` are two or three arrays of
    vectors, along the last axis. `label` may be None. Distances are p-norms of differences, with `eps` added to each
    element.
    """
    cdef Job job
    cdef Partial total
    cdef cnp.ndarray first = inputs[0]
    cdef int k
    cdef bint single
    job.typenum = type_of(first)
    job.half = is_half(job.typenum)
    single = job.typenum != cnp.NPY_DOUBLE
    take_call(&job.common, call, loss, single, False)  # parameters meet numbers in double precision only
    job.distances = TABLE[loss].distances
    job.p = p
    job.eps = eps
    job.length = cnp.PyArray_DIM(first, cnp.PyArray_NDIM(first) - 1)
    job.rows = cnp.PyArray_SIZE(first) // job.length
    job.past_caches = call.stream
    divide_into_tiles(&job)
    job.inputs = len(inputs)
    for k in range(job.inputs):
        job.data[k] = cnp.PyArray_DATA(inputs[k])
        job.typenums[k] = type_of(inputs[k])
        job.direct[k] = job.typenums[k] == (cnp.NPY_FLOAT if single else cnp.NPY_DOUBLE)
    take_whole(&job.label, label)
    job.domain = domain
    total = run_job(
        run_floats if single else run_doubles, &job, (job.rows + job.batch_rows - 1) // job.batch_rows, 1,
        call.threads, 6 * job.piece * (sizeof(float) if single else sizeof(double))
    )
    return None if total.invalid else total.loss
