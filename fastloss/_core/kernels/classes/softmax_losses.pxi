"""The losses of softmax probabilities: the math of each, and its place in the table.

A loss is a function of what the driver summed over the classes of one sample, q being the weighted, smoothed target:
ce is the cross-entropy sum_c q_c (-log p_c), lse is log sum_c exp z_c, target_weight is the sum of the weighted target,
hit is sum_c q_c p_c, and miss is sum_c q_c (1 - p_c). The driver applies the chain rule through the softmax.
"""


cdef inline void cross_entropy(
    floating ce, floating lse, floating target_weight, floating hit, floating miss, const floating* parameters,
    floating* out
) noexcept nogil:
    cdef floating z_loss = parameters[0], z = z_loss * target_weight
    out[LOSS] = ce + z * lse * lse
    out[BY_CE] = 1
    out[BY_LSE] = 2 * (z * lse)
    out[BY_LSE_TWICE] = 2 * z

cdef void cross_entropy_samples(const Job* job, Samples* samples, const floating* parameters) noexcept nogil:
    loss_and_coefficients(cross_entropy[floating], LOGS, job, samples, parameters)
add("cross_entropy", LOGS, cross_entropy_samples[float], cross_entropy_samples[double])


cdef inline void poly1_cross_entropy(
    floating ce, floating lse, floating target_weight, floating hit, floating miss, const floating* parameters,
    floating* out
) noexcept nogil:
    cdef floating epsilon = parameters[0]
    out[LOSS] = ce + epsilon * miss
    out[BY_CE] = 1
    out[BY_LSE] = out[BY_LSE_TWICE] = 0
    out[BY_LOG_HIT] = out[BY_LOG_HIT_TWICE] = -epsilon * hit

cdef void poly1_cross_entropy_samples(const Job* job, Samples* samples, const floating* parameters) noexcept nogil:
    loss_and_coefficients(poly1_cross_entropy[floating], LOGS_AND_SUM, job, samples, parameters)
add("poly1_cross_entropy", LOGS_AND_SUM, poly1_cross_entropy_samples[float], poly1_cross_entropy_samples[double])


# ---------------------------------------------------------------------------------------------------------------------
# sum_c q_c f(log p_c): a function of one class writes f and its derivatives with respect to log p. n is -log p, m is
# 1 - p.


cdef inline floating focal_weight(floating n, floating p, floating m, const floating* parameters) noexcept nogil:
    return power_by_halves(m, parameters)


cdef inline floating focal_weight_any_gamma(
    floating n, floating p, floating m, const floating* parameters
) noexcept nogil:
    return power(m, parameters)


cdef inline void softmax_focal(
    floating n, floating p, floating m, floating weight, const floating* parameters, floating* out
) noexcept nogil:
    """f is m^gamma n. weight: m^gamma. base/focal.pxd lists the parameters. Where m = 0, n / m is its limit 1."""
    cdef floating gamma = parameters[0], one = 1, by_m = 0 if m == 0 else weight / normal(m)
    cdef floating ratio = 0 if p == 0 else (p if m == 0 else n / m * p)
    out[VALUE] = 0 if weight == 0 else weight * n
    out[GRAD] = -weight * (one + gamma * ratio)
    out[HESS] = gamma * by_m * (p + p + ratio * ((gamma - one) * p - m))

cdef void softmax_focal_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(focal_weight[floating], softmax_focal[floating], tile, parameters)
add_function("softmax_focal", softmax_focal_loops[float], softmax_focal_loops[double])

cdef void softmax_focal_any_gamma_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(focal_weight_any_gamma[floating], softmax_focal[floating], tile, parameters)
add_function("softmax_focal_any_gamma", softmax_focal_any_gamma_loops[float], softmax_focal_any_gamma_loops[double])
