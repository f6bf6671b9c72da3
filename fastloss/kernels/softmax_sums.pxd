"""What a softmax loss needs of a sample: the sums over its classes, and what follows from them.

Along rows (softmax_rows.pxd) or across samples (softmax_lanes.pxd) the sums are gathered; `settle` turns those of a
tile into losses and the coefficients of their derivatives; with these the derivatives are written.
"""

from cython cimport floating
from libc.float cimport DBL_MAX, FLT_MAX

from fastloss.kernels.binary cimport normal
from fastloss.kernels.class_axis cimport MASS, OWN_FIELDS, RESULT, Call, Stats, clear, field, scale_of
from fastloss.kernels.classes cimport BY_CE, BY_LOG_HIT, BY_LOG_HIT_TWICE, BY_LSE, BY_LSE_TWICE, CLASS_OUTPUTS, LOSS
from fastloss.kernels.tiles cimport MAX_PARAMETERS
from fastloss.kernels.vecmath cimport at_least, exp_nonpositive, log, log1p

cdef enum Kind:     # what a loss is a function of, besides log sum exp z_c
    LOGS            # sum q_c log p_c
    LOGS_AND_SUM    # and sum q_c p_c
    LOG_OF_SUM      # log sum t_c p_c; class weights multiply the loss and are no part of the target

# The target of a sample is q_c = w_c ((1 - smoothing) t_c + smoothing / C), w the class weights. For a label y the part
# from t sits in one class and is kept apart, as `hot`, so that its gradient near p_y = 1 does not cancel.
#
# Of sum q_c p_c the logarithm is differentiated: by z_c it gives s_c - p_c, where s_c = q_c p_c / sum q_c p_c is the
# share of the class. So nothing underflows, if exp(z_c - PEAK) does not: for LOG_OF_SUM, that of all classes in the
# target is raised by one factor where the largest would be below exp(-FAR). That changes no share, and no other sum.
cdef enum:
    PEAK = OWN_FIELDS   # max z_c
    TAIL            # sum exp(z_c - PEAK) - 1, without cancellation
    GAP             # sum q_c (PEAK - z_c), hot part aside
    SPREAD          # sum q_c, hot part aside
    HITS            # sum q_c exp(z_c - PEAK), hot part aside
    MISSES          # sum q_c (1 - exp(z_c - PEAK)), hot part aside
    HOT             # q_y, the hot part
    HOT_GAP         # PEAK - z_y; of probabilities for LOG_OF_SUM the log of what HITS was raised by
    HOT_EXP         # exp(z_y - PEAK)
    LOG_SUM         # log sum exp(z_c - PEAK)
    OF_EXP          # gradient: OF_EXP exp(z_c - PEAK) - OF_TARGET q_c; see also less_p
    OF_TARGET
    OF_HOT          # gradient in the class of the label
    OF_PAIR         # Hessian: OF_PAIR e (1 + TAIL - e) + OF_SQUARE e^2, with e = exp(z_c - PEAK)
    OF_SQUARE
    FIRST           # what a first loop computed of 1 - p_t
    INVERSE         # 1 / (1 + TAIL)
    OF_SHARE        # s_c = OF_SHARE q_c e
    OF_SUM          # gradient: OF_SUM (s_c - p_c)
    OF_SUM_TWICE    # Hessian: OF_SUM (s_c (1 - s_c) - p_c (1 - p_c)) + OF_SUM_TWICE (s_c - p_c)^2
    OF_HOT_TWICE    # Hessian in the class of the label
    STATS


cdef inline bint is_spread(const Call* call) noexcept nogil:
    """Whether q_c has a part beside the hot one."""
    return call.target != NULL or call.smoothing != 0


cdef inline const floating* target_weight(const Call* call, Kind kind, floating* _) noexcept nogil:
    """The class weights that are part of q_c."""
    return NULL if kind == LOG_OF_SUM else <const floating*> call.class_weight


cdef inline floating lowest(floating* _) noexcept nogil:
    """The lowest finite number. In place of -inf it gives equal shares to classes that are all ruled out."""
    if floating is float:
        return -<float> FLT_MAX
    else:
        return -<double> DBL_MAX


cdef inline floating square(floating x) noexcept nogil:
    return x * x


cdef inline void set_hot(const Call* call, Kind kind, Stats* s, floating* _) noexcept nogil:
    """HOT; and 0 for the sums beside it that a bare label does not have, and nobody will gather."""
    cdef floating* mass = field(s, MASS, _)
    cdef floating* hot = field(s, HOT, _)
    cdef floating kept = 0 if call.labels == NULL else <floating> (1 - call.smoothing)
    cdef Py_ssize_t i
    if kind == LOG_OF_SUM:
        for i in range(s.lanes):
            hot[i] = kept
    else:
        for i in range(s.lanes):
            hot[i] = kept * mass[i]
    if not is_spread(call):
        clear(field(s, GAP, _), s.lanes)
        clear(field(s, SPREAD, _), s.lanes)
        clear(field(s, HITS, _), s.lanes)
        clear(field(s, MISSES, _), s.lanes)


cdef inline void settle(
    floating (*first)(floating, const floating*) noexcept nogil,
    void (*loss)(floating, floating, floating, floating, floating, floating, const floating*, floating*) noexcept nogil,
    Kind kind, const Call* call, Stats* s, const floating* parameters
) noexcept nogil:
    """From the sums over the classes to the loss and the coefficients of its derivatives, for the samples of a tile."""
    cdef floating* _ = NULL
    cdef floating* peak = field(s, PEAK, _)
    cdef floating* tail = field(s, TAIL, _)
    cdef floating* gap = field(s, GAP, _)
    cdef floating* spread = field(s, SPREAD, _)
    cdef floating* hits = field(s, HITS, _)
    cdef floating* misses = field(s, MISSES, _)
    cdef floating* mass = field(s, MASS, _)
    cdef floating* hot = field(s, HOT, _)
    cdef floating* hot_gap = field(s, HOT_GAP, _)
    cdef floating* hot_exp = field(s, HOT_EXP, _)
    cdef floating* log_sum = field(s, LOG_SUM, _)
    cdef floating* e = field(s, FIRST, _)
    cdef floating* result = field(s, RESULT, _)
    cdef floating* of_exp = field(s, OF_EXP, _)
    cdef floating* of_target = field(s, OF_TARGET, _)
    cdef floating* of_hot = field(s, OF_HOT, _)
    cdef floating* of_pair = field(s, OF_PAIR, _)
    cdef floating* of_square = field(s, OF_SQUARE, _)
    cdef floating[MAX_PARAMETERS] c
    cdef floating[CLASS_OUTPUTS] out
    cdef floating uniform = <floating> (call.smoothing / call.classes)
    cdef floating one = 1, ce, hit = 0, miss = 0, by_first = 0, scale, inverse, by_ce, by_lse, soft, not_p
    cdef floating by_sum, by_sum_twice, of_share, share, pull, alone = 0 if is_spread(call) else 1
    cdef Py_ssize_t i
    for i in range(MAX_PARAMETERS):
        c[i] = parameters[i]
    for i in range(s.lanes):  # apart from the rest for the reason given at `loops` in elementwise.pyx
        log_sum[i] = log1p(tail[i])
        hot_exp[i] = exp_nonpositive(-hot_gap[i])
    if kind == LOG_OF_SUM and call.labels == NULL:  # the whole target is like one class
        for i in range(s.lanes):
            hot_exp[i] = hits[i]
            hot_gap[i] -= log(hits[i])
    if kind == LOG_OF_SUM:
        for i in range(s.lanes):
            misses[i] = at_least((tail[i] + (one - hot_exp[i])) / (one + tail[i]), 0)
        for i in range(s.lanes):
            e[i] = first(misses[i], c)
    for i in range(s.lanes):
        inverse = one / (one + tail[i])
        if kind == LOG_OF_SUM:
            ce = hot_gap[i] + log_sum[i]
            hit = hot_exp[i]
            miss = misses[i]
            by_first = e[i]
        else:
            ce = gap[i] + (0 if hot[i] == 0 else hot[i] * hot_gap[i]) + (spread[i] + hot[i]) * log_sum[i]
        if kind == LOGS_AND_SUM:
            hit = hits[i] + hot[i] * hot_exp[i]
            miss = (misses[i] + hot[i] * (one - hot_exp[i]) + (spread[i] + hot[i]) * tail[i]) * inverse
        loss(ce, peak[i] + log_sum[i], mass[i], hit * inverse, miss, by_first, c, out)
        result[i] = out[LOSS]
        scale = scale_of(call, s, i, 1, _)
        by_ce = scale * out[BY_CE]
        by_lse = scale * out[BY_LSE]
        soft = (by_ce * spread[i] + by_lse) * inverse  # exactly 0 for a bare label
        of_exp[i] = soft + by_ce * hot[i] * inverse
        of_target[i] = by_ce
        # In the hot class p_y - 1 would cancel: 1 - p_y = (tail + (1 - e_y)) / (1 + tail).
        not_p = (tail[i] + (one - hot_exp[i])) * inverse
        of_hot[i] = soft * hot_exp[i] - by_ce * (hot[i] * not_p + uniform * mass[i])
        field(s, INVERSE, _)[i] = inverse
        of_pair[i] = of_exp[i] * inverse
        of_square[i] = scale * out[BY_LSE_TWICE] * inverse * inverse
        if kind != LOGS:
            by_sum = scale * out[BY_LOG_HIT]
            by_sum_twice = scale * out[BY_LOG_HIT_TWICE]
            of_share = one / normal(hit)
            of_exp[i] -= by_sum * inverse
            of_pair[i] -= by_sum * inverse * inverse
            if kind == LOG_OF_SUM:
                share, pull = one, miss
            else:  # s_y - p_y = p_y (q_y - sum q_c p_c) / sum q_c p_c, exact for a bare label
                share = (hot[i] + uniform * mass[i]) * hot_exp[i] / normal(hit)
                pull = hot_exp[i] * of_share * (miss - (spread[i] - uniform * mass[i]))
            of_hot[i] += by_sum * pull
            field(s, OF_HOT_TWICE, _)[i] = (
                of_pair[i] * (hot_exp[i] * (tail[i] + (one - hot_exp[i])))
                + by_sum * (share * (one - share)) + by_sum_twice * square(pull)
            )
            of_square[i] += alone * by_sum_twice * square(inverse)  # classes without a share
            hits[i] = hit
            field(s, OF_SHARE, _)[i] = of_share
            field(s, OF_SUM, _)[i] = by_sum
            field(s, OF_SUM_TWICE, _)[i] = by_sum_twice


# Of a target that is one class, given by probabilities, p_c - q_c and s_c - p_c would cancel where p_c is close to 1.

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
