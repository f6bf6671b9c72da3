"""The first pass over vectors: what a tile of rows is, and sums over its rows, along them or across.

Each function here is inlined into one of `rows.pyx`.
"""

from cython cimport floating

from fastloss.kernels.tiles cimport LANES, MAX_PARAMETERS, Operand
from fastloss.kernels.vecmath cimport fabs, multiply_add, pow, sum_lanes

cdef enum:
    PIECE = 1024        # elements of a vector
    MAX_ROWS = 128      # in a tile

cdef struct Call
cdef struct Tile

ctypedef void (*loss_of_rows)(const Call*, Tile*) noexcept nogil

cdef struct Call:
    loss_of_rows loss
    int distances           # how many; of a cosine 0
    double p                # of the norm
    double eps              # added to each difference
    double[MAX_PARAMETERS] parameters
    Py_ssize_t rows
    Py_ssize_t length       # of a row
    Py_ssize_t block        # rows in a tile
    Py_ssize_t ahead        # rows from that at work to that asked for
    bint far                # whether gradients go past the caches, where lanes are not across rows
    Py_ssize_t batch        # rows whose labels and weights are taken at a time
    bint across             # whether lanes are across rows: element c of row r is at c * block + r of a transposed copy
    int inputs
    const void* data[3]
    int typenum[3]
    bint direct[3]          # whether an input can be used where it lies
    Operand label
    int domain              # of the label
    Operand weight
    bint check_only
    double scale
    bint sum_values
    void* value
    void* grad[3]

cdef struct Tile:
    Py_ssize_t start            # the first row
    Py_ssize_t n                # rows
    Py_ssize_t pieces           # of each
    Py_ssize_t loaded           # the piece that is in `x`; -1 for none
    Py_ssize_t length           # of that
    const void* x[3]            # its elements, of the inputs
    int vectors                 # whose norms are taken: of the differences that are the distances, or of the inputs
    bint scaled                 # whether a scale may be other than 1
    double[3][MAX_ROWS] scale   # of these vectors, against overflow and underflow
    double[3][MAX_ROWS] size    # their norms; of cosines, the third is the scalar product
    double[3][MAX_ROWS] other   # what `find_cosines` says; limits of elements, or numbers of the largest
    double[3][MAX_ROWS] s       # what the loss is a function of
    double[3][MAX_ROWS] slope   # the derivatives of the loss
    double[6][MAX_ROWS] factors  # of cosines: both scales, a limit, and what elements are multiplied with
    const double* weight
    const double* label
    double* value


cdef inline Py_ssize_t aligned_rows(const Tile* t) noexcept nogil:
    """Rows of a transposed copy, with those beyond the last one that fill the lanes: what these hold is of no use."""
    return (t.n + LANES - 1) // LANES * LANES


# ---------------------------------------------------------------------------------------------------------------------
# Sums over (a piece of) each row, of what an element of two vectors adds to `s`; that takes their scales or sizes, and
# constants of all rows. A row has up to three sums, LANES apart.

cdef struct Sums:
    int first               # vectors
    int second
    const double* a         # for each row
    const double* b
    double* result          # of each row; those of a second and third sum are MAX_ROWS apart
    bint fresh              # whether that has no sums over pieces before


cdef inline void square(floating x, floating y, double a, double b, floating eps, double p, double* s) noexcept nogil:
    cdef double d = x - y + eps
    s[0] = multiply_add(d, d, s[0])
cdef inline void scaled_square(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    cdef double d = (x - y + eps) * a
    s[0] = multiply_add(d, d, s[0])
cdef inline void power(floating x, floating y, double a, double b, floating eps, double p, double* s) noexcept nogil:
    s[0] += pow(fabs(<double> (x - y + eps) * a), p)
cdef inline void distance(floating x, floating y, double a, double b, floating eps, double p, double* s) noexcept nogil:
    s[0] += fabs(x - y + eps)
cdef inline void largest_distance(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    s[0] = larger(s[0], fabs(x - y + eps))
cdef inline void is_of_size(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    s[0] += 1.0 if <double> fabs(x - y + eps) == a else 0.0

cdef inline void largest_magnitude(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    s[0] = larger(s[0], fabs(x))
cdef inline void products(floating x, floating y, double a, double b, floating eps, double p, double* s) noexcept nogil:
    cdef double u = scaled(x, a), v = scaled(y, b)
    s[0] = multiply_add(u, u, s[0])
    s[LANES] = multiply_add(v, v, s[LANES])
    s[2 * LANES] = multiply_add(u, v, s[2 * LANES])
cdef inline void deviation(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    cdef double d = x * a - y * b
    s[0] = multiply_add(d, d, s[0])


cdef inline double scaled(floating x, double scale) noexcept nogil:
    """A sum of squares of float32 needs no scale."""
    return x if floating is float else x * scale


cdef inline double larger(double x, double y) noexcept nogil:
    """max(x, y); NaN if one is."""
    return x if (x >= y) | (x != x) else y


cdef inline void along(
    void (*add)(floating, floating, double, double, floating, double, double*) noexcept nogil, int count, bint largest,
    const floating* x, const floating* y, double a, double b, floating eps, double p, Py_ssize_t n, double* result
) noexcept nogil:
    """Add a row to its results, or make them the largest."""
    cdef double[3 * LANES] lane
    cdef double[3 * LANES] end  # as far apart
    cdef Py_ssize_t i = LANES, k
    cdef int j
    for j in range(count):
        end[j * LANES] = result[j * MAX_ROWS]
    if n < LANES:
        for i in range(n):
            add(x[i], y[i], a, b, eps, p, end)
    else:
        for k in range(LANES):
            for j in range(count):
                lane[j * LANES + k] = 0
            add(x[k], y[k], a, b, eps, p, lane + k)
        while i + LANES <= n:
            for k in range(LANES):
                add(x[i + k], y[i + k], a, b, eps, p, lane + k)
            i += LANES
        if i < n:
            for k in range(n - i):
                add(x[i + k], y[i + k], a, b, eps, p, lane + k)
        for j in range(count):
            if largest:
                for k in range(LANES):
                    end[j * LANES] = larger(end[j * LANES], lane[j * LANES + k])
            else:
                end[j * LANES] += sum_lanes(lane + j * LANES)
    for j in range(count):
        result[j * MAX_ROWS] = end[j * LANES]


cdef inline void add_rows(
    void (*add)(floating, floating, double, double, floating, double, double*) noexcept nogil, int count, bint largest,
    const Call* call, const Tile* t, const Sums* s
) noexcept nogil:
    cdef const floating* x = <const floating*> t.x[s.first]
    cdef const floating* y = <const floating*> t.x[s.second]
    cdef const double* a = s.a
    cdef const double* b = s.b
    cdef double* result = s.result
    cdef floating eps = <floating> call.eps
    cdef double p = call.p
    cdef double[3 * LANES] lane
    cdef Py_ssize_t n = t.length, r = 0, i, j, k
    cdef int m
    if s.fresh:
        for m in range(count):
            for r in range(t.n):
                result[m * MAX_ROWS + r] = 0
    if not call.across:
        for r in range(t.n):
            along(add, count, largest, x + r * n, y + r * n, a[r], b[r], eps, p, n, result + r)
        return
    r = 0
    while r < t.n:  # what lanes beyond the last row come to is read by nobody
        for m in range(count):
            for k in range(LANES):
                lane[m * LANES + k] = result[m * MAX_ROWS + r + k]
        for i in range(n):
            for k in range(LANES):
                j = i * call.block + r + k
                add(x[j], y[j], a[r + k], b[r + k], eps, p, lane + k)
        for m in range(count):
            for k in range(LANES):
                result[m * MAX_ROWS + r + k] = lane[m * LANES + k]
        r += LANES


cdef inline bint nearly_parallel(double cosine, floating _) noexcept nogil:
    """Whether 1 - cosine is to be more accurate: of float32, whose products are exact in double precision, seldom."""
    cdef double enough = 0.99999 if floating is float else 0.5
    return fabs(cosine) > enough
