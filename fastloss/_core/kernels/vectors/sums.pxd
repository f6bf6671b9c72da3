"""The first pass over vectors: a tile of rows, and sums over the elements of each row.

Each function here is inlined into one of driver.pyx.
"""

from cython cimport floating

from fastloss._core.kernels.base.job cimport Common
from fastloss._core.kernels.base.operands cimport Operand
from fastloss._core.kernels.base.sums cimport LANES
from fastloss._core.kernels.base.vecmath cimport fabs, multiply_add, pow, sum_lanes
from fastloss._core.request.domains cimport Domain

cdef enum:
    PIECE = 1024        # elements of a row
    MAX_ROWS = 128      # in a tile

cdef struct Job:
    Common common
    int distances           # how many the loss takes; 0 for a cosine
    double p                # the order of the norm
    double eps              # added to each difference
    Py_ssize_t rows
    Py_ssize_t length       # of a row
    Py_ssize_t tile_rows    # rows in a tile
    Py_ssize_t batch_rows   # rows whose labels and weights are loaded together
    Py_ssize_t ahead        # the gradients of row k are written while row k + ahead is prefetched
    Py_ssize_t piece        # elements that a thread has memory for in each array of a piece
    int typenum             # of the results
    bint half               # whether these are rounded to half precision
    bint past_caches        # whether gradients go past the caches,
    bint stream             # which the loops see to, if nothing changes gradients after them
    bint transposed         # whether element i of row r is at i * tile_rows + r of a transposed copy
    int inputs
    const void* data[3]
    int typenums[3]
    bint direct[3]          # whether an input is read in place
    Operand label
    Domain domain           # of the label

cdef struct Tile:
    Py_ssize_t start                # the first row
    Py_ssize_t n                    # rows
    Py_ssize_t pieces               # of each row
    Py_ssize_t loaded               # the piece in `x`; -1 for none
    Py_ssize_t length               # of that piece
    const void* x[3]                # elements of that piece, of each input
    # Of a distance, a vector is a difference between two inputs. Of a cosine, it is an input.
    int vectors
    bint scaled                     # whether a scale may be other than 1
    double[3][MAX_ROWS] scale       # of each vector, against overflow and underflow
    double[3][MAX_ROWS] size        # the norm of each scaled vector; of a cosine, the third is the scalar product
    double[3][MAX_ROWS] ties        # for p = inf: how many elements are the largest
    double[3][MAX_ROWS] limit       # for p = 2: 0 if the gradient is 0, else inf
    double[3][MAX_ROWS] measure     # what the loss is a function of: see losses.pxi
    double[3][MAX_ROWS] slope       # derivatives of the weighted loss with respect to the measures
    double[6][MAX_ROWS] factors     # of a cosine: see SCALE and others below
    const double* weight
    const double* label
    double* value

cdef enum:                  # what the gradient of a cosine takes of a row
    SCALE                   # of the first vector
    SCALE_2
    LIMIT                   # 0 if the gradient is 0, else inf
    OF_FIRST                # slope * cosine / size of the first vector^2
    OF_SECOND
    OF_OTHER                # slope / both sizes
    FACTORS


cdef inline Py_ssize_t whole_lanes(const Tile* tile) noexcept nogil:
    """The number of rows, rounded up to whole LANES. Results of lanes past the last row are discarded."""
    return (tile.n + LANES - 1) // LANES * LANES


# ---------------------------------------------------------------------------------------------------------------------
# Sums over a piece of each row. A term is a function of an element x of one vector and the element y of another. Each
# row has a scale for both. A row has up to three sums, and these are LANES apart.

cdef struct Sums:
    int first               # the two inputs
    int second
    const double* scale     # of the first input, for each row
    const double* scale_2   # of the second
    double* result          # for each row. A second and a third sum are MAX_ROWS apart.
    bint fresh              # whether this is the first piece


cdef inline void square(
    floating x, floating y, double scale, double scale_2, floating eps, double p, double* sums
) noexcept nogil:
    cdef double difference = x - y + eps
    sums[0] = multiply_add(difference, difference, sums[0])


cdef inline void scaled_square(
    floating x, floating y, double scale, double scale_2, floating eps, double p, double* sums
) noexcept nogil:
    cdef double difference = (x - y + eps) * scale
    sums[0] = multiply_add(difference, difference, sums[0])


cdef inline void power(
    floating x, floating y, double scale, double scale_2, floating eps, double p, double* sums
) noexcept nogil:
    sums[0] += pow(fabs(<double> (x - y + eps) * scale), p)


cdef inline void magnitude(
    floating x, floating y, double scale, double scale_2, floating eps, double p, double* sums
) noexcept nogil:
    sums[0] += fabs(x - y + eps)


cdef inline void largest_difference(
    floating x, floating y, double scale, double scale_2, floating eps, double p, double* sums
) noexcept nogil:
    sums[0] = larger(sums[0], fabs(x - y + eps))


cdef inline void tie(
    floating x, floating y, double size, double size_2, floating eps, double p, double* sums
) noexcept nogil:
    """1 for an element that is the largest. The sizes take the place of the scales."""
    sums[0] += 1.0 if <double> fabs(x - y + eps) == size else 0.0


cdef inline void largest_element(
    floating x, floating y, double scale, double scale_2, floating eps, double p, double* sums
) noexcept nogil:
    sums[0] = larger(sums[0], fabs(x))


cdef inline void products(
    floating x, floating y, double scale, double scale_2, floating eps, double p, double* sums
) noexcept nogil:
    """Three sums: both squared norms, and the scalar product."""
    cdef double first = scaled(x, scale), second = scaled(y, scale_2)
    sums[0] = multiply_add(first, first, sums[0])
    sums[LANES] = multiply_add(second, second, sums[LANES])
    sums[2 * LANES] = multiply_add(first, second, sums[2 * LANES])


cdef inline void scaled_difference(
    floating x, floating y, double scale, double scale_2, floating eps, double p, double* sums
) noexcept nogil:
    """Add the square of the difference between two vectors. The scales bring both to the same length."""
    cdef double difference = x * scale - y * scale_2
    sums[0] = multiply_add(difference, difference, sums[0])


cdef inline double scaled(floating x, double scale) noexcept nogil:
    """x * scale. A sum of squares of float32 elements needs no scale: it fits double precision."""
    return x if floating is float else x * scale


cdef inline double larger(double x, double y) noexcept nogil:
    """max(x, y); NaN if either is NaN."""
    return x if (x >= y) | (x != x) else y


cdef inline void add_row(
    void (*term)(floating, floating, double, double, floating, double, double*) noexcept nogil, int count, bint largest,
    const floating* x, const floating* y, double scale, double scale_2, floating eps, double p, Py_ssize_t n,
    double* result
) noexcept nogil:
    """Add the terms of a row to its results. With `largest`, make the results the largest term instead."""
    cdef double[3 * LANES] lane
    cdef double[3 * LANES] end  # the results, LANES apart as a term writes them
    cdef Py_ssize_t i = LANES, k
    cdef int j
    for j in range(count):
        end[j * LANES] = result[j * MAX_ROWS]
    if n < LANES:
        for i in range(n):
            term(x[i], y[i], scale, scale_2, eps, p, end)
    else:
        for k in range(LANES):
            for j in range(count):
                lane[j * LANES + k] = 0
            term(x[k], y[k], scale, scale_2, eps, p, lane + k)
        while i + LANES <= n:
            for k in range(LANES):
                term(x[i + k], y[i + k], scale, scale_2, eps, p, lane + k)
            i += LANES
        if i < n:
            for k in range(n - i):
                term(x[i + k], y[i + k], scale, scale_2, eps, p, lane + k)
        for j in range(count):
            if largest:
                for k in range(LANES):
                    end[j * LANES] = larger(end[j * LANES], lane[j * LANES + k])
            else:
                end[j * LANES] += sum_lanes(lane + j * LANES)
    for j in range(count):
        result[j * MAX_ROWS] = end[j * LANES]


cdef inline void add_rows(
    void (*term)(floating, floating, double, double, floating, double, double*) noexcept nogil, int count, bint largest,
    const Job* job, const Tile* tile, const Sums* sums
) noexcept nogil:
    """The same for a piece of each row of a tile."""
    cdef const floating* x = <const floating*> tile.x[sums.first]
    cdef const floating* y = <const floating*> tile.x[sums.second]
    cdef const double* scale = sums.scale
    cdef const double* scale_2 = sums.scale_2
    cdef double* result = sums.result
    cdef floating eps = <floating> job.eps
    cdef double p = job.p
    cdef double[3 * LANES] lane
    cdef Py_ssize_t n = tile.length, row = 0, i, j, k
    cdef int m
    if sums.fresh:
        for m in range(count):
            for row in range(tile.n):
                result[m * MAX_ROWS + row] = 0
    if not job.transposed:
        for row in range(tile.n):
            add_row(
                term, count, largest, x + row * n, y + row * n, scale[row], scale_2[row], eps, p, n, result + row
            )
        return
    row = 0
    while row < tile.n:
        for m in range(count):
            for k in range(LANES):
                lane[m * LANES + k] = result[m * MAX_ROWS + row + k]
        for i in range(n):
            for k in range(LANES):
                j = i * job.tile_rows + row + k
                term(x[j], y[j], scale[row + k], scale_2[row + k], eps, p, lane + k)
        for m in range(count):
            for k in range(LANES):
                result[m * MAX_ROWS + row + k] = lane[m * LANES + k]
        row += LANES


cdef inline bint nearly_parallel(double cosine, floating* as_type) noexcept nogil:
    """Whether 1 - cosine is to be computed from the difference between unit vectors, which is more accurate.

    Of float32 this is seldom necessary: products of float32 elements are exact in double precision.
    """
    cdef double threshold = 0.99999 if floating is float else 0.5
    return fabs(cosine) > threshold
