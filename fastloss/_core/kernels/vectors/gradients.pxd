"""The second pass over vectors: the gradients, row by row, or in a transposed tile element by element of all rows.

Each function here is inlined into one of driver.pyx.
"""

from cython cimport floating

from fastloss._core.kernels.base.memory cimport clear, prefetch_all, stream
from fastloss._core.kernels.base.sums cimport LANES
from fastloss._core.kernels.base.vecmath cimport FMA, at_least, at_most, fabs, multiply_add, pow
from fastloss._core.kernels.vectors.sums cimport (
    FACTORS, LIMIT, MAX_ROWS, OF_FIRST, OF_OTHER, OF_SECOND, SCALE, SCALE_2, Job, Tile, nearly_parallel, scaled,
    whole_lanes
)

# ---------------------------------------------------------------------------------------------------------------------
# The derivative of the loss with respect to an element of a difference, for each norm. It takes three numbers of each
# row. For p = 2 these are a limit and two factors. For other p they are the scale and the size of the vector, and the
# slope of the loss: p = 1 reads only the slope, p = inf also the size, and any other p reads all three. A size of 0
# says that the gradient is 0. find_factors in driver.pyx sets the second and the third number.

cdef inline floating within(floating x, floating limit) noexcept nogil:
    """x, clamped to [-limit, limit]. A NaN becomes the limit. So a limit of 0 gives 0 for any x."""
    return at_least(0 - limit, at_most(limit, x))


cdef inline floating by_euclidean(
    floating difference, double limit, floating factor, floating factor_2, double p
) noexcept nogil:
    """For p = 2. The limit is 0 if the gradient is 0, else inf: a select would become a branch for each row."""
    return within(difference, <floating> limit) * factor * factor_2


cdef inline floating by_sum(floating difference, double scale, floating size, floating slope, double p) noexcept nogil:
    return slope if difference > 0 else (-slope if difference < 0 else slope * 0)  # a slope of NaN stays NaN


cdef inline floating by_largest(
    floating difference, double scale, floating size, floating slope, double p
) noexcept nogil:
    return 0 * slope if (fabs(difference) != size) | (size == 0) else (slope if difference > 0 else -slope)


cdef inline floating by_power(
    floating difference, double scale, floating size, floating slope, double p
) noexcept nogil:
    cdef double magnitude = slope * pow(fabs(difference * scale) / size, p - 1)
    return 0 if size == 0 else <floating> (magnitude if difference >= 0 else -magnitude)


cdef inline void prefetch_row(const Job* job, Py_ssize_t row, floating* as_type) noexcept nogil:
    """Prefetch a row that will be read soon. A piece is too short a stretch for the hardware to foresee that."""
    cdef int k
    if row >= job.rows:
        return
    for k in range(job.inputs):
        if job.direct[k]:
            prefetch_all(<const floating*> job.data[k] + row * job.length, job.length)


# ---------------------------------------------------------------------------------------------------------------------
# Gradients of distances

cdef inline void differentiate_lanes(
    floating (*derivative)(floating, double, floating, floating, double) noexcept nogil, int distances,
    const floating* x, const floating* y, const floating* z, floating* first, floating* second, floating* third,
    const double* scale, const floating* size, const floating* slope, Py_ssize_t stride, floating eps, double p,
    Py_ssize_t n, int step, bint past_caches
) noexcept nogil:
    """n <= LANES elements. `step` is 1 if each has its own scale, size and slope; those of a distance are at `stride`.

    All elements are read before the first is written. So no store needs a check of what it changes.
    """
    cdef floating[LANES] xy
    cdef floating[LANES] xz
    cdef floating[LANES] yz
    cdef floating[LANES] sums
    cdef Py_ssize_t k
    for k in range(n):
        xy[k] = derivative(x[k] - y[k] + eps, scale[k * step], size[k * step], slope[k * step], p)
    if distances == 1:
        for k in range(n):
            xy[k] = -xy[k]  # negate in place: copying xy would spill it to memory
        if past_caches:
            for k in range(n):
                xz[k], yz[k] = -xy[k], 0 + xy[k]
            stream(first, xz, n * sizeof(floating))
            stream(second, yz, n * sizeof(floating))
            return
        for k in range(n):
            first[k] = -xy[k]
        for k in range(n):
            second[k] = 0 + xy[k]
        return
    for k in range(n):
        xz[k] = derivative(
            x[k] - z[k] + eps, scale[k * step + stride], size[k * step + stride], slope[k * step + stride], p
        )
    for k in range(n):
        yz[k] = 0
    if distances == 3:
        for k in range(n):
            yz[k] = derivative(
                y[k] - z[k] + eps, scale[k * step + 2 * stride], size[k * step + 2 * stride],
                slope[k * step + 2 * stride], p
            )
    if past_caches:
        for k in range(n):
            sums[k], yz[k], xz[k] = xy[k] + xz[k], yz[k] - xy[k], <floating> (0 - xz[k]) - yz[k]
        stream(first, sums, n * sizeof(floating))
        stream(second, yz, n * sizeof(floating))
        stream(third, xz, n * sizeof(floating))
        return
    for k in range(n):
        first[k] = xy[k] + xz[k]
    for k in range(n):
        second[k] = yz[k] - xy[k]
    for k in range(n):
        third[k] = <floating> (0 - xz[k]) - yz[k]


cdef inline void differentiate_lines(
    floating (*derivative)(floating, double, floating, floating, double) noexcept nogil, int distances, const Job* job,
    const Tile* tile, floating** out, const floating* factors, int step, bint past_caches
) noexcept nogil:
    """The gradients, line by line. A line is a row (step = 0) or an element of each row (step = 1).

    `factors` are the sizes of three vectors for each row, then the slopes.
    """
    cdef const floating* x = <const floating*> tile.x[0]
    cdef const floating* y = <const floating*> tile.x[1]
    cdef const floating* z = <const floating*> tile.x[2]
    cdef floating* first = out[0]
    cdef floating* second = out[1]
    cdef floating* third = out[2]
    cdef const double* scale = tile.scale[0]
    cdef const floating* size = factors
    cdef const floating* slope = factors + 3 * MAX_ROWS
    cdef double[3] row_scale
    cdef floating[3] row_size
    cdef floating[3] row_slope
    cdef floating eps = <floating> job.eps
    cdef Py_ssize_t n = whole_lanes(tile) if step else tile.length
    cdef Py_ssize_t line_stride = job.tile_rows if step else tile.length
    cdef Py_ssize_t stride = MAX_ROWS if step else 1, line, i, j, k
    if job.p == 2:
        scale = tile.limit[0]
    for line in range(tile.length if step else tile.n):
        if step == 0:  # copies, which no store can change
            prefetch_row(job, tile.start + line + job.ahead, first)
            for k in range(distances):
                row_scale[k] = scale[k * MAX_ROWS + line]
                row_size[k], row_slope[k] = factors[k * MAX_ROWS + line], factors[(3 + k) * MAX_ROWS + line]
            size, slope = row_size, row_slope
        i = 0
        while i + LANES <= n:
            j = i * step
            differentiate_lanes(
                derivative, distances, x + i, y + i, z + i, first + i, second + i, third + i,
                scale + j if step else row_scale, size + j, slope + j, stride, eps, job.p, LANES, step, past_caches
            )
            i += LANES
        if step == 0 and i < n:
            differentiate_lanes(
                derivative, distances, x + i, y + i, z + i, first + i, second + i, third + i, row_scale, size, slope,
                stride, eps, job.p, n - i, step, past_caches
            )
        x, y, z = x + line_stride, y + line_stride, z + line_stride
        first, second, third = first + line_stride, second + line_stride, third + line_stride


cdef inline void differentiate_any(
    floating (*derivative)(floating, double, floating, floating, double) noexcept nogil, int distances, const Job* job,
    const Tile* tile, floating** out, const floating* factors
) noexcept nogil:
    if job.transposed:
        differentiate_lines(derivative, distances, job, tile, out, factors, 1, False)
    elif job.stream:
        differentiate_lines(derivative, distances, job, tile, out, factors, 0, True)
    else:
        differentiate_lines(derivative, distances, job, tile, out, factors, 0, False)


cdef inline void differentiate(
    floating (*derivative)(floating, double, floating, floating, double) noexcept nogil, const Job* job,
    const Tile* tile, floating** out, const floating* factors
) noexcept nogil:
    if job.distances == 1:
        differentiate_any(derivative, 1, job, tile, out, factors)
    elif job.distances == 2:
        differentiate_any(derivative, 2, job, tile, out, factors)
    else:
        differentiate_any(derivative, 3, job, tile, out, factors)


# ---------------------------------------------------------------------------------------------------------------------
# Gradients of a cosine. That with respect to x is slope * (y / |y| - cosine * x / |x|) / |x|.

cdef inline void differentiate_cosine_lanes(
    bint both, const floating* x, const floating* y, floating* first, floating* second, const double* factors,
    Py_ssize_t n, int step, bint past_caches
) noexcept nogil:
    """n <= LANES elements, with `step` as above; the gradient of y only if `both`."""
    cdef double[LANES] slope
    cdef double[LANES] slope_2
    cdef floating[LANES] grad
    cdef floating[LANES] grad_2
    cdef double p, q
    cdef Py_ssize_t j, k, m = MAX_ROWS if step else 1
    for k in range(n):
        j = k * step
        p = scaled(within(x[k], <floating> factors[j + LIMIT * m]), factors[j + SCALE * m])
        q = scaled(within(y[k], <floating> factors[j + LIMIT * m]), factors[j + SCALE_2 * m])
        slope[k] = factors[j + OF_OTHER * m] * q - factors[j + OF_FIRST * m] * p
        if both:
            slope_2[k] = factors[j + OF_OTHER * m] * p - factors[j + OF_SECOND * m] * q
    if past_caches:
        for k in range(n):
            grad[k] = <floating> scaled(<floating> slope[k], factors[k * step + SCALE * m])
            if both:
                grad_2[k] = <floating> scaled(<floating> slope_2[k], factors[k * step + SCALE_2 * m])
        stream(first, grad, n * sizeof(floating))
        if both:
            stream(second, grad_2, n * sizeof(floating))
        return
    for k in range(n):
        first[k] = <floating> scaled(<floating> slope[k], factors[k * step + SCALE * m])
    if both:
        for k in range(n):
            second[k] = <floating> scaled(<floating> slope_2[k], factors[k * step + SCALE_2 * m])


cdef inline void differentiate_cosine_in_float(
    bint both, const floating* x, const floating* y, floating* first, floating* second, const double* factors,
    Py_ssize_t n, bint past_caches
) noexcept nogil:
    """The same without conversions to double precision: OF_OTHER * (y - x * ratio), with OF_FIRST / OF_OTHER as ratio.

    The ratio is the sum of two numbers, what float32 holds of it and the rest.
    """
    cdef floating[LANES] slope
    cdef floating[LANES] slope_2
    cdef double exact = factors[OF_FIRST] / factors[OF_OTHER], exact_2 = factors[OF_SECOND] / factors[OF_OTHER]
    cdef floating ratio = <floating> exact, ratio_2 = <floating> exact_2, of_other = <floating> factors[OF_OTHER]
    cdef floating rest = <floating> (exact - ratio), rest_2 = <floating> (exact_2 - ratio_2)
    cdef Py_ssize_t k
    for k in range(n):
        slope[k] = multiply_add(-rest, x[k], multiply_add(-ratio, x[k], y[k]))
        if both:
            slope_2[k] = multiply_add(-rest_2, y[k], multiply_add(-ratio_2, y[k], x[k]))
    if past_caches:
        for k in range(n):
            slope[k], slope_2[k] = of_other * slope[k], of_other * slope_2[k]
        stream(first, slope, n * sizeof(floating))
        if both:
            stream(second, slope_2, n * sizeof(floating))
        return
    for k in range(n):
        first[k] = of_other * slope[k]
    if both:
        for k in range(n):
            second[k] = of_other * slope_2[k]


cdef inline bint fits_float(double x) noexcept nogil:
    """Whether float32 holds x, and the rest that rounding to float32 leaves, in full precision."""
    return (1e-25 < fabs(x)) & (fabs(x) < 1e25)


cdef inline void differentiate_cosine_row(
    bint in_float, bint both, const floating* x, const floating* y, floating* first, floating* second,
    const double* factors, Py_ssize_t n, bint past_caches
) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i + LANES <= n:
        if in_float:
            differentiate_cosine_in_float(both, x + i, y + i, first + i, second + i, factors, LANES, past_caches)
        else:
            differentiate_cosine_lanes(both, x + i, y + i, first + i, second + i, factors, LANES, 0, past_caches)
        i += LANES
    if i < n:
        if in_float:
            differentiate_cosine_in_float(both, x + i, y + i, first + i, second + i, factors, n - i, past_caches)
        else:
            differentiate_cosine_lanes(both, x + i, y + i, first + i, second + i, factors, n - i, 0, past_caches)


cdef inline void differentiate_cosine_lines(
    bint both, const Job* job, const Tile* tile, floating** out, int step, bint past_caches
) noexcept nogil:
    """The gradients, line by line as above."""
    cdef const floating* x = <const floating*> tile.x[0]
    cdef const floating* y = <const floating*> tile.x[1]
    cdef floating* first = out[0]
    cdef floating* second = out[1]
    cdef double[FACTORS] factors
    cdef Py_ssize_t n = tile.length, _line, i
    cdef int k
    if step:
        for _line in range(n):
            i = 0
            while i < tile.n:
                differentiate_cosine_lanes(
                    both, x + i, y + i, first + i, second + i, &tile.factors[0][i], LANES, 1, False
                )
                i += LANES
            x, y = x + job.tile_rows, y + job.tile_rows
            first, second = first + job.tile_rows, second + job.tile_rows
        return
    for line in range(tile.n):
        for k in range(FACTORS):
            factors[k] = tile.factors[k][line]
        if factors[OF_OTHER] == 0:
            clear(first, n)
            if both:
                clear(second, n)
        elif (
            floating is float and FMA
            and fits_float(tile.size[0][line]) and fits_float(tile.size[1][line])
            and fits_float(factors[OF_FIRST] / factors[OF_OTHER])
            and fits_float(factors[OF_SECOND] / factors[OF_OTHER])
            and fits_float(factors[OF_OTHER]) and not nearly_parallel(tile.measure[0][line], first)
        ):
            differentiate_cosine_row(True, both, x, y, first, second, factors, n, past_caches)
        else:
            differentiate_cosine_row(False, both, x, y, first, second, factors, n, past_caches)
        x, y, first, second = x + n, y + n, first + n, second + n


cdef inline void differentiate_cosine(bint both, const Job* job, const Tile* tile, floating** out) noexcept nogil:
    if job.transposed:
        differentiate_cosine_lines(both, job, tile, out, 1, False)
    elif job.stream:
        differentiate_cosine_lines(both, job, tile, out, 0, True)
    else:
        differentiate_cosine_lines(both, job, tile, out, 0, False)
