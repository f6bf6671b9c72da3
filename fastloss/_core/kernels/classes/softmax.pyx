"""The driver of the softmax losses: a class axis anywhere, and a target of class indices or probabilities.

layout.pxd says how samples are read in tiles. softmax_sums.pxd says what is gathered over the classes of a sample, and
what follows from it. softmax_rows.pxd and softmax_lanes.pxd gather it along rows and across samples, and write the
derivatives. softmax_functions.pxd has what differs for focal losses. softmax_losses.pxi holds the losses: the math of
each, and its place in the table.
"""

from cython cimport floating
cimport numpy as cnp

from fastloss._core.kernels.base.chunks cimport Partial, run_job
from fastloss._core.kernels.base.focal cimport power, power_by_halves
from fastloss._core.kernels.base.job cimport MAX_LOSSES, MAX_PARAMETERS, place_for
from fastloss._core.kernels.base.loops cimport Table, Tile, double_loops, loops, register, single_loops
from fastloss._core.kernels.base.memory cimport at, clear
from fastloss._core.kernels.base.sums cimport LANES
from fastloss._core.kernels.base.vecmath cimport normal
from fastloss._core.kernels.classes.layout cimport (
    BLOCK, CELL_BYTES, PRED, ROWS, TARGET_WEIGHT, Job, Samples, field, finish_tile, place_tile, prepare_samples,
    take_classes
)
from fastloss._core.kernels.classes.softmax_functions cimport (
    finish_functions, run_functions_of_lanes, run_functions_of_row
)
from fastloss._core.kernels.classes.softmax_lanes cimport (
    check_lanes, exp_lanes, gather_spread, peaks_of_lanes, sum_strips, write_lanes
)
from fastloss._core.kernels.classes.softmax_rows cimport (
    check_row, exp_rows, gather_row, peaks_of_rows, sum_rows, write_plain_row, write_row
)
from fastloss._core.kernels.classes.softmax_sums cimport (
    BY_CE, BY_LOG_HIT, BY_LOG_HIT_TWICE, BY_LSE, BY_LSE_TWICE, FIELDS, FUNCTIONS, HOT, HOT_GAP, LOGS, LOGS_AND_SUM,
    LOSS, OF_HOT, OF_HOT_TWICE, SPREAD, Kind, loss_and_coefficients, set_hot
)
from fastloss._core.kernels.classes.tiles cimport give_derivatives, take_pred, take_target
from fastloss._core.request.call cimport GRAD, HESS, RUN, VALUE, Call

cnp.import_array()

cdef enum:
    SHORT_ROW = 96          # classes: up to here, lanes across samples are faster than a pass along the row

# ---------------------------------------------------------------------------------------------------------------------
# The table of the losses. Pointers to functions of a fused type cannot be stored, so a loss registers its function
# twice.

ctypedef void (*single_samples)(const Job*, Samples*, const float*) noexcept nogil
ctypedef void (*double_samples)(const Job*, Samples*, const double*) noexcept nogil

LOSSES = {}  # name -> place in the table
cdef single_samples[MAX_LOSSES] SINGLE
cdef double_samples[MAX_LOSSES] DOUBLE
cdef Kind[MAX_LOSSES] KIND
cdef Table FUNCTION_LOOPS   # of the losses of the kind FUNCTIONS


cdef add(str name, Kind kind, single_samples single, double_samples double_):
    cdef int place = place_for(LOSSES, name)
    SINGLE[place] = single
    DOUBLE[place] = double_
    KIND[place] = kind


cdef add_function(str name, single_loops single, double_loops double_):
    KIND[len(LOSSES)] = FUNCTIONS
    register(&FUNCTION_LOOPS, LOSSES, name, single, double_)


include "softmax_losses.pxi"

# ---------------------------------------------------------------------------------------------------------------------
# The functions of the .pxd files are inlined. Each of these functions stays one, so its loops have all registers.


cdef void find_peaks_of_rows(const Job* job, Samples* samples, const floating* logits) noexcept nogil:
    peaks_of_rows(job, samples, logits)


cdef void gather_plain_rows(
    const Job* job, Samples* samples, const floating* logits, floating* exps, Py_ssize_t stride
) noexcept nogil:
    exp_rows(job, samples, logits, exps, stride)
    sum_rows(job, samples, exps, stride)


cdef void gather_row_of_logs(
    const Job* job, Samples* samples, Py_ssize_t i, const floating* logits, const floating* target, floating* exps,
    const floating* grad
) noexcept nogil:
    gather_row(job, LOGS, samples, i, logits, target, exps, grad)


cdef void gather_row_with_sum(
    const Job* job, Samples* samples, Py_ssize_t i, const floating* logits, const floating* target, floating* exps,
    const floating* grad
) noexcept nogil:
    gather_row(job, LOGS_AND_SUM, samples, i, logits, target, exps, grad)


cdef void write_plain_rows(
    const Job* job, Samples* samples, const floating* exps, Py_ssize_t stride, floating* grad
) noexcept nogil:
    cdef floating* of_hot = field(samples, OF_HOT, grad)
    cdef Py_ssize_t classes = job.classes, i
    for i in range(samples.n):
        write_plain_row(job, samples, i, exps + i * stride, grad + i * classes)
        grad[i * classes + samples.label[i]] = of_hot[i]
    for i in range(samples.n if samples.dropped else 0):
        if samples.weight[i] == 0:
            clear(grad + i * classes, classes)


cdef void write_derivatives_of_row(
    const Job* job, Samples* samples, Py_ssize_t i, const floating* target, const floating* exps, floating* grad,
    floating* hess
) noexcept nogil:
    write_row(job, KIND[job.common.loss], samples, i, target, exps, grad, hess)


cdef void gather_plain_lanes(
    const Job* job, Samples* samples, const floating* logits, Py_ssize_t stride, floating* exps, Py_ssize_t exps_stride
) noexcept nogil:
    exp_lanes(job, samples, logits, stride, exps, exps_stride)
    sum_strips(job, samples, exps, exps_stride)


cdef void gather_lanes_of_logs(
    const Job* job, Samples* samples, const floating* logits, Py_ssize_t stride, const floating* target,
    Py_ssize_t target_stride, floating* exps, Py_ssize_t exps_stride
) noexcept nogil:
    gather_spread(job, LOGS, samples, logits, stride, target, target_stride, exps, exps_stride)


cdef void gather_lanes_with_sum(
    const Job* job, Samples* samples, const floating* logits, Py_ssize_t stride, const floating* target,
    Py_ssize_t target_stride, floating* exps, Py_ssize_t exps_stride
) noexcept nogil:
    gather_spread(job, LOGS_AND_SUM, samples, logits, stride, target, target_stride, exps, exps_stride)


cdef void write_derivatives_of_lanes(
    const Job* job, Samples* samples, const floating* exps, Py_ssize_t exps_stride
) noexcept nogil:
    write_lanes(
        job, KIND[job.common.loss], samples, <const floating*> samples.target, samples.target_stride, exps, exps_stride,
        <floating*> samples.grad, <floating*> samples.hess, samples.stride
    )


cdef void write_functions_of_row(
    const Job* job, Samples* samples, Py_ssize_t i, const floating* logits, const floating* target, floating* grad,
    floating* hess
) noexcept nogil:
    run_functions_of_row(&FUNCTION_LOOPS, job, samples, i, logits, target, grad, hess)


cdef void write_functions_of_lanes(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    run_functions_of_lanes(&FUNCTION_LOOPS, job, samples, as_type)


cdef void finish_samples(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """From the sums over the classes to the losses of a tile, and the coefficients of their derivatives."""
    cdef floating* target_weight = field(samples, TARGET_WEIGHT, as_type)
    cdef floating* hot = field(samples, HOT, as_type)
    cdef floating* spread = field(samples, SPREAD, as_type)
    cdef floating[MAX_PARAMETERS] parameters
    cdef long long dropped = 0
    cdef Py_ssize_t i
    for i in range(MAX_PARAMETERS):
        parameters[i] = <floating> job.common.parameters[i]
    # A sample whose target has total weight 0 is ignored, too.
    for i in range(samples.lanes):
        samples.weight[i] = 0 if target_weight[i] == 0 and hot[i] + spread[i] == 0 else samples.weight[i]
        dropped += samples.weight[i] == 0
    samples.dropped = dropped
    if KIND[job.common.loss] == FUNCTIONS:
        finish_functions(&FUNCTION_LOOPS, job, samples, as_type)
    elif floating is float:
        SINGLE[job.common.loss](job, samples, parameters)
    else:
        DOUBLE[job.common.loss](job, samples, parameters)


# ---------------------------------------------------------------------------------------------------------------------
# A tile: gather the sums, finish the samples, write the derivatives


cdef void run_rows(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Run samples that are rows in memory."""
    cdef Py_ssize_t classes = job.classes, stride = (classes + LANES - 1) // LANES * LANES, i
    cdef const floating* logits = <const floating*> samples.logits
    cdef const floating* target = <const floating*> samples.target
    cdef floating* grad = <floating*> samples.grad
    cdef floating* hess = <floating*> samples.hess
    # Rows of up to BLOCK classes have a copy. A row has more than LANES classes, so padding at most doubles it.
    cdef floating* exps = <floating*> samples.memory
    cdef Kind kind = KIND[job.common.loss]
    cdef bint by_class = kind == FUNCTIONS and target != NULL  # reads the logits again, and no exps
    cdef int k
    if classes > BLOCK:
        exps, stride = NULL if by_class else grad, classes
    find_peaks_of_rows(job, samples, logits)
    if classes <= BLOCK and not job.spread:
        gather_plain_rows(job, samples, logits, exps, stride)
    else:
        for i in range(samples.n):
            if samples.weight[i] != 0 and kind != LOGS_AND_SUM:  # compiled for the kind
                gather_row_of_logs(
                    job, samples, i, logits + i * classes, at(target, i * classes), at(exps, i * stride),
                    at(grad, i * classes)
                )
            elif samples.weight[i] != 0:
                gather_row_with_sum(
                    job, samples, i, logits + i * classes, at(target, i * classes), at(exps, i * stride),
                    at(grad, i * classes)
                )
            else:  # The weight is 0. The fields up to HOT_GAP are those that finish_samples reads.
                for k in range(HOT_GAP + 1):
                    field(samples, k, as_type)[i] = 0
    finish_samples(job, samples, as_type)
    if grad != NULL and hess == NULL and not job.spread and not by_class:
        write_plain_rows(job, samples, exps, stride, grad)
    elif grad != NULL or by_class:
        for i in range(samples.n):
            if samples.weight[i] == 0:
                if grad != NULL:
                    clear(grad + i * classes, classes)
                if hess != NULL:
                    clear(hess + i * classes, classes)
            elif by_class:
                write_functions_of_row(
                    job, samples, i, logits + i * classes, target + i * classes, at(grad, i * classes),
                    at(hess, i * classes)
                )
            else:
                write_derivatives_of_row(
                    job, samples, i, at(target, i * classes), exps + i * stride, grad + i * classes,
                    at(hess, i * classes)
                )
            if samples.weight[i] != 0 and job.labels.data != NULL:
                grad[i * classes + samples.label[i]] = field(samples, OF_HOT, as_type)[i]
                if hess != NULL and kind != LOGS:
                    hess[i * classes + samples.label[i]] = field(samples, OF_HOT_TWICE, as_type)[i]


cdef void gather_lanes(
    const Job* job, Samples* samples, const floating* logits, Py_ssize_t stride, const floating* target,
    Py_ssize_t target_stride, floating* exps, Py_ssize_t exps_stride
) noexcept nogil:
    """The sums of each sample over its classes.

    exp(logits - peak) goes to exps, which may be logits. With exps_stride 0, each class overwrites the one before.
    """
    peaks_of_lanes(job, samples, logits, stride)
    if not job.spread and exps_stride != 0:
        gather_plain_lanes(job, samples, logits, stride, exps, exps_stride)
    elif KIND[job.common.loss] != LOGS_AND_SUM or not job.spread:  # compiled for the kind
        gather_lanes_of_logs(job, samples, logits, stride, target, target_stride, exps, exps_stride)
    else:
        gather_lanes_with_sum(job, samples, logits, stride, target, target_stride, exps, exps_stride)


cdef void run_lanes(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Run samples that lie side by side."""
    cdef const floating* logits = <const floating*> samples.logits
    cdef floating* exps = <floating*> samples.grad
    cdef Py_ssize_t exps_stride = samples.stride
    cdef bint by_class = KIND[job.common.loss] == FUNCTIONS and samples.target != NULL  # reads the logits again
    if job.copied[PRED] and not by_class:
        exps = <floating*> logits
    elif job.classes * job.tile_samples * <Py_ssize_t> sizeof(floating) <= CELL_BYTES:
        # If classes were a power of two apart, they would push each other out of the cache.
        exps, exps_stride = <floating*> samples.memory, job.tile_samples
    elif exps == NULL or by_class:
        exps, exps_stride = <floating*> samples.memory, 0
    gather_lanes(
        job, samples, logits, samples.stride, <const floating*> samples.target, samples.target_stride, exps, exps_stride
    )
    finish_samples(job, samples, as_type)
    if by_class:
        write_functions_of_lanes(job, samples, as_type)
    elif samples.grad != NULL:
        write_derivatives_of_lanes(job, samples, exps, exps_stride)


# ---------------------------------------------------------------------------------------------------------------------
# The driver


cdef bint check(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Return whether a probability of the target is invalid."""
    cdef const floating* target
    cdef bint invalid = False
    cdef Py_ssize_t i
    take_target(job, samples, as_type)
    target = <const floating*> samples.target
    if target == NULL:
        return False
    if job.layout != ROWS:
        return check_lanes(job, samples, target, samples.target_stride)
    for i in range(samples.n):
        invalid |= check_row(job, samples, i, target + i * job.classes)
    return invalid


cdef void take(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    take_pred(job, samples, as_type)


cdef void give(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    give_derivatives(job, samples, as_type)


cdef void run_tile(const Job* job, Py_ssize_t tile, void* memory, Partial* sums, floating* as_type) noexcept nogil:
    cdef Samples samples
    place_tile(job, &samples, tile, memory)
    sums.invalid |= prepare_samples(job, &samples, as_type)
    if job.common.stage == RUN:
        set_hot(job, &samples, as_type)
    sums.invalid |= check(job, &samples, as_type)
    if job.common.stage == RUN:
        take(job, &samples, as_type)
        if job.layout == ROWS:
            run_rows(job, &samples, as_type)
        else:
            run_lanes(job, &samples, as_type)
        give(job, &samples, as_type)
    finish_tile(job, &samples, sums, as_type)


cdef void run_floats(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    cdef Py_ssize_t tile
    for tile in range(start, stop):
        run_tile(<const Job*> job, tile, memory, sums, <float*> NULL)


cdef void run_doubles(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    cdef Py_ssize_t tile
    for tile in range(start, stop):
        run_tile(<const Job*> job, tile, memory, sums, <double*> NULL)


def run(
    Call call, int loss, cnp.ndarray pred, cnp.ndarray target, tuple shape, cnp.ndarray class_weight,
    long long ignore_index, double smoothing
):
    """Run one loss over checked, C-contiguous arrays.

    Return the weighted sum of the losses and the sum of the weights of the targets, or None if a target is invalid. A
    stage other than RUN checks the target and sums the weights; RUN sums the losses. `shape` is that of pred, as
    (outer, classes, inner). The target has no class axis if it holds class indices. Class weights have the dtype of
    the computation: float64 if that of pred is, else float32.
    """
    cdef Job job
    cdef Partial total
    take_classes(&job, call, loss, pred, target, shape, class_weight, ignore_index, smoothing, SHORT_ROW, FIELDS)
    job.spread = KIND[loss] != FUNCTIONS and (job.target != NULL or smoothing != 0)
    total = run_job(
        run_floats if job.computed == cnp.NPY_FLOAT else run_doubles, &job, job.tiles, 1, call.threads, job.nbytes
    )
    return None if total.invalid else (total.loss, total.target_weight)
