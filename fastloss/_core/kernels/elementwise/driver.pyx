"""The driver of the elementwise losses: tiles, conversions, weights, and gradients shared by a row.

The .pxi files hold the losses: the math of each, and its place in the table.
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_EPSILON, FLT_EPSILON
from libc.math cimport INFINITY, NAN

import numpy as np

from fastloss._core.kernels.base.chunks cimport MAX_CHUNKS, Partial, chunk_size, run_job
from fastloss._core.kernels.base.domains cimport any_outside_domain
from fastloss._core.kernels.base.focal cimport power, power_by_halves
from fastloss._core.kernels.base.job cimport Common, take_call
from fastloss._core.kernels.base.loops cimport (
    Table, Tile, double_loops, exp_minus_abs, loops, nothing, register, run_loops, single_loops
)
from fastloss._core.kernels.base.memory cimport at, end_stream
from fastloss._core.kernels.base.operands cimport (
    TILE, Operand, expand, is_half, prefetch_halves, store, take_leading, type_of
)
from fastloss._core.kernels.base.sums cimport LANES, ordered_sum, weighted_sum
from fastloss._core.kernels.base.vecmath cimport (
    at_least, copysign, exp, exp_nonpositive, exp_of_product, expm1_from, fabs, lgamma1p, log, log1p, log1p_01,
    log_near_one, normal, sqrt, tanh_from, times, times_exp,
    times_exp_of_product, x_minus_log1p
)
from fastloss._core.kernels.base.vecmath cimport log_cosh as log_of_cosh
from fastloss._core.kernels.base.weights cimport weigh
from fastloss._core.request.call cimport CHECK, ELEMENTWISE_OUTPUTS, GRAD, GRAD_2, HESS, HESS_2, VALUE, Call
from fastloss._core.request.domains cimport ZERO_OR_ONE, Domain

cnp.import_array()

LOSSES = {}  # name -> place in the table
cdef Table TABLE


cdef add(str name, single_loops single, double_loops double_):
    register(&TABLE, LOSSES, name, single, double_)


include "regression.pxi"
include "robust.pxi"
include "likelihood.pxi"
include "binary.pxi"
include "margin.pxi"
include "penalties.pxi"

cdef float[TILE] SINGLE_ONES    # stand in for a missing operand
cdef double[TILE] DOUBLE_ONES
for _k in range(TILE):
    SINGLE_ONES[_k] = DOUBLE_ONES[_k] = 1

cdef struct Job:
    Common common
    Operand[3] inputs       # pred, target, third
    Domain[3] domains       # of these
    Py_ssize_t n            # elements
    Py_ssize_t tile         # elements that a thread has memory for in each array
    int typenum             # of the results
    bint half               # whether these are rounded to half precision
    bint ignores            # whether elements whose target is ignore_index are ignored; there are sample weights then
    long long ignore_index
    bint stream             # whether gradients go past the caches
    double* boundary_sums   # four for each chunk: see Rows. NULL unless a row shares an element of the third operand.
    const void* whole[3]    # inputs that the loops read where they are, else NULL
    void* whole_out[ELEMENTWISE_OUTPUTS]    # outputs that the loops write where they belong, else NULL
    bint[ELEMENTWISE_OUTPUTS] buffered      # whether the loops write an output to an array of the thread

cdef enum:                  # the arrays of a thread, behind one for the weights, which are in double precision
    COPIES = 0              # of the inputs
    SCRATCH = 3
    RESULTS = 4             # outputs
    ARRAYS = RESULTS + ELEMENTWISE_OUTPUTS


cdef inline floating* array_of(const Job* job, void* memory, int k, floating* as_type) noexcept nogil:
    """Array k of a thread."""
    return <floating*> (<double*> memory + job.tile) + k * job.tile


cdef inline const void* direct(const Operand* x, const Job* job, int typenum) noexcept nogil:
    """The operand's memory if a tile of it can be used in place, else NULL. `typenum` is that of the loops."""
    cdef int k
    if x.typenum != typenum or x.inner != 1 or x.period < job.inputs[0].period:
        return NULL
    # If a derivative is written over an input, the loops get a copy of it. Otherwise the compiler would have to assume
    # that each store changes what is still to be read.
    for k in range(GRAD, ELEMENTWISE_OUTPUTS):
        if x.data == job.common.out[k]:
            return NULL
    return x.data


cdef inline void find_arrays(Job* job) noexcept:
    """Set which inputs and outputs are read and written in place."""
    cdef int typenum = cnp.NPY_DOUBLE if job.typenum == cnp.NPY_DOUBLE else cnp.NPY_FLOAT, k
    cdef bint in_place
    for k in range(3):
        job.whole[k] = direct(&job.inputs[k], job, typenum)
    for k in range(ELEMENTWISE_OUTPUTS):
        # Outputs are rounded to half precision, or summed over rows, after the loops of the loss.
        in_place = not job.half and (job.boundary_sums == NULL or k < GRAD_2)
        job.whole_out[k] = job.common.out[k] if in_place else NULL
        job.buffered[k] = job.whole_out[k] == NULL and (
            job.common.out[k] != NULL or k == VALUE and job.common.sum_values
        )


# Where the third operand has only leading axes of pred, each of its elements belongs to a row of pred. Its derivatives
# are sums over that row.

cdef struct Rows:
    Py_ssize_t inner        # the length of a row
    Py_ssize_t first        # the row that this chunk starts in
    Py_ssize_t row          # the row that is being summed
    double[2] total         # of its gradients, and of its second derivatives
    double* boundary_sums   # totals of the chunk's first row, then of its last: neighbouring chunks may share these


cdef inline void write_sum(const Job* job, int k, Py_ssize_t row, double total, floating* as_type) noexcept nogil:
    """Write output k of a row, which is the sum over it."""
    cdef void* out = job.common.out[k]
    cdef floating rounded = <floating> total
    if job.half:
        store(<float*> &rounded, out, job.typenum, row, 1)
    else:
        (<floating*> out)[row] = rounded


cdef void add_rows(
    Rows* rows, const Job* job, const Tile* tile, Py_ssize_t start, floating* as_type
) noexcept nogil:
    """Add the derivatives of a tile with respect to the third operand to their rows."""
    cdef Py_ssize_t i = 0, n = tile.n, row, run
    cdef int k
    while i < n:
        row = (start + i) // rows.inner
        run = min(n - i, (row + 1) * rows.inner - (start + i))
        for k in range(2):
            if tile.out[GRAD_2 + k] != NULL:
                if row != rows.row:
                    if rows.row == rows.first:
                        rows.boundary_sums[k] = rows.total[k]
                    else:
                        write_sum(job, GRAD_2 + k, rows.row, rows.total[k], as_type)
                    rows.total[k] = 0
                rows.total[k] += ordered_sum(<floating*> tile.out[GRAD_2 + k] + i, run)
        rows.row = row
        i += run


cdef void join_rows(const Job* job, floating* as_type) noexcept nogil:
    """Write the sums of the rows that chunks begin and end with, adding their parts in order."""
    cdef Py_ssize_t inner = job.inputs[2].inner, size = chunk_size(job.n, TILE), row, start, first, last
    cdef const double* sums
    cdef double total
    cdef int k
    for k in range(2):
        if job.common.out[GRAD_2 + k] != NULL:
            sums = job.boundary_sums + k
            row = start = 0
            total = 0
            while start < job.n:
                first = start // inner
                last = (min(job.n, start + size) - 1) // inner
                total = sums[0] + (total if first == row else 0)
                write_sum(job, GRAD_2 + k, first, total, as_type)
                if last != first:
                    total = sums[2]
                    write_sum(job, GRAD_2 + k, last, total, as_type)
                row = last
                start += size
                sums += 4


cdef inline bint load_tile(
    const Job* job, void* memory, Py_ssize_t start, Tile* tile, const double* weight, floating* as_type
) noexcept nogil:
    """Set the operands of a tile; return whether one of their elements is outside its domain."""
    cdef const floating* operands[3]
    cdef bint invalid = False
    cdef int k
    for k in range(3):
        operands[k] = at(<const floating*> job.whole[k], start)
        if job.inputs[k].data != NULL:
            if operands[k] == NULL:
                if job.inputs[k].period >= job.n:
                    prefetch_halves(&job.inputs[k], start + tile.n, tile.n)  # the next tile
                operands[k] = array_of(job, memory, COPIES + k, as_type)
                expand(
                    &job.inputs[k], start, <floating*> operands[k], tile.n, array_of(job, memory, SCRATCH, as_type)
                )
            invalid |= any_outside_domain(job.domains[k], operands[k], weight, tile.n)
        elif floating is float:
            operands[k] = SINGLE_ONES
        else:
            operands[k] = DOUBLE_ONES
    tile.pred, tile.target, tile.third = operands[0], operands[1], operands[2]
    return invalid


cdef void drop_ignored(
    const Job* job, void* memory, Py_ssize_t start, double* weight, Py_ssize_t n, Partial* sums, floating* as_type
) noexcept nogil:
    """Set the weight of elements that are ignored to 0. In the stage CHECK, sum the weights."""
    cdef floating* target = array_of(job, memory, COPIES + 1, as_type)
    cdef floating ignored = <floating> job.ignore_index
    cdef Py_ssize_t i
    expand(&job.inputs[1], start, target, n, array_of(job, memory, SCRATCH, as_type))
    for i in range(n):
        weight[i] = 0 if target[i] == ignored else weight[i]
    if job.common.stage == CHECK:
        sums.target_weight += ordered_sum(weight, n)


cdef inline void place_outputs(
    const Job* job, void* memory, Py_ssize_t start, Tile* tile, floating* as_type
) noexcept nogil:
    """Set where the outputs of a tile go."""
    cdef int k
    for k in range(ELEMENTWISE_OUTPUTS):
        tile.out[k] = at(<floating*> job.whole_out[k], start)
        if job.buffered[k]:
            tile.out[k] = array_of(job, memory, RESULTS + k, as_type)


cdef void run_chunk(
    const Job* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory, floating* as_type
) noexcept nogil:
    """Run elements start to stop, tile by tile."""
    cdef double* weight = NULL if job.common.weight.data == NULL else <double*> memory
    cdef floating* copies = array_of(job, memory, COPIES, as_type)
    cdef Rows rows
    cdef Tile tile
    cdef Py_ssize_t i = start
    cdef int k
    rows.inner = job.inputs[2].inner
    rows.first = rows.row = start // rows.inner
    rows.total = [0, 0]
    rows.boundary_sums = at(job.boundary_sums, 4 * chunk)
    tile.first = array_of(job, memory, SCRATCH, as_type)
    tile.stream = job.stream and not job.half
    tile.scale = job.common.scale_unweighted if weight == NULL else 1
    while i < stop:
        tile.n = min(TILE, stop - i)
        if weight != NULL:
            expand(&job.common.weight, i, weight, tile.n, <double*> copies)  # these are not in use yet
            if job.ignores:
                drop_ignored(job, memory, i, weight, tile.n, sums, as_type)
        sums.invalid |= load_tile(job, memory, i, &tile, weight, as_type)
        if job.common.stage != CHECK:
            place_outputs(job, memory, i, &tile, as_type)
            run_loops(&TABLE, job.common.loss, &tile, job.common.parameters, as_type)
            finish_tile(job, &tile, weight, sums, as_type)
            if job.boundary_sums != NULL:
                add_rows(&rows, job, &tile, i, as_type)
            if job.half:
                store_tile(job, &tile, i)
        i += tile.n
    if job.stream:
        end_stream()
    if job.boundary_sums != NULL:
        for k in range(2):
            rows.boundary_sums[k if rows.row == rows.first else 2 + k] = rows.total[k]


cdef inline void finish_tile(
    const Job* job, const Tile* tile, const double* weight, Partial* sums, floating* as_type
) noexcept nogil:
    """Sum the losses of a tile, and apply the sample weights."""
    cdef floating* value = <floating*> tile.out[VALUE]
    cdef int k
    if job.common.sum_values:
        sums.loss += ordered_sum(value, tile.n) if weight == NULL else weighted_sum(value, weight, tile.n)
    if weight != NULL:
        if job.common.out[VALUE] != NULL:
            weigh(value, weight, 1, tile.n)
        for k in range(GRAD, ELEMENTWISE_OUTPUTS):
            weigh(<floating*> tile.out[k], weight, job.common.scale, tile.n)


cdef void store_tile(const Job* job, const Tile* tile, Py_ssize_t start) noexcept nogil:
    """Round the outputs of a tile to half precision."""
    cdef int k, outputs = ELEMENTWISE_OUTPUTS if job.boundary_sums == NULL else GRAD_2
    for k in range(outputs):
        if job.common.out[k] != NULL:
            store(<float*> tile.out[k], job.common.out[k], job.typenum, start, tile.n, job.stream)


cdef void run_floats(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, chunk, sums, memory, <float*> NULL)


cdef void run_doubles(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, chunk, sums, memory, <double*> NULL)


def run(Call call, int loss, tuple inputs, tuple domains, ignore_index):
    """Run one loss over checked, C-contiguous arrays.

    Return the weighted sum of the losses, or None if an element is outside its domain. With an `ignore_index`, which
    goes with weights, the stage CHECK returns the sum of the weights of the elements that are not ignored.

    `inputs` are pred, target and a third operand, and `domains` are theirs. A missing array is None. The axes of target
    and the third operand are the leading ones of pred, where 1 stands for a whole axis. If the loss has derivatives
    with respect to the third operand, its axes are as long as those of pred. The derivatives are sums over the others.
    """
    cdef Job job
    cdef Partial total
    cdef cnp.ndarray pred = inputs[0], boundary_sums = None
    cdef bint single
    cdef int k
    job.typenum = type_of(pred)
    job.half = is_half(job.typenum)
    single = job.typenum != cnp.NPY_DOUBLE
    take_call(&job.common, call, loss, single, single)
    for k in range(3):
        take_leading(&job.inputs[k], inputs[k], call.shape)
        job.domains[k] = domains[k]
    job.n = cnp.PyArray_SIZE(pred)
    job.tile = min(TILE, (job.n + LANES - 1) // LANES * LANES)
    job.ignores = ignore_index is not None
    job.ignore_index = ignore_index if job.ignores else 0
    job.boundary_sums = NULL
    if job.inputs[2].inner != 1 and job.common.out[GRAD_2] != NULL:
        boundary_sums = np.empty(4 * MAX_CHUNKS)
        job.boundary_sums = <double*> cnp.PyArray_DATA(boundary_sums)
    # Only gradients that are written once: weights and row sums would change them again.
    job.stream = (
        call.stream and job.common.out[GRAD] != NULL and job.common.out[HESS] == NULL and boundary_sums is None
        and call.weight is None
    )
    find_arrays(&job)
    total = run_job(
        run_floats if single else run_doubles, &job, job.n, TILE, call.threads,
        job.tile * (sizeof(double) + ARRAYS * (sizeof(float) if single else sizeof(double)))
    )
    if job.boundary_sums != NULL and call.stage != CHECK:
        if single:
            join_rows(&job, <float*> NULL)
        else:
            join_rows(&job, <double*> NULL)
    return None if total.invalid else total.target_weight if call.stage == CHECK else total.loss
