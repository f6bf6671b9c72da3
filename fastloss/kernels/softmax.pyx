"""The driver of the softmax losses: a class axis anywhere, labels or probabilities. README.md is the way in.

The logits are seen as an array (outer, classes, inner), and a sample is a pair (outer, inner). What the loss needs of a
sample is gathered over its classes into a `Stats` entry; `settle` turns the entries of a tile into values and the
coefficients of the gradient; then the gradient is written. Gathering and writing go along the row of a sample where
rows are long, and else across samples, so that a vector register holds one class of many samples.
"""

from cython cimport floating
from cython.parallel cimport prange
cimport numpy as cnp
from libc.math cimport INFINITY

from fastloss.kernels.classes cimport BY_CE, BY_LSE, BY_LSE_TWICE, CLASS_OUTPUTS, LOSS, cross_entropy
from fastloss.kernels.tiles cimport (
    LANES, MAX_CHUNKS, Operand, address, aligned, at, chunk_size, expand, grain, load_labels, operand, ordered_sum,
    weighted_sum
)
from fastloss.kernels.vecmath cimport exp_difference, exp_nonpositive, log1p, max_lanes, sum_lanes

cnp.import_array()

cdef extern from *:
    void prefetch "__builtin_prefetch" (const void* address) noexcept nogil

cdef enum:
    MAX_LOSSES = 64
    MAX_PARAMETERS = 4
    MAX_SAMPLES = 256       # samples in a tile
    CELL_BYTES = 32768      # of a transposed tile
    VECTOR = 16             # elements; LANES is a multiple of it
    STRIP = 8               # samples transposed at a time
    BLOCK = 1024            # elements of a row at a time
    SHORT_ROW = 96          # classes: up to here, lanes across samples beat a pass along the row
    SHORT_INNER = 16        # samples side by side in memory: from here, lanes need no transposed copy

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

cdef enum Layout:
    ROWS            # along the row
    TRANSPOSED      # across samples, through a transposed copy of the tile
    DIRECT          # across samples, where they lie

cdef struct Call:
    int loss
    Layout layout
    bint measure            # only check the target and sum the weights
    Py_ssize_t outer
    Py_ssize_t classes
    Py_ssize_t inner
    Py_ssize_t tile         # samples
    Py_ssize_t tiles
    const void* pred
    const void* target      # probabilities, or NULL
    const void* labels      # class indices, or NULL
    int label_type
    long long ignore_index
    Operand weight
    const void* class_weight
    double smoothing
    double[MAX_PARAMETERS] parameters
    double scale
    bint sum_values
    void* value
    void* grad
    void* hess

# The target of a sample is q_c = w_c ((1 - smoothing) t_c + smoothing / C), w the class weights. For a label y the part
# from t sits in one class and is kept apart, as `hot`, so that its gradient near p_y = 1 does not cancel.
cdef enum:
    PEAK            # max z_c
    TAIL            # sum exp(z_c - PEAK) - 1, without cancellation
    GAP             # sum q_c (PEAK - z_c), hot part aside
    SPREAD          # sum q_c, hot part aside
    MASS            # sum w_c t_c: the weight that the target brings to the mean
    HOT             # q_y, the hot part
    HOT_GAP         # PEAK - z_y
    HOT_EXP         # exp(z_y - PEAK)
    LOG_SUM         # log sum exp(z_c - PEAK)
    RESULT          # the loss, not yet weighted
    OF_EXP          # gradient: OF_EXP exp(z_c - PEAK) - OF_TARGET q_c
    OF_TARGET
    OF_HOT          # gradient in the class of the label
    OF_PAIR         # Hessian: OF_PAIR e (1 + TAIL - e) + OF_SQUARE e^2, with e = exp(z_c - PEAK)
    OF_SQUARE
    STATS

cdef struct Stats:
    Py_ssize_t n                    # samples in the tile
    Py_ssize_t lanes                # n, or rounded up to whole vectors where lanes without a sample do no harm
    double[MAX_SAMPLES] weight      # sample weight; 0 where the sample does not count
    long long[MAX_SAMPLES] label    # in [0, classes), whatever the array said
    Py_ssize_t dropped              # samples with weight 0
    void* fields                    # floating[STATS][MAX_SAMPLES]


cdef inline floating* field(Stats* s, int which, floating* _) noexcept nogil:
    return <floating*> s.fields + which * MAX_SAMPLES


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


cdef bint prepare(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """Weights, labels and hot part of samples start to start + s.n; whether a label is not valid."""
    cdef floating* mass = field(s, MASS, _)
    cdef floating* hot = field(s, HOT, _)
    cdef const floating* class_weight = <const floating*> call.class_weight
    cdef floating kept = <floating> (1 - call.smoothing)
    cdef double[MAX_SAMPLES] scratch
    cdef long long invalid = -1 if call.ignore_index != -1 else -2
    cdef Py_ssize_t i
    cdef int bad = 0, outside
    if call.weight.data == NULL:
        for i in range(s.n):
            s.weight[i] = 1
    else:
        expand(&call.weight, start, s.weight, s.n, scratch)
    if call.labels == NULL:
        for i in range(s.n):
            s.label[i] = 0
            mass[i] = 1
            hot[i] = 0
    else:
        load_labels(call.labels, call.label_type, start, s.label, s.n, invalid)
        for i in range(s.n):
            outside = (s.label[i] < 0) | (s.label[i] >= call.classes)
            bad |= outside & (s.label[i] != call.ignore_index)
            # Also in the second pass, after all labels were found valid: another thread may write to the array.
            outside |= s.label[i] == call.ignore_index
            s.weight[i] = 0 if outside else s.weight[i]
            s.label[i] = 0 if outside else s.label[i]
            mass[i] = 1
            hot[i] = kept
        if class_weight != NULL:
            for i in range(s.n):
                mass[i] = class_weight[s.label[i]]
                hot[i] = kept * mass[i]
    for i in range(s.n, s.lanes):
        s.weight[i] = 1
        s.label[i] = 0
        mass[i] = 1
        hot[i] = 1
    return bad


# ---------------------------------------------------------------------------------------------------------------------
# Along the row

cdef inline void clear(floating* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = 0


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


cdef inline floating maximum(const floating* z, Py_ssize_t n) noexcept nogil:
    """max z[:n], n >= LANES; NaNs may be passed over."""
    cdef floating[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = z[n - LANES + j]  # the last ones may be looked at twice
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = z[i + j] if z[i + j] > lane[j] else lane[j]
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


cdef inline Py_ssize_t offset_of(const Call* call, Py_ssize_t sample) noexcept nogil:
    """Where class 0 of a sample lies."""
    if call.inner == 1:  # a division costs as much as ten exponentials
        return sample * call.classes
    return sample // call.inner * call.classes * call.inner + sample % call.inner


cdef void transpose_in(const Call* call, Stats* s, const floating* x, Py_ssize_t start, floating* tile) noexcept nogil:
    """A tile of samples to tile[class][sample]; lanes without a sample repeat the last one."""
    cdef const floating* row[STRIP]
    cdef Py_ssize_t strip, i, c, k
    for strip in range(s.lanes // STRIP):
        i = strip * STRIP
        for k in range(STRIP):
            row[k] = x + offset_of(call, start + min(i + k, s.n - 1))
        for c in range(call.classes):
            for k in range(STRIP):  # a strip is as wide as the stores can be made
                tile[c * call.tile + i + k] = row[k][c * call.inner]


cdef void transpose_out(const Call* call, Stats* s, const floating* tile, Py_ssize_t start, floating* x) noexcept nogil:
    cdef floating* row[STRIP]
    cdef Py_ssize_t strip, i, c, k
    for strip in range((s.n + STRIP - 1) // STRIP):
        i = strip * STRIP
        for k in range(STRIP):
            row[k] = x + offset_of(call, start + min(i + k, s.n - 1))
        if i + STRIP <= s.n:
            for c in range(call.classes):
                for k in range(STRIP):
                    row[k][c * call.inner] = tile[c * call.tile + i + k]
        else:
            for c in range(call.classes):
                for k in range(s.n - i):
                    row[k][c * call.inner] = tile[c * call.tile + i + k]


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
    cdef floating* mass
    cdef Py_ssize_t start, inside, per_outer, i
    cdef double total = 0
    s.fields = aligned(fields)
    if call.layout == DIRECT:
        per_outer = (call.inner + call.tile - 1) // call.tile
        inside = tile % per_outer * call.tile
        start = tile // per_outer * call.inner + inside
        s.n = min(call.tile, call.inner - inside)
    else:
        start = tile * call.tile
        s.n = min(call.tile, call.outer * call.inner - start)
    s.lanes = (s.n + VECTOR - 1) // VECTOR * VECTOR if call.layout == TRANSPOSED else s.n
    bad[0] |= prepare(call, &s, _, start)
    if call.layout == ROWS:
        bad[0] |= run_rows(call, &s, _, start)
    elif call.layout == DIRECT:
        bad[0] |= run_direct(call, &s, _, offset_of(call, start))
    else:
        bad[0] |= run_transposed(call, &s, _, start)
    if call.measure:
        mass = field(&s, MASS, _)
        for i in range(s.n):
            total += 0 if s.weight[i] == 0 else s.weight[i] * mass[i]
        return total
    if call.value != NULL:
        for i in range(s.n):
            (<floating*> call.value)[start + i] = (
                0 if s.weight[i] == 0 else <floating> (s.weight[i] * field(&s, RESULT, _)[i])
            )
    return weighted_sum(field(&s, RESULT, _), s.weight, s.n) if call.sum_values else 0


cdef double run_chunk(const Call* call, floating* _, Py_ssize_t start, Py_ssize_t stop, char* bad) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t tile
    bad[0] = 0
    for tile in range(start, stop):
        total += run_tile(call, _, tile, bad)
    return total


cdef double run_all(const Call* call, floating* _, int threads, char* bad) noexcept nogil:
    """Run all chunks; their sums are added in order, so the result does not depend on the number of threads."""
    cdef double[MAX_CHUNKS] partial
    cdef char[MAX_CHUNKS] flag
    cdef Py_ssize_t size = chunk_size(call.tiles, 1), chunks = (call.tiles + size - 1) // size, k
    cdef double total = 0
    if threads <= 1:
        for k in range(chunks):
            partial[k] = run_chunk(call, _, k * size, min(call.tiles, (k + 1) * size), &flag[k])
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
            partial[k] = run_chunk(call, _, k * size, min(call.tiles, (k + 1) * size), &flag[k])
    for k in range(chunks):
        total += partial[k]
        bad[0] |= flag[k]
    return total


cdef void choose_layout(Call* call, Py_ssize_t itemsize) noexcept:
    """Layout and tile: they depend on shape and dtype alone, as all partitions do."""
    cdef Py_ssize_t samples = call.outer * call.inner, cells = CELL_BYTES // itemsize
    cdef Py_ssize_t fit = cells // call.classes // VECTOR * VECTOR
    if call.inner == 1 and call.classes > SHORT_ROW:
        call.layout = ROWS
        call.tile = min(MAX_SAMPLES, max(1, cells // call.classes))
    elif call.inner < SHORT_INNER and fit > 0:
        call.layout = TRANSPOSED
        call.tile = min(MAX_SAMPLES, fit)
    else:
        call.layout = DIRECT
        call.tile = min(MAX_SAMPLES, max(VECTOR, fit))
        samples = (call.inner + call.tile - 1) // call.tile * call.tile * call.outer
    call.tiles = (samples + call.tile - 1) // call.tile


def run(
    int loss, cnp.ndarray pred, cnp.ndarray target, bint labels, tuple shape, cnp.ndarray weight,
    Py_ssize_t weight_inner, cnp.ndarray class_weight, long long ignore_index, double smoothing, tuple parameters,
    bint measure, double scale, bint sum_values, cnp.ndarray value, cnp.ndarray grad, cnp.ndarray hess, int threads
):
    """Run one loss over checked, C-contiguous arrays: the weighted sum, or None where the target is not valid.

    With `measure`, nothing is written, and the sum is that of the weights. `shape` is (outer, classes, inner). Target
    probabilities and class weights are of the dtype of pred. threads = 0 stands for an input so small that releasing
    the GIL would cost more than it gives.
    """
    cdef Call call
    cdef bint single = cnp.PyArray_TYPE(pred) == cnp.NPY_FLOAT
    cdef char bad = 0
    cdef double total
    cdef int k
    call.loss = loss
    call.outer, call.classes, call.inner = shape
    call.measure = measure
    call.pred = cnp.PyArray_DATA(pred)
    call.target = NULL if labels else cnp.PyArray_DATA(target)
    call.labels = cnp.PyArray_DATA(target) if labels else NULL
    call.label_type = cnp.PyArray_TYPE(target)
    call.ignore_index = ignore_index
    call.weight = operand(weight, weight_inner)
    call.class_weight = address(class_weight)
    call.smoothing = smoothing
    if len(parameters) > MAX_PARAMETERS:
        raise IndexError("too many parameters: raise MAX_PARAMETERS")
    for k in range(MAX_PARAMETERS):
        call.parameters[k] = parameters[k] if k < len(parameters) else 0
    call.scale = scale
    call.sum_values = sum_values
    call.value = address(value)
    call.grad = address(grad)
    call.hess = address(hess)
    choose_layout(&call, cnp.PyArray_ITEMSIZE(pred))
    if threads == 0:
        total = run_all(&call, <float*> NULL, 0, &bad) if single else run_all(&call, <double*> NULL, 0, &bad)
    else:
        with nogil:
            total = (
                run_all(&call, <float*> NULL, threads, &bad) if single
                else run_all(&call, <double*> NULL, threads, &bad)
            )
    return None if bad else total
