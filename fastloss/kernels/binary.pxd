"""Losses of a score or logit z and a label t: in [0, 1], or -1 and +1 for the margin losses.

Of a logit, e = exp(-abs(z)) and r = 1 / (1 + e): the side that z is on has the probability r, the other e r. `agreeing`
and `wrong` are what the label gives to the two.
"""

from cython cimport floating
from fastloss.kernels.outputs cimport CURVATURE, CURVATURE_2, SLOPE, SLOPE_2, VALUE
from fastloss.kernels.vecmath cimport (
    at_least, exp, exp_nonpositive, fabs, log, log1p, log1p_01, log_near_one, pow, sqrt, times
)
from libc.float cimport DBL_MIN, FLT_MIN


cdef inline floating exp_minus_abs(floating z, floating t, floating u, const floating* c) noexcept nogil:
    return exp_nonpositive(-fabs(z))


cdef inline floating normal(floating x) noexcept nogil:
    """x, but at least the smallest normal number: what the result is divided by is finite."""
    if floating is float:
        return at_least(x, <float> FLT_MIN)
    else:
        return at_least(x, <double> DBL_MIN)


# ---------------------------------------------------------------------------------------------------------------------
# Labels in [0, 1]


cdef inline void binary_cross_entropy(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: smoothed t = c0 + c1 t; alpha_t = c2 t + c3 (1 - t). e: log p."""
    cdef floating one = 1, y = c[0] + c[1] * t, not_y = c[0] + c[1] * (one - t), alpha = c[2] * y + c[3] * not_y
    cdef floating towards = alpha * y / normal(p), away = alpha * not_y / normal(one - p)
    out[VALUE] = -alpha * (y * at_least(e, -100) + not_y * at_least(log1p(-p), -100))
    out[SLOPE] = away - towards
    out[CURVATURE] = away / normal(one - p) + towards / normal(p)


cdef inline floating log_of_p(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return log(p)


cdef inline void binary_cross_entropy_with_logits(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """u: pos_weight. e: exp(-abs(z)). c: as of binary_cross_entropy."""
    cdef floating one = 1, y = c[0] + c[1] * t, not_y = c[0] + c[1] * (one - t), alpha = c[2] * y + c[3] * not_y
    cdef floating positive = alpha * u * y, negative = alpha * not_y  # the weights of the two labels
    cdef floating wrong = negative if z > 0 else positive, agreeing = positive if z > 0 else negative
    cdef floating r = one / (one + e), rest = agreeing * e
    # softplus(abs(z)) = abs(z) + log1p(e). An infinite logit that agrees with the label costs 0, not 0 * inf = NaN.
    out[VALUE] = (wrong + agreeing) * log1p_01(e) + times(wrong, fabs(z))
    out[SLOPE] = (wrong - rest if z > 0 else rest - wrong) * r
    out[CURVATURE] = (wrong + agreeing) * (e * r) * r


cdef inline void sigmoid_poly1(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp(-abs(z)). c: epsilon."""
    cdef floating one = 1, wrong = one - t if z > 0 else t, agreeing = t if z > 0 else one - t
    cdef floating r = one / (one + e), pq = (e * r) * r, k = c[0] * (agreeing - wrong)
    cdef floating pull = (wrong - agreeing * e) * r - k * pq
    out[VALUE] = log1p_01(e) + times(wrong, fabs(z)) + c[0] * ((wrong + agreeing * e) * r)
    out[SLOPE] = pull if z > 0 else -pull
    out[CURVATURE] = pq * (r * ((one + k) + e * (one - k)))


cdef inline void brier(floating z, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    """e: exp(-abs(z))."""
    cdef floating one = 1, wrong = one - t if z > 0 else t, agreeing = t if z > 0 else one - t
    cdef floating r = one / (one + e), pq = (e * r) * r, error = (wrong - agreeing * e) * r
    out[VALUE] = error * error
    out[SLOPE] = 2 * (pq * (error if z > 0 else -error))
    out[CURVATURE] = 2 * (pq * (pq - error * ((one - e) * r)))


# ---------------------------------------------------------------------------------------------------------------------
# Focal losses: alpha_t m^gamma n, where p_t = p t + (1 - p) (1 - t), m = 1 - p_t and n = -log p_t. They come twice:
# with gamma a multiple of 1/2 up to 7.5, and with any gamma.
#
# c: gamma, whether 2 gamma is odd, alpha, 1 - alpha, whether gamma has the summands 1, 2, 4, and a number whose square
# is m^(gamma - 1) at m = 0.


cdef inline floating power_by_halves(floating m, const floating* c) noexcept nogil:
    cdef floating one = 1, square = m * m
    return (
        (sqrt(m) if c[1] != 0 else one) * (m if c[4] != 0 else one) * (square if c[5] != 0 else one)
        * (square * square if c[6] != 0 else one)
    )


cdef inline floating power(floating m, const floating* c) noexcept nogil:
    return pow(m, c[0])


cdef inline floating miss(floating p, floating t) noexcept nogil:
    """1 - p_t."""
    cdef floating one = 1
    return p * (one - t) + (one - p) * t


cdef inline floating focal_weight(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return power_by_halves(miss(p, t), c)


cdef inline floating focal_weight_any_gamma(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return power(miss(p, t), c)


cdef inline void binary_focal(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: m^gamma. Where m = 0, n / m is its limit 1."""
    cdef floating one = 1, gamma = c[0], direction = t + t - one
    cdef floating p_t = p * t + (one - p) * (one - t), m = miss(p, t)
    cdef floating n = -at_least(log_near_one(p_t, -m), -100), ratio = one if m == 0 else n / m
    cdef floating alpha = c[2] * t + c[3] * (one - t), scale = one / normal(p_t)
    cdef floating by_m = c[7] * c[7] if m == 0 else e / m
    out[VALUE] = alpha * e * n
    out[SLOPE] = -direction * (alpha * e) * (gamma * ratio + scale)
    out[CURVATURE] = direction * direction * times(
        alpha, times(gamma, ((gamma - one) * ratio + (scale + scale)) * by_m) + e * scale * scale
    )


cdef inline void focal_with_logits(
    floating (*power)(floating, const floating*) noexcept nogil,
    floating z, floating t, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp(-abs(z))."""
    cdef floating one = 1, gamma = c[0], alpha = c[2] * t + c[3] * (one - t)
    cdef floating wrong = one - t if z > 0 else t, agreeing = t if z > 0 else one - t
    cdef floating r = one / (one + e), y = agreeing + wrong * e, x = wrong + agreeing * e
    cdef floating p_t = r * y, m = r * x, soft = t * (one - t)
    # pq / p_t and pq / m. Of a hard label these are m and p_t, and e may be 0 in both quotients.
    cdef floating k = r if soft == 0 else (e * r) / (x * y)
    cdef floating by_p_t = k * x, by_m = k * y
    # p_t of a wrong hard label is e r, which underflows long before its logarithm overflows
    cdef floating n = fabs(z) if (agreeing == 0) & (e < <floating> 1e-18) else -log_near_one(p_t, -m)
    cdef floating n_by_m = 0 if by_m == 0 else n * by_m
    cdef floating weight = alpha * power(m, c), pull = weight * (gamma * n_by_m + by_p_t)
    cdef floating soft_by_p_t = 0 if soft == 0 else soft / p_t, soft_by_m = 0 if soft == 0 else soft / m
    out[VALUE] = 0 if weight == 0 else weight * n
    out[SLOPE] = pull * (one - (t + t))
    out[CURVATURE] = weight * (
        by_p_t * (p_t - soft_by_p_t) + (gamma + gamma) * by_m * (m - soft_by_p_t)
        + gamma * n_by_m * (gamma * (p_t - soft_by_m) + soft_by_m - m)
    )


cdef inline void sigmoid_focal(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    focal_with_logits(power_by_halves[floating], z, t, e, c, out)


cdef inline void sigmoid_focal_any_gamma(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    focal_with_logits(power[floating], z, t, e, c, out)


# ---------------------------------------------------------------------------------------------------------------------
# Labels -1 and +1. The margin is t z.


cdef inline void hinge(floating z, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    """c: the margin from which on nothing is lost."""
    cdef floating gap = c[0] - t * z
    out[VALUE] = 0 if gap <= 0 else gap
    out[SLOPE] = 0 if gap <= 0 else (-t if gap > 0 else gap)  # gap itself: NaN stays NaN
    out[CURVATURE] = 0


cdef inline void margin_ranking(
    floating p, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """u: the second score. c: the margin."""
    cdef floating gap = c[0] - t * (p - u)
    out[VALUE] = 0 if gap <= 0 else gap
    out[SLOPE] = 0 if gap <= 0 else (-t if gap > 0 else gap)  # gap itself: NaN stays NaN
    out[SLOPE_2] = 0 - out[SLOPE]
    out[CURVATURE] = out[CURVATURE_2] = 0


cdef inline void hinge_embedding(
    floating x, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: the margin, for distances x with a label -1."""
    cdef floating gap = c[0] - x
    out[VALUE] = x if t > 0 else (0 if gap <= 0 else gap)
    # One condition that is not that above: selects nested alike become jumps, and the loop is not vectorised.
    out[SLOPE] = x if x != x else (t if (t > 0) | (gap > 0) else 0)
    out[CURVATURE] = 0


cdef inline void squared_hinge(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """c: the margin from which on nothing is lost."""
    cdef floating gap = c[0] - t * z, excess = 0 if gap <= 0 else gap
    out[VALUE] = excess * excess
    out[SLOPE] = -2 * (t * excess)
    out[CURVATURE] = 2 if excess > 0 else 0


cdef inline void modified_huber(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    cdef floating margin = t * z, gap = 1 - margin, excess = 0 if gap <= 0 else gap
    out[VALUE] = -4 * margin if margin < -1 else excess * excess
    out[SLOPE] = -4 * t if margin < -1 else -2 * (t * excess)
    out[CURVATURE] = 0 if (margin < -1) | (excess == 0) else 2


cdef inline void logistic(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp(-abs(z))."""
    cdef bint right = t * z > 0
    cdef floating one = 1, r = one / (one + e)
    out[VALUE] = log1p_01(e) + (0 if right else fabs(z))
    out[SLOPE] = -t * (e * r if right else r)
    out[CURVATURE] = (e * r) * r


cdef inline floating exp_of_margin(floating z, floating t, floating u, const floating* c) noexcept nogil:
    return exp(-t * z)


cdef inline void exponential(
    floating z, floating t, floating u, floating e, const floating* c, floating* out
) noexcept nogil:
    """e: exp(-t z)."""
    out[VALUE] = e
    out[SLOPE] = -t * e
    out[CURVATURE] = e
