"""Losses of a score or logit z and a label t: in [0, 1], or -1 and +1 for the margin losses."""

from cython cimport floating
from fastloss.kernels.outputs cimport CURVATURE, SLOPE, VALUE
from fastloss.kernels.vecmath cimport exp_nonpositive, fabs, log1p_01


cdef inline void binary_cross_entropy_with_logits(
    floating z, floating t, floating u, const floating* c, floating* out
) noexcept nogil:
    """u: pos_weight. c: alpha_t = c0 + c1 t; smoothed t = c2 + c3 t."""
    cdef floating s = c[2] + c[3] * t
    cdef floating alpha = c[0] + c[1] * s
    cdef floating a = alpha * u * s, b = alpha * (1 - s)  # the weights of the two labels
    cdef floating e = exp_nonpositive(-fabs(z)), r = 1 / (1 + e)
    # The loss is a softplus(-z) + b softplus(z), split so that an infinite logit that agrees with t costs 0, not NaN.
    cdef floating wrong = b if z > 0 else a
    out[VALUE] = (a + b) * log1p_01(e) + (0 if wrong == 0 else wrong * fabs(z))
    out[SLOPE] = (b * r - a * (e * r)) if z > 0 else (b * (e * r) - a * r)
    out[CURVATURE] = (a + b) * (e * r) * r


cdef inline void hinge(floating z, floating t, floating u, const floating* c, floating* out) noexcept nogil:
    cdef floating gap = c[0] - t * z
    out[VALUE] = 0 if gap <= 0 else gap
    out[SLOPE] = 0 if gap <= 0 else (-t if gap > 0 else gap)  # gap itself: NaN stays NaN
    out[CURVATURE] = 0
