"""The driver of the softmax losses: a class axis anywhere, labels or probabilities. README.md is the way in.

softmax_sums.pxd says what is gathered over the classes of a sample, and what is made of it; softmax_rows.pxd and
softmax_lanes.pxd gather it, and write the derivatives, along rows and across samples; class_axis.pxd has what that
takes.
"""

from cython cimport floating
cimport numpy as cnp

from fastloss.kernels.binary cimport power, power_by_halves
from fastloss.kernels.class_axis cimport (
    BLOCK, CELL_BYTES, DIRECT, MASS, MAX_SAMPLES, ROWS, Call, Stats, clear, field, finish_tile, offset_of, place_tile,
    prepare, run_loss, transpose_in, transpose_out
)
from fastloss.kernels.classes cimport cross_entropy, nothing, poly1_cross_entropy, softmax_focal
from fastloss.kernels.softmax_lanes cimport (
    check_lanes, exp_lanes, gather_spread, peaks_of_lanes, sum_strips, write_lanes
)
from fastloss.kernels.softmax_rows cimport (
    check_row, exp_rows, gather_row, peaks_of_rows, sum_rows, write_bare_row, write_row
)
from fastloss.kernels.softmax_sums cimport (
    HOT, HOT_GAP, LOG_OF_SUM, LOGS, LOGS_AND_SUM, OF_HOT, OF_HOT_TWICE, SPREAD, STATS, Kind, is_spread, set_hot, settle
)
from fastloss.kernels.tiles cimport LANES, MAX_PARAMETERS, aligned, at

cnp.import_array()

cdef enum:
    MAX_LOSSES = 64
    SHORT_ROW = 96          # classes: up to here, lanes across samples beat a pass along the row

# ---------------------------------------------------------------------------------------------------------------------
# The losses. A line `cdef void ...` makes the loop of one loss over the samples of a tile, for float and for double;
# a line `add(...)` puts it into the table.

LOSSES = {}  # name -> place in the table

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
# What the .pxd files define is inlined. As functions, these have all registers for their loops.

cdef void find_peaks_of_rows(const Call* call, Stats* s, const floating* z) noexcept nogil:
    peaks_of_rows(call, s, z)


cdef void gather_bare_rows(
    const Call* call, Stats* s, const floating* z, floating* e, Py_ssize_t stride, const floating* grad
) noexcept nogil:
    exp_rows(call, s, z, e, stride, grad)
    sum_rows(call, s, e, stride)


cdef void gather_row_of_logs(
    const Call* call, Stats* s, Py_ssize_t i, const floating* z, const floating* t, floating* e, const floating* grad
) noexcept nogil:
    gather_row(call, LOGS, s, i, z, t, e, grad)


cdef void gather_row_with_sum(
    const Call* call, Stats* s, Py_ssize_t i, const floating* z, const floating* t, floating* e, const floating* grad
) noexcept nogil:
    gather_row(call, KIND[call.loss], s, i, z, t, e, grad)


cdef void write_bare_rows(
    const Call* call, Stats* s, const floating* e, Py_ssize_t stride, floating* grad
) noexcept nogil:
    cdef floating* hot = field(s, OF_HOT, grad)
    cdef Py_ssize_t C = call.classes, i
    for i in range(s.n):
        write_bare_row(call, s, i, e + i * stride, grad + i * C)
        grad[i * C + s.label[i]] = hot[i]
    for i in range(s.n if s.dropped else 0):
        if s.weight[i] == 0:
            clear(grad + i * C, C)


cdef void write_derivatives_of_row(
    const Call* call, Stats* s, Py_ssize_t i, const floating* t, const floating* e, floating* grad, floating* hess
) noexcept nogil:
    write_row(call, KIND[call.loss], s, i, t, e, grad, hess)


cdef void gather_bare_lanes(
    const Call* call, Stats* s, const floating* z, Py_ssize_t stride, floating* e, Py_ssize_t e_stride
) noexcept nogil:
    exp_lanes(call, s, z, stride, e, e_stride)
    sum_strips(call, s, e, e_stride)


cdef void gather_lanes_of_logs(
    const Call* call, Stats* s, const floating* z, Py_ssize_t stride, const floating* t, Py_ssize_t t_stride,
    floating* e, Py_ssize_t e_stride
) noexcept nogil:
    gather_spread(call, LOGS, s, z, stride, t, t_stride, e, e_stride)


cdef void gather_lanes_with_sum(
    const Call* call, Stats* s, const floating* z, Py_ssize_t stride, const floating* t, Py_ssize_t t_stride,
    floating* e, Py_ssize_t e_stride
) noexcept nogil:
    gather_spread(call, KIND[call.loss], s, z, stride, t, t_stride, e, e_stride)


cdef void write_derivatives_of_lanes(
    const Call* call, Stats* s, const floating* t, const floating* e, Py_ssize_t e_stride,
    floating* grad, floating* hess, Py_ssize_t stride
) noexcept nogil:
    write_lanes(call, KIND[call.loss], s, t, e, e_stride, grad, hess, stride)


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


# ---------------------------------------------------------------------------------------------------------------------
# A tile: gather, settle, write

cdef bint run_rows(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """Samples that are rows in memory; whether a target is not valid."""
    cdef char[2 * CELL_BYTES + 64] memory  # padding makes no row twice as long: all have more than LANES classes
    cdef Py_ssize_t C = call.classes, stride = (C + LANES - 1) // LANES * LANES, i
    cdef const floating* z = <const floating*> call.pred + start * C
    cdef const floating* t = at(<const floating*> call.target, start * C)
    cdef floating* grad = at(<floating*> call.grad, start * C)
    cdef floating* hess = at(<floating*> call.hess, start * C)
    cdef floating* e = aligned(<floating*> memory)
    cdef Kind kind = KIND[call.loss]
    cdef bint bad = False
    cdef int k
    if t != NULL:
        for i in range(s.n):
            bad |= check_row(call, s, i, t + i * C)
    if call.measure:
        return bad
    if C > BLOCK:  # no copy
        e, stride = grad, C
    find_peaks_of_rows(call, s, z)
    if C <= BLOCK and not is_spread(call):
        gather_bare_rows(call, s, z, e, stride, grad)
    else:
        for i in range(s.n):
            if s.weight[i] != 0 and kind == LOGS:  # compiled for this kind
                gather_row_of_logs(call, s, i, z + i * C, at(t, i * C), at(e, i * stride), at(grad, i * C))
            elif s.weight[i] != 0:
                gather_row_with_sum(call, s, i, z + i * C, at(t, i * C), at(e, i * stride), at(grad, i * C))
            else:  # settled like the others, to no effect
                for k in range(HOT_GAP + 1):
                    field(s, k, _)[i] = 0
    settle_tile(call, s, _)
    if grad != NULL and hess == NULL and not is_spread(call):
        write_bare_rows(call, s, e, stride, grad)
    elif grad != NULL:
        for i in range(s.n):
            if s.weight[i] == 0:
                clear(grad + i * C, C)
                if hess != NULL:
                    clear(hess + i * C, C)
            else:
                write_derivatives_of_row(call, s, i, at(t, i * C), e + i * stride, grad + i * C, at(hess, i * C))
            if s.weight[i] != 0 and call.labels != NULL:
                grad[i * C + s.label[i]] = field(s, OF_HOT, _)[i]
                if hess != NULL and kind != LOGS:
                    hess[i * C + s.label[i]] = field(s, OF_HOT_TWICE, _)[i]
    return bad


cdef void gather_lanes(
    const Call* call, Stats* s, const floating* z, Py_ssize_t stride, const floating* t, Py_ssize_t t_stride,
    floating* e, Py_ssize_t e_stride
) noexcept nogil:
    """The sums of each sample over its classes; exp(z - peak) goes to e, which may be z. With e_stride 0, e is lost."""
    peaks_of_lanes(call, s, z, stride)
    if not is_spread(call) and e_stride != 0:
        gather_bare_lanes(call, s, z, stride, e, e_stride)
    elif not is_spread(call) or KIND[call.loss] == LOGS:  # compiled for this kind
        gather_lanes_of_logs(call, s, z, stride, t, t_stride, e, e_stride)
    else:
        gather_lanes_with_sum(call, s, z, stride, t, t_stride, e, e_stride)


cdef bint run_direct(const Call* call, Stats* s, floating* _) noexcept nogil:
    """Samples side by side in memory; whether a target is not valid."""
    cdef char[CELL_BYTES + 64] memory
    cdef const floating* z = <const floating*> call.pred + s.offset
    cdef const floating* t = at(<const floating*> call.target, s.offset)
    cdef floating* grad = at(<floating*> call.grad, s.offset)
    cdef floating* hess = at(<floating*> call.hess, s.offset)
    cdef floating* e = grad
    cdef Py_ssize_t stride = call.inner, e_stride = stride
    cdef bint bad = t != NULL and check_lanes(call, s, t, stride)
    if call.measure:
        return bad
    if call.classes * call.tile * <Py_ssize_t> sizeof(floating) <= CELL_BYTES:
        # Classes a power of two apart would push each other out of the cache.
        e, e_stride = aligned(<floating*> memory), call.tile
    elif grad == NULL:
        e, e_stride = aligned(<floating*> memory), 0
    gather_lanes(call, s, z, stride, t, stride, e, e_stride)
    settle_tile(call, s, _)
    if grad != NULL:
        write_derivatives_of_lanes(call, s, t, e, e_stride, grad, hess, stride)
    return bad


cdef bint run_transposed(const Call* call, Stats* s, floating* _, Py_ssize_t start) noexcept nogil:
    """Samples through a transposed copy; whether a target is not valid."""
    cdef char[3 * CELL_BYTES + 64] memory
    cdef floating* z = aligned(<floating*> memory)
    cdef floating* t = NULL
    cdef floating* hess = NULL
    cdef Py_ssize_t stride = call.tile
    cdef bint bad = False
    if call.target != NULL:
        t = z + call.classes * stride
        transpose_in(call, s, <const floating*> call.target, start, t)
        bad = check_lanes(call, s, t, stride)
    if call.measure:
        return bad
    if call.hess != NULL:
        hess = z + 2 * call.classes * stride
    transpose_in(call, s, <const floating*> call.pred, start, z)
    gather_lanes(call, s, z, stride, t, stride, z, stride)
    settle_tile(call, s, _)
    if call.grad != NULL:
        write_derivatives_of_lanes(call, s, t, z, stride, z, hess, stride)
        transpose_out(call, s, z, start, <floating*> call.grad)
        if hess != NULL:
            transpose_out(call, s, hess, start, <floating*> call.hess)
    return bad


cdef double run_tile(const Call* call, floating* _, Py_ssize_t tile, char* bad) noexcept nogil:
    """Run one tile: the sum of its weighted losses, or with `measure` of its weights."""
    cdef floating[STATS * MAX_SAMPLES + 16] fields
    cdef Stats s
    cdef Py_ssize_t start = place_tile(call, &s, tile)
    s.fields = aligned(fields)
    bad[0] |= prepare(call, &s, _, start)
    if not call.measure:
        set_hot(call, KIND[call.loss], &s, _)
    if call.layout == ROWS:
        bad[0] |= run_rows(call, &s, _, start)
    elif call.layout == DIRECT:
        s.offset = offset_of(call, start)
        bad[0] |= run_direct(call, &s, _)
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
