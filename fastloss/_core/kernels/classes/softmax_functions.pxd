"""The losses sum q_c f(log p_c), where f is a function of the loss.

With A_c = q_c f'(log p_c) and B_c = q_c f''(log p_c), the derivatives with respect to z_k are

    gradient   A_k (1 - p_k) - p_k (sum A_c - A_k)
    Hessian    B_k (1 - p_k)^2 + p_k^2 (sum B_c - B_k) - p_k (1 - p_k) sum A_c

Nothing cancels if the whole target is in one class. A label has one term. Its derivatives are written like those of
other losses. Probabilities have a term for each class. It is computed from the logits in each of two passes: one adds
up the terms, one writes the derivatives. So the gradient may be written over the logits.
"""

from cython cimport floating

from fastloss._core.kernels.base.loops cimport Table, Tile, run_loops
from fastloss._core.kernels.base.memory cimport clear
from fastloss._core.kernels.base.sums cimport ordered_sum
from fastloss._core.kernels.base.vecmath cimport exp_difference, exp_nonpositive, log1p, times
from fastloss._core.kernels.classes.layout cimport (
    MAX_SAMPLES, RESULT, TARGET_WEIGHT, Job, Samples, field, scale_of
)
from fastloss._core.kernels.classes.softmax_lanes cimport clear_dropped, spread_of_lanes
from fastloss._core.kernels.classes.softmax_rows cimport spread_of_row
from fastloss._core.kernels.classes.softmax_sums cimport (
    GAP, HITS, HOT_EXP, HOT_GAP, INVERSE, LOG_SUM, MISSES, OF_EXP, OF_HOT, OF_HOT_TWICE, OF_PAIR, OF_SHARE, OF_SQUARE,
    OF_SUM, OF_SUM_TWICE, OF_TARGET, PEAK, SPREAD, TAIL
)
from fastloss._core.request.call cimport GRAD, HESS, OUTPUTS, VALUE

# A piece is the labels of a tile, one class of the samples of a tile, or up to MAX_SAMPLES classes of one sample. It is
# in fields that these losses do not need otherwise.
cdef enum:
    MINUS_LOG = GAP         # -log p
    P = HITS
    NOT_P = MISSES          # 1 - p
    FIRST = OF_SHARE        # scratch
    Q = SPREAD
    TERM = OF_TARGET        # q f(log p)
    SLOPE = OF_SUM          # f'(log p), and A
    BEND = OF_SUM_TWICE     # f''(log p), and B


cdef inline floating* values_of(const Job* job, Samples* samples, int which, floating* as_type) noexcept nogil:
    """A field for values, or NULL if the caller does not ask for any."""
    return field(samples, which, as_type) if job.common.sum_values or job.common.out[VALUE] != NULL else NULL


cdef inline void run_function(
    const Table* functions, const Job* job, Samples* samples, Py_ssize_t n, floating* term
) noexcept nogil:
    """Set f(log p) of a piece, unless `term` is NULL, and the derivatives that the caller asks for."""
    cdef floating* as_type = NULL
    cdef Tile tile
    cdef int k
    tile.pred = field(samples, MINUS_LOG, as_type)
    tile.target = field(samples, P, as_type)
    tile.third = field(samples, NOT_P, as_type)
    tile.first = field(samples, FIRST, as_type)
    tile.n = n
    tile.scale = 1
    tile.stream = False
    for k in range(OUTPUTS):
        tile.out[k] = NULL
    tile.out[VALUE] = term
    if samples.grad != NULL:
        tile.out[GRAD] = field(samples, SLOPE, as_type)
    if samples.hess != NULL:
        tile.out[HESS] = field(samples, BEND, as_type)
    run_loops(functions, job.common.loss, &tile, job.common.parameters, as_type)


cdef inline void multiply(const floating* q, floating* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = times(q[i], x[i])


cdef inline void set_class(
    floating gap, floating e, floating log_sum, floating tail, floating inverse, floating* minus_log, floating* p,
    floating* not_p
) noexcept nogil:
    """Set what f is computed from. `gap` is PEAK - z_c, and `e` is exp(-gap)."""
    cdef floating one = 1
    minus_log[0] = gap + log_sum
    p[0] = e * inverse
    not_p[0] = (tail + (one - e)) * inverse


cdef inline void finish_labels(
    const Table* functions, const Job* job, Samples* samples, floating* as_type
) noexcept nogil:
    """The losses of labels, and the coefficients of their derivatives."""
    cdef floating* tail = field(samples, TAIL, as_type)
    cdef floating* log_sum = field(samples, LOG_SUM, as_type)
    cdef floating* inverse = field(samples, INVERSE, as_type)
    cdef floating* hot_gap = field(samples, HOT_GAP, as_type)
    cdef floating* hot_exp = field(samples, HOT_EXP, as_type)
    cdef floating* minus_log = field(samples, MINUS_LOG, as_type)
    cdef floating* p = field(samples, P, as_type)
    cdef floating* not_p = field(samples, NOT_P, as_type)
    cdef floating* slope = field(samples, SLOPE, as_type)
    cdef floating* bend = field(samples, BEND, as_type)
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, as_type)
    cdef floating* result = values_of(job, samples, RESULT, as_type)
    cdef floating* of_exp = field(samples, OF_EXP, as_type)
    cdef floating* of_hot = field(samples, OF_HOT, as_type)
    cdef floating* of_pair = field(samples, OF_PAIR, as_type)
    cdef floating* of_square = field(samples, OF_SQUARE, as_type)
    cdef floating* of_hot_twice = field(samples, OF_HOT_TWICE, as_type)
    cdef floating one = 1, scale
    cdef Py_ssize_t i
    for i in range(samples.lanes):
        hot_exp[i] = exp_nonpositive(-hot_gap[i])
        set_class(hot_gap[i], hot_exp[i], log_sum[i], tail[i], inverse[i], &minus_log[i], &p[i], &not_p[i])
    run_function(functions, job, samples, samples.lanes, result)
    if result != NULL:
        multiply(target_weight, result, samples.lanes)
    for i in range(samples.lanes if samples.grad != NULL else 0):
        scale = scale_of(job, samples, i, target_weight[i], as_type)
        of_exp[i] = -(scale * slope[i]) * inverse[i]
        of_hot[i] = scale * slope[i] * not_p[i]
        if samples.hess != NULL:
            of_pair[i] = of_exp[i] * inverse[i]
            of_square[i] = scale * bend[i] * inverse[i] * inverse[i]
            of_hot_twice[i] = (
                of_pair[i] * (hot_exp[i] * (tail[i] + (one - hot_exp[i]))) + scale * bend[i] * not_p[i] * not_p[i]
            )


cdef inline void finish_functions(
    const Table* functions, const Job* job, Samples* samples, floating* as_type
) noexcept nogil:
    """Go on from the sums over the classes: for labels to the end, for probabilities to LOG_SUM and INVERSE."""
    cdef floating* tail = field(samples, TAIL, as_type)
    cdef floating* log_sum = field(samples, LOG_SUM, as_type)
    cdef floating* inverse = field(samples, INVERSE, as_type)
    cdef floating one = 1
    cdef Py_ssize_t i
    for i in range(samples.lanes):
        log_sum[i] = log1p(tail[i])
        inverse[i] = one / (one + tail[i])
    if job.labels.data != NULL:
        finish_labels(functions, job, samples, as_type)


# ---------------------------------------------------------------------------------------------------------------------
# Probabilities


cdef inline floating gradient(
    floating slope, floating p, floating not_p, floating slopes, floating scale
) noexcept nogil:
    """slopes: sum A_c."""
    return scale * (slope * not_p - p * (slopes - slope))


cdef inline floating curvature(
    floating bend, floating p, floating not_p, floating slopes, floating bends, floating scale
) noexcept nogil:
    """bends: sum B_c."""
    return scale * ((bend * not_p * not_p + p * p * (bends - bend)) - p * not_p * slopes)


cdef inline void set_terms(
    const Table* functions, const Job* job, Samples* samples, Py_ssize_t n, floating* term
) noexcept nogil:
    """As run_function, times Q."""
    cdef floating* q = field(samples, Q, term)
    run_function(functions, job, samples, n, term)
    if term != NULL:
        multiply(q, term, n)
    if samples.grad != NULL:
        multiply(q, field(samples, SLOPE, q), n)
    if samples.hess != NULL:
        multiply(q, field(samples, BEND, q), n)


cdef inline void set_terms_of_row(
    const Table* functions, const Job* job, Samples* samples, Py_ssize_t i, const floating* logits,
    const floating* target, Py_ssize_t start, Py_ssize_t n, floating* term
) noexcept nogil:
    """The terms of classes start to start + n of a sample that is a row."""
    cdef floating peak = field(samples, PEAK, logits)[i], log_sum = field(samples, LOG_SUM, logits)[i]
    cdef floating tail = field(samples, TAIL, logits)[i], inverse = field(samples, INVERSE, logits)[i]
    cdef floating* minus_log = field(samples, MINUS_LOG, logits)
    cdef floating* p = field(samples, P, logits)
    cdef floating* not_p = field(samples, NOT_P, logits)
    cdef floating* q = field(samples, Q, logits)
    cdef floating e
    cdef Py_ssize_t c
    spread_of_row(job, target, start, q, n)
    for c in range(n):
        e = exp_difference(logits[start + c], peak)
        set_class(peak - logits[start + c], e, log_sum, tail, inverse, &minus_log[c], &p[c], &not_p[c])
    set_terms(functions, job, samples, n, term)


cdef inline void run_functions_of_row(
    const Table* functions, const Job* job, Samples* samples, Py_ssize_t i, const floating* logits,
    const floating* target, floating* grad, floating* hess
) noexcept nogil:
    """The loss of a sample that is a row, and its derivatives."""
    cdef floating* p = field(samples, P, logits)
    cdef floating* not_p = field(samples, NOT_P, logits)
    cdef floating* slope = field(samples, SLOPE, logits)
    cdef floating* bend = field(samples, BEND, logits)
    cdef floating* term = values_of(job, samples, TERM, logits)
    cdef floating scale = scale_of(job, samples, i, 1, logits)
    cdef double total = 0, slopes = 0, bends = 0
    cdef Py_ssize_t start = 0, c, n
    while start < job.classes:
        n = min(MAX_SAMPLES, job.classes - start)
        set_terms_of_row(functions, job, samples, i, logits, target, start, n, term)
        if term != NULL:
            total += ordered_sum(term, n)
        if grad != NULL:
            slopes += ordered_sum(slope, n)
        if hess != NULL:
            bends += ordered_sum(bend, n)
        start += n
    field(samples, RESULT, logits)[i] = <floating> total
    start = 0
    while grad != NULL and start < job.classes:
        n = min(MAX_SAMPLES, job.classes - start)
        if job.classes > MAX_SAMPLES:  # else the terms are still there
            set_terms_of_row(functions, job, samples, i, logits, target, start, n, <floating*> NULL)
        if hess != NULL:
            for c in range(n):
                hess[start + c] = curvature(bend[c], p[c], not_p[c], <floating> slopes, <floating> bends, scale)
        for c in range(n):
            grad[start + c] = gradient(slope[c], p[c], not_p[c], <floating> slopes, scale)
        start += n


cdef inline void set_terms_of_lanes(
    const Table* functions, const Job* job, Samples* samples, Py_ssize_t c, floating* term
) noexcept nogil:
    """The terms of one class of the samples of a tile."""
    cdef const floating* logits = <const floating*> samples.logits + c * samples.stride
    cdef floating* peak = field(samples, PEAK, term)
    cdef floating* log_sum = field(samples, LOG_SUM, term)
    cdef floating* tail = field(samples, TAIL, term)
    cdef floating* inverse = field(samples, INVERSE, term)
    cdef floating* minus_log = field(samples, MINUS_LOG, term)
    cdef floating* p = field(samples, P, term)
    cdef floating* not_p = field(samples, NOT_P, term)
    cdef floating* q = field(samples, Q, term)
    cdef floating e
    cdef Py_ssize_t i
    spread_of_lanes(job, samples.lanes, <const floating*> samples.target, samples.target_stride, c, q)
    for i in range(samples.lanes):
        e = exp_difference(logits[i], peak[i])
        set_class(peak[i] - logits[i], e, log_sum[i], tail[i], inverse[i], &minus_log[i], &p[i], &not_p[i])
    set_terms(functions, job, samples, samples.lanes, term)


cdef inline void add_lanes(const floating* x, double* total, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        total[i] += x[i]


cdef inline void run_functions_of_lanes(
    const Table* functions, const Job* job, Samples* samples, floating* as_type
) noexcept nogil:
    """The losses of the samples of a tile, and their derivatives."""
    cdef floating* p = field(samples, P, as_type)
    cdef floating* not_p = field(samples, NOT_P, as_type)
    cdef floating* slope = field(samples, SLOPE, as_type)
    cdef floating* bend = field(samples, BEND, as_type)
    cdef floating* term = values_of(job, samples, TERM, as_type)
    cdef floating* result = field(samples, RESULT, as_type)
    cdef floating* grad = <floating*> samples.grad
    cdef floating* hess = <floating*> samples.hess
    cdef floating[MAX_SAMPLES] scale
    cdef double[MAX_SAMPLES] total
    cdef double[MAX_SAMPLES] slopes
    cdef double[MAX_SAMPLES] bends
    cdef Py_ssize_t n = samples.lanes, c, i
    clear(total, n)
    clear(slopes, n)
    clear(bends, n)
    for c in range(job.classes):
        set_terms_of_lanes(functions, job, samples, c, term)
        if term != NULL:
            add_lanes(term, total, n)
        if grad != NULL:
            add_lanes(slope, slopes, n)
        if hess != NULL:
            add_lanes(bend, bends, n)
    for i in range(n):
        result[i] = <floating> total[i]
        scale[i] = scale_of(job, samples, i, 1, as_type)
    if grad == NULL:
        return
    for c in range(job.classes):
        set_terms_of_lanes(functions, job, samples, c, <floating*> NULL)
        if hess != NULL:
            for i in range(n):
                (hess + c * samples.stride)[i] = curvature(
                    bend[i], p[i], not_p[i], <floating> slopes[i], <floating> bends[i], scale[i]
                )
        for i in range(n):
            (grad + c * samples.stride)[i] = gradient(slope[i], p[i], not_p[i], <floating> slopes[i], scale[i])
    clear_dropped(job, samples, grad, hess, samples.stride)
