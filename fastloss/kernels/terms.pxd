"""Losses that are sums over the classes, as functions of one class: of its entries p and t of pred and target."""

from cython cimport floating

from fastloss.kernels.binary cimport normal
from fastloss.kernels.outputs cimport CURVATURE, CURVATURE_2, SLOPE, SLOPE_2, VALUE
from fastloss.kernels.vecmath cimport at_least, exp, expm1, expm1_minus_x, fabs, log, log1p, log1p_01, log_near_one


cdef inline floating exp_of_t(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return exp(t)


cdef inline floating expm1_of_t(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return expm1(t)


cdef inline floating expm1_of_gap(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return expm1(0 if p == t else fabs(t - p))  # both may be -inf


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


cdef inline void js_divergence(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: expm1 abs(t - p). c: the weights of exp(t) and of exp(p).

    With `top` the larger of p and t, of weight w_top, and `bottom` the other: bottom <= m <= top, where exp(m) is the
    weighted mean. Since the weighted sum of exp(x) is exp(m), the sum of exp(x) (x - m) is that of
    exp(x) (exp(m - x) - 1 - (m - x)), and none of these cancels.
    """
    cdef floating zero = 0, one = 1, far = <floating> 1e30
    cdef floating top = t if t > p else p, bottom = p if t > p else t
    cdef floating w_top = c[0] if t > p else c[1], w_bottom = c[1] if t > p else c[0]
    cdef floating decay = one / (one + e), fall = one if e > far else e * decay  # exp(bottom - top), and 1 - that
    cdef floating rise = w_top * e                                              # expm1(m - bottom)
    cdef floating ratio = w_top + w_bottom * decay, drop = -(w_bottom * fall)   # exp(m - top), and that - 1
    cdef floating above = -log_near_one(ratio, drop)                            # top - m
    cdef floating below = (top - bottom) - above if e > far else log1p(rise)    # m - bottom
    cdef floating high = w_top * exp(top), low = w_bottom * exp(bottom)
    cdef floating low_below = 0 if low == 0 else low * below
    out[VALUE] = high * expm1_minus_x(-above, drop) + (
        low * expm1_minus_x(below, rise) if rise < 16 else w_bottom * (high * fall) - low_below
    )
    out[SLOPE] = zero - low_below if t > p else high * above
    out[SLOPE_2] = high * above if t > p else zero - low_below
    cdef floating by_top = high * (above + w_bottom * decay / ratio)
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
