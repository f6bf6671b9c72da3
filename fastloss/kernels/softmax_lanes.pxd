"""The softmax losses across samples: element c of sample i is at [c * stride + i].

Labels alone need fewer sums, which are taken in a loop of their own, in registers.
"""

from cython cimport floating
from libc.math cimport INFINITY

from fastloss.kernels.class_axis cimport DIRECT, MASS, MAX_SAMPLES, VECTOR, Call, Stats, clear, field, prefetch
from fastloss.kernels.classes cimport FAR
from fastloss.kernels.softmax_sums cimport (
    GAP, HITS, HOT, HOT_GAP, INVERSE, LOG_OF_SUM, LOGS, MISSES, OF_EXP, OF_HOT, OF_HOT_TWICE, OF_PAIR, OF_SHARE,
    OF_SQUARE, OF_SUM, OF_SUM_TWICE, OF_TARGET, PEAK, SPREAD, TAIL, Kind, is_spread, less_p, less_q, lowest, square,
    target_weight
)
from fastloss.kernels.tiles cimport LANES
from fastloss.kernels.vecmath cimport at_least, at_most, exp_difference, exp_nonpositive, trunc


cdef inline bint check_lanes(const Call* call, Stats* s, const floating* t, Py_ssize_t stride) noexcept nogil:
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
    const Call* call, Kind kind, Py_ssize_t n, const floating* t, Py_ssize_t stride, Py_ssize_t c, floating* q
) noexcept nogil:
    """q_c, hot part aside, for one class of n samples."""
    cdef const floating* weights = target_weight(call, kind, q)
    cdef floating w = 1 if weights == NULL else weights[c]
    cdef floating kept = <floating> (1 - call.smoothing), uniform = <floating> (call.smoothing / call.classes)
    cdef Py_ssize_t i
    if t == NULL:
        for i in range(n):
            q[i] = uniform * w
    else:
        for i in range(n):
            q[i] = (kept * t[c * stride + i] + uniform) * w


cdef inline void prefetch_class(const Call* call, Stats* s, Py_ssize_t c, floating* _) noexcept nogil:
    """One class of the next tile: too short a stretch for the hardware to foresee it."""
    cdef Py_ssize_t i
    if call.layout == DIRECT and call.inner >= 2 * call.tile:
        i = s.offset + c * call.inner + call.tile
        while i < s.offset + c * call.inner + 2 * call.tile:
            prefetch(<const floating*> call.pred + i)
            if call.grad != NULL:
                prefetch(<const floating*> call.grad + i)
            i += VECTOR


cdef inline void peaks_of_lanes(const Call* call, Stats* s, const floating* z, Py_ssize_t stride) noexcept nogil:
    cdef floating* peak = field(s, PEAK, z)
    cdef floating* hot_gap = field(s, HOT_GAP, z)
    cdef const floating* logits
    cdef Py_ssize_t n = s.lanes, c, i
    for i in range(n):
        peak[i] = z[i]
    for c in range(1, call.classes):
        logits = z + c * stride
        for i in range(n):
            peak[i] = logits[i] if logits[i] > peak[i] else peak[i]
    for i in range(n):
        hot_gap[i] = peak[i] - z[s.label[i] * stride + i]


cdef inline void sum_strip(
    const floating* e, Py_ssize_t stride, Py_ssize_t classes, Py_ssize_t n, floating* tail
) noexcept nogil:
    """TAIL of n <= LANES samples."""
    cdef double[LANES] below
    cdef floating[LANES] ones
    cdef floating x, y
    cdef const floating* f
    cdef Py_ssize_t c = classes % 2, i
    for i in range(n):
        below[i] = 0
        ones[i] = 0
    if c == 1:
        for i in range(n):
            x = trunc(e[i])
            below[i] = e[i] - x
            ones[i] = x
    while c < classes:
        f = e + c * stride
        for i in range(n):  # two numbers are added in their own precision: that saves a conversion
            x, y = trunc(f[i]), trunc(f[stride + i])
            below[i] += (f[i] - x) + (f[stride + i] - y)
            ones[i] += x + y
        c += 2
    for i in range(n):
        tail[i] = <floating> (below[i] + (ones[i] - 1))


cdef inline void sum_strips(const Call* call, Stats* s, const floating* e, Py_ssize_t stride) noexcept nogil:
    """TAIL, in strips so narrow that registers hold the sums."""
    cdef floating* tail = field(s, TAIL, e)
    cdef Py_ssize_t i = 0
    while i + LANES <= s.lanes:
        sum_strip(e + i, stride, call.classes, LANES, tail + i)
        i += LANES
    if i < s.lanes:
        sum_strip(e + i, stride, call.classes, s.lanes - i, tail + i)


cdef inline void exp_lanes(
    const Call* call, Stats* s, const floating* z, Py_ssize_t stride, floating* e, Py_ssize_t e_stride
) noexcept nogil:
    cdef floating* peak = field(s, PEAK, e)
    cdef const floating* logits
    cdef floating* exps
    cdef Py_ssize_t c, i
    for c in range(call.classes):
        logits = z + c * stride
        exps = e + c * e_stride
        prefetch_class(call, s, c, e)
        for i in range(s.lanes):
            exps[i] = exp_difference(logits[i], peak[i])


cdef inline void gather_spread(
    const Call* call, Kind kind, Stats* s, const floating* z, Py_ssize_t stride, const floating* t, Py_ssize_t t_stride,
    floating* e, Py_ssize_t e_stride
) noexcept nogil:
    """The sums of each sample over its classes, of any target; exp(z - peak) goes to e, which may be z."""
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
    cdef floating one = 1, whole
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
    if raise_target:
        for i in range(n):
            target_peak[i] = -INFINITY
        for c in range(call.classes):
            logits = z + c * stride
            for i in range(n):
                target_peak[i] = (
                    logits[i] if (t[c * t_stride + i] > 0) & (logits[i] > target_peak[i]) else target_peak[i]
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
        prefetch_class(call, s, c, e)
        spread_target_lanes(call, kind, n, t, t_stride, c, q)
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
            whole = trunc(x[i])
            below[i] += x[i] - whole
            ones[i] += whole
            exps[i] = x[i]
        if kind != LOGS:
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


cdef inline void write_lanes(
    const Call* call, Kind kind, Stats* s, const floating* t, const floating* e, Py_ssize_t e_stride,
    floating* grad, floating* hess, Py_ssize_t stride
) noexcept nogil:
    """From exp(z - peak) in e, which may be grad, to the gradient, and the diagonal of the Hessian if wanted."""
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
    cdef const floating* x
    cdef floating* g
    cdef floating* h
    cdef Py_ssize_t c, i
    if is_spread(call):
        for i in range(s.lanes):
            total[i] = field(s, SPREAD, grad)[i] + field(s, HOT, grad)[i]
            of_lse[i] = a[i] - b[i] * total[i] * inverse[i]
    for c in range(call.classes):
        x = e + c * e_stride
        g = grad + c * stride
        if hess != NULL:
            h = hess + c * stride
            for i in range(s.lanes):
                h[i] = of_pair[i] * (x[i] * (tail[i] + (one - x[i]))) + of_square[i] * (x[i] * x[i])
        if not is_spread(call):
            for i in range(s.lanes):
                g[i] = a[i] * x[i]
            continue
        spread_target_lanes(call, kind, s.lanes, t, stride, c, q)
        if kind == LOGS and t == NULL:
            for i in range(s.lanes):
                g[i] = a[i] * x[i] - b[i] * q[i]
            continue
        if kind == LOGS:
            for i in range(s.lanes):
                g[i] = of_lse[i] * x[i] + b[i] * inverse[i] * less_q(x[i], q[i], total[i], tail[i])
            continue
        for i in range(s.lanes):
            pull[i] = less_p(x[i], q[i], hit[i], tail[i], inverse[i], of_share[i])
        if hess != NULL:
            for i in range(s.lanes):
                share = of_share[i] * (q[i] * x[i])
                h[i] += (
                    of_sum[i] * (share * (of_share[i] * (hit[i] - q[i] * x[i]))) + of_sum_twice[i] * square(pull[i])
                )
        for i in range(s.lanes):
            g[i] = b[i] * inverse[i] * less_q(x[i], q[i], total[i], tail[i]) + of_sum[i] * pull[i]
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
