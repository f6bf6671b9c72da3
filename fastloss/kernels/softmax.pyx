"""The driver of the softmax losses: a class axis anywhere, labels or probabilities. README.md is the way in.

What the loss needs of a sample is gathered over its classes into a `Stats` entry; `settle` turns the entries of a tile
into values and the coefficients of the gradient; then the gradient is written. Gathering and writing go along rows or
across samples: class_axis.pxd has what that takes.
"""

from cython cimport floating
cimport numpy as cnp
from libc.math cimport INFINITY

from fastloss.kernels.class_axis cimport (
    BLOCK, CELL_BYTES, DIRECT, MASS, MAX_PARAMETERS, MAX_SAMPLES, OWN_FIELDS, RESULT, ROWS, VECTOR, Call, Stats, clear,
    field, finish_tile, maximum, offset_of, place_tile, prefetch, prepare, run_loss, transpose_in, transpose_out
)
from fastloss.kernels.classes cimport BY_CE, BY_LSE, BY_LSE_TWICE, CLASS_OUTPUTS, LOSS, cross_entropy
from fastloss.kernels.tiles cimport LANES, aligned, at, ordered_sum
from fastloss.kernels.vecmath cimport exp_difference, exp_nonpositive, log1p, sum_lanes

cnp.import_array()

cdef enum:
    MAX_LOSSES = 64

# ---------------------------------------------------------------------------------------------------------------------
# The losses. A line `cdef void ...` makes the loop of one loss over the samples of a tile, for float and for double;
# a line `add(...)` puts it into the table.

LOSSES = {}  # name -> place in the table

ctypedef void (*single_settle)(const Call*, Stats*, const float*) noexcept nogil
ctypedef void (*double_settle)(const Call*, Stats*, const double*) noexcept nogil
cdef single_settle[MAX_LOSSES] SINGLE
cdef double_settle[MAX_LOSSES] DOUBLE


cdef add(str name, single_settle single, double_settle double_):
    cdef int place = len(LOSSES)
    if place == MAX_LOSSES:
        raise IndexError("the table of losses is full: raise MAX_LOSSES")
    SINGLE[place] = single
    DOUBLE[place] = double_
    LOSSES[name] = place


cdef void cross_entropy_settle(const Call* call, Stats* s, const floating* c) noexcept nogil:
    settle(cross_entropy[floating], call, s, c)

add("cross_entropy", cross_entropy_settle[float], cross_entropy_settle[double])

# ---------------------------------------------------------------------------------------------------------------------

# The target of a sample is q_c = w_c ((1 - smoothing) t_c + smoothing / C), w the class weights. For a label y the part
# from t sits in one class and is kept apart, as `hot`, so that its gradient near p_y = 1 does not cancel.
cdef enum:
    PEAK = OWN_FIELDS   # max z_c
    TAIL            # sum exp(z_c - PEAK) - 1, without cancellation
    GAP             # sum q_c (PEAK - z_c), hot part aside
    SPREAD          # sum q_c, hot part aside
    HOT             # q_y, the hot part
    HOT_GAP         # PEAK - z_y
    HOT_EXP         # exp(z_y - PEAK)
    LOG_SUM         # log sum exp(z_c - PEAK)
    OF_EXP          # gradient: OF_EXP exp(z_c - PEAK) - OF_TARGET q_c
    OF_TARGET
    OF_HOT          # gradient in the class of the label
    OF_PAIR         # Hessian: OF_PAIR e (1 + TAIL - e) + OF_SQUARE e^2, with e = exp(z_c - PEAK)
    OF_SQUARE
    STATS


cdef inline void settle(
    void (*loss)(floating, floating, floating, const floating*, floating*) noexcept nogil,
    const Call* call, Stats* s, const floating* parameters
) noexcept nogil:
    """From the sums over the classes to the loss and the coefficients of its derivatives, for the samples of a tile."""
    cdef floating* _ = NULL
    cdef floating* peak = field(s, PEAK, _)
    cdef floating* tail = field(s, TAIL, _)
    cdef floating* gap = field(s, GAP, _)
    cdef floating* spread = field(s, SPREAD, _)
    cdef floating* mass = field(s, MASS, _)
    cdef floating* hot = field(s, HOT, _)
    cdef floating* hot_gap = field(s, HOT_GAP, _)
    cdef floating* hot_exp = field(s, HOT_EXP, _)
    cdef floating* log_sum = field(s, LOG_SUM, _)
    cdef floating* result = field(s, RESULT, _)
    cdef floating* of_exp = field(s, OF_EXP, _)
    cdef floating* of_target = field(s, OF_TARGET, _)
    cdef floating* of_hot = field(s, OF_HOT, _)
    cdef floating* of_pair = field(s, OF_PAIR, _)
    cdef floating* of_square = field(s, OF_SQUARE, _)
    cdef floating[MAX_PARAMETERS] c
    cdef floating[CLASS_OUTPUTS] out
    cdef floating uniform = <floating> (call.smoothing / call.classes)
    cdef floating one = 1, ce, scale, inverse, by_ce, by_lse, soft, not_p
    cdef Py_ssize_t i
    for i in range(MAX_PARAMETERS):
        c[i] = parameters[i]
    for i in range(s.lanes):  # apart from the rest for the reason given at `loops` in elementwise.pyx
        log_sum[i] = log1p(tail[i])
        hot_exp[i] = exp_nonpositive(-hot_gap[i])
    for i in range(s.lanes):
        ce = gap[i] + (0 if hot[i] == 0 else hot[i] * hot_gap[i]) + (spread[i] + hot[i]) * log_sum[i]
        loss(ce, peak[i] + log_sum[i], mass[i], c, out)
        result[i] = out[LOSS]
        scale = <floating> (s.weight[i] * call.scale)
        by_ce = scale * out[BY_CE]
        by_lse = scale * out[BY_LSE]
        inverse = one / (one + tail[i])
        soft = (by_ce * spread[i] + by_lse) * inverse  # exactly 0 for a bare label
        of_exp[i] = soft + by_ce * hot[i] * inverse
        of_target[i] = by_ce
        # In the hot class p_y - 1 would cancel: 1 - p_y = (tail + (1 - e_y)) / (1 + tail).
        not_p = (tail[i] + (one - hot_exp[i])) * inverse
        of_hot[i] = soft * hot_exp[i] - by_ce * (hot[i] * not_p + uniform * mass[i])
        of_pair[i] = of_exp[i] * inverse
        of_square[i] = scale * out[BY_LSE_TWICE] * inverse * inverse


cdef void set_hot(const Call* call, Stats* s, floating* _) noexcept nogil:
    cdef floating* mass = field(s, MASS, _)
    cdef floating* hot = field(s, HOT, _)
    cdef floating kept = 0 if call.labels == NULL else <floating> (1 - call.smoothing)
    cdef Py_ssize_t i
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
    cdef const floating* w = <const floating*> call.class_weight
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


cdef void gather_row(
    const Call* call, Stats* s, Py_ssize_t i, const floating* z, const floating* t, floating* e
) noexcept nogil:
    """The sums of one sample over its classes; exp(z - peak) goes to e, which may be z, or NULL."""
    cdef floating[2 * BLOCK + 16] memory
    cdef floating* x = aligned(memory)
    cdef floating* q = x + BLOCK
    cdef floating* exps
    cdef floating[LANES] rest
    cdef double[LANES] below
    cdef floating[LANES] ones
    cdef floating peak = maximum(z, call.classes)
    cdef double gap = 0, spread = 0, tail
    cdef Py_ssize_t start = 0, c, n, whole
    field(s, PEAK, x)[i] = peak
    field(s, HOT_GAP, x)[i] = peak - z[s.label[i]]
    for c in range(LANES):
        below[c] = 0
        ones[c] = 0
    while start < call.classes:
        n = min(BLOCK, call.classes - start)
        for c in range(0, n, 16):  # what is needed some rows later: the arithmetic leaves memory idle otherwise
            prefetch(<char*> (z + start + c) + CELL_BYTES)
            if e != NULL:
                prefetch(<char*> (e + start + c) + CELL_BYTES)
        if t != NULL or call.smoothing != 0:
            spread_target(call, t, start, q, n)
            spread += ordered_sum(q, n)
            for c in range(n):
                q[c] = 0 if q[c] == 0 else q[c] * (peak - z[start + c])
            gap += ordered_sum(q, n)
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


cdef void write_row(
    const Call* call, Stats* s, Py_ssize_t i, const floating* t, floating* grad, floating* hess
) noexcept nogil:
    """From exp(z - peak) in grad to the gradient, and the diagonal of the Hessian if wanted."""
    cdef floating[BLOCK] q
    cdef floating one = 1, a = field(s, OF_EXP, q)[i], b = field(s, OF_TARGET, q)[i], tail = field(s, TAIL, q)[i]
    cdef floating pair = field(s, OF_PAIR, q)[i], square = field(s, OF_SQUARE, q)[i]
    cdef Py_ssize_t start = 0, c, n
    if hess != NULL:
        for c in range(call.classes):
            hess[c] = pair * (grad[c] * (tail + (one - grad[c]))) + square * (grad[c] * grad[c])
    if t == NULL and call.smoothing == 0:
        for c in range(call.classes):
            grad[c] = a * grad[c]
    else:
        while start < call.classes:
            n = min(BLOCK, call.classes - start)
            spread_target(call, t, start, q, n)
            for c in range(n):
                grad[start + c] = a * grad[start + c] - b * q[c]
            start += n


cdef bint run_rows(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """A tile of samples, each a row in memory; whether a target is not valid."""
    cdef Py_ssize_t C = call.classes, i
    cdef const floating* z = <const floating*> call.pred + start * C
    cdef const floating* t = at(<const floating*> call.target, start * C)
    cdef floating* grad = at(<floating*> call.grad, start * C)
    cdef floating* hess = at(<floating*> call.hess, start * C)
    cdef int k
    cdef bint bad = False
    if t != NULL:
        for i in range(s.n):
            bad |= check_row(call, s, i, t + i * C)
    if call.measure:
        return bad
    for i in range(s.n):
        if s.weight[i] != 0:
            gather_row(call, s, i, z + i * C, at(t, i * C), at(grad, i * C))
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
    cdef floating w = 1 if call.class_weight == NULL else (<const floating*> call.class_weight)[c]
    cdef floating kept = <floating> (1 - call.smoothing), uniform = <floating> (call.smoothing / call.classes)
    cdef Py_ssize_t i
    if t == NULL:
        for i in range(n):
            q[i] = uniform * w
    else:
        for i in range(n):
            q[i] = (kept * t[c * stride + i] + uniform) * w


cdef void gather_lanes(
    const Call* call, Stats* s, const floating* z, const floating* t, Py_ssize_t stride,
    floating* e, Py_ssize_t e_stride
) noexcept nogil:
    """The sums of each sample over its classes; exp(z - peak) goes to e, which may be z."""
    cdef floating* peak = field(s, PEAK, e)
    cdef floating* tail = field(s, TAIL, e)
    cdef floating* hot_gap = field(s, HOT_GAP, e)
    cdef floating* gap_field = field(s, GAP, e)
    cdef floating* spread_field = field(s, SPREAD, e)
    cdef floating[MAX_SAMPLES] q
    cdef double[MAX_SAMPLES] below
    cdef double[MAX_SAMPLES] gap
    cdef double[MAX_SAMPLES] spread
    cdef floating[MAX_SAMPLES] ones
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
    clear(below, n)
    clear(gap, n)
    clear(spread, n)
    clear(ones, n)
    for c in range(call.classes):
        logits = z + c * stride
        exps = e + c * e_stride
        if call.layout == DIRECT and call.inner >= 2 * call.tile:
            for i in range(0, n, 16):  # the next tile: too short a stretch for the hardware to foresee it
                prefetch(logits + call.tile + i)
                prefetch(exps + call.tile + i)
        if t != NULL or call.smoothing != 0:
            spread_target_lanes(call, n, t, stride, c, q)
            for i in range(n):
                spread[i] += q[i]
                gap[i] += 0 if q[i] == 0 else q[i] * (peak[i] - logits[i])
        for i in range(n):
            q[i] = exp_difference(logits[i], peak[i])
        for i in range(n):
            below[i] += 0 if q[i] == 1 else q[i]
            ones[i] += 1 if q[i] == 1 else 0
            exps[i] = q[i]
    for i in range(n):
        tail[i] = <floating> (below[i] + (ones[i] - 1))
        gap_field[i] = <floating> gap[i]
        spread_field[i] = <floating> spread[i]


cdef void write_lanes(
    const Call* call, Stats* s, const floating* t, Py_ssize_t stride, floating* grad, floating* hess
) noexcept nogil:
    """From exp(z - peak) in grad to the gradient, and the diagonal of the Hessian if wanted."""
    cdef floating* a = field(s, OF_EXP, grad)
    cdef floating* b = field(s, OF_TARGET, grad)
    cdef floating* pair = field(s, OF_PAIR, grad)
    cdef floating* square = field(s, OF_SQUARE, grad)
    cdef floating* tail = field(s, TAIL, grad)
    cdef floating* hot = field(s, OF_HOT, grad)
    cdef floating[MAX_SAMPLES] q
    cdef floating one = 1
    cdef floating* g
    cdef floating* h
    cdef Py_ssize_t c, i
    for c in range(call.classes):
        g = grad + c * stride
        if hess != NULL:
            h = hess + c * stride
            for i in range(s.lanes):
                h[i] = pair[i] * (g[i] * (tail[i] + (one - g[i]))) + square[i] * (g[i] * g[i])
        if t == NULL and call.smoothing == 0:
            for i in range(s.lanes):
                g[i] = a[i] * g[i]
        else:
            spread_target_lanes(call, s.lanes, t, stride, c, q)
            for i in range(s.lanes):
                g[i] = a[i] * g[i] - b[i] * q[i]
    if call.labels != NULL:
        for i in range(s.n):
            grad[s.label[i] * stride + i] = hot[i]
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
    for i in range(s.lanes):  # a sample whose whole target has no weight is not there either
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
        run_tile[float], run_tile[double], loss, pred, target, labels, shape, weight, weight_inner, class_weight,
        ignore_index, smoothing, parameters, measure, scale, sum_values, value, grad, hess, threads
    )
