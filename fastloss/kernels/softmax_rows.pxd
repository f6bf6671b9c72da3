"""The softmax losses along the row: for samples whose classes lie side by side, and are many.

Rows of up to BLOCK classes write exp(z - peak) to a copy, padded with zeros to whole groups of LANES. Labels alone go
through all rows of a tile phase by phase: row by row, the processor would wait for each maximum and each sum. Where the
last group of a row is not full, it starts earlier and does some classes twice.
"""

from cython cimport floating
from libc.math cimport INFINITY

from fastloss.kernels.class_axis cimport BLOCK, CELL_BYTES, MASS, VECTOR, Call, Stats, clear, field, maximum, prefetch
from fastloss.kernels.classes cimport FAR
from fastloss.kernels.softmax_sums cimport (
    GAP, HITS, HOT, HOT_GAP, INVERSE, LOG_OF_SUM, LOGS, MISSES, OF_EXP, OF_PAIR, OF_SHARE, OF_SQUARE, OF_SUM,
    OF_SUM_TWICE, OF_TARGET, PEAK, SPREAD, TAIL, Kind, is_spread, less_p, less_q, lowest, square, target_weight
)
from fastloss.kernels.tiles cimport LANES, aligned, at, ordered_sum
from fastloss.kernels.vecmath cimport at_least, at_most, exp_difference, exp_nonpositive, max_lanes, sum_lanes, trunc


cdef inline bint check_row(const Call* call, Stats* s, Py_ssize_t i, const floating* t) noexcept nogil:
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
    const Call* call, Kind kind, const floating* t, Py_ssize_t start, floating* q, Py_ssize_t n
) noexcept nogil:
    """q_c, hot part aside, for classes start to start + n of a row."""
    cdef const floating* w = target_weight(call, kind, q)
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


cdef inline void peaks_of_rows(const Call* call, Stats* s, const floating* z) noexcept nogil:
    cdef floating* peak = field(s, PEAK, z)
    cdef Py_ssize_t i
    for i in range(s.n):
        peak[i] = maximum(z + i * call.classes, call.classes)
        field(s, HOT_GAP, z)[i] = peak[i] - z[i * call.classes + s.label[i]]


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


cdef inline void exp_group(const floating* z, Py_ssize_t n, floating peak, floating* e) noexcept nogil:
    """n is VECTOR or LANES. Nothing is stored before all is loaded: the compiler has no overlap to fear."""
    cdef floating[LANES] x
    cdef Py_ssize_t j
    for j in range(n):
        x[j] = exp_difference(z[j], peak)
    for j in range(n):
        e[j] = x[j]


cdef inline void exps(
    const floating* z, Py_ssize_t n, floating peak, floating* e, const floating* grad
) noexcept nogil:
    """exp(z - peak) of n >= LANES numbers, and zeros after them, to whole groups of LANES."""
    cdef Py_ssize_t i = 0, ahead = 0
    while i + LANES <= n:
        while ahead < i + LANES:  # what is needed soon: the arithmetic leaves memory idle otherwise
            prefetch(<const char*> (z + ahead) + CELL_BYTES)
            if grad != NULL:
                prefetch(grad + ahead)
            ahead += VECTOR
        exp_group(z + i, LANES, peak, e + i)
        i += LANES
    if i < n:
        clear(e + i, LANES)
    if i + VECTOR < n:
        exp_group(z + n - LANES, LANES, peak, e + n - LANES)
    elif i < n:
        exp_group(z + n - VECTOR, VECTOR, peak, e + n - VECTOR)


cdef inline void add_exps(const floating* e, Py_ssize_t n, double* below, floating* ones) noexcept nogil:
    """Add e[:n], padded as by `exps`, to LANES sums, what is 1 apart from the rest."""
    cdef floating x, y
    cdef Py_ssize_t i = 0, j
    if (n + LANES - 1) // LANES % 2 == 1:
        for j in range(LANES):
            x = trunc(e[j])
            below[j] += e[j] - x
            ones[j] += x
        i = LANES
    while i < n:
        for j in range(LANES):  # two numbers are added in their own precision: that saves a conversion
            x, y = trunc(e[i + j]), trunc(e[i + LANES + j])
            below[j] += (e[i + j] - x) + (e[i + LANES + j] - y)
            ones[j] += x + y
        i += 2 * LANES


cdef inline floating tail_of(double* below, const floating* ones) noexcept nogil:
    cdef double tail = sum_lanes(below)
    cdef Py_ssize_t j
    for j in range(LANES):
        below[j] = ones[j]
    return <floating> (tail + (sum_lanes(below) - 1))


cdef inline void exp_rows(
    const Call* call, Stats* s, const floating* z, floating* e, Py_ssize_t stride, const floating* grad
) noexcept nogil:
    cdef Py_ssize_t C = call.classes, i
    for i in range(s.n):
        exps(z + i * C, C, field(s, PEAK, z)[i], e + i * stride, at(grad, i * C))


cdef inline void sum_rows(const Call* call, Stats* s, const floating* e, Py_ssize_t stride) noexcept nogil:
    cdef double[LANES] below
    cdef floating[LANES] ones
    cdef Py_ssize_t i, j
    for i in range(s.n):
        for j in range(LANES):
            below[j] = 0
            ones[j] = 0
        add_exps(e + i * stride, call.classes, below, ones)
        field(s, TAIL, e)[i] = tail_of(below, ones)


cdef inline void gather_row(
    const Call* call, Kind kind, Stats* s, Py_ssize_t i, const floating* z, const floating* t, floating* e,
    const floating* grad
) noexcept nogil:
    """The sums of one sample over its classes. exp(z - peak) goes to e: padded, if it is not NULL or grad."""
    # As a power of two apart, loads from one would wait for stores to another that are not theirs.
    cdef floating[3 * (BLOCK + LANES) + 16] memory
    cdef floating* x = aligned(memory)
    cdef floating* q = x + BLOCK + LANES
    cdef floating* product = q + BLOCK + LANES
    cdef double[LANES] below
    cdef floating[LANES] ones
    cdef floating peak = field(s, PEAK, z)[i], target_peak = 0, target_gap, raised = 1, one = 1
    cdef double gap = 0, spread = 0, hits = 0, misses = 0
    cdef bint direct = e != NULL and e != grad
    cdef Py_ssize_t start = 0, c, n
    if direct:
        x = e
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
        n = call.classes - start
        if n >= BLOCK + LANES:  # so that no block is shorter than LANES
            n = BLOCK
        if is_spread(call):
            spread_target(call, kind, t, start, q, n)
            spread += ordered_sum(q, n)
            for c in range(n):
                product[c] = 0 if q[c] == 0 else q[c] * (peak - z[start + c])
            gap += ordered_sum(product, n)
        exps(z + start, n, peak, x, at(grad, start))
        add_exps(x, n, below, ones)
        if is_spread(call) and kind != LOGS:
            if raised != 1:
                for c in range(n):
                    product[c] = exp_difference(at_least(z[start + c], lowest(x)), target_peak) * raised
                for c in range(n):
                    x[c] = product[c] if q[c] > 0 else x[c]
            for c in range(n):
                product[c] = q[c] * x[c]
            hits += ordered_sum(product, n)
            for c in range(n):
                product[c] = q[c] * (one - x[c])
            misses += ordered_sum(product, n)
        if e != NULL and not direct:
            for c in range(n):
                e[start + c] = x[c]
        start += n
    field(s, TAIL, q)[i] = tail_of(below, ones)
    if is_spread(call):
        field(s, GAP, q)[i] = <floating> gap
        field(s, SPREAD, q)[i] = <floating> spread
        if kind != LOGS:
            field(s, HITS, q)[i] = <floating> hits
            field(s, MISSES, q)[i] = <floating> misses


cdef inline void write_bare_row(
    const Call* call, Stats* s, Py_ssize_t i, const floating* e, floating* grad
) noexcept nogil:
    """The gradient of a sample without a spread target, from exp(z - peak) in e, which may be grad."""
    cdef floating a = field(s, OF_EXP, e)[i]
    cdef Py_ssize_t n = call.classes, whole = n if e == grad else n // VECTOR * VECTOR, c
    for c in range(whole):
        grad[c] = a * e[c]
    if whole < n:
        for c in range(LANES):
            grad[n - LANES + c] = a * e[n - LANES + c]


cdef inline void write_row(
    const Call* call, Kind kind, Stats* s, Py_ssize_t i, const floating* t, const floating* e,
    floating* grad, floating* hess
) noexcept nogil:
    """From exp(z - peak) in e, which may be grad, to the gradient, and the diagonal of the Hessian if wanted."""
    cdef floating[BLOCK] q
    cdef floating[BLOCK] pull
    cdef floating one = 1, share, a = field(s, OF_EXP, q)[i], b = field(s, OF_TARGET, q)[i], tail = field(s, TAIL, q)[i]
    cdef floating of_pair = field(s, OF_PAIR, q)[i], of_square = field(s, OF_SQUARE, q)[i]
    cdef floating inverse = field(s, INVERSE, q)[i], total = field(s, SPREAD, q)[i] + field(s, HOT, q)[i]
    cdef floating of_lse = a - b * total * inverse, hit = 0, of_share = 0, of_sum = 0, of_sum_twice = 0
    cdef Py_ssize_t start = 0, c, n
    if kind != LOGS:
        hit, of_share = field(s, HITS, q)[i], field(s, OF_SHARE, q)[i]
        of_sum, of_sum_twice = field(s, OF_SUM, q)[i], field(s, OF_SUM_TWICE, q)[i]
    if hess != NULL:
        for c in range(call.classes):
            hess[c] = of_pair * (e[c] * (tail + (one - e[c]))) + of_square * (e[c] * e[c])
    if not is_spread(call):
        write_bare_row(call, s, i, e, grad)
        return
    while start < call.classes:
        n = min(BLOCK, call.classes - start)
        spread_target(call, kind, t, start, q, n)
        if kind == LOGS and t == NULL:
            for c in range(n):
                grad[start + c] = a * e[start + c] - b * q[c]
        elif kind == LOGS:
            for c in range(n):
                grad[start + c] = of_lse * e[start + c] + b * inverse * less_q(e[start + c], q[c], total, tail)
        else:
            for c in range(n):
                pull[c] = less_p(e[start + c], q[c], hit, tail, inverse, of_share)
            if hess != NULL:
                for c in range(n):
                    share = of_share * (q[c] * e[start + c])
                    hess[start + c] += (
                        of_sum * (share * (of_share * (hit - q[c] * e[start + c]))) + of_sum_twice * square(pull[c])
                    )
            for c in range(n):
                grad[start + c] = b * inverse * less_q(e[start + c], q[c], total, tail) + of_sum * pull[c]
        start += n
