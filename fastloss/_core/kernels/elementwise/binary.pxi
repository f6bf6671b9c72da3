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
# Focal losses: alpha_t m^gamma n, where p_t = p t + (1 - p) (1 - t), m = 1 - p_t and n = -log p_t. base/focal.pxd has
# m^gamma and says what the parameters are.


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


cdef inline void binary_focal(
    floating pred, floating target, floating third, floating weight, const floating* parameters, floating* out
) noexcept nogil:
    """weight: m^gamma. Where m = 0, n / m is its limit 1."""
    cdef floating gamma = parameters[0], of_positive = parameters[2], of_negative = parameters[3]
    cdef floating root_at_0 = parameters[7], one = 1, direction = target + target - one
    cdef floating p_t = pred * target + (one - pred) * (one - target), m = miss(pred, target)
    cdef floating n = -at_least(log_near_one(p_t, -m), -100), ratio = one if m == 0 else n / m
    cdef floating alpha = of_positive * target + of_negative * (one - target), scale = one / normal(p_t)
    cdef floating by_m = root_at_0 * root_at_0 if m == 0 else weight / m
    out[VALUE] = alpha * weight * n
    out[GRAD] = -direction * (alpha * weight) * (gamma * ratio + scale)
    out[HESS] = direction * direction * times(
        alpha, times(gamma, ((gamma - one) * ratio + (scale + scale)) * by_m) + weight * scale * scale
    )

cdef void binary_focal_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(focal_weight[floating], binary_focal[floating], tile, parameters)
add("binary_focal", binary_focal_loops[float], binary_focal_loops[double])

cdef void binary_focal_any_gamma_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(focal_weight_any_gamma[floating], binary_focal[floating], tile, parameters)
add("binary_focal_any_gamma", binary_focal_any_gamma_loops[float], binary_focal_any_gamma_loops[double])


cdef inline void focal_with_logits(
    floating (*power)(floating, const floating*) noexcept nogil,
    floating logit, floating target, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating gamma = parameters[0], of_positive = parameters[2], of_negative = parameters[3]
    cdef floating one = 1, alpha = of_positive * target + of_negative * (one - target)
    cdef floating wrong = one - target if logit > 0 else target, agreeing = target if logit > 0 else one - target
    cdef floating r = one / (one + decay), y = agreeing + wrong * decay, x = wrong + agreeing * decay
    cdef floating p_t = r * y, m = r * x, soft = target * (one - target)
    # pq / p_t and pq / m. For a hard label these are m and p_t, and decay may be 0 in both quotients.
    cdef floating k = r if soft == 0 else (decay * r) / (x * y)
    cdef floating by_p_t = k * x, by_m = k * y
    # p_t of a wrong hard label is decay r, which underflows long before its logarithm overflows.
    cdef floating n = fabs(logit) if (agreeing == 0) & (decay < <floating> 1e-18) else -log_near_one(p_t, -m)
    cdef floating n_by_m = 0 if by_m == 0 else n * by_m
    cdef floating weight = alpha * power(m, parameters), pull = weight * (gamma * n_by_m + by_p_t)
    cdef floating soft_by_p_t = 0 if soft == 0 else soft / p_t, soft_by_m = 0 if soft == 0 else soft / m
    out[VALUE] = 0 if weight == 0 else weight * n
    out[GRAD] = pull * (one - (target + target))
    out[HESS] = weight * (
        by_p_t * (p_t - soft_by_p_t) + (gamma + gamma) * by_m * (m - soft_by_p_t)
        + gamma * n_by_m * (gamma * (p_t - soft_by_m) + soft_by_m - m)
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
