"""What a softmax loss needs of a sample: the sums over its classes, and what follows from them.

softmax_rows.pxd gathers the sums along rows, and softmax_lanes.pxd across samples. `loss_and_coefficients` turns the
sums of a tile into losses and the coefficients of the derivatives. With these coefficients the derivatives are written.
"""

from cython cimport floating

from fastloss._core.kernels.base.job cimport MAX_PARAMETERS
from fastloss._core.kernels.base.memory cimport clear
from fastloss._core.kernels.base.vecmath cimport exp_nonpositive, log1p, normal
from fastloss._core.kernels.classes.layout cimport OWN_FIELDS, RESULT, TARGET_WEIGHT, Job, Samples, field, scale_of

cdef enum Kind:     # what a loss is a function of, besides log sum exp z_c
    LOGS            # sum q_c log p_c
    LOGS_AND_SUM    # that, and sum q_c p_c
    FUNCTIONS       # sum q_c f(log p_c), where f is a function of the loss

# What the function of a loss writes. softmax_losses.pxi says what it reads.
cdef enum:
    LOSS
    BY_CE               # derivative with respect to ce
    BY_LSE              # derivative with respect to lse
    BY_LSE_TWICE        # second derivative with respect to lse
    BY_LOG_HIT          # derivative with respect to log hit, for losses that depend on it
    BY_LOG_HIT_TWICE    # second derivative with respect to log hit
    LOSS_OUTPUTS

# The target of a sample is q_c = w_c ((1 - smoothing) t_c + smoothing / C), where w are the class weights. For a label
# y, the part from t sits in one class. It is called hot and kept apart, so that its gradient near p_y = 1 does not
# cancel. The rest is called spread: probabilities, or the smoothing of a label. A plain label has no spread part.
#
# The derivative of log sum q_c p_c with respect to z_c is s_c - p_c, where s_c = q_c p_c / sum q_c p_c is the share of
# the class.
#
# Losses of the kind FUNCTIONS have no spread part here: softmax_functions.pxd handles their probabilities.
cdef enum:
    PEAK = OWN_FIELDS   # max z_c
    TAIL            # sum exp(z_c - PEAK) - 1, without cancellation
    GAP             # sum q_c (PEAK - z_c) of the spread part
    SPREAD          # sum q_c of the spread part
    HITS            # sum q_c exp(z_c - PEAK) of the spread part; loss_and_coefficients adds the hot part
    MISSES          # sum q_c (1 - exp(z_c - PEAK)) of the spread part
    HOT             # q_y of the hot part
    HOT_GAP         # PEAK - z_y
    HOT_EXP         # exp(z_y - PEAK)
    LOG_SUM         # log sum exp(z_c - PEAK)
    OF_EXP          # gradient: OF_EXP exp(z_c - PEAK) - OF_TARGET q_c; see also less_p
    OF_TARGET
    OF_HOT          # gradient in the class of the label
    OF_PAIR         # Hessian: OF_PAIR e (1 + TAIL - e) + OF_SQUARE e^2, with e = exp(z_c - PEAK)
    OF_SQUARE
    INVERSE         # 1 / (1 + TAIL)
    OF_SHARE        # s_c = OF_SHARE q_c e
    OF_SUM          # gradient: OF_SUM (s_c - p_c)
    OF_SUM_TWICE    # Hessian: OF_SUM (s_c (1 - s_c) - p_c (1 - p_c)) + OF_SUM_TWICE (s_c - p_c)^2
    OF_HOT_TWICE    # Hessian in the class of the label
    FIELDS


cdef inline floating square(floating x) noexcept nogil:
    return x * x


cdef inline void set_hot(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Set HOT. For a plain label, also zero the sums that are not gathered."""
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, as_type)
    cdef floating* hot = field(samples, HOT, as_type)
    cdef floating kept = 0 if job.labels.data == NULL else <floating> (1 - job.smoothing)
    cdef Py_ssize_t i
    for i in range(samples.lanes):
        hot[i] = kept * target_weight[i]
    if not job.spread:
        clear(field(samples, GAP, as_type), samples.lanes)
        clear(field(samples, SPREAD, as_type), samples.lanes)
        clear(field(samples, HITS, as_type), samples.lanes)
        clear(field(samples, MISSES, as_type), samples.lanes)


cdef inline void loss_and_coefficients(
    void (*loss)(floating, floating, floating, floating, floating, const floating*, floating*) noexcept nogil,
    Kind kind, const Job* job, Samples* samples, const floating* parameters
) noexcept nogil:
    """From the sums over the classes to the loss and the coefficients of its derivatives, for the samples of a tile."""
    cdef floating* as_type = NULL
    cdef floating* peak = field(samples, PEAK, as_type)
    cdef floating* tail = field(samples, TAIL, as_type)
    cdef floating* gap = field(samples, GAP, as_type)
    cdef floating* spread = field(samples, SPREAD, as_type)
    cdef floating* hits = field(samples, HITS, as_type)
    cdef floating* misses = field(samples, MISSES, as_type)
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, as_type)
    cdef floating* hot = field(samples, HOT, as_type)
    cdef floating* hot_gap = field(samples, HOT_GAP, as_type)
    cdef floating* hot_exp = field(samples, HOT_EXP, as_type)
    cdef floating* log_sum = field(samples, LOG_SUM, as_type)
    cdef floating* result = field(samples, RESULT, as_type)
    cdef floating* of_exp = field(samples, OF_EXP, as_type)
    cdef floating* of_target = field(samples, OF_TARGET, as_type)
    cdef floating* of_hot = field(samples, OF_HOT, as_type)
    cdef floating* of_pair = field(samples, OF_PAIR, as_type)
    cdef floating* of_square = field(samples, OF_SQUARE, as_type)
    cdef floating[MAX_PARAMETERS] slots
    cdef floating[LOSS_OUTPUTS] out
    cdef floating uniform = <floating> (job.smoothing / job.classes)
    cdef floating one = 1, ce, hit = 0, miss = 0, scale, inverse, by_ce, by_lse, soft, not_p
    cdef floating by_sum, by_sum_twice, of_share, share, pull
    cdef floating alone = 0 if job.spread else 1  # whether only the class of the label has a share
    cdef Py_ssize_t i
    for i in range(MAX_PARAMETERS):
        slots[i] = parameters[i]  # a local copy for the reason given in base/loops.pxd
    for i in range(samples.lanes):  # a loop of its own for the reason given in base/loops.pxd
        log_sum[i] = log1p(tail[i])
        hot_exp[i] = exp_nonpositive(-hot_gap[i])
    for i in range(samples.lanes):
        inverse = one / (one + tail[i])
        ce = gap[i] + (0 if hot[i] == 0 else hot[i] * hot_gap[i]) + (spread[i] + hot[i]) * log_sum[i]
        if kind == LOGS_AND_SUM:
            hit = hits[i] + hot[i] * hot_exp[i]
            miss = (misses[i] + hot[i] * (one - hot_exp[i]) + (spread[i] + hot[i]) * tail[i]) * inverse
        loss(ce, peak[i] + log_sum[i], target_weight[i], hit * inverse, miss, slots, out)
        result[i] = out[LOSS]
        scale = scale_of(job, samples, i, 1, as_type)
        by_ce = scale * out[BY_CE]
        by_lse = scale * out[BY_LSE]
        soft = (by_ce * spread[i] + by_lse) * inverse  # exactly 0 for a plain label
        of_exp[i] = soft + by_ce * hot[i] * inverse
        of_target[i] = by_ce
        # In the hot class p_y - 1 would cancel: 1 - p_y = (tail + (1 - e_y)) / (1 + tail).
        not_p = (tail[i] + (one - hot_exp[i])) * inverse
        of_hot[i] = soft * hot_exp[i] - by_ce * (hot[i] * not_p + uniform * target_weight[i])
        field(samples, INVERSE, as_type)[i] = inverse
        of_pair[i] = of_exp[i] * inverse
        of_square[i] = scale * out[BY_LSE_TWICE] * inverse * inverse
        if kind != LOGS:
            by_sum = scale * out[BY_LOG_HIT]
            by_sum_twice = scale * out[BY_LOG_HIT_TWICE]
            of_share = one / normal(hit)
            of_exp[i] -= by_sum * inverse
            of_pair[i] -= by_sum * inverse * inverse
            # s_y - p_y = p_y (q_y - sum q_c p_c) / sum q_c p_c, exact for a plain label
            share = (hot[i] + uniform * target_weight[i]) * hot_exp[i] / normal(hit)
            pull = hot_exp[i] * of_share * (miss - (spread[i] - uniform * target_weight[i]))
            of_hot[i] += by_sum * pull
            field(samples, OF_HOT_TWICE, as_type)[i] = (
                of_pair[i] * (hot_exp[i] * (tail[i] + (one - hot_exp[i])))
                + by_sum * (share * (one - share)) + by_sum_twice * square(pull)
            )
            of_square[i] += alone * by_sum_twice * square(inverse)  # classes without a share
            hits[i] = hit
            field(samples, OF_SHARE, as_type)[i] = of_share
            field(samples, OF_SUM, as_type)[i] = by_sum
            field(samples, OF_SUM_TWICE, as_type)[i] = by_sum_twice


# If probabilities put the whole target in one class, p_c - q_c and s_c - p_c would cancel where p_c is close to 1. Here
# they do not. `e` is exp(z_c - PEAK).

cdef inline floating less_q(floating e, floating q, floating total, floating tail) noexcept nogil:
    """(1 + TAIL) (total p_c - q_c), where `total` is sum q_c."""
    cdef floating one = 1
    return (total - q) * e - q * (tail + (one - e))


cdef inline floating less_p(
    floating e, floating q, floating hit, floating tail, floating inverse, floating of_share
) noexcept nogil:
    """s_c - p_c, where `hit` is sum q_c e."""
    cdef floating one = 1, p = e * inverse
    return -p if q == 0 else p * of_share * (q * (tail + (one - e)) - (hit - q * e))  # in this order: hit may be 0
