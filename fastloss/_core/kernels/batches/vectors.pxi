"""Vectors: lengths, scalar products and distances in double precision, and unit vectors with their gradients."""

cdef double scalar_product(const floating* x, const floating* y, Py_ssize_t n) noexcept nogil:
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += <double> x[i + j] * <double> y[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] += <double> x[i + j] * <double> y[i + j]
    return sum_lanes(lane)


cdef double squared_distance(const floating* x, const floating* y, Py_ssize_t n) noexcept nogil:
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    cdef double r
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            r = <double> x[i + j] - <double> y[i + j]
            lane[j] += r * r
        i += LANES
    for j in range(n - i):
        r = <double> x[i + j] - <double> y[i + j]
        lane[j] += r * r
    return sum_lanes(lane)


cdef inline double distance(const floating* x, const floating* y, Py_ssize_t n) noexcept nogil:
    return sqrt(squared_distance(x, y, n))


cdef double largest(const floating* x, Py_ssize_t n) noexcept nogil:
    """The largest absolute value; NaN if a value is not finite."""
    cdef floating[LANES] lane, zero_or_nan
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = zero_or_nan[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = at_least(fabs(x[i + j]), lane[j])
            zero_or_nan[j] += x[i + j] - x[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] = at_least(fabs(x[i + j]), lane[j])
        zero_or_nan[j] += x[i + j] - x[i + j]
    return max_lanes(lane) + ordered_sum(zero_or_nan, LANES)


def largest_of(cnp.ndarray x):
    """The largest absolute value; NaN if a value is not finite."""
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        return largest(<float*> cnp.PyArray_DATA(x), cnp.PyArray_SIZE(x))
    return largest(<double*> cnp.PyArray_DATA(x), cnp.PyArray_SIZE(x))


cdef void scale_by_power(const floating* x, Py_ssize_t n, int exponent, floating* out) noexcept nogil:
    """x 2^exponent, in two steps, neither of which overflows."""
    cdef floating first = <floating> ldexp(1, exponent // 2), second = <floating> ldexp(1, exponent - exponent // 2)
    cdef Py_ssize_t j
    for j in range(n):
        out[j] = x[j] * first * second


def inner_product(cnp.ndarray x, cnp.ndarray y):
    """The sum of x y, in double precision."""
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        return scalar_product(<float*> cnp.PyArray_DATA(x), <float*> cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))
    return scalar_product(<double*> cnp.PyArray_DATA(x), <double*> cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))


cdef void to_unit(const floating* x, Py_ssize_t d, floating* unit, double* inverse) noexcept nogil:
    cdef double norm
    cdef Py_ssize_t j
    cdef int exponent = 0
    frexp(largest(x, d), &exponent)
    scale_by_power(x, d, -exponent, unit)  # so squares neither overflow nor vanish
    norm = sqrt(scalar_product(unit, unit, d))
    inverse[0] = 0 if norm == 0 else 1 / norm
    for j in range(d):
        unit[j] = <floating> (inverse[0] * unit[j])
    inverse[0] = ldexp(inverse[0], -exponent)


cdef void to_units(
    const floating* x, const floating* y, Py_ssize_t n, Py_ssize_t d, floating* units, double* inverse
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        to_unit(x + i * d, d, units + 2 * i * d, inverse + 2 * i)
        to_unit(y + i * d, d, units + (2 * i + 1) * d, inverse + 2 * i + 1)


def unit_vectors(cnp.ndarray x, cnp.ndarray y):
    """Return the rows of x and y in alternation, divided by their norms, and 1 / norm of each.

    A zero vector stays zero, with 0.
    """
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), d = cnp.PyArray_DIM(x, 1)
    cdef cnp.ndarray units = np.empty((2 * n, d), x.dtype), inverse = np.empty(2 * n)
    cdef void* a = cnp.PyArray_DATA(x)
    cdef void* b = cnp.PyArray_DATA(y)
    cdef void* u = cnp.PyArray_DATA(units)
    cdef double* v = <double*> cnp.PyArray_DATA(inverse)
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        with nogil:
            to_units(<float*> a, <float*> b, n, d, <float*> u, v)
    else:
        with nogil:
            to_units(<double*> a, <double*> b, n, d, <double*> u, v)
    return units, inverse


cdef void through_unit(
    const floating* slope, const floating* unit, double inverse, Py_ssize_t d, floating* grad
) noexcept nogil:
    cdef floating along = <floating> scalar_product(slope, unit, d)
    cdef Py_ssize_t j
    for j in range(d):
        grad[j] = <floating> (inverse * (slope[j] - along * unit[j]))


cdef void through_units(
    const floating* slope, const floating* unit, const double* inverse, Py_ssize_t n, Py_ssize_t d,
    floating* grad_x, floating* grad_y
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        through_unit(slope + 2 * i * d, unit + 2 * i * d, inverse[2 * i], d, grad_x + i * d)
        through_unit(slope + (2 * i + 1) * d, unit + (2 * i + 1) * d, inverse[2 * i + 1], d, grad_y + i * d)


def gradients_through_units(cnp.ndarray slopes, cnp.ndarray units, cnp.ndarray inverse, cnp.ndarray x, cnp.ndarray y):
    """From derivatives with respect to unit vectors to those with respect to the original vectors.

    `slopes` are derivatives with respect to the unit vectors. Write the derivatives with respect to the original
    vectors into x and y.
    """
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), d = cnp.PyArray_DIM(x, 1)
    cdef void* g = cnp.PyArray_DATA(slopes)
    cdef void* u = cnp.PyArray_DATA(units)
    cdef double* v = <double*> cnp.PyArray_DATA(inverse)
    cdef void* a = cnp.PyArray_DATA(x)
    cdef void* b = cnp.PyArray_DATA(y)
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        with nogil:
            through_units(<float*> g, <float*> u, v, n, d, <float*> a, <float*> b)
    else:
        with nogil:
            through_units(<double*> g, <double*> u, v, n, d, <double*> a, <double*> b)
