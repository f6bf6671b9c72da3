"""The softmax losses across samples: element c of sample i is at [c * stride + i].

Plain labels need fewer sums. A loop of their own takes these, in registers.
"""

from cython cimport floating

from fastloss._core.kernels.base.memory cimport clear
from fastloss._core.kernels.base.sums cimport LANES
from fastloss._core.kernels.base.vecmath cimport exp_difference, trunc
from fastloss._core.kernels.classes.layout cimport (
    MAX_SAMPLES, TARGET_WEIGHT, Job, Samples, field, prefetch_class
)
from fastloss._core.kernels.classes.softmax_sums cimport (
    GAP, HITS, HOT, HOT_GAP, INVERSE, LOGS, LOGS_AND_SUM, MISSES, OF_EXP, OF_HOT, OF_HOT_TWICE, OF_PAIR, OF_SHARE,
    OF_SQUARE, OF_SUM, OF_SUM_TWICE, OF_TARGET, PEAK, SPREAD, TAIL, Kind, less_p, less_q, square
)
from fastloss._core.request.domains cimport in_unit_interval


cdef inline bint check_lanes(
    const Job* job, Samples* samples, const floating* target, Py_ssize_t stride
) noexcept nogil:
    """Set TARGET_WEIGHT from the target probabilities. Return whether one that counts is not in [0, 1]."""
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, <floating*> NULL)
    cdef const floating* class_weight = <const floating*> job.class_weight
    cdef double[MAX_SAMPLES] total
    cdef Py_ssize_t c, i
    cdef int invalid = 0
    clear(total, samples.n)
    for c in range(job.classes):
        for i in range(samples.n):
            invalid |= (samples.weight[i] != 0) & (not in_unit_interval(target[c * stride + i]))
        if class_weight != NULL:
            for i in range(samples.n):
                total[i] += class_weight[c] * target[c * stride + i]
    if class_weight != NULL:
        for i in range(samples.n):
            target_weight[i] = <floating> total[i]
    return invalid


cdef inline void spread_of_lanes(
    const Job* job, Py_ssize_t n, const floating* target, Py_ssize_t stride, Py_ssize_t c, floating* q
) noexcept nogil:
    """q_c of the spread part, for one class of n samples."""
    cdef const floating* weights = <const floating*> job.class_weight
    cdef floating class_weight = 1 if weights == NULL else weights[c]
    cdef floating kept = <floating> (1 - job.smoothing), uniform = <floating> (job.smoothing / job.classes)
    cdef Py_ssize_t i
    if target == NULL:
        for i in range(n):
            q[i] = uniform * class_weight
    else:
        for i in range(n):
            q[i] = (kept * target[c * stride + i] + uniform) * class_weight


cdef inline void peaks_of_lanes(
    const Job* job, Samples* samples, const floating* logits, Py_ssize_t stride
) noexcept nogil:
    """Set PEAK, and HOT_GAP of labels."""
    cdef floating* peak = field(samples, PEAK, logits)
    cdef floating* hot_gap = field(samples, HOT_GAP, logits)
    cdef const floating* class_logits
    cdef Py_ssize_t n = samples.lanes, c, i
    for i in range(n):
        peak[i] = logits[i]
    for c in range(1, job.classes):
        class_logits = logits + c * stride
        for i in range(n):
            peak[i] = class_logits[i] if class_logits[i] > peak[i] else peak[i]
    for i in range(n):
        hot_gap[i] = peak[i] - logits[samples.label[i] * stride + i]


cdef inline void sum_strip(
    const floating* exps, Py_ssize_t stride, Py_ssize_t classes, Py_ssize_t n, floating* tail
) noexcept nogil:
    """Set TAIL (sum exp - 1) of n <= LANES samples."""
    cdef double[LANES] below    # sums of the terms below 1
    cdef floating[LANES] ones   # sums of the terms that are 1
    cdef floating x, y
    cdef const floating* f
    cdef Py_ssize_t c = classes % 2, i
    for i in range(n):
        below[i] = 0
        ones[i] = 0
    if c == 1:
        for i in range(n):
            x = trunc(exps[i])
            below[i] = exps[i] - x
            ones[i] = x
    while c < classes:
        f = exps + c * stride
        for i in range(n):  # two numbers are added in their own precision: that saves a conversion
            x, y = trunc(f[i]), trunc(f[stride + i])
            below[i] += (f[i] - x) + (f[stride + i] - y)
            ones[i] += x + y
        c += 2
    for i in range(n):
        tail[i] = <floating> (below[i] + (ones[i] - 1))


cdef inline void sum_strips(const Job* job, Samples* samples, const floating* exps, Py_ssize_t stride) noexcept nogil:
    """Set TAIL, in strips so narrow that registers hold their sums."""
    cdef floating* tail = field(samples, TAIL, exps)
    cdef Py_ssize_t i = 0
    while i + LANES <= samples.lanes:
        sum_strip(exps + i, stride, job.classes, LANES, tail + i)
        i += LANES
    if i < samples.lanes:
        sum_strip(exps + i, stride, job.classes, samples.lanes - i, tail + i)


cdef inline void exp_lanes(
    const Job* job, Samples* samples, const floating* logits, Py_ssize_t stride, floating* exps, Py_ssize_t exps_stride
) noexcept nogil:
    """exp(logits - PEAK) of the samples of a tile."""
    cdef floating* peak = field(samples, PEAK, exps)
    cdef const floating* class_logits
    cdef floating* class_exps
    cdef Py_ssize_t c, i
    for c in range(job.classes):
        class_logits = logits + c * stride
        class_exps = exps + c * exps_stride
        if samples.prefetch_next:
            prefetch_class(job, samples, c)
        for i in range(samples.lanes):
            class_exps[i] = exp_difference(class_logits[i], peak[i])


cdef inline void gather_spread(
    const Job* job, Kind kind, Samples* samples, const floating* logits, Py_ssize_t stride,
    const floating* target, Py_ssize_t target_stride, floating* exps, Py_ssize_t exps_stride
) noexcept nogil:
    """The sums of each sample over its classes, for any target.

    exp(logits - peak) goes to exps, which may be logits.
    """
    cdef floating* peak = field(samples, PEAK, exps)
    cdef floating* tail = field(samples, TAIL, exps)
    cdef floating* gap_field = field(samples, GAP, exps)
    cdef floating* spread_field = field(samples, SPREAD, exps)
    cdef floating* hits_field = field(samples, HITS, exps)
    cdef floating* misses_field = field(samples, MISSES, exps)
    cdef floating[MAX_SAMPLES] q
    cdef floating[MAX_SAMPLES] x
    cdef floating one = 1, whole
    cdef double[MAX_SAMPLES] below      # as in sum_strip
    cdef double[MAX_SAMPLES] gap
    cdef double[MAX_SAMPLES] spread
    cdef double[MAX_SAMPLES] hits
    cdef double[MAX_SAMPLES] misses
    cdef floating[MAX_SAMPLES] ones     # as in sum_strip
    cdef Py_ssize_t n = samples.lanes, c, i
    cdef const floating* class_logits
    cdef floating* class_exps
    clear(below, n)
    clear(gap, n)
    clear(spread, n)
    clear(ones, n)
    if kind == LOGS_AND_SUM:
        clear(hits, n)
        clear(misses, n)
    for c in range(job.classes):
        class_logits = logits + c * stride
        class_exps = exps + c * exps_stride
        if samples.prefetch_next:
            prefetch_class(job, samples, c)
        spread_of_lanes(job, n, target, target_stride, c, q)
        for i in range(n):
            spread[i] += q[i]
            gap[i] += 0 if q[i] == 0 else q[i] * (peak[i] - class_logits[i])
        for i in range(n):
            x[i] = exp_difference(class_logits[i], peak[i])
        for i in range(n):
            whole = trunc(x[i])
            below[i] += x[i] - whole
            ones[i] += whole
            class_exps[i] = x[i]
        if kind == LOGS_AND_SUM:
            for i in range(n):
                hits[i] += q[i] * x[i]
                misses[i] += q[i] * (one - x[i])
    for i in range(n):
        tail[i] = <floating> (below[i] + (ones[i] - 1))
        gap_field[i] = <floating> gap[i]
        spread_field[i] = <floating> spread[i]
    if kind == LOGS_AND_SUM:
        for i in range(n):
            hits_field[i] = <floating> hits[i]
            misses_field[i] = <floating> misses[i]


cdef inline void clear_dropped(
    const Job* job, Samples* samples, floating* grad, floating* hess, Py_ssize_t stride
) noexcept nogil:
    """Clear the derivatives of samples that are ignored."""
    cdef Py_ssize_t c, i
    for i in range(samples.n if samples.dropped else 0):
        if samples.weight[i] == 0:
            for c in range(job.classes):
                grad[c * stride + i] = 0
                if hess != NULL:
                    hess[c * stride + i] = 0


cdef inline void write_lanes(
    const Job* job, Kind kind, Samples* samples, const floating* target, Py_ssize_t target_stride,
    const floating* exps, Py_ssize_t exps_stride, floating* grad, floating* hess, Py_ssize_t stride
) noexcept nogil:
    """The gradient and, unless hess is NULL, the diagonal of the Hessian, from exp(logits - peak) in exps.

    exps may be grad.
    """
    cdef floating* a = field(samples, OF_EXP, grad)
    cdef floating* b = field(samples, OF_TARGET, grad)
    cdef floating* of_pair = field(samples, OF_PAIR, grad)
    cdef floating* of_square = field(samples, OF_SQUARE, grad)
    cdef floating* tail = field(samples, TAIL, grad)
    cdef floating* hot = field(samples, OF_HOT, grad)
    cdef floating* inverse = field(samples, INVERSE, grad)
    cdef floating* of_share = field(samples, OF_SHARE, grad)
    cdef floating* of_sum = field(samples, OF_SUM, grad)
    cdef floating* of_sum_twice = field(samples, OF_SUM_TWICE, grad)
    cdef floating* hot_twice = field(samples, OF_HOT_TWICE, grad)
    cdef floating* hit = field(samples, HITS, grad)
    cdef floating[MAX_SAMPLES] q
    cdef floating[MAX_SAMPLES] pull
    cdef floating[MAX_SAMPLES] total
    cdef floating[MAX_SAMPLES] of_lse
    cdef floating one = 1, share
    cdef const floating* x
    cdef floating* g
    cdef floating* h
    cdef Py_ssize_t c, i
    if job.spread:
        for i in range(samples.lanes):
            total[i] = field(samples, SPREAD, grad)[i] + field(samples, HOT, grad)[i]
            of_lse[i] = a[i] - b[i] * total[i] * inverse[i]
    for c in range(job.classes):
        x = exps + c * exps_stride
        g = grad + c * stride
        if hess != NULL:
            h = hess + c * stride
            for i in range(samples.lanes):
                h[i] = of_pair[i] * (x[i] * (tail[i] + (one - x[i]))) + of_square[i] * (x[i] * x[i])
        if not job.spread:
            for i in range(samples.lanes):
                g[i] = a[i] * x[i]
            continue
        spread_of_lanes(job, samples.lanes, target, target_stride, c, q)
        if kind == LOGS and target == NULL:
            for i in range(samples.lanes):
                g[i] = a[i] * x[i] - b[i] * q[i]
            continue
        if kind == LOGS:
            for i in range(samples.lanes):
                g[i] = of_lse[i] * x[i] + b[i] * inverse[i] * less_q(x[i], q[i], total[i], tail[i])
            continue
        for i in range(samples.lanes):
            pull[i] = less_p(x[i], q[i], hit[i], tail[i], inverse[i], of_share[i])
        if hess != NULL:
            for i in range(samples.lanes):
                share = of_share[i] * (q[i] * x[i])
                h[i] += (
                    of_sum[i] * (share * (of_share[i] * (hit[i] - q[i] * x[i]))) + of_sum_twice[i] * square(pull[i])
                )
        for i in range(samples.lanes):
            g[i] = b[i] * inverse[i] * less_q(x[i], q[i], total[i], tail[i]) + of_sum[i] * pull[i]
    if job.labels.data != NULL:
        for i in range(samples.n):
            grad[samples.label[i] * stride + i] = hot[i]
            if hess != NULL and kind != LOGS:
                hess[samples.label[i] * stride + i] = hot_twice[i]
    clear_dropped(job, samples, grad, hess, stride)
