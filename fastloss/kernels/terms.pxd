"""Losses that are sums over the classes, as functions of one class: of its entries p and t of pred and target."""

from cython cimport floating

from fastloss.kernels.binary cimport normal
from fastloss.kernels.outputs cimport CURVATURE, CURVATURE_2, SLOPE, SLOPE_2, VALUE
from fastloss.kernels.vecmath cimport (
    at_least, exp, exp_difference_and_fall, expm1, expm1_minus_x, fabs, gap_near_one, log, log1p_01, log1p_and_gap
)
from libc.float cimport DBL_MAX, FLT_MAX


cdef inline floating exp_of_t(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return exp(t)


cdef inline floating expm1_of_t(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return expm1(t)


# ---------------------------------------------------------------------------------------------------------------------
# Classification. What a class without a part in the target holds does not count, be it -inf or NaN.


cdef inline void categorical_cross_entropy(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: smoothed t = c0 t + c1."""
    cdef floating zero = 0, q = c[0] * t + c[1], pull = q / normal(p)
    out[VALUE] = 0 if q == 0 else zero - q * at_least(log(p), -100)
    out[SLOPE] = 0 if q == 0 else -pull
    out[CURVATURE] = 0 if q == 0 else pull / normal(p)


cdef inline void nll(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating zero = 0
    out[VALUE] = 0 if t == 0 else zero - t * p
    out[SLOPE] = zero - t
    out[CURVATURE] = 0


cdef inline void multilabel_soft_margin(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp(-abs(z)). c: 1 / C. As binary_cross_entropy_with_logits in binary.pxd, with fewer roundings."""
    cdef floating one = 1, wrong = one - t if z > 0 else t, agreeing = t if z > 0 else one - t
    cdef floating r = c[0] / (one + e), rest = agreeing * e
    out[VALUE] = c[0] * (log1p_01(e) + (0 if wrong == 0 else wrong * fabs(z)))
    out[SLOPE] = (wrong - rest if z > 0 else rest - wrong) * r
    out[CURVATURE] = e * r / (one + e)


# ---------------------------------------------------------------------------------------------------------------------
# Divergences


cdef inline void kl_divergence(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    cdef floating zero = 0
    out[VALUE] = 0 if t == 0 else t * (log(t) - p)
    out[SLOPE] = zero - t
    out[CURVATURE] = 0


cdef inline void kl_divergence_log_target(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp t."""
    cdef floating zero = 0
    out[VALUE] = 0 if e == 0 else e * (t - p)
    out[SLOPE] = zero - e
    out[CURVATURE] = 0


cdef inline floating exp_of_gap(floating p, floating t, floating* fall) noexcept nogil:
    """exp of -abs(p - t), and in fall[0] 1 - that; 0 and 1 where both are -inf."""
    cdef floating lowest = -<floating> (FLT_MAX if floating is float else DBL_MAX)
    return exp_difference_and_fall(p if t > p else t, at_least(t if t > p else p, lowest), fall)


cdef inline void js_divergence(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """u: exp(bottom - top). e: 1 - that. c: the weights of exp(t) and of exp(p).

    With `top` the larger of p and t, of weight w_top, and `bottom` the other: bottom <= m <= top, where exp(m) is the
    weighted mean. Since the weighted sum of exp(x) is exp(m), the sum of exp(x) (x - m) is that of
    exp(x) (expm1(m - x) - (m - x)), which are of the form y - log1p(y). None of it cancels.
    """
    cdef floating zero = 0, far = <floating> 1e30, low_gap
    cdef floating top = t if t > p else p, bottom = p if t > p else t
    cdef floating w_top = c[0] if t > p else c[1], w_bottom = c[1] if t > p else c[0]
    cdef floating ratio = w_top + w_bottom * u, drop = -(w_bottom * e)          # exp(m - top), and that - 1
    cdef floating rise = w_top * (e / u)                                        # expm1(m - bottom)
    cdef floating high_gap = gap_near_one(ratio, drop), above = high_gap - drop  # top - m
    cdef floating log_rise = log1p_and_gap(rise, &low_gap)
    cdef floating below = log_rise if rise < far else (top - bottom) - above    # m - bottom
    cdef floating exp_top = exp(top), high = w_top * exp_top, low = w_bottom * (exp_top * u)
    cdef floating low_below = 0 if low == 0 else low * below
    out[VALUE] = high * high_gap + (low * low_gap if rise < 16 else w_bottom * (high * e) - low_below)
    out[SLOPE] = zero - low_below if t > p else high * above
    out[SLOPE_2] = high * above if t > p else zero - low_below
    cdef floating by_top = high * (above + w_bottom * u / ratio)
    cdef floating by_bottom = low * (w_top / ratio) - low_below
    out[CURVATURE] = by_bottom if t > p else by_top
    out[CURVATURE_2] = by_top if t > p else by_bottom


cdef inline void gaussian_kl(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """p: the mean. t: the logarithm of the variance. e: expm1 t."""
    cdef floating half = <floating> 0.5
    out[VALUE] = half * (p * p + expm1_minus_x(t, e))
    out[SLOPE] = p
    out[CURVATURE] = 1
    out[SLOPE_2] = half * e
    out[CURVATURE_2] = half * exp(t)
