"""Losses of a score or logit z and a label t: in [0, 1], or -1 and +1 for the margin losses."""

from cython cimport floating
from fastloss.kernels.outputs cimport CURVATURE, SLOPE, VALUE
from fastloss.kernels.vecmath cimport exp_nonpositive, fabs, log1p_01


cdef inline floating exp_minus_abs(floating z, floating t, floating u, const floating* c) noexcept nogil:
    return exp_nonpositive(-fabs(z))


cdef inline void binary_cross_entropy_with_logits(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """u: pos_weight. e: exp(-abs(z)). c: smoothed t = c0 + c1 t; alpha_t = c2 t + c3 (1 - t)."""
    cdef floating y = c[0] + c[1] * t, not_y = c[0] + c[1] * (1 - t), alpha = c[2] * y + c[3] * not_y
    cdef floating positive = alpha * u * y, negative = alpha * not_y  # the weights of the two labels
    # On which side z is: the loss is wrong softplus(abs(z)) + right softplus(-abs(z)).
    cdef floating wrong = negative if z > 0 else positive, right = positive if z > 0 else negative
    cdef floating r = 1 / (1 + e), agreeing = right * e
    # softplus(abs(z)) = abs(z) + log1p(e). An infinite logit that agrees with the label costs 0, not 0 * inf = NaN.
    out[VALUE] = (wrong + right) * log1p_01(e) + (0 if wrong == 0 else wrong * fabs(z))
    out[SLOPE] = (wrong - agreeing if z > 0 else agreeing - wrong) * r
    out[CURVATURE] = (wrong + right) * (e * r) * r


cdef inline void hinge(floating z, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating gap = c[0] - t * z
    out[VALUE] = 0 if gap <= 0 else gap
    out[SLOPE] = 0 if gap <= 0 else (-t if gap > 0 else gap)  # gap itself: NaN stays NaN
    out[CURVATURE] = 0
