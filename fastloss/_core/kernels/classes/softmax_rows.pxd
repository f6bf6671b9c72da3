"""The softmax losses along the row, for samples that have many classes side by side in memory.

Rows of up to BLOCK classes write exp(logits - peak) to a copy, padded with zeros to whole groups of LANES. For plain
labels, each phase (maximum, exp, sum) runs over all rows of the tile, so that rows overlap in the pipeline. If the last
group of a row is not full, it starts earlier and computes some classes twice.
"""

from cython cimport floating

from fastloss._core.kernels.base.domains cimport any_outside_domain
from fastloss._core.kernels.base.memory cimport aligned, clear, prefetch
from fastloss._core.kernels.base.sums cimport LANES, ordered_sum
from fastloss._core.kernels.base.vecmath cimport exp_difference, sum_lanes, trunc
from fastloss._core.kernels.classes.layout cimport (
    BLOCK, CELL_BYTES, TARGET_WEIGHT, VECTOR, Job, Samples, field, maximum
)
from fastloss._core.kernels.classes.softmax_sums cimport (
    GAP, HITS, HOT, HOT_GAP, INVERSE, LOGS, LOGS_AND_SUM, MISSES, OF_EXP, OF_PAIR, OF_SHARE, OF_SQUARE, OF_SUM,
    OF_SUM_TWICE, OF_TARGET, PEAK, SPREAD, TAIL, Kind, less_p, less_q, square
)
from fastloss._core.request.call cimport GRAD
from fastloss._core.request.domains cimport UNIT_INTERVAL


cdef inline bint check_row(const Job* job, Samples* samples, Py_ssize_t i, const floating* target) noexcept nogil:
    """Set TARGET_WEIGHT of sample i from its target probabilities. Return whether one that counts is not in [0, 1]."""
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, <floating*> NULL)
    cdef const floating* class_weight = <const floating*> job.class_weight
    cdef floating[BLOCK] product
    cdef double total = 0
    cdef Py_ssize_t start = 0, c, n
    cdef bint invalid = any_outside_domain(UNIT_INTERVAL, target, NULL, job.classes)
    if class_weight != NULL:
        while start < job.classes:
            n = min(BLOCK, job.classes - start)
            for c in range(n):
                product[c] = class_weight[start + c] * target[start + c]
            total += ordered_sum(product, n)
            start += n
        target_weight[i] = <floating> total
    return invalid and samples.weight[i] != 0


cdef inline void spread_of_row(
    const Job* job, const floating* target, Py_ssize_t start, floating* q, Py_ssize_t n
) noexcept nogil:
    """q_c of the spread part, for classes start to start + n of a row."""
    cdef const floating* class_weight = <const floating*> job.class_weight
    cdef floating kept = <floating> (1 - job.smoothing), uniform = <floating> (job.smoothing / job.classes)
    cdef Py_ssize_t c
    if target == NULL:
        for c in range(n):
            q[c] = uniform
    else:
        for c in range(n):
            q[c] = kept * target[start + c] + uniform
    if class_weight != NULL:
        for c in range(n):
            q[c] *= class_weight[start + c]


cdef inline void peaks_of_rows(const Job* job, Samples* samples, const floating* logits) noexcept nogil:
    """Set PEAK, and HOT_GAP of labels."""
    cdef floating* peak = field(samples, PEAK, logits)
    cdef Py_ssize_t i
    for i in range(samples.n):
        peak[i] = maximum(logits + i * job.classes, job.classes)
        field(samples, HOT_GAP, logits)[i] = peak[i] - logits[i * job.classes + samples.label[i]]


cdef inline void exp_group(const floating* logits, Py_ssize_t n, floating peak, floating* exps) noexcept nogil:
    """exp(logits - peak) of n = VECTOR or LANES numbers.

    All of them are loaded before any is stored, so the compiler need not assume that logits and exps overlap.
    """
    cdef floating[LANES] x
    cdef Py_ssize_t j
    for j in range(n):
        x[j] = exp_difference(logits[j], peak)
    for j in range(n):
        exps[j] = x[j]


cdef inline void exps_of_row(
    const Job* job, const floating* logits, Py_ssize_t n, floating peak, floating* exps, Py_ssize_t element
) noexcept nogil:
    """exp(logits - peak) of n >= LANES numbers, padded with zeros to whole groups of LANES.

    `element` is the place of the first one in the caller's array.
    """
    cdef Py_ssize_t next_tile = element + CELL_BYTES // <Py_ssize_t> sizeof(floating), i = 0, done = 0
    cdef const char* pred = <const char*> job.pred + next_tile * job.itemsize
    cdef const char* grad = <const char*> job.common.out[GRAD]
    cdef Py_ssize_t itemsize = job.itemsize
    grad = NULL if grad == NULL else grad + element * itemsize
    while i + LANES <= n:
        while done < (i + LANES) * itemsize:  # needed soon: otherwise memory is idle during the arithmetic
            prefetch(pred + done)
            if grad != NULL:
                prefetch(grad + done)
            done += 64  # a cache line
        exp_group(logits + i, LANES, peak, exps + i)
        i += LANES
    if i < n:
        clear(exps + i, LANES)
    if i + VECTOR < n:
        exp_group(logits + n - LANES, LANES, peak, exps + n - LANES)
    elif i < n:
        exp_group(logits + n - VECTOR, VECTOR, peak, exps + n - VECTOR)


cdef inline void add_exps(const floating* exps, Py_ssize_t n, double* below, floating* ones) noexcept nogil:
    """Add exps[:n], padded as by `exps_of_row`, to LANES sums: terms that are 1 to `ones`, terms below 1 to `below`."""
    cdef floating x, y
    cdef Py_ssize_t i = 0, j
    if (n + LANES - 1) // LANES % 2 == 1:
        for j in range(LANES):
            x = trunc(exps[j])
            below[j] += exps[j] - x
            ones[j] += x
        i = LANES
    while i < n:
        for j in range(LANES):  # two numbers are added in their own precision: that saves a conversion
            x, y = trunc(exps[i + j]), trunc(exps[i + LANES + j])
            below[j] += (exps[i + j] - x) + (exps[i + LANES + j] - y)
            ones[j] += x + y
        i += 2 * LANES


cdef inline floating tail_of(double* below, const floating* ones) noexcept nogil:
    """TAIL from the sums of `add_exps`."""
    cdef double tail = sum_lanes(below)
    cdef Py_ssize_t j
    for j in range(LANES):
        below[j] = ones[j]
    return <floating> (tail + (sum_lanes(below) - 1))


cdef inline void exp_rows(
    const Job* job, Samples* samples, const floating* logits, floating* exps, Py_ssize_t stride
) noexcept nogil:
    """exp(logits - PEAK) of the rows of a tile."""
    cdef floating* peak = field(samples, PEAK, exps)
    cdef Py_ssize_t classes = job.classes, i
    for i in range(samples.n):
        exps_of_row(job, logits + i * classes, classes, peak[i], exps + i * stride, samples.offset + i * classes)


cdef inline void sum_rows(const Job* job, Samples* samples, const floating* exps, Py_ssize_t stride) noexcept nogil:
    """Set TAIL."""
    cdef double[LANES] below
    cdef floating[LANES] ones
    cdef Py_ssize_t i, j
    for i in range(samples.n):
        for j in range(LANES):
            below[j] = 0
            ones[j] = 0
        add_exps(exps + i * stride, job.classes, below, ones)
        field(samples, TAIL, exps)[i] = tail_of(below, ones)


cdef inline void gather_row(
    const Job* job, Kind kind, Samples* samples, Py_ssize_t i, const floating* logits, const floating* target,
    floating* exps, const floating* grad
) noexcept nogil:
    """The sums of one sample over its classes.

    exp(logits - peak) goes to exps, unless that is NULL. It is padded unless exps is grad.
    """
    # The three arrays are not a power of two apart: else a load from one would wait for a store to another.
    cdef floating[3 * (BLOCK + LANES) + 16] memory
    cdef floating* x = aligned(memory)
    cdef floating* q = x + BLOCK + LANES
    cdef floating* product = q + BLOCK + LANES
    cdef double[LANES] below
    cdef floating[LANES] ones
    cdef floating peak = field(samples, PEAK, logits)[i], one = 1
    cdef double gap = 0, spread = 0, hits = 0, misses = 0
    cdef bint direct = exps != NULL and exps != grad
    cdef Py_ssize_t element = samples.offset + i * job.classes, start = 0, c, n
    if direct:
        x = exps
    for c in range(LANES):
        below[c] = 0
        ones[c] = 0
    while start < job.classes:
        n = job.classes - start
        if n >= BLOCK + LANES:  # so that no block is shorter than LANES
            n = BLOCK
        if job.spread:
            spread_of_row(job, target, start, q, n)
            spread += ordered_sum(q, n)
            for c in range(n):
                product[c] = 0 if q[c] == 0 else q[c] * (peak - logits[start + c])
            gap += ordered_sum(product, n)
        exps_of_row(job, logits + start, n, peak, x, element + start)
        add_exps(x, n, below, ones)
        if job.spread and kind == LOGS_AND_SUM:
            for c in range(n):
                product[c] = q[c] * x[c]
            hits += ordered_sum(product, n)
            for c in range(n):
                product[c] = q[c] * (one - x[c])
            misses += ordered_sum(product, n)
        if exps != NULL and not direct:
            for c in range(n):
                exps[start + c] = x[c]
        start += n
    field(samples, TAIL, q)[i] = tail_of(below, ones)
    if job.spread:
        field(samples, GAP, q)[i] = <floating> gap
        field(samples, SPREAD, q)[i] = <floating> spread
        if kind == LOGS_AND_SUM:
            field(samples, HITS, q)[i] = <floating> hits
            field(samples, MISSES, q)[i] = <floating> misses


cdef inline void write_plain_row(
    const Job* job, Samples* samples, Py_ssize_t i, const floating* exps, floating* grad
) noexcept nogil:
    """The gradient of a sample with a plain label, from exp(logits - peak) in exps, which may be grad."""
    cdef floating a = field(samples, OF_EXP, exps)[i]
    cdef Py_ssize_t n = job.classes, whole = n if exps == grad else n // VECTOR * VECTOR, c
    for c in range(whole):
        grad[c] = a * exps[c]
    if whole < n:
        for c in range(LANES):
            grad[n - LANES + c] = a * exps[n - LANES + c]


cdef inline void write_row(
    const Job* job, Kind kind, Samples* samples, Py_ssize_t i, const floating* target, const floating* exps,
    floating* grad, floating* hess
) noexcept nogil:
    """The gradient and, unless hess is NULL, the diagonal of the Hessian, from exp(logits - peak) in exps.

    exps may be grad.
    """
    cdef floating[BLOCK] q
    cdef floating[BLOCK] pull
    cdef floating one = 1, share, a = field(samples, OF_EXP, q)[i], b = field(samples, OF_TARGET, q)[i]
    cdef floating of_pair = field(samples, OF_PAIR, q)[i], of_square = field(samples, OF_SQUARE, q)[i]
    cdef floating inverse = field(samples, INVERSE, q)[i], tail = field(samples, TAIL, q)[i]
    cdef floating total = field(samples, SPREAD, q)[i] + field(samples, HOT, q)[i]
    cdef floating of_lse = a - b * total * inverse, hit = 0, of_share = 0, of_sum = 0, of_sum_twice = 0
    cdef Py_ssize_t start = 0, c, n
    if kind == LOGS_AND_SUM:
        hit, of_share = field(samples, HITS, q)[i], field(samples, OF_SHARE, q)[i]
        of_sum, of_sum_twice = field(samples, OF_SUM, q)[i], field(samples, OF_SUM_TWICE, q)[i]
    if hess != NULL:
        for c in range(job.classes):
            hess[c] = of_pair * (exps[c] * (tail + (one - exps[c]))) + of_square * (exps[c] * exps[c])
    if not job.spread:
        write_plain_row(job, samples, i, exps, grad)
        return
    while start < job.classes:
        n = min(BLOCK, job.classes - start)
        spread_of_row(job, target, start, q, n)
        if kind == LOGS and target == NULL:
            for c in range(n):
                grad[start + c] = a * exps[start + c] - b * q[c]
        elif kind == LOGS:
            for c in range(n):
                grad[start + c] = of_lse * exps[start + c] + b * inverse * less_q(exps[start + c], q[c], total, tail)
        else:
            for c in range(n):
                pull[c] = less_p(exps[start + c], q[c], hit, tail, inverse, of_share)
            if hess != NULL:
                for c in range(n):
                    share = of_share * (q[c] * exps[start + c])
                    hess[start + c] += (
                        of_sum * (share * (of_share * (hit - q[c] * exps[start + c]))) + of_sum_twice * square(pull[c])
                    )
            for c in range(n):
                grad[start + c] = b * inverse * less_q(exps[start + c], q[c], total, tail) + of_sum * pull[c]
        start += n
