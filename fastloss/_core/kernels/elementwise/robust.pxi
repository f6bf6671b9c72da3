"""The robust regression losses, with r = pred - target and u = r / c.

Near 0 all of them are r^2 / 2, which is used where u^2 may underflow. c comes as two factors, since c^2 may overflow.
"""


cdef inline bint near(floating u) noexcept nogil:
    """Whether 1 + u is 1."""
    if floating is float:
        return u < <float> 2.0**-25
    else:
        return u < <double> 2.0**-54


cdef inline void fair(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating c = parameters[0], inverse = parameters[1]
    cdef floating one = 1, r = pred - target, a = fabs(r * inverse), scale = one / (one + a)
    cdef floating rest = c * (c * x_minus_log1p(a))
    out[VALUE] = c * fabs(r) if far(a) else (<floating> 0.5 * r * r if near(a) else rest)
    out[GRAD] = copysign(c, r) if far(a) else r * scale
    out[HESS] = scale * scale

cdef void fair_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], fair[floating], tile, parameters)
add("fair", fair_loops[float], fair_loops[double])


cdef inline void cauchy(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating c = parameters[0], inverse = parameters[1]
    # Far out log1p(a^2) is 2 log1p(a), and a^2 / (1 + a^2) is 1.
    cdef floating one = 1, half = <floating> 0.5, r = pred - target, a = fabs(r * inverse), x = a * a
    cdef floating scale = one / (a if far(a) else one + x), logarithm = log1p(a if far(a) else x)
    out[VALUE] = half * r * r if near(x) else c * (c * (logarithm if far(a) else half * logarithm))
    out[GRAD] = copysign((c if far(a) else fabs(r)) * scale, r)
    out[HESS] = (-scale if far(a) else (one - x) * scale) * scale

cdef void cauchy_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], cauchy[floating], tile, parameters)
add("cauchy", cauchy_loops[float], cauchy_loops[double])


cdef inline void geman_mcclure(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating c = parameters[0], inverse = parameters[1]
    cdef floating one = 1, half = <floating> 0.5, r = pred - target, a = r * inverse, x = a * a, scale = one / (one + x)
    out[VALUE] = c * (half * c) if far(x) else half * r * (r * scale)
    out[GRAD] = 0 if scale == 0 else r * scale * scale
    # x scale is at most 1, where 3 x may overflow
    out[HESS] = 0 if scale == 0 else (scale - <floating> 3 * (x * scale)) * scale * scale

cdef void geman_mcclure_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], geman_mcclure[floating], tile, parameters)
add("geman_mcclure", geman_mcclure_loops[float], geman_mcclure_loops[double])


cdef inline floating exp_minus_square(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    """exp(-u^2), the `decay` of welsch."""
    cdef floating inverse = parameters[1]
    cdef floating a = (pred - target) * inverse
    return exp_of_product(-a, a)


cdef inline void welsch(
    floating pred, floating target, floating third, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating c = parameters[0], inverse = parameters[1]
    cdef floating one = 1, half = <floating> 0.5, r = pred - target, a = r * inverse, x = a * a
    out[VALUE] = half * r * r if near(x) else c * (c * (-half * expm1_from(-x, decay)))
    out[GRAD] = 0 if decay == 0 else r * decay
    out[HESS] = 0 if decay == 0 else (one - (x + x)) * decay

cdef void welsch_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_minus_square[floating], welsch[floating], tile, parameters)
add("welsch", welsch_loops[float], welsch_loops[double])


cdef inline void tukey(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating c = parameters[0], inverse = parameters[1]
    # 1 - y^3 = (1 - y) (1 + y + y^2), where y = 1 - (r / c)^2
    cdef floating one = 1, r = pred - target, a = r * inverse, x = a * a, y = at_least(one - x, 0)
    out[VALUE] = (r * r if x < 1 else c * c) * ((one + y + y * y) * <floating> (1.0 / 6))
    out[GRAD] = 0 if y == 0 else r * y * y
    out[HESS] = 0 if y == 0 else y * (one - <floating> 5 * x)

cdef void tukey_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], tukey[floating], tile, parameters)
add("tukey", tukey_loops[float], tukey_loops[double])
