"""The losses of softmax probabilities: the math of each, and its place in the table.

A loss is a function of what the driver summed over the classes of one sample, q being the weighted, smoothed target:
ce is the cross-entropy sum_c q_c (-log p_c), lse is log sum_c exp z_c, target_weight is the sum of the weighted target,
hit is sum_c q_c p_c, and miss is sum_c q_c (1 - p_c).

For focal losses, hit is p_t = sum_c t_c p_c of the target without class weights, miss is 1 - p_t, ce is -log p_t, and
`first` is what a loop of its own computed of miss. The driver applies the chain rule through the softmax.
"""


cdef inline floating nothing(floating miss, const floating* parameters) noexcept nogil:
    """The `first` of a loss that needs none."""
    return 0


cdef inline void cross_entropy(
    floating ce, floating lse, floating target_weight, floating hit, floating miss, floating first,
    const floating* parameters, floating* out
) noexcept nogil:
    cdef floating z_loss = parameters[0], z = z_loss * target_weight
    out[LOSS] = ce + z * lse * lse
    out[BY_CE] = 1
    out[BY_LSE] = 2 * (z * lse)
    out[BY_LSE_TWICE] = 2 * z

cdef void cross_entropy_samples(const Job* job, Samples* samples, const floating* parameters) noexcept nogil:
    loss_and_coefficients(nothing[floating], cross_entropy[floating], LOGS, job, samples, parameters)
add("cross_entropy", LOGS, cross_entropy_samples[float], cross_entropy_samples[double])


cdef inline void poly1_cross_entropy(
    floating ce, floating lse, floating target_weight, floating hit, floating miss, floating first,
    const floating* parameters, floating* out
) noexcept nogil:
    cdef floating epsilon = parameters[0]
    out[LOSS] = ce + epsilon * miss
    out[BY_CE] = 1
    out[BY_LSE] = out[BY_LSE_TWICE] = 0
    out[BY_LOG_HIT] = out[BY_LOG_HIT_TWICE] = -epsilon * hit

cdef void poly1_cross_entropy_samples(const Job* job, Samples* samples, const floating* parameters) noexcept nogil:
    loss_and_coefficients(nothing[floating], poly1_cross_entropy[floating], LOGS_AND_SUM, job, samples, parameters)
add("poly1_cross_entropy", LOGS_AND_SUM, poly1_cross_entropy_samples[float], poly1_cross_entropy_samples[double])


cdef inline void softmax_focal(
    floating ce, floating lse, floating target_weight, floating hit, floating miss, floating modulation,
    const floating* parameters, floating* out
) noexcept nogil:
    """target_weight m^gamma n, where m = 1 - p_t and n = -log p_t. Where m = 0, n / m is its limit 1.

    modulation: m^gamma, by one of the functions of base/focal.pxd, which also lists the parameters.
    """
    cdef floating gamma = parameters[0], one = 1
    cdef floating p = 0 if ce > NEGLIGIBLE_EXP else hit  # hit is only an upper bound for so large a ce
    cdef floating weight = target_weight * modulation, by_m = 0 if miss == 0 else weight / normal(miss)
    cdef floating ratio = 0 if p == 0 else (p if miss == 0 else ce / miss * p)
    out[LOSS] = 0 if weight == 0 else weight * ce
    out[BY_CE] = out[BY_LSE] = out[BY_LSE_TWICE] = 0
    out[BY_LOG_HIT] = -weight * (one + gamma * ratio)
    out[BY_LOG_HIT_TWICE] = gamma * by_m * (p + p + ratio * ((gamma - one) * p - miss))

cdef void softmax_focal_samples(const Job* job, Samples* samples, const floating* parameters) noexcept nogil:
    loss_and_coefficients(power_by_halves[floating], softmax_focal[floating], LOG_OF_SUM, job, samples, parameters)
cdef void softmax_focal_any_gamma_samples(const Job* job, Samples* samples, const floating* parameters) noexcept nogil:
    loss_and_coefficients(power[floating], softmax_focal[floating], LOG_OF_SUM, job, samples, parameters)
add("softmax_focal", LOG_OF_SUM, softmax_focal_samples[float], softmax_focal_samples[double])
add(
    "softmax_focal_any_gamma", LOG_OF_SUM,
    softmax_focal_any_gamma_samples[float], softmax_focal_any_gamma_samples[double]
)
