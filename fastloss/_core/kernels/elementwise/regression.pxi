"""The math of the regression losses. Below, r is the residual pred - target."""


cdef inline bint far(floating u) noexcept nogil:
    """Whether 1 + u is u, in double precision too. u itself still is a float; u^2 may not be."""
    return u > <floating> 1e17


cdef inline floating sign(floating x) noexcept nogil:
    return 1 if x > 0 else (-1 if x < 0 else x)  # x itself: 0 at the kink, NaN stays NaN


# ---------------------------------------------------------------------------------------------------------------------
# Powers of the residual


cdef inline void mse(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating r = pred - target
    out[VALUE] = r * r
    out[GRAD] = 2 * r
    out[HESS] = 2

cdef void mse_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], mse[floating], tile, parameters)
add("mse", mse_loops[float], mse_loops[double])


cdef inline void half_square(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    """What losses become that bend at an infinite residual."""
    cdef floating r = pred - target
    out[VALUE] = <floating> 0.5 * r * r
    out[GRAD] = r
    out[HESS] = 1

cdef void half_square_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], half_square[floating], tile, parameters)
add("half_square", half_square_loops[float], half_square_loops[double])


cdef inline void zero(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    """What losses become that bend at 0, and penalties of strength 0. NaN stays NaN."""
    out[VALUE] = out[GRAD] = out[HESS] = times(<floating> 0, pred - target)

cdef void zero_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], zero[floating], tile, parameters)
add("zero", zero_loops[float], zero_loops[double])


cdef inline void mae(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating r = pred - target
    out[VALUE] = fabs(r)
    out[GRAD] = sign(r)
    out[HESS] = 0

cdef void mae_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], mae[floating], tile, parameters)
add("mae", mae_loops[float], mae_loops[double])


cdef inline void mape(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating r = pred - target
    cdef floating eps = <floating> FLT_EPSILON if floating is float else <floating> DBL_EPSILON
    cdef floating scale = 1 / at_least(fabs(target), eps)
    out[VALUE] = fabs(r) * scale
    out[GRAD] = sign(r) * scale
    out[HESS] = 0

cdef void mape_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], mape[floating], tile, parameters)
add("mape", mape_loops[float], mape_loops[double])


cdef inline floating difference_of_logarithms(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    """log(1 + pred) - log(1 + target), as log1p of a quotient that is positive.

    Where the quotient might overflow, it is taken 2^64 times smaller.
    """
    cdef floating r = pred - target, a = fabs(r), base = 1 + (pred if pred < target else target), limit = 1e30
    cdef bint huge
    if floating is double:
        limit = 1e300
    huge = (base < 1) & (a > limit)
    a = (a * <floating> 2.0**-64 if huge else a) / (base if base >= 0 else <floating> NAN)
    return copysign(log1p(a) + (<floating> 44.3614195558365 if huge else 0), r)


cdef inline void msle(
    floating pred, floating target, floating third, floating difference, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating one = 1, scale = one / (one + pred)
    out[VALUE] = difference * difference
    out[GRAD] = 2 * times(scale, difference)
    out[HESS] = 2 * (times(scale, one - difference) * scale)

cdef void msle_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(difference_of_logarithms[floating], msle[floating], tile, parameters)
add("msle", msle_loops[float], msle_loops[double])


cdef inline floating q_of(floating third) noexcept nogil:
    """q, of a vector q. `third` is q up to 1/2, and q - 1 beyond: -0.0 for 1. So neither q nor 1 - q loses digits."""
    cdef floating one = 1
    return third + one if copysign(one, third) < 0 else third


cdef inline floating one_minus_q_of(floating third) noexcept nogil:
    cdef floating one = 1
    return -third if copysign(one, third) < 0 else one - third


cdef inline void pinball(floating r, floating q, floating one_minus_q, floating* out) noexcept nogil:
    cdef floating weight = q if r > 0 else -one_minus_q
    out[VALUE] = times(weight, r)
    out[GRAD] = -weight if fabs(r) > 0 else r
    out[HESS] = 0


cdef inline void quantile(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    pinball(target - pred, parameters[0], parameters[1], out)

cdef void quantile_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], quantile[floating], tile, parameters)
add("quantile", quantile_loops[float], quantile_loops[double])


cdef inline void quantile_of_each(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    pinball(target - pred, q_of(third), one_minus_q_of(third), out)

cdef void quantile_of_each_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], quantile_of_each[floating], tile, parameters)
add("quantile_of_each", quantile_of_each_loops[float], quantile_of_each_loops[double])


cdef inline void asymmetric_square(floating r, floating q, floating one_minus_q, floating* out) noexcept nogil:
    cdef floating weight = one_minus_q if r > 0 else q
    out[VALUE] = times(times(weight, r), r)
    out[GRAD] = 2 * times(weight, r)
    out[HESS] = 2 * weight


cdef inline void expectile(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    asymmetric_square(pred - target, parameters[0], parameters[1], out)

cdef void expectile_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], expectile[floating], tile, parameters)
add("expectile", expectile_loops[float], expectile_loops[double])


cdef inline void expectile_of_each(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    asymmetric_square(pred - target, q_of(third), one_minus_q_of(third), out)

cdef void expectile_of_each_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], expectile_of_each[floating], tile, parameters)
add("expectile_of_each", expectile_of_each_loops[float], expectile_of_each_loops[double])


# ---------------------------------------------------------------------------------------------------------------------
# Insensitive near the target, or to what is far from it


cdef inline void epsilon_insensitive(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating epsilon = parameters[0]
    cdef floating r = pred - target, excess = fabs(r) - epsilon
    out[VALUE] = 0 if excess <= 0 else excess
    out[GRAD] = 0 if excess <= 0 else sign(r)
    out[HESS] = 0

cdef void epsilon_insensitive_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], epsilon_insensitive[floating], tile, parameters)
add("epsilon_insensitive", epsilon_insensitive_loops[float], epsilon_insensitive_loops[double])


cdef inline void squared_epsilon_insensitive(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating epsilon = parameters[0]
    cdef floating r = pred - target, gap = fabs(r) - epsilon, excess = 0 if gap <= 0 else gap
    out[VALUE] = excess * excess
    out[GRAD] = copysign(2 * excess, r)
    out[HESS] = 2 if excess > 0 else 0

cdef void squared_epsilon_insensitive_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], squared_epsilon_insensitive[floating], tile, parameters)
add("squared_epsilon_insensitive", squared_epsilon_insensitive_loops[float], squared_epsilon_insensitive_loops[double])


cdef inline void huber(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating delta = parameters[0], r = pred - target, a = fabs(r)
    cdef floating k = delta if a > delta else a
    out[VALUE] = k * (a - <floating> 0.5 * k)
    out[GRAD] = copysign(k, r)
    out[HESS] = 0 if a > delta else 1

cdef void huber_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], huber[floating], tile, parameters)
add("huber", huber_loops[float], huber_loops[double])


cdef inline void smooth_l1(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating beta = parameters[0], inverse = parameters[1]
    cdef floating r = pred - target, a = fabs(r)
    out[VALUE] = a - <floating> 0.5 * beta if a >= beta else <floating> 0.5 * a * (a * inverse)
    out[GRAD] = copysign(<floating> 1, r) if a >= beta else r * inverse
    out[HESS] = 0 if a >= beta else inverse

cdef void smooth_l1_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], smooth_l1[floating], tile, parameters)
add("smooth_l1", smooth_l1_loops[float], smooth_l1_loops[double])


cdef inline void pseudo_huber(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating delta = parameters[0], inverse = parameters[1]
    # delta^2 (sqrt(1 + a^2) - 1) = r^2 / (1 + sqrt(1 + a^2))
    cdef floating one = 1, r = pred - target, a = fabs(r * inverse), s = sqrt(one + a * a), scale = one / s
    out[VALUE] = fabs(r) * (delta if far(a) else fabs(r) / (one + s))
    out[GRAD] = copysign(delta, r) if far(a) else r / s
    out[HESS] = scale * scale * scale

cdef void pseudo_huber_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], pseudo_huber[floating], tile, parameters)
add("pseudo_huber", pseudo_huber_loops[float], pseudo_huber_loops[double])


cdef inline floating exp_minus_twice(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    """exp(-2 abs(r)), the `decay` of log_cosh."""
    return exp_nonpositive(-2 * fabs(pred - target))


cdef inline void log_cosh(
    floating pred, floating target, floating third, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating one = 1, r = pred - target, scale = one / (one + decay)
    out[VALUE] = log_of_cosh(r, decay)
    out[GRAD] = tanh_from(r, decay)
    out[HESS] = 4 * ((decay * scale) * scale)

cdef void log_cosh_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_minus_twice[floating], log_cosh[floating], tile, parameters)
add("log_cosh", log_cosh_loops[float], log_cosh_loops[double])
