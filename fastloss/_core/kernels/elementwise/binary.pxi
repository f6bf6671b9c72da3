"""The math of the losses of a logit, a score or a probability, and a label.

For a logit, decay = exp(-abs(logit)) and r = 1 / (1 + decay). The side that the logit is on has the probability r, the
other side decay r. `agreeing` is what the label gives to the first side, `wrong` what it gives to the other.
"""


# ---------------------------------------------------------------------------------------------------------------------
# Labels in [0, 1]


cdef inline void binary_cross_entropy(
    floating pred, floating target, floating third, floating log_pred, const floating* parameters, floating* out
) noexcept nogil:
    """The smoothed target is offset + kept target; alpha = of_positive y + of_negative (1 - y)."""
    cdef floating offset = parameters[0], kept = parameters[1], of_positive = parameters[2], of_negative = parameters[3]
    cdef floating one = 1, y = offset + kept * target, not_y = offset + kept * (one - target)
    cdef floating alpha = of_positive * y + of_negative * not_y
    cdef floating towards = alpha * y / normal(pred), away = alpha * not_y / normal(one - pred)
    out[VALUE] = -alpha * (y * at_least(log_pred, -100) + not_y * at_least(log1p(-pred), -100))
    out[GRAD] = away - towards
    out[HESS] = away / normal(one - pred) + towards / normal(pred)

cdef void binary_cross_entropy_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(log_of_pred[floating], binary_cross_entropy[floating], tile, parameters)
add("binary_cross_entropy", binary_cross_entropy_loops[float], binary_cross_entropy_loops[double])


cdef inline floating log_of_pred(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    return log(pred)


cdef inline void binary_cross_entropy_with_logits(
    floating logit, floating target, floating pos_weight, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating offset = parameters[0], kept = parameters[1], of_positive = parameters[2], of_negative = parameters[3]
    cdef floating one = 1, y = offset + kept * target, not_y = offset + kept * (one - target)
    cdef floating alpha = of_positive * y + of_negative * not_y
    cdef floating positive = alpha * pos_weight * y, negative = alpha * not_y  # the weights of the two labels
    cdef floating wrong = negative if logit > 0 else positive, agreeing = positive if logit > 0 else negative
    cdef floating r = one / (one + decay), rest = agreeing * decay
    # softplus(abs(logit)) = abs(logit) + log1p(decay). An infinite logit that agrees costs 0, not 0 * inf = NaN.
    out[VALUE] = (wrong + agreeing) * log1p_01(decay) + times(wrong, fabs(logit))
    out[GRAD] = (wrong - rest if logit > 0 else rest - wrong) * r
    out[HESS] = (wrong + agreeing) * (decay * r) * r

cdef void binary_cross_entropy_with_logits_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_minus_abs[floating], binary_cross_entropy_with_logits[floating], tile, parameters)
add(
    "binary_cross_entropy_with_logits", binary_cross_entropy_with_logits_loops[float],
    binary_cross_entropy_with_logits_loops[double]
)


cdef inline void sigmoid_poly1(
    floating logit, floating target, floating third, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating epsilon = parameters[0]
    cdef floating one = 1, wrong = one - target if logit > 0 else target
    cdef floating agreeing = target if logit > 0 else one - target
    cdef floating r = one / (one + decay), pq = (decay * r) * r, k = epsilon * (agreeing - wrong)
    cdef floating pull = (wrong - agreeing * decay) * r - k * pq
    out[VALUE] = log1p_01(decay) + times(wrong, fabs(logit)) + epsilon * ((wrong + agreeing * decay) * r)
    out[GRAD] = pull if logit > 0 else -pull
    out[HESS] = pq * (r * ((one + k) + decay * (one - k)))

cdef void sigmoid_poly1_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_minus_abs[floating], sigmoid_poly1[floating], tile, parameters)
add("sigmoid_poly1", sigmoid_poly1_loops[float], sigmoid_poly1_loops[double])


cdef inline void brier(
    floating logit, floating target, floating third, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating one = 1, wrong = one - target if logit > 0 else target
    cdef floating agreeing = target if logit > 0 else one - target
    cdef floating r = one / (one + decay), pq = (decay * r) * r, error = (wrong - agreeing * decay) * r
    out[VALUE] = error * error
    out[GRAD] = 2 * (pq * (error if logit > 0 else -error))
    out[HESS] = 2 * (pq * (pq - error * ((one - decay) * r)))

cdef void brier_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_minus_abs[floating], brier[floating], tile, parameters)
add("brier", brier_loops[float], brier_loops[double])


# ---------------------------------------------------------------------------------------------------------------------
# Focal losses: alpha m^gamma cross, where p_t = p t + (1 - p) (1 - t), m = 1 - p_t, and cross is the binary
# cross-entropy. base/focal.pxd has m^gamma and says what the parameters are.


cdef inline floating miss(floating p, floating t) noexcept nogil:
    """1 - p_t."""
    cdef floating one = 1
    return p * (one - t) + (one - p) * t


cdef inline floating focal_weight(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    return power_by_halves(miss(pred, target), parameters)


cdef inline floating focal_weight_any_gamma(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    return power(miss(pred, target), parameters)


cdef inline floating minus_log(floating p, floating not_p) noexcept nogil:
    return -at_least(log_near_one(p, -not_p), -100)


cdef inline void cross_of_label(floating pred, floating target, floating weight, floating* out) noexcept nogil:
    """As `cross_of_target`, to the bit, for labels 0 and 1. They need one logarithm and one quotient."""
    cdef floating one = 1, not_target = one - target, p_t = pred * target + (one - pred) * not_target
    cdef floating by_p_t = one / normal(p_t)
    out[VALUE] = minus_log(p_t, miss(pred, target))
    out[GRAD] = (not_target - target) * by_p_t
    out[HESS] = weight * by_p_t * by_p_t


cdef inline void cross_of_target(floating pred, floating target, floating weight, floating* out) noexcept nogil:
    """The cross-entropy, its derivative, and `weight` times its second one, which may be inf where the weight is 0."""
    cdef floating one = 1, not_p = one - pred, not_target = one - target
    cdef floating by_p = one / normal(pred), by_not_p = one / normal(not_p)
    out[VALUE] = target * minus_log(pred, not_p) + not_target * minus_log(not_p, pred)
    out[GRAD] = not_target * by_not_p - target * by_p
    out[HESS] = (not_target * weight * by_not_p) * by_not_p + (target * weight * by_p) * by_p  # in this order: inf


cdef inline void focal_of_probability(
    void (*cross_entropy)(floating, floating, floating, floating*) noexcept nogil,
    floating pred, floating target, floating weight, const floating* parameters, floating* out
) noexcept nogil:
    """weight: m^gamma. Where m = 0, cross / m is its limit 1."""
    cross_entropy(pred, target, weight, out)
    cdef floating gamma = parameters[0], of_positive = parameters[2], of_negative = parameters[3]
    cdef floating root_at_0 = parameters[7], one = 1, side = target + target - one, m = miss(pred, target)
    cdef floating alpha = of_positive * target + of_negative * (one - target)
    cdef floating cross = out[VALUE], slope = out[GRAD], bend = out[HESS]
    cdef floating ratio = one if m == 0 else cross / m
    cdef floating by_m = root_at_0 * root_at_0 if m == 0 else weight / m
    out[VALUE] = alpha * weight * cross
    out[GRAD] = (alpha * weight) * (slope - side * (gamma * ratio))
    out[HESS] = times(
        alpha,
        times(gamma, ((gamma - one) * (side * side * ratio) - (side + side) * slope) * by_m) + bend
    )


cdef inline void binary_focal(
    floating pred, floating target, floating third, floating weight, const floating* parameters, floating* out
) noexcept nogil:
    focal_of_probability(cross_of_target[floating], pred, target, weight, parameters, out)


cdef inline void binary_focal_of_label(
    floating pred, floating target, floating third, floating weight, const floating* parameters, floating* out
) noexcept nogil:
    focal_of_probability(cross_of_label[floating], pred, target, weight, parameters, out)


cdef inline void binary_focal_tile(
    floating (*weight_of)(floating, floating, floating, const floating*) noexcept nogil,
    const Tile* tile, const floating* parameters
) noexcept nogil:
    if any_outside_domain(ZERO_OR_ONE, <const floating*> tile.target, NULL, tile.n):
        loops(weight_of, binary_focal[floating], tile, parameters)
    else:
        loops(weight_of, binary_focal_of_label[floating], tile, parameters)


cdef void binary_focal_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    binary_focal_tile(focal_weight[floating], tile, parameters)
add("binary_focal", binary_focal_loops[float], binary_focal_loops[double])

cdef void binary_focal_any_gamma_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    binary_focal_tile(focal_weight_any_gamma[floating], tile, parameters)
add("binary_focal_any_gamma", binary_focal_any_gamma_loops[float], binary_focal_any_gamma_loops[double])


cdef inline void focal_with_logits(
    floating (*power)(floating, const floating*) noexcept nogil,
    floating logit, floating target, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating gamma = parameters[0], of_positive = parameters[2], of_negative = parameters[3]
    cdef floating one = 1, alpha = of_positive * target + of_negative * (one - target)
    cdef floating wrong = one - target if logit > 0 else target, agreeing = target if logit > 0 else one - target
    cdef floating r = one / (one + decay), x = wrong + agreeing * decay, side = agreeing - wrong
    cdef floating pq = (decay * r) * r, weight = alpha * power(r * x, parameters)  # m is r x
    cdef floating cross = log1p_01(decay) + times(wrong, fabs(logit))
    # by_m: pq / m. For a label that agrees, decay may be 0 in both.
    cdef floating by_m = r if wrong == 0 else r * (decay / x), cross_by_m = 0 if by_m == 0 else cross * by_m
    # slope: that of the cross-entropy, towards the side that the logit is on
    cdef floating slope = (wrong - agreeing * decay) * r, pull = weight * (slope - side * (gamma * cross_by_m))
    out[VALUE] = 0 if weight == 0 else weight * cross
    out[GRAD] = pull if logit > 0 else -pull
    out[HESS] = weight * (
        pq - side * ((gamma + gamma) * by_m * slope)
        + gamma * cross_by_m * side * ((gamma - one) * (side * by_m) + (one - decay) * r)
    )


cdef inline void sigmoid_focal(
    floating logit, floating target, floating third, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    focal_with_logits(power_by_halves[floating], logit, target, decay, parameters, out)

cdef void sigmoid_focal_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_minus_abs[floating], sigmoid_focal[floating], tile, parameters)
add("sigmoid_focal", sigmoid_focal_loops[float], sigmoid_focal_loops[double])


cdef inline void sigmoid_focal_any_gamma(
    floating logit, floating target, floating third, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    focal_with_logits(power[floating], logit, target, decay, parameters, out)

cdef void sigmoid_focal_any_gamma_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_minus_abs[floating], sigmoid_focal_any_gamma[floating], tile, parameters)
add("sigmoid_focal_any_gamma", sigmoid_focal_any_gamma_loops[float], sigmoid_focal_any_gamma_loops[double])
