"""The driver of the multi-class margin losses: class indices against the logits of all wrong classes.

By how much a wrong class j is too close is its excess max(0, z_j - z_y + margin). One pass over the classes adds up
the excesses, or finds the largest, and writes the derivatives of the wrong classes; those of the right class follow
from the sums. It goes along rows or across samples: class_axis.pxd has what that takes.

A logit of -inf rules a class out, so a label is left out of its own comparison by putting -inf in its place.
"""

from cython cimport floating
cimport numpy as cnp
from libc.math cimport INFINITY, NAN

from fastloss.kernels.class_axis cimport (
    BLOCK, CELL_BYTES, DIRECT, MASS, MAX_SAMPLES, OWN_FIELDS, RESULT, ROWS, Call, Stats, clear, field, finish_tile,
    maximum, offset_of, place_tile, prefetch, prepare, run_loss, scale_of, transpose_in, transpose_out
)
from fastloss.kernels.tiles cimport LANES, aligned, at, ordered_sum

cnp.import_array()

cdef enum Margin:
    HINGE           # sum of the excesses
    SQUARED         # sum of their squares
    LARGEST         # the largest excess

cdef int[3] SHORT_ROW = [63, 63, 96]  # classes: up to here, lanes across samples beat a pass along the row

LOSSES = {"multiclass_hinge": HINGE, "squared_multiclass_hinge": SQUARED, "crammer_singer": LARGEST}

cdef enum:
    RIGHT = OWN_FIELDS  # z_y
    SLOPE               # weight and scale of the derivatives
    PULL                # the gradient by z_y is -SLOPE * PULL
    BEND                # the second derivative by z_y is SLOPE * BEND
    FIELDS


cdef inline double excess(double z, double right, double margin) noexcept nogil:
    """max(0, z - right + margin), and 0 for a class that is ruled out; NaN stays NaN. Near the kink it cancels."""
    cdef double gap = (z - right) + margin
    return 0 if (gap <= 0) | (z == -INFINITY) else gap


cdef inline floating twice(floating slope, floating x) noexcept nogil:
    """2 slope x, where a slope of 0 gives 0 whatever x is."""
    return 0 if slope == 0 else 2 * (slope * x)


cdef inline void settle(
    Stats* s, Py_ssize_t i, floating* _, double total, double pull, double bend
) noexcept nogil:
    """Set the loss of sample i, and the derivatives of its right class."""
    cdef floating right = field(s, RIGHT, _)[i]
    field(s, RESULT, _)[i] = field(s, MASS, _)[i] * (<floating> total if right == right else right)
    field(s, PULL, _)[i] = <floating> pull
    field(s, BEND, _)[i] = <floating> bend


# ---------------------------------------------------------------------------------------------------------------------
# Along the row

cdef void hinge_row(
    const Call* call, Stats* s, Py_ssize_t i, const floating* z, floating* grad, floating* hess, bint squared
) noexcept nogil:
    cdef floating[2 * BLOCK + 16] memory
    cdef floating* x = aligned(memory)
    cdef floating* square = x + BLOCK
    cdef floating slope = field(s, SLOPE, x)[i]
    cdef double margin = call.parameters[0], right = z[s.label[i]], total = 0, squares = 0
    cdef Py_ssize_t start = 0, active = 0, c, n
    cdef int count
    field(s, RIGHT, x)[i] = z[s.label[i]]
    while start < call.classes:
        n = min(BLOCK, call.classes - start)
        count = 0
        for c in range(n):
            x[c] = <floating> excess(z[start + c], right, margin)
        if start <= s.label[i] < start + n:
            x[s.label[i] - start] = 0
        for c in range(n):
            count += x[c] > 0
        active += count
        total += ordered_sum(x, n)
        if squared:
            for c in range(n):
                square[c] = x[c] * x[c]
            squares += ordered_sum(square, n)
        if grad != NULL and squared:
            for c in range(n):
                grad[start + c] = twice(slope, x[c])
        elif grad != NULL:
            for c in range(n):
                grad[start + c] = slope if x[c] > 0 else 0
        if hess != NULL and squared:
            for c in range(n):
                hess[start + c] = 2 * slope if x[c] > 0 else 0
        elif hess != NULL:
            clear(hess + start, n)
        start += n
    if squared:
        settle(s, i, x, squares, 2 * total, 2 * active)
    else:
        settle(s, i, x, total, active, 0)


cdef inline Py_ssize_t find(
    const floating* z, Py_ssize_t start, Py_ssize_t stop, floating x, Py_ssize_t but
) noexcept nogil:
    """The first place from `start` on where z is x, other than `but`; there is one before `stop`."""
    cdef Py_ssize_t i = start, j
    cdef int here
    while i + LANES <= stop:
        here = 0
        for j in range(LANES):
            here |= z[i + j] == x
        if here:
            break
        i += LANES
    while z[i] != x or i == but:
        i += 1
    return i


cdef void largest_row(
    const Call* call, Stats* s, Py_ssize_t i, const floating* z, floating* grad, floating* hess
) noexcept nogil:
    cdef floating[BLOCK + 16] memory
    cdef floating* x = aligned(memory)
    cdef floating peak = -INFINITY, here, right = z[s.label[i]]
    cdef double over
    cdef Py_ssize_t start = 0, best = 0, label = s.label[i], c, n
    cdef int nans = 0
    field(s, RIGHT, x)[i] = right
    while start < call.classes:
        n = min(BLOCK, call.classes - start)
        for c in range(n):
            x[c] = z[start + c]
        if start <= label < start + n:
            x[label - start] = -INFINITY
        for c in range(n, LANES):
            x[c] = -INFINITY
        for c in range(n):
            nans |= x[c] != x[c]
        here = maximum(x, max(n, LANES))
        if here > peak:
            peak = here
            best = start
        start += n
    over = NAN if nans else excess(peak, right, call.parameters[0])
    settle(s, i, x, over, over > 0, 0)
    if grad == NULL:
        return
    if over > 0:
        best = find(z, best, call.classes, peak, label)
    clear(grad, call.classes)
    if over > 0:
        grad[best] = field(s, SLOPE, x)[i]
    if hess != NULL:
        clear(hess, call.classes)


# ---------------------------------------------------------------------------------------------------------------------
# Across samples: element c of sample i is at [c * stride + i]

cdef void hinge_lanes(
    const Call* call, Stats* s, const floating* z, floating* grad, floating* hess, Py_ssize_t stride, bint squared
) noexcept nogil:
    cdef floating* slope = field(s, SLOPE, grad)
    cdef int[MAX_SAMPLES] label
    cdef int[MAX_SAMPLES] active
    cdef floating[MAX_SAMPLES] x
    cdef double[MAX_SAMPLES] right
    cdef double[MAX_SAMPLES] total
    cdef double[MAX_SAMPLES] squares
    cdef double margin = call.parameters[0], over
    cdef Py_ssize_t n = s.lanes, c, i
    cdef const floating* logits
    cdef floating* g
    cdef floating* h
    for i in range(n):
        label[i] = <int> s.label[i]
        right[i] = z[s.label[i] * stride + i]
        field(s, RIGHT, x)[i] = <floating> right[i]
        active[i] = 0
    clear(total, n)
    clear(squares, n)
    for c in range(call.classes):
        logits = z + c * stride
        if call.layout == DIRECT and call.inner >= 2 * call.tile:
            for i in range(0, n, 16):  # the next tile: too short a stretch for the hardware to foresee it
                prefetch(logits + call.tile + i)
                if grad != NULL:
                    prefetch(grad + c * stride + call.tile + i)
        for i in range(n):
            over = excess(-INFINITY if label[i] == <int> c else logits[i], right[i], margin)
            total[i] += over
            if squared:
                squares[i] += over * over
            x[i] = <floating> over
        for i in range(n):
            active[i] += x[i] > 0
        if grad != NULL:
            g = grad + c * stride
            if squared:
                for i in range(n):
                    g[i] = twice(slope[i], x[i])
            else:
                for i in range(n):
                    g[i] = slope[i] if x[i] > 0 else 0
        if hess != NULL:
            h = hess + c * stride
            if squared:
                for i in range(n):
                    h[i] = 2 * slope[i] if x[i] > 0 else 0
            else:
                clear(h, n)
    if squared:
        for i in range(n):
            settle(s, i, x, squares[i], 2 * total[i], 2 * active[i])
    else:
        for i in range(n):
            settle(s, i, x, total[i], active[i], 0)


cdef void largest_lanes(
    const Call* call, Stats* s, const floating* z, floating* grad, floating* hess, Py_ssize_t stride
) noexcept nogil:
    cdef floating* slope = field(s, SLOPE, grad)
    cdef floating* right = field(s, RIGHT, grad)
    cdef double over
    cdef int[MAX_SAMPLES] label
    cdef int[MAX_SAMPLES] best
    cdef floating[MAX_SAMPLES] peak
    cdef Py_ssize_t n = s.lanes, c, i
    cdef const floating* logits
    cdef int better
    for i in range(n):
        label[i] = <int> s.label[i]
        right[i] = z[s.label[i] * stride + i]
        best[i] = 0
        peak[i] = -INFINITY
    for c in range(call.classes):
        logits = z + c * stride
        if call.layout == DIRECT and call.inner >= 2 * call.tile:
            for i in range(0, n, 16):
                prefetch(logits + call.tile + i)
        for i in range(n):
            better = (logits[i] > peak[i]) & (label[i] != <int> c) | (logits[i] != logits[i])  # NaN stays
            peak[i] = logits[i] if better else peak[i]
            best[i] = <int> c if better else best[i]
    if grad != NULL:
        for c in range(call.classes):
            clear(grad + c * stride, n)
            if hess != NULL:
                clear(hess + c * stride, n)
    for i in range(n):
        over = excess(peak[i], right[i], call.parameters[0])
        settle(s, i, peak, over, over > 0, 0)
        if grad != NULL and over > 0:
            grad[best[i] * stride + i] = slope[i]


# ---------------------------------------------------------------------------------------------------------------------
# The driver

cdef void write_right(
    const Call* call, Stats* s, floating* grad, floating* hess, Py_ssize_t by_sample, Py_ssize_t by_class
) noexcept nogil:
    """The derivatives of the right classes; and those of all classes where the sample does not count or is NaN."""
    cdef floating slope, fill
    cdef Py_ssize_t i, c, right
    for i in range(s.n):
        slope = field(s, SLOPE, grad)[i]
        fill = field(s, RESULT, grad)[i]
        if s.weight[i] == 0 or fill != fill:
            fill = 0 if s.weight[i] == 0 else fill
            for c in range(call.classes):
                grad[i * by_sample + c * by_class] = fill
            fill = fill if call.loss == SQUARED else 0
            if hess != NULL:
                for c in range(call.classes):
                    hess[i * by_sample + c * by_class] = fill
        else:
            right = i * by_sample + s.label[i] * by_class
            grad[right] = 0 if slope == 0 else 0 - slope * field(s, PULL, grad)[i]
            if hess != NULL:
                hess[right] = slope * field(s, BEND, grad)[i]


cdef void run_rows(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """A tile of samples, each a row in memory."""
    cdef Py_ssize_t C = call.classes, i
    cdef const floating* z = <const floating*> call.pred + start * C
    cdef floating* grad = at(<floating*> call.grad, start * C)
    cdef floating* hess = at(<floating*> call.hess, start * C)
    for i in range(s.n):
        if s.weight[i] == 0:
            continue
        if call.loss == LARGEST:
            largest_row(call, s, i, z + i * C, at(grad, i * C), at(hess, i * C))
        elif call.loss == SQUARED:
            hinge_row(call, s, i, z + i * C, at(grad, i * C), at(hess, i * C), True)
        else:
            hinge_row(call, s, i, z + i * C, at(grad, i * C), at(hess, i * C), False)
    if grad != NULL:
        write_right(call, s, grad, hess, C, 1)


cdef void run_lanes(
    const Call* call, Stats* s, const floating* z, floating* grad, floating* hess, Py_ssize_t stride
) noexcept nogil:
    """A tile of samples side by side."""
    if call.loss == LARGEST:
        largest_lanes(call, s, z, grad, hess, stride)
    elif call.loss == SQUARED:
        hinge_lanes(call, s, z, grad, hess, stride, True)
    else:
        hinge_lanes(call, s, z, grad, hess, stride, False)
    if grad != NULL:
        write_right(call, s, grad, hess, 1, stride)


cdef void run_transposed(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """A tile of samples through a transposed copy."""
    cdef char[2 * CELL_BYTES + 64] memory
    cdef floating* z = aligned(<floating*> memory)
    cdef floating* grad = NULL if call.grad == NULL else z
    cdef floating* hess = NULL if call.hess == NULL else z + call.classes * call.tile
    transpose_in(call, s, <const floating*> call.pred, start, z)
    run_lanes(call, s, z, grad, hess, call.tile)
    if grad != NULL:
        transpose_out(call, s, grad, start, <floating*> call.grad)
    if hess != NULL:
        transpose_out(call, s, hess, start, <floating*> call.hess)


cdef double run_tile(const Call* call, floating* _, Py_ssize_t tile, char* bad) noexcept nogil:
    """Run one tile: the sum of its weighted losses, or with `measure` of its weights."""
    cdef floating[FIELDS * MAX_SAMPLES + 16] fields
    cdef Stats s
    cdef floating* mass
    cdef floating* slope
    cdef Py_ssize_t start = place_tile(call, &s, tile), offset, i
    s.fields = aligned(fields)
    bad[0] |= prepare(call, &s, _, start)
    if not call.measure:
        mass = field(&s, MASS, _)
        slope = field(&s, SLOPE, _)
        for i in range(s.lanes):
            s.weight[i] = 0 if mass[i] == 0 else s.weight[i]  # a class of weight 0 is not there either
            slope[i] = scale_of(call, &s, i, mass[i], _)
        if call.layout == ROWS:
            run_rows(call, &s, _, start)
        elif call.layout == DIRECT:
            offset = offset_of(call, start)
            run_lanes(
                call, &s, <const floating*> call.pred + offset, at(<floating*> call.grad, offset),
                at(<floating*> call.hess, offset), call.inner
            )
        else:
            run_transposed(call, &s, _, start)
    return finish_tile(call, &s, _, start)


def run(
    int loss, cnp.ndarray pred, cnp.ndarray target, bint labels, tuple shape, cnp.ndarray weight,
    Py_ssize_t weight_inner, cnp.ndarray class_weight, long long ignore_index, double smoothing, tuple parameters,
    bint measure, double scale, bint sum_values, cnp.ndarray value, cnp.ndarray grad, cnp.ndarray hess, int threads
):
    """See run_loss in class_axis.pxd."""
    return run_loss(
        run_tile[float], run_tile[double], SHORT_ROW[loss], loss, pred, target, labels, shape, weight, weight_inner,
        class_weight, ignore_index, smoothing, parameters, measure, scale, sum_values, value, grad, hess, threads
    )
