"""The second pass over vectors: the gradients, written row by row, or element by element of all rows.

Each function here is inlined into one of `rows.pyx`.
"""

from cython cimport floating

from fastloss.kernels.class_axis cimport clear, prefetch_all
from fastloss.kernels.row_sums cimport MAX_ROWS, Call, Tile, aligned_rows, nearly_parallel, scaled
from fastloss.kernels.tiles cimport LANES, stream
from fastloss.kernels.vecmath cimport FMA, at_least, at_most, fabs, multiply_add, pow

# The derivatives of a norm by an element, where b = 0 says that there is none. b * c is the slope by size.

# Of by_euclidean, a = 0 says that, and is infinite else: a select would become a branch for each row.

cdef inline floating within(floating x, floating limit) noexcept nogil:
    """x, but 0 where the limit is 0, even if x is infinite or NaN. A NaN becomes the limit."""
    return at_least(0 - limit, at_most(limit, x))


cdef inline floating by_euclidean(floating d, double a, floating b, floating c, double p) noexcept nogil:
    return within(d, <floating> a) * b * c
cdef inline floating by_sum(floating d, double a, floating b, floating c, double p) noexcept nogil:
    return c if d > 0 else (-c if d < 0 else c * 0)  # NaN stays
cdef inline floating by_largest(floating d, double a, floating b, floating c, double p) noexcept nogil:
    return 0 * c if (fabs(d) != b) | (b == 0) else (c if d > 0 else -c)
cdef inline floating by_power(floating d, double a, floating b, floating c, double p) noexcept nogil:
    cdef double slope = c * pow(fabs(d * a) / b, p - 1)
    return 0 if b == 0 else <floating> (slope if d >= 0 else -slope)


cdef inline void prefetch_row(const Call* call, Py_ssize_t row, const floating* _) noexcept nogil:
    """Ask for a row that comes soon: a piece is too short a stretch for the hardware to foresee it."""
    cdef int k
    if row >= call.rows:
        return
    for k in range(call.inputs):
        if call.direct[k]:
            prefetch_all(<const floating*> call.data[k] + row * call.length, call.length)


cdef inline void differentiate_lanes(
    floating (*by)(floating, double, floating, floating, double) noexcept nogil, int distances,
    const floating* x, const floating* y, const floating* z, floating* first, floating* second, floating* third,
    const double* a, const floating* b, const floating* c, Py_ssize_t m, floating eps, double p, Py_ssize_t n, int step,
    bint far
) noexcept nogil:
    """n <= LANES elements. All are read before the first is written: no store needs a check of what it changes."""
    cdef floating[LANES] u
    cdef floating[LANES] v
    cdef floating[LANES] w
    cdef floating[LANES] sums
    cdef Py_ssize_t k
    for k in range(n):
        u[k] = by(x[k] - y[k] + eps, a[k * step], b[k * step], c[k * step], p)
    if distances == 1:
        for k in range(n):
            u[k] = -u[k]  # or a copy of u would take it from registers to memory
        if far:
            for k in range(n):
                v[k], w[k] = -u[k], 0 + u[k]
            stream(first, v, n * sizeof(floating))
            stream(second, w, n * sizeof(floating))
            return
        for k in range(n):
            first[k] = -u[k]
        for k in range(n):
            second[k] = 0 + u[k]
        return
    for k in range(n):
        v[k] = by(x[k] - z[k] + eps, a[k * step + m], b[k * step + m], c[k * step + m], p)
    for k in range(n):
        w[k] = 0
    if distances == 3:
        for k in range(n):
            w[k] = by(y[k] - z[k] + eps, a[k * step + 2 * m], b[k * step + 2 * m], c[k * step + 2 * m], p)
    if far:
        for k in range(n):
            sums[k], w[k], v[k] = u[k] + v[k], w[k] - u[k], <floating> (0 - v[k]) - w[k]
        stream(first, sums, n * sizeof(floating))
        stream(second, w, n * sizeof(floating))
        stream(third, v, n * sizeof(floating))
        return
    for k in range(n):
        first[k] = u[k] + v[k]
    for k in range(n):
        second[k] = w[k] - u[k]
    for k in range(n):
        third[k] = <floating> (0 - v[k]) - w[k]


cdef inline void differentiate_lines(
    floating (*by)(floating, double, floating, floating, double) noexcept nogil, int distances, const Call* call,
    const Tile* t, floating** out, const floating* factors, int step, bint far
) noexcept nogil:
    """The derivatives by the inputs, line by line: step = 0 if a line is a row, 1 if it is an element of each row."""
    cdef const floating* x = <const floating*> t.x[0]
    cdef const floating* y = <const floating*> t.x[1]
    cdef const floating* z = <const floating*> t.x[2]
    cdef floating* first = out[0]
    cdef floating* second = out[1]
    cdef floating* third = out[2]
    cdef const double* a = &t.other[0][0] if call.p == 2 else &t.scale[0][0]
    cdef const floating* b = factors
    cdef const floating* c = factors + 3 * MAX_ROWS
    cdef double[3] row_a
    cdef floating[3] row_b
    cdef floating[3] row_c
    cdef floating eps = <floating> call.eps
    cdef Py_ssize_t n = aligned_rows(t) if step else t.length, stride = call.block if step else t.length
    cdef Py_ssize_t m = MAX_ROWS if step else 1, line, i, j, k
    for line in range(t.length if step else t.n):
        if step == 0:  # copies, which no store can change
            prefetch_row(call, t.start + line + call.ahead, x)
            for k in range(distances):
                row_a[k] = a[k * MAX_ROWS + line]
                row_b[k], row_c[k] = factors[k * MAX_ROWS + line], factors[(3 + k) * MAX_ROWS + line]
            b, c = row_b, row_c
        i = 0
        while i + LANES <= n:
            j = i * step
            differentiate_lanes(
                by, distances, x + i, y + i, z + i, first + i, second + i, third + i, a + j if step else row_a, b + j,
                c + j, m, eps, call.p, LANES, step, far
            )
            i += LANES
        if step == 0 and i < n:
            differentiate_lanes(
                by, distances, x + i, y + i, z + i, first + i, second + i, third + i, row_a, b, c, m, eps, call.p,
                n - i, step, far
            )
        x, y, z = x + stride, y + stride, z + stride
        first, second, third = first + stride, second + stride, third + stride


cdef inline void differentiate_any(
    floating (*by)(floating, double, floating, floating, double) noexcept nogil, int distances, const Call* call,
    const Tile* t, floating** out, const floating* factors
) noexcept nogil:
    if call.across:
        differentiate_lines(by, distances, call, t, out, factors, 1, False)
    elif call.far:
        differentiate_lines(by, distances, call, t, out, factors, 0, True)
    else:
        differentiate_lines(by, distances, call, t, out, factors, 0, False)


cdef inline void differentiate(
    floating (*by)(floating, double, floating, floating, double) noexcept nogil, const Call* call, const Tile* t,
    floating** out, const floating* factors
) noexcept nogil:
    if call.distances == 1:
        differentiate_any(by, 1, call, t, out, factors)
    elif call.distances == 2:
        differentiate_any(by, 2, call, t, out, factors)
    else:
        differentiate_any(by, 3, call, t, out, factors)


cdef inline void differentiate_cosine_lanes(
    bint both, const floating* x, const floating* y, floating* first, floating* second, const double* f, Py_ssize_t n,
    int step, bint far
) noexcept nogil:
    """n <= LANES elements, slope (y / |y| - cosine x / |x|) / |x|, as above."""
    cdef double[LANES] u
    cdef double[LANES] v
    cdef floating[LANES] g
    cdef floating[LANES] h
    cdef double p, q
    cdef Py_ssize_t j, k, m = MAX_ROWS if step else 1
    for k in range(n):
        j = k * step
        p = scaled(within(x[k], <floating> f[j + 2 * m]), f[j])
        q = scaled(within(y[k], <floating> f[j + 2 * m]), f[j + m])
        u[k] = f[j + 5 * m] * q - f[j + 3 * m] * p
        if both:
            v[k] = f[j + 5 * m] * p - f[j + 4 * m] * q
    if far:
        for k in range(n):
            g[k] = <floating> scaled(<floating> u[k], f[k * step])
            if both:
                h[k] = <floating> scaled(<floating> v[k], f[k * step + m])
        stream(first, g, n * sizeof(floating))
        if both:
            stream(second, h, n * sizeof(floating))
        return
    for k in range(n):
        first[k] = <floating> scaled(<floating> u[k], f[k * step])
    if both:
        for k in range(n):
            second[k] = <floating> scaled(<floating> v[k], f[k * step + m])


cdef inline void differentiate_cosine_closely(
    bint both, const floating* x, const floating* y, floating* first, floating* second, const double* f, Py_ssize_t n,
    bint far
) noexcept nogil:
    """The same without a conversion to double precision, c (y - x a / c), where a / c is the sum of two numbers."""
    cdef floating[LANES] u
    cdef floating[LANES] v
    cdef floating a = <floating> (f[3] / f[5]), b = <floating> (f[4] / f[5]), c = <floating> f[5]
    cdef floating a_rest = <floating> (f[3] / f[5] - a), b_rest = <floating> (f[4] / f[5] - b)
    cdef Py_ssize_t k
    for k in range(n):
        u[k] = multiply_add(-a_rest, x[k], multiply_add(-a, x[k], y[k]))
        if both:
            v[k] = multiply_add(-b_rest, y[k], multiply_add(-b, y[k], x[k]))
    if far:
        for k in range(n):
            u[k], v[k] = c * u[k], c * v[k]
        stream(first, u, n * sizeof(floating))
        if both:
            stream(second, v, n * sizeof(floating))
        return
    for k in range(n):
        first[k] = c * u[k]
    if both:
        for k in range(n):
            second[k] = c * v[k]


cdef inline bint holds(double x) noexcept nogil:
    """Whether float32 has x, and what rounding to it leaves, in full precision."""
    return (1e-25 < fabs(x)) & (fabs(x) < 1e25)


cdef inline void differentiate_cosine_row(
    bint closely, bint both, const floating* x, const floating* y, floating* first, floating* second, const double* f,
    Py_ssize_t n, bint far
) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i + LANES <= n:
        if closely:
            differentiate_cosine_closely(both, x + i, y + i, first + i, second + i, f, LANES, far)
        else:
            differentiate_cosine_lanes(both, x + i, y + i, first + i, second + i, f, LANES, 0, far)
        i += LANES
    if i < n:
        if closely:
            differentiate_cosine_closely(both, x + i, y + i, first + i, second + i, f, n - i, far)
        else:
            differentiate_cosine_lanes(both, x + i, y + i, first + i, second + i, f, n - i, 0, far)


cdef inline void differentiate_cosine_lines(
    bint both, const Call* call, const Tile* t, floating** out, int step, bint far
) noexcept nogil:
    """The derivatives by the inputs, line by line as above."""
    cdef const floating* x = <const floating*> t.x[0]
    cdef const floating* y = <const floating*> t.x[1]
    cdef floating* first = out[0]
    cdef floating* second = out[1]
    cdef double[6] f
    cdef Py_ssize_t n = t.length, line, i
    cdef int k
    if step:
        for _ in range(n):
            i = 0
            while i < t.n:
                differentiate_cosine_lanes(both, x + i, y + i, first + i, second + i, &t.factors[0][i], LANES, 1, False)
                i += LANES
            x, y, first, second = x + call.block, y + call.block, first + call.block, second + call.block
        return
    for line in range(t.n):
        for k in range(6):
            f[k] = t.factors[k][line]
        if f[5] == 0:
            clear(first, n)
            if both:
                clear(second, n)
        elif (
            floating is float and FMA
            and holds(t.size[0][line]) and holds(t.size[1][line]) and holds(f[3] / f[5]) and holds(f[4] / f[5])
            and holds(f[5]) and not nearly_parallel(t.s[0][line], <floating> 0)
        ):
            differentiate_cosine_row(True, both, x, y, first, second, f, n, far)
        else:
            differentiate_cosine_row(False, both, x, y, first, second, f, n, far)
        x, y, first, second = x + n, y + n, first + n, second + n


cdef inline void differentiate_cosine(bint both, const Call* call, const Tile* t, floating** out) noexcept nogil:
    if call.across:
        differentiate_cosine_lines(both, call, t, out, 1, False)
    elif call.far:
        differentiate_cosine_lines(both, call, t, out, 0, True)
    else:
        differentiate_cosine_lines(both, call, t, out, 0, False)
