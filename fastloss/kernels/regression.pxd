"""Regression losses of a prediction p and a target t, with r = p - t; and the regularisers, of p alone."""

from cython cimport floating
from fastloss.kernels.outputs cimport CURVATURE, CURVATURE_2, SLOPE, SLOPE_2, VALUE
from fastloss.kernels.vecmath cimport (
    at_least, copysign, exp, exp_nonpositive, exp_of_product, expm1_from, fabs, lgamma1p, log, log1p, sqrt, tanh_from,
    times, x_minus_log1p
)
from fastloss.kernels.vecmath cimport log_cosh as log_of_cosh
from libc.float cimport DBL_EPSILON, FLT_EPSILON
from libc.math cimport INFINITY, NAN

cdef inline bint far(floating u) noexcept nogil:
    """Whether 1 + u is u, in double precision too. u itself still is a float; u^2 may not be."""
    return u > <floating> 1e17


cdef inline floating sign(floating x) noexcept nogil:
    return 1 if x > 0 else (-1 if x < 0 else x)  # x itself: 0 at the kink, NaN stays NaN


# ---------------------------------------------------------------------------------------------------------------------
# Powers of the residual


cdef inline void mse(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating r = p - t
    out[VALUE] = r * r
    out[SLOPE] = 2 * r
    out[CURVATURE] = 2


cdef inline void mae(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating r = p - t
    out[VALUE] = fabs(r)
    out[SLOPE] = sign(r)
    out[CURVATURE] = 0


cdef inline void mape(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating r = p - t
    cdef floating scale = 1 / at_least(fabs(t), <floating> FLT_EPSILON if floating is float else <floating> DBL_EPSILON)
    out[VALUE] = fabs(r) * scale
    out[SLOPE] = sign(r) * scale
    out[CURVATURE] = 0


cdef inline floating difference_of_logarithms(floating p, floating t, floating u, const floating* c) noexcept nogil:
    # log1p((p - t) / (1 + t)), or the other way round, so that the quotient is positive. Where it might overflow, it is
    # taken 2^64 times smaller.
    cdef floating r = p - t, a = fabs(r), base = 1 + (p if p < t else t), limit = 1e30
    cdef bint huge
    if floating is double:
        limit = 1e300
    huge = (base < 1) & (a > limit)
    a = (a * <floating> 2.0**-64 if huge else a) / (base if base >= 0 else <floating> NAN)
    return copysign(log1p(a) + (<floating> 44.3614195558365 if huge else 0), r)


cdef inline void msle(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    """e: log(1 + p) - log(1 + t)."""
    cdef floating one = 1, scale = one / (one + p)
    out[VALUE] = e * e
    out[SLOPE] = 2 * times(scale, e)
    out[CURVATURE] = 2 * (times(scale, one - e) * scale)


cdef inline void quantile(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: q, q - 1."""
    cdef floating r = t - p, weight = c[0] if r > 0 else c[1]
    out[VALUE] = times(weight, r)
    out[SLOPE] = -weight if fabs(r) > 0 else r
    out[CURVATURE] = 0


cdef inline void expectile(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: q, 1 - q."""
    cdef floating r = p - t, weight = c[1] if r > 0 else c[0]
    out[VALUE] = times(times(weight, r), r)
    out[SLOPE] = 2 * times(weight, r)
    out[CURVATURE] = 2 * weight


# ---------------------------------------------------------------------------------------------------------------------
# Insensitive near the target, or to what is far from it


cdef inline void epsilon_insensitive(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    cdef floating r = p - t, excess = fabs(r) - c[0]
    out[VALUE] = 0 if excess <= 0 else excess
    out[SLOPE] = 0 if excess <= 0 else sign(r)
    out[CURVATURE] = 0


cdef inline void squared_epsilon_insensitive(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    cdef floating r = p - t, gap = fabs(r) - c[0], excess = 0 if gap <= 0 else gap
    out[VALUE] = excess * excess
    out[SLOPE] = copysign(2 * excess, r)
    out[CURVATURE] = 2 if excess > 0 else 0


cdef inline void huber(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating delta = c[0], r = p - t, a = fabs(r)
    cdef floating k = delta if a > delta else a
    out[VALUE] = k * (a - <floating> 0.5 * k)
    out[SLOPE] = copysign(k, r)
    out[CURVATURE] = 0 if a > delta else 1


cdef inline void smooth_l1(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: beta, 1 / beta."""
    cdef floating beta = c[0], r = p - t, a = fabs(r)
    out[VALUE] = a - <floating> 0.5 * beta if a >= beta else <floating> 0.5 * a * (a * c[1])
    out[SLOPE] = copysign(<floating> 1, r) if a >= beta else r * c[1]
    out[CURVATURE] = 0 if a >= beta else c[1]


cdef inline void pseudo_huber(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: delta, 1 / delta."""
    # delta^2 (sqrt(1 + a^2) - 1) = r^2 / (1 + sqrt(1 + a^2))
    cdef floating one = 1, delta = c[0], r = p - t, a = fabs(r * c[1]), s = sqrt(one + a * a), scale = one / s
    out[VALUE] = fabs(r) * (delta if far(a) else fabs(r) / (one + s))
    out[SLOPE] = copysign(delta, r) if far(a) else r / s
    out[CURVATURE] = scale * scale * scale


cdef inline floating exp_minus_twice(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return exp_nonpositive(-2 * fabs(p - t))


cdef inline void log_cosh(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp(-2 abs(r))."""
    cdef floating one = 1, r = p - t, scale = one / (one + e)
    out[VALUE] = log_of_cosh(r, e)
    out[SLOPE] = tanh_from(r, e)
    out[CURVATURE] = 4 * ((e * scale) * scale)


# The robust losses of u = r / c. c: c, 1 / c. Near 0 all of them are r^2 / 2: this is written where u^2 may underflow,
# and c comes as two factors, since c^2 may overflow.


cdef inline bint near(floating u) noexcept nogil:
    """Whether 1 + u is 1."""
    if floating is float:
        return u < <float> 2.0**-25
    else:
        return u < <double> 2.0**-54


cdef inline void fair(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating one = 1, r = p - t, a = fabs(r * c[1]), scale = one / (one + a)
    cdef floating rest = c[0] * (c[0] * x_minus_log1p(a))
    out[VALUE] = c[0] * fabs(r) if far(a) else (<floating> 0.5 * r * r if near(a) else rest)
    out[SLOPE] = copysign(c[0], r) if far(a) else r * scale
    out[CURVATURE] = scale * scale


cdef inline void cauchy(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    # Far out log1p(a^2) is 2 log1p(a), and a^2 / (1 + a^2) is 1.
    cdef floating one = 1, half = <floating> 0.5, r = p - t, a = fabs(r * c[1]), x = a * a
    cdef floating scale = one / (a if far(a) else one + x), logarithm = log1p(a if far(a) else x)
    out[VALUE] = half * r * r if near(x) else c[0] * (c[0] * (logarithm if far(a) else half * logarithm))
    out[SLOPE] = copysign((c[0] if far(a) else fabs(r)) * scale, r)
    out[CURVATURE] = (-scale if far(a) else (one - x) * scale) * scale


cdef inline void geman_mcclure(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    cdef floating one = 1, half = <floating> 0.5, r = p - t, a = r * c[1], x = a * a, scale = one / (one + x)
    out[VALUE] = c[0] * (half * c[0]) if far(x) else half * r * r * scale
    out[SLOPE] = 0 if scale == 0 else r * scale * scale
    out[CURVATURE] = 0 if scale == 0 else (one - <floating> 3 * x) * scale * scale * scale


cdef inline floating exp_minus_square(floating p, floating t, floating u, const floating* c) noexcept nogil:
    cdef floating a = (p - t) * c[1]
    return exp_of_product(-a, a)


cdef inline void welsch(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp(-u^2)."""
    cdef floating one = 1, half = <floating> 0.5, r = p - t, a = r * c[1], x = a * a
    out[VALUE] = half * r * r if near(x) else c[0] * (c[0] * (-half * expm1_from(-x, e)))
    out[SLOPE] = 0 if e == 0 else r * e
    out[CURVATURE] = 0 if e == 0 else (one - (x + x)) * e


cdef inline void tukey(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    # 1 - y^3 = (1 - y) (1 + y + y^2), where y = 1 - (r / c)^2
    cdef floating one = 1, r = p - t, a = r * c[1], x = a * a, y = at_least(one - x, 0)
    out[VALUE] = (r * r if x < 1 else c[0] * c[0]) * ((one + y + y * y) * <floating> (1.0 / 6))
    out[SLOPE] = 0 if y == 0 else r * y * y
    out[CURVATURE] = 0 if y == 0 else y * (one - <floating> 5 * x)


# ---------------------------------------------------------------------------------------------------------------------
# Negative log-likelihoods. A target of 0 makes its term 0, also where that would be 0 * inf.


cdef inline floating exp_of_p(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return exp(p)


cdef inline void poisson_nll(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp(p)."""
    out[VALUE] = e if e == INFINITY else e - times(t, p)
    out[SLOPE] = e - t
    out[CURVATURE] = e


cdef inline floating log_of_rate(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return log(p + c[0])


cdef inline void poisson_nll_of_rate(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: eps. e: log(p + eps)."""
    cdef floating rate = p + c[0], scale = 0 if t == 0 else t / rate
    out[VALUE] = p if p == INFINITY else p - times(t, e)
    out[SLOPE] = 1 - scale
    out[CURVATURE] = 0 if t == 0 else scale / rate


cdef inline floating log_factorial(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return lgamma1p(t)


cdef inline void poisson_nll_full(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: log(t!)."""
    poisson_nll(p, t, u, exp(p), c, out)
    out[VALUE] += e


cdef inline void poisson_nll_of_rate_full(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: eps. e: log(t!)."""
    poisson_nll_of_rate(p, t, u, log(p + c[0]), c, out)
    out[VALUE] += e


cdef inline floating exp_of_minus_p(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return exp(-p)


cdef inline void gamma_nll(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp(-p)."""
    cdef floating ratio = 0 if t == 0 else t * e
    out[VALUE] = ratio if ratio == INFINITY else ratio + p
    out[SLOPE] = 1 - ratio
    out[CURVATURE] = ratio


cdef inline floating exp_of_multiple(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return exp_of_product(c[0], p)


cdef inline void tweedie(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: 1 - power, 2 - power, their reciprocals. e: exp((1 - power) p)."""
    cdef floating a = times(t, e), b = exp_of_product(c[1], p)
    out[VALUE] = b * c[3] - a * c[2]
    out[SLOPE] = b - a
    out[CURVATURE] = b * c[1] - a * c[0]


cdef inline floating log_of_var(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return log(at_least(u, c[0]))


cdef inline void gaussian_nll(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """u: var. c: eps, a constant. e: log of the variance, which is at least eps."""
    cdef floating half = <floating> 0.5, r = p - t, scale = 1 / at_least(u, c[0]), d = r * scale
    out[VALUE] = half * (e + r * d) + c[1]
    out[SLOPE] = d
    out[CURVATURE] = scale
    out[SLOPE_2] = 0 if (u < c[0]) & (d == d) else half * (scale - d * d)
    out[CURVATURE_2] = 0 if (u < c[0]) & (d == d) else (d * d - half * scale) * scale


# ---------------------------------------------------------------------------------------------------------------------
# Regularisers


cdef inline void l1(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    """c: strength."""
    out[VALUE] = c[0] * fabs(p)
    out[SLOPE] = c[0] * sign(p)
    out[CURVATURE] = 0


cdef inline void l2(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    """c: strength."""
    cdef floating slope = c[0] * p
    out[VALUE] = <floating> 0.5 * slope * p
    out[SLOPE] = slope
    out[CURVATURE] = c[0]


cdef inline void elastic_net(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: the strengths of abs(p) and of p^2 / 2."""
    out[VALUE] = times(c[0], fabs(p)) + times(times(<floating> 0.5 * c[1], p), p)
    out[SLOPE] = c[0] * sign(p) + times(c[1], p)
    out[CURVATURE] = c[1]
