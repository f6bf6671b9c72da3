"""The driver of the softmax losses: a class axis anywhere, labels or probabilities. README.md is the way in.

What the loss needs of a sample is gathered over its classes into a `Stats` entry; `settle` turns the entries of a tile
into values and the coefficients of the gradient; then the gradient is written. Gathering and writing go along rows or
across samples: class_axis.pxd has what that takes.
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport INFINITY

from fastloss.kernels.binary cimport normal, power, power_by_halves
from fastloss.kernels.class_axis cimport (
    BLOCK, CELL_BYTES, DIRECT, MASS, MAX_SAMPLES, OWN_FIELDS, RESULT, ROWS, VECTOR, Call, Stats, clear, field,
    finish_tile, maximum, offset_of, place_tile, prefetch, prepare, run_loss, scale_of, transpose_in, transpose_out
)
from fastloss.kernels.classes cimport (
    BY_CE, BY_LOG_HIT, BY_LOG_HIT_TWICE, BY_LSE, BY_LSE_TWICE, CLASS_OUTPUTS, FAR, LOSS, cross_entropy, nothing,
    poly1_cross_entropy, softmax_focal
)
from fastloss.kernels.tiles cimport LANES, MAX_PARAMETERS, aligned, at, ordered_sum
from fastloss.kernels.vecmath cimport (
    at_least, at_most, exp_difference, exp_nonpositive, log, log1p, max_lanes, sum_lanes
)

cnp.import_array()

cdef enum:
    MAX_LOSSES = 64
    SHORT_ROW = 96          # classes: up to here, lanes across samples beat a pass along the row

# ---------------------------------------------------------------------------------------------------------------------
# The losses. A line `cdef void ...` makes the loop of one loss over the samples of a tile, for float and for double;
# a line `add(...)` puts it into the table.

LOSSES = {}  # name -> place in the table

cdef enum Kind:     # what a loss is a function of, besides log sum exp z_c
    LOGS            # sum q_c log p_c
    LOGS_AND_SUM    # and sum q_c p_c
    LOG_OF_SUM      # log sum t_c p_c; class weights multiply the loss and are no part of the target

ctypedef void (*single_settle)(const Call*, Stats*, const float*) noexcept nogil
ctypedef void (*double_settle)(const Call*, Stats*, const double*) noexcept nogil
cdef single_settle[MAX_LOSSES] SINGLE
cdef double_settle[MAX_LOSSES] DOUBLE
cdef Kind[MAX_LOSSES] KIND


cdef add(str name, Kind kind, single_settle single, double_settle double_):
    cdef int place = len(LOSSES)
    if place == MAX_LOSSES:
        raise IndexError("the table of losses is full: raise MAX_LOSSES")
    SINGLE[place] = single
    DOUBLE[place] = double_
    KIND[place] = kind
    LOSSES[name] = place


cdef void cross_entropy_settle(const Call* call, Stats* s, const floating* c) noexcept nogil:
    settle(nothing[floating], cross_entropy[floating], LOGS, call, s, c)

add("cross_entropy", LOGS, cross_entropy_settle[float], cross_entropy_settle[double])


cdef void poly1_cross_entropy_settle(const Call* call, Stats* s, const floating* c) noexcept nogil:
    settle(nothing[floating], poly1_cross_entropy[floating], LOGS_AND_SUM, call, s, c)

add("poly1_cross_entropy", LOGS_AND_SUM, poly1_cross_entropy_settle[float], poly1_cross_entropy_settle[double])


cdef void softmax_focal_settle(const Call* call, Stats* s, const floating* c) noexcept nogil:
    settle(power_by_halves[floating], softmax_focal[floating], LOG_OF_SUM, call, s, c)

add("softmax_focal", LOG_OF_SUM, softmax_focal_settle[float], softmax_focal_settle[double])


cdef void softmax_focal_any_gamma_settle(const Call* call, Stats* s, const floating* c) noexcept nogil:
    settle(power[floating], softmax_focal[floating], LOG_OF_SUM, call, s, c)

add(
    "softmax_focal_any_gamma", LOG_OF_SUM,
    softmax_focal_any_gamma_settle[float], softmax_focal_any_gamma_settle[double]
)

# ---------------------------------------------------------------------------------------------------------------------

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


cdef inline const void* target_weight(const Call* call) noexcept nogil:
    """The class weights that are part of q_c."""
    return NULL if KIND[call.loss] == LOG_OF_SUM else call.class_weight


cdef inline floating lowest(floating* _) noexcept nogil:
    """The lowest finite number. In place of -inf it gives equal shares to classes that are all ruled out."""
    if floating is float:
        return -<float> FLT_MAX
    else:
        return -<double> DBL_MAX


cdef inline floating square(floating x) noexcept nogil:
    return x * x


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


cdef void set_hot(const Call* call, Stats* s, floating* _) noexcept nogil:
    cdef floating* mass = field(s, MASS, _)
    cdef floating* hot = field(s, HOT, _)
    cdef floating kept = 0 if call.labels == NULL else <floating> (1 - call.smoothing)
    cdef Py_ssize_t i
    if KIND[call.loss] == LOG_OF_SUM:
        for i in range(s.lanes):
            hot[i] = kept
    else:
        for i in range(s.lanes):
            hot[i] = kept * mass[i]


# ---------------------------------------------------------------------------------------------------------------------
# Along the row

cdef bint check_row(const Call* call, Stats* s, Py_ssize_t i, const floating* t) noexcept nogil:
    """MASS of sample i from its target probabilities; whether one of them is not in [0, 1]."""
    cdef floating* mass = field(s, MASS, <floating*> NULL)
    cdef const floating* w = <const floating*> call.class_weight
    cdef floating[BLOCK] product
    cdef double total = 0
    cdef Py_ssize_t start = 0, c, n
    cdef int bad = 0
    for c in range(call.classes):
        bad |= not (t[c] >= 0 and t[c] <= 1)
    if w != NULL:
        while start < call.classes:
            n = min(BLOCK, call.classes - start)
            for c in range(n):
                product[c] = w[start + c] * t[start + c]
            total += ordered_sum(product, n)
            start += n
        mass[i] = <floating> total
    return bad and s.weight[i] != 0


cdef inline void spread_target(
    const Call* call, const floating* t, Py_ssize_t start, floating* q, Py_ssize_t n
) noexcept nogil:
    """q_c, hot part aside, for classes start to start + n of a row."""
    cdef const floating* w = <const floating*> target_weight(call)
    cdef floating kept = <floating> (1 - call.smoothing), uniform = <floating> (call.smoothing / call.classes)
    cdef Py_ssize_t c
    if t == NULL:
        for c in range(n):
            q[c] = uniform
    else:
        for c in range(n):
            q[c] = kept * t[start + c] + uniform
    if w != NULL:
        for c in range(n):
            q[c] *= w[start + c]


cdef inline floating maximum_in_target(const floating* z, const floating* t, Py_ssize_t n) noexcept nogil:
    """max z[c] over the classes with t[c] > 0, n >= LANES; NaNs may be passed over."""
    cdef floating[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = z[n - LANES + j] if t[n - LANES + j] > 0 else -INFINITY
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = z[i + j] if (t[i + j] > 0) & (z[i + j] > lane[j]) else lane[j]
        i += LANES
    return max_lanes(lane)


cdef inline void add_exps(const floating* e, Py_ssize_t n, double* below, floating* ones) noexcept nogil:
    """Add e[:n] to LANES sums, and count those that are 1 apart from the others; n is a multiple of LANES."""
    cdef Py_ssize_t i = 0, j
    while i + 2 * LANES <= n:
        for j in range(LANES):  # two numbers are added in their own precision: that saves a conversion
            below[j] += (0 if e[i + j] == 1 else e[i + j]) + (0 if e[i + LANES + j] == 1 else e[i + LANES + j])
            ones[j] += (1 if e[i + j] == 1 else 0) + (1 if e[i + LANES + j] == 1 else 0)
        i += 2 * LANES
    if i < n:
        for j in range(LANES):
            below[j] += 0 if e[i + j] == 1 else e[i + j]
            ones[j] += 1 if e[i + j] == 1 else 0


cdef inline void gather_row(
    const Call* call, Kind kind, Stats* s, Py_ssize_t i, const floating* z, const floating* t, floating* e
) noexcept nogil:
    """The sums of one sample over its classes; exp(z - peak) goes to e, which may be z, or NULL."""
    cdef floating[3 * BLOCK + LANES + 16] memory
    cdef floating* x = aligned(memory)
    cdef floating* q = x + BLOCK
    # In place, or not a multiple of 4 KiB apart, at which loads wait for stores that are not theirs.
    cdef floating* product = q if kind == LOGS else q + BLOCK + LANES
    cdef floating* exps
    cdef floating[LANES] rest
    cdef double[LANES] below
    cdef floating[LANES] ones
    cdef floating peak = maximum(z, call.classes), target_peak = 0, target_gap, raised = 1, one = 1
    cdef double gap = 0, spread = 0, hits = 0, misses = 0, tail
    cdef Py_ssize_t start = 0, c, n, whole
    field(s, PEAK, x)[i] = peak
    field(s, HOT_GAP, x)[i] = peak - z[s.label[i]]
    if kind == LOG_OF_SUM and t != NULL:
        target_peak = maximum_in_target(z, t, call.classes)
        target_gap = at_most(peak - target_peak, FAR)
        field(s, HOT_GAP, x)[i] = (peak - target_peak) - target_gap
        raised = exp_nonpositive(-target_gap)
        target_peak = at_least(target_peak, lowest(x))
    for c in range(LANES):
        below[c] = 0
        ones[c] = 0
    while start < call.classes:
        n = min(BLOCK, call.classes - start)
        for c in range(0, n, 16):  # what is needed some rows later: the arithmetic leaves memory idle otherwise
            prefetch(<char*> (z + start + c) + CELL_BYTES)
            if e != NULL:
                prefetch(<char*> (e + start + c) + CELL_BYTES)
        if is_spread(call):
            spread_target(call, t, start, q, n)
            spread += ordered_sum(q, n)
            for c in range(n):
                product[c] = 0 if q[c] == 0 else q[c] * (peak - z[start + c])
            gap += ordered_sum(product, n)
        # Whole groups of lanes; then the rest as one more, filled up: one by one it would take longer than all others.
        whole = n // LANES * LANES
        exps = x if e == NULL or e == z else e + start  # in place by way of x: see `direct` in elementwise.pyx
        for c in range(whole):
            exps[c] = exp_difference(z[start + c], peak)
        add_exps(exps, whole, below, ones)
        if whole < n:
            for c in range(LANES):
                rest[c] = -INFINITY
            for c in range(n - whole):
                rest[c] = z[start + whole + c]
            for c in range(VECTOR):
                rest[c] = exp_difference(rest[c], peak)
            if n - whole > VECTOR:
                for c in range(VECTOR, LANES):
                    rest[c] = exp_difference(rest[c], peak)
            else:
                clear(rest + VECTOR, VECTOR)
            add_exps(rest, LANES, below, ones)
            for c in range(n - whole):
                exps[whole + c] = rest[c]
        if is_spread(call) and kind != LOGS:
            if raised != 1:
                for c in range(n):
                    product[c] = exp_difference(at_least(z[start + c], lowest(x)), target_peak) * raised
                for c in range(n):
                    exps[c] = product[c] if q[c] > 0 else exps[c]
            for c in range(n):
                product[c] = q[c] * exps[c]
            hits += ordered_sum(product, n)
            for c in range(n):
                product[c] = q[c] * (one - exps[c])
            misses += ordered_sum(product, n)
        if e == z:
            for c in range(n):
                e[start + c] = x[c]
        start += n
    tail = sum_lanes(below)
    for c in range(LANES):
        below[c] = ones[c]
    field(s, TAIL, q)[i] = <floating> (tail + (sum_lanes(below) - 1))
    field(s, GAP, q)[i] = <floating> gap
    field(s, SPREAD, q)[i] = <floating> spread
    if kind != LOGS:
        field(s, HITS, q)[i] = <floating> hits
        field(s, MISSES, q)[i] = <floating> misses


cdef void gather_row_with_sum(
    const Call* call, Stats* s, Py_ssize_t i, const floating* z, const floating* t, floating* e
) noexcept nogil:
    gather_row(call, KIND[call.loss], s, i, z, t, e)


cdef void write_row(
    const Call* call, Stats* s, Py_ssize_t i, const floating* t, floating* grad, floating* hess
) noexcept nogil:
    """From exp(z - peak) in grad to the gradient, and the diagonal of the Hessian if wanted."""
    cdef floating[BLOCK] q
    cdef floating[BLOCK] pull
    cdef floating one = 1, share, a = field(s, OF_EXP, q)[i], b = field(s, OF_TARGET, q)[i], tail = field(s, TAIL, q)[i]
    cdef floating of_pair = field(s, OF_PAIR, q)[i], of_square = field(s, OF_SQUARE, q)[i]
    cdef floating inverse = field(s, INVERSE, q)[i], total = field(s, SPREAD, q)[i] + field(s, HOT, q)[i]
    cdef floating of_lse = a - b * total * inverse, hit = 0, of_share = 0, of_sum = 0, of_sum_twice = 0
    cdef Kind kind = KIND[call.loss]
    cdef Py_ssize_t start = 0, c, n
    if kind != LOGS:
        hit, of_share = field(s, HITS, q)[i], field(s, OF_SHARE, q)[i]
        of_sum, of_sum_twice = field(s, OF_SUM, q)[i], field(s, OF_SUM_TWICE, q)[i]
    if hess != NULL:
        for c in range(call.classes):
            hess[c] = of_pair * (grad[c] * (tail + (one - grad[c]))) + of_square * (grad[c] * grad[c])
    if not is_spread(call):
        for c in range(call.classes):
            grad[c] = a * grad[c]
    else:
        while start < call.classes:
            n = min(BLOCK, call.classes - start)
            spread_target(call, t, start, q, n)
            if kind == LOGS and t == NULL:
                for c in range(n):
                    grad[start + c] = a * grad[start + c] - b * q[c]
            elif kind == LOGS:
                for c in range(n):
                    grad[start + c] = (
                        of_lse * grad[start + c] + b * inverse * less_q(grad[start + c], q[c], total, tail)
                    )
            else:
                for c in range(n):
                    pull[c] = less_p(grad[start + c], q[c], hit, tail, inverse, of_share)
                if hess != NULL:
                    for c in range(n):
                        share = of_share * (q[c] * grad[start + c])
                        hess[start + c] += (
                            of_sum * (share * (of_share * (hit - q[c] * grad[start + c])))
                            + of_sum_twice * square(pull[c])
                        )
                for c in range(n):
                    grad[start + c] = b * inverse * less_q(grad[start + c], q[c], total, tail) + of_sum * pull[c]
            start += n


cdef bint run_rows(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """A tile of samples, each a row in memory; whether a target is not valid."""
    cdef Py_ssize_t C = call.classes, i
    cdef const floating* z = <const floating*> call.pred + start * C
    cdef const floating* t = at(<const floating*> call.target, start * C)
    cdef floating* grad = at(<floating*> call.grad, start * C)
    cdef floating* hess = at(<floating*> call.hess, start * C)
    cdef Kind kind = KIND[call.loss]
    cdef int k
    cdef bint bad = False
    if t != NULL:
        for i in range(s.n):
            bad |= check_row(call, s, i, t + i * C)
    if call.measure:
        return bad
    for i in range(s.n):
        if s.weight[i] != 0 and kind == LOGS:  # compiled for this kind
            gather_row(call, LOGS, s, i, z + i * C, at(t, i * C), at(grad, i * C))
        elif s.weight[i] != 0:
            gather_row_with_sum(call, s, i, z + i * C, at(t, i * C), at(grad, i * C))
        else:  # settled like the others, to no effect
            for k in range(HOT_GAP + 1):
                field(s, k, _)[i] = 0
    settle_tile(call, s, _)
    if grad != NULL:
        for i in range(s.n):
            if s.weight[i] == 0:
                clear(grad + i * C, C)
                if hess != NULL:
                    clear(hess + i * C, C)
            else:
                write_row(call, s, i, at(t, i * C), grad + i * C, at(hess, i * C))
                if call.labels != NULL:
                    grad[i * C + s.label[i]] = field(s, OF_HOT, _)[i]
                    if hess != NULL and kind != LOGS:
                        hess[i * C + s.label[i]] = field(s, OF_HOT_TWICE, _)[i]
    return bad


# ---------------------------------------------------------------------------------------------------------------------
# Across samples: element c of sample i is at [c * stride + i]

cdef bint check_lanes(const Call* call, Stats* s, const floating* t, Py_ssize_t stride) noexcept nogil:
    """MASS of each sample from its target probabilities; whether one of them is not in [0, 1]."""
    cdef floating* mass = field(s, MASS, <floating*> NULL)
    cdef const floating* w = <const floating*> call.class_weight
    cdef double[MAX_SAMPLES] total
    cdef Py_ssize_t c, i
    cdef int bad = 0
    clear(total, s.n)
    for c in range(call.classes):
        for i in range(s.n):
            bad |= s.weight[i] != 0 and not (t[c * stride + i] >= 0 and t[c * stride + i] <= 1)
        if w != NULL:
            for i in range(s.n):
                total[i] += w[c] * t[c * stride + i]
    if w != NULL:
        for i in range(s.n):
            mass[i] = <floating> total[i]
    return bad


cdef inline void spread_target_lanes(
    const Call* call, Py_ssize_t n, const floating* t, Py_ssize_t stride, Py_ssize_t c, floating* q
) noexcept nogil:
    """q_c, hot part aside, for one class of n samples."""
    cdef const floating* weights = <const floating*> target_weight(call)
    cdef floating w = 1 if weights == NULL else weights[c]
    cdef floating kept = <floating> (1 - call.smoothing), uniform = <floating> (call.smoothing / call.classes)
    cdef Py_ssize_t i
    if t == NULL:
        for i in range(n):
            q[i] = uniform * w
    else:
        for i in range(n):
            q[i] = (kept * t[c * stride + i] + uniform) * w


cdef inline void gather_lanes_of(
    const Call* call, Kind kind, Stats* s, const floating* z, const floating* t, Py_ssize_t stride,
    floating* e, Py_ssize_t e_stride
) noexcept nogil:
    """The sums of each sample over its classes; exp(z - peak) goes to e, which may be z."""
    cdef floating* peak = field(s, PEAK, e)
    cdef floating* tail = field(s, TAIL, e)
    cdef floating* hot_gap = field(s, HOT_GAP, e)
    cdef floating* gap_field = field(s, GAP, e)
    cdef floating* spread_field = field(s, SPREAD, e)
    cdef floating* hits_field = field(s, HITS, e)
    cdef floating* misses_field = field(s, MISSES, e)
    cdef floating[MAX_SAMPLES] q
    cdef floating[MAX_SAMPLES] x
    cdef floating[MAX_SAMPLES] target_peak
    cdef floating[MAX_SAMPLES] raised
    cdef floating one = 1
    cdef double[MAX_SAMPLES] below
    cdef double[MAX_SAMPLES] gap
    cdef double[MAX_SAMPLES] spread
    cdef double[MAX_SAMPLES] hits
    cdef double[MAX_SAMPLES] misses
    cdef floating[MAX_SAMPLES] ones
    cdef bint raise_target = kind == LOG_OF_SUM and t != NULL
    cdef Py_ssize_t n = s.lanes, c, i
    cdef const floating* logits
    cdef floating* exps
    for i in range(n):
        peak[i] = z[i]
    for c in range(1, call.classes):
        logits = z + c * stride
        for i in range(n):
            peak[i] = logits[i] if logits[i] > peak[i] else peak[i]
    for i in range(n):
        hot_gap[i] = peak[i] - z[s.label[i] * stride + i]
    if raise_target:
        for i in range(n):
            target_peak[i] = -INFINITY
        for c in range(call.classes):
            logits = z + c * stride
            for i in range(n):
                target_peak[i] = (
                    logits[i] if (t[c * stride + i] > 0) & (logits[i] > target_peak[i]) else target_peak[i]
                )
        for i in range(n):
            hot_gap[i] = peak[i] - target_peak[i]
            raised[i] = exp_nonpositive(-at_most(hot_gap[i], FAR))
            hot_gap[i] -= at_most(hot_gap[i], FAR)
            target_peak[i] = at_least(target_peak[i], lowest(e))
    clear(below, n)
    clear(gap, n)
    clear(spread, n)
    clear(ones, n)
    if kind != LOGS:
        clear(hits, n)
        clear(misses, n)
    for c in range(call.classes):
        logits = z + c * stride
        exps = e + c * e_stride
        if call.layout == DIRECT and call.inner >= 2 * call.tile:
            for i in range(0, n, 16):  # the next tile: too short a stretch for the hardware to foresee it
                prefetch(logits + call.tile + i)
                prefetch(exps + call.tile + i)
        if is_spread(call):
            spread_target_lanes(call, n, t, stride, c, q)
            for i in range(n):
                spread[i] += q[i]
                gap[i] += 0 if q[i] == 0 else q[i] * (peak[i] - logits[i])
        if raise_target:
            for i in range(n):
                x[i] = exp_difference(
                    at_least(logits[i], lowest(e)) if q[i] > 0 else logits[i],
                    target_peak[i] if q[i] > 0 else peak[i]
                )
                x[i] *= raised[i] if q[i] > 0 else one
        else:
            for i in range(n):
                x[i] = exp_difference(logits[i], peak[i])
        for i in range(n):
            below[i] += 0 if x[i] == 1 else x[i]
            ones[i] += 1 if x[i] == 1 else 0
            exps[i] = x[i]
        if is_spread(call) and kind != LOGS:
            for i in range(n):
                hits[i] += q[i] * x[i]
                misses[i] += q[i] * (one - x[i])
    for i in range(n):
        tail[i] = <floating> (below[i] + (ones[i] - 1))
        gap_field[i] = <floating> gap[i]
        spread_field[i] = <floating> spread[i]
    if kind != LOGS:
        for i in range(n):
            hits_field[i] = <floating> hits[i]
            misses_field[i] = <floating> misses[i]


cdef void gather_lanes(
    const Call* call, Stats* s, const floating* z, const floating* t, Py_ssize_t stride,
    floating* e, Py_ssize_t e_stride
) noexcept nogil:
    if KIND[call.loss] == LOGS:  # compiled for this kind
        gather_lanes_of(call, LOGS, s, z, t, stride, e, e_stride)
    else:
        gather_lanes_of(call, KIND[call.loss], s, z, t, stride, e, e_stride)


cdef void write_lanes(
    const Call* call, Stats* s, const floating* t, Py_ssize_t stride, floating* grad, floating* hess
) noexcept nogil:
    """From exp(z - peak) in grad to the gradient, and the diagonal of the Hessian if wanted."""
    cdef floating* a = field(s, OF_EXP, grad)
    cdef floating* b = field(s, OF_TARGET, grad)
    cdef floating* of_pair = field(s, OF_PAIR, grad)
    cdef floating* of_square = field(s, OF_SQUARE, grad)
    cdef floating* tail = field(s, TAIL, grad)
    cdef floating* hot = field(s, OF_HOT, grad)
    cdef floating* inverse = field(s, INVERSE, grad)
    cdef floating* of_share = field(s, OF_SHARE, grad)
    cdef floating* of_sum = field(s, OF_SUM, grad)
    cdef floating* of_sum_twice = field(s, OF_SUM_TWICE, grad)
    cdef floating* hot_twice = field(s, OF_HOT_TWICE, grad)
    cdef floating* hit = field(s, HITS, grad)
    cdef floating[MAX_SAMPLES] q
    cdef floating[MAX_SAMPLES] pull
    cdef floating[MAX_SAMPLES] total
    cdef floating[MAX_SAMPLES] of_lse
    cdef floating one = 1, share
    cdef floating* g
    cdef floating* h
    cdef Kind kind = KIND[call.loss]
    cdef Py_ssize_t c, i
    if is_spread(call):
        for i in range(s.lanes):
            total[i] = field(s, SPREAD, grad)[i] + field(s, HOT, grad)[i]
            of_lse[i] = a[i] - b[i] * total[i] * inverse[i]
    for c in range(call.classes):
        g = grad + c * stride
        if hess != NULL:
            h = hess + c * stride
            for i in range(s.lanes):
                h[i] = of_pair[i] * (g[i] * (tail[i] + (one - g[i]))) + of_square[i] * (g[i] * g[i])
        if not is_spread(call):
            for i in range(s.lanes):
                g[i] = a[i] * g[i]
            continue
        spread_target_lanes(call, s.lanes, t, stride, c, q)
        if kind == LOGS and t == NULL:
            for i in range(s.lanes):
                g[i] = a[i] * g[i] - b[i] * q[i]
            continue
        if kind == LOGS:
            for i in range(s.lanes):
                g[i] = of_lse[i] * g[i] + b[i] * inverse[i] * less_q(g[i], q[i], total[i], tail[i])
            continue
        for i in range(s.lanes):
            pull[i] = less_p(g[i], q[i], hit[i], tail[i], inverse[i], of_share[i])
        if hess != NULL:
            for i in range(s.lanes):
                share = of_share[i] * (q[i] * g[i])
                h[i] += (
                    of_sum[i] * (share * (of_share[i] * (hit[i] - q[i] * g[i]))) + of_sum_twice[i] * square(pull[i])
                )
        for i in range(s.lanes):
            g[i] = b[i] * inverse[i] * less_q(g[i], q[i], total[i], tail[i]) + of_sum[i] * pull[i]
    if call.labels != NULL:
        for i in range(s.n):
            grad[s.label[i] * stride + i] = hot[i]
            if hess != NULL and kind != LOGS:
                hess[s.label[i] * stride + i] = hot_twice[i]
    if s.dropped:
        for i in range(s.n):
            if s.weight[i] == 0:
                for c in range(call.classes):
                    grad[c * stride + i] = 0
                    if hess != NULL:
                        hess[c * stride + i] = 0


cdef bint run_direct(const Call* call, Stats* s, floating* _, Py_ssize_t offset) noexcept nogil:
    """A tile of samples side by side in memory, from element `offset`; whether a target is not valid."""
    cdef floating[MAX_SAMPLES] spare
    cdef const floating* t = <const floating*> call.target
    cdef bint bad = False
    if t != NULL:
        t += offset
        bad = check_lanes(call, s, t, call.inner)
    if call.measure:
        return bad
    if call.grad == NULL:
        gather_lanes(call, s, <const floating*> call.pred + offset, t, call.inner, spare, 0)
        settle_tile(call, s, _)
    else:
        gather_lanes(
            call, s, <const floating*> call.pred + offset, t, call.inner, <floating*> call.grad + offset, call.inner
        )
        settle_tile(call, s, _)
        write_lanes(
            call, s, t, call.inner, <floating*> call.grad + offset,
            at(<floating*> call.hess, offset)
        )
    return bad


cdef bint run_transposed(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """A tile of samples through a transposed copy; whether a target is not valid."""
    cdef char[3 * CELL_BYTES + 64] memory
    cdef floating* z = aligned(<floating*> memory)
    cdef floating* t = NULL
    cdef floating* hess = NULL
    cdef bint bad = False
    if call.target != NULL:
        t = z + call.classes * call.tile
        transpose_in(call, s, <const floating*> call.target, start, t)
        bad = check_lanes(call, s, t, call.tile)
    if call.measure:
        return bad
    if call.hess != NULL:
        hess = z + 2 * call.classes * call.tile
    transpose_in(call, s, <const floating*> call.pred, start, z)
    gather_lanes(call, s, z, t, call.tile, z, call.tile)
    settle_tile(call, s, _)
    if call.grad != NULL:
        write_lanes(call, s, t, call.tile, z, hess)
        transpose_out(call, s, z, start, <floating*> call.grad)
        if hess != NULL:
            transpose_out(call, s, hess, start, <floating*> call.hess)
    return bad


# ---------------------------------------------------------------------------------------------------------------------
# The driver

cdef void settle_tile(const Call* call, Stats* s, floating* _) noexcept nogil:
    cdef floating* mass = field(s, MASS, _)
    cdef floating* hot = field(s, HOT, _)
    cdef floating* spread = field(s, SPREAD, _)
    cdef floating[MAX_PARAMETERS] parameters
    cdef long long dropped = 0
    cdef Py_ssize_t i
    for i in range(MAX_PARAMETERS):
        parameters[i] = <floating> call.parameters[i]
    # A sample whose whole target has no weight is not there either.
    if KIND[call.loss] == LOG_OF_SUM:
        for i in range(s.lanes):
            mass[i] = hot[i] + spread[i] if call.class_weight == NULL else mass[i]
            s.weight[i] = 0 if mass[i] == 0 else s.weight[i]
            dropped += s.weight[i] == 0
    else:
        for i in range(s.lanes):
            s.weight[i] = 0 if mass[i] == 0 and hot[i] + spread[i] == 0 else s.weight[i]
            dropped += s.weight[i] == 0
    s.dropped = dropped
    if floating is float:
        SINGLE[call.loss](call, s, parameters)
    else:
        DOUBLE[call.loss](call, s, parameters)


cdef double run_tile(const Call* call, floating* _, Py_ssize_t tile, char* bad) noexcept nogil:
    """Run one tile: the sum of its weighted losses, or with `measure` of its weights."""
    cdef floating[STATS * MAX_SAMPLES + 16] fields
    cdef Stats s
    cdef Py_ssize_t start = place_tile(call, &s, tile)
    s.fields = aligned(fields)
    bad[0] |= prepare(call, &s, _, start)
    set_hot(call, &s, _)
    if call.layout == ROWS:
        bad[0] |= run_rows(call, &s, _, start)
    elif call.layout == DIRECT:
        bad[0] |= run_direct(call, &s, _, offset_of(call, start))
    else:
        bad[0] |= run_transposed(call, &s, _, start)
    return finish_tile(call, &s, _, start)


def run(
    int loss, cnp.ndarray pred, cnp.ndarray target, bint labels, tuple shape, cnp.ndarray weight,
    Py_ssize_t weight_inner, cnp.ndarray class_weight, long long ignore_index, double smoothing, tuple parameters,
    bint measure, double scale, bint sum_values, cnp.ndarray value, cnp.ndarray grad, cnp.ndarray hess, int threads
):
    """See run_loss in class_axis.pxd."""
    return run_loss(
        run_tile[float], run_tile[double], SHORT_ROW, loss, pred, target, labels, shape, weight, weight_inner,
        class_weight, ignore_index, smoothing, parameters, measure, scale, sum_values, value, grad, hess, threads
    )
