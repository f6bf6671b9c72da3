"""The driver of the elementwise losses: tiles, weights, reductions, threads. README.md is the way in."""

from cython cimport floating
from cython.parallel cimport prange
cimport numpy as cnp

from fastloss.kernels.binary cimport binary_cross_entropy_with_logits, exp_minus_abs, hinge
from fastloss.kernels.outputs cimport CURVATURE, OUTPUTS, SLOPE, SLOPE_2, VALUE
from fastloss.kernels.regression cimport huber, mae, mse
from fastloss.kernels.tiles cimport (
    MAX_CHUNKS, TILE, Operand, address, aligned, at, chunk_size, expand, grain, load, operand, ordered_sum, weighted_sum
)
from fastloss.kernels.vecmath cimport fabs
from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, NAN, fmin

cnp.import_array()

cdef enum:
    MAX_LOSSES = 64
    MAX_PARAMETERS = 8

# ---------------------------------------------------------------------------------------------------------------------
# The losses. A line `cdef void ...` makes the loops of one loss over a tile, for float and for double;
# a line `add(...)` puts them into the table.

LOSSES = {}  # name -> place in the table

cdef struct Tile:
    const void* p
    const void* t
    const void* u
    void* e             # scratch
    Py_ssize_t n
    double scale        # of every derivative
    void* value         # what is not wanted is NULL
    void* grad
    void* grad_2
    void* hess

ctypedef void (*single_loops)(const Tile*, const float*) noexcept nogil
ctypedef void (*double_loops)(const Tile*, const double*) noexcept nogil
cdef single_loops[MAX_LOSSES] SINGLE
cdef double_loops[MAX_LOSSES] DOUBLE


cdef add(str name, single_loops single, double_loops double_):
    cdef int place = len(LOSSES)
    if place == MAX_LOSSES:
        raise IndexError("the table of losses is full: raise MAX_LOSSES")
    SINGLE[place] = single
    DOUBLE[place] = double_
    LOSSES[name] = place


cdef void mse_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], mse[floating], x, c)
cdef void mae_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], mae[floating], x, c)
cdef void huber_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], huber[floating], x, c)
cdef void hinge_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], hinge[floating], x, c)
cdef void bce_logits_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_abs[floating], binary_cross_entropy_with_logits[floating], x, c)

add("mse", mse_loops[float], mse_loops[double])
add("mae", mae_loops[float], mae_loops[double])
add("huber", huber_loops[float], huber_loops[double])
add("hinge", hinge_loops[float], hinge_loops[double])
add("binary_cross_entropy_with_logits", bce_logits_loops[float], bce_logits_loops[double])


cdef inline floating nothing(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return 0


cdef inline void loops(
    floating (*first)(floating, floating, floating, const floating*) noexcept nogil,
    void (*loss)(floating, floating, floating, floating, const floating*, floating*) noexcept nogil,
    const Tile* x, const floating* parameters
) noexcept nogil:
    """One loop for each combination of results, so that the compiler drops what that combination does not need.

    What `first` gives for an element reaches `loss` as its argument e, by way of a loop of its own: two short chains of
    dependent instructions overlap where a processor cannot look far enough ahead to overlap long ones.
    """
    cdef const floating* p = <const floating*> x.p
    cdef const floating* t = <const floating*> x.t
    cdef const floating* u = <const floating*> x.u
    cdef floating* e = <floating*> x.e
    cdef floating* value = <floating*> x.value
    cdef floating* grad = <floating*> x.grad
    cdef floating* grad_2 = <floating*> x.grad_2
    cdef floating* hess = <floating*> x.hess
    cdef floating scale = <floating> x.scale
    cdef floating[MAX_PARAMETERS] c
    cdef floating[OUTPUTS] out
    cdef Py_ssize_t i
    for i in range(MAX_PARAMETERS):
        c[i] = parameters[i]  # a local copy stays in registers: the stores below cannot alias it
    for i in range(OUTPUTS):
        out[i] = 0
    if <void*> first != <void*> nothing[floating]:
        for i in range(x.n):
            e[i] = first(p[i], t[i], u[i], c)
    if hess != NULL:
        for i in range(x.n):
            loss(p[i], t[i], u[i], e[i], c, out)
            grad[i] = out[SLOPE] * scale
            hess[i] = out[CURVATURE] * scale
    elif grad_2 != NULL:
        for i in range(x.n):
            loss(p[i], t[i], u[i], e[i], c, out)
            value[i] = out[VALUE]
            grad[i] = out[SLOPE] * scale
            grad_2[i] = out[SLOPE_2] * scale
    elif grad == NULL:
        for i in range(x.n):
            loss(p[i], t[i], u[i], e[i], c, out)
            value[i] = out[VALUE]
    elif value == NULL:
        for i in range(x.n):
            loss(p[i], t[i], u[i], e[i], c, out)
            grad[i] = out[SLOPE] * scale
    else:
        for i in range(x.n):
            loss(p[i], t[i], u[i], e[i], c, out)
            value[i] = out[VALUE]
            grad[i] = out[SLOPE] * scale


# ---------------------------------------------------------------------------------------------------------------------
# The driver

cdef enum Domain:       # what a target may be
    ANY
    UNIT_INTERVAL       # [0, 1]
    SIGN                # -1 or +1

DOMAINS = {None: ANY, "unit interval": UNIT_INTERVAL, "sign": SIGN}

cdef float[TILE] SINGLE_ONES    # the third operand where there is none
cdef double[TILE] DOUBLE_ONES
for _k in range(TILE):
    SINGLE_ONES[_k] = DOUBLE_ONES[_k] = 1

cdef struct Call:
    int loss
    int domain
    bint check_only
    Operand pred
    Operand target
    Operand third
    Operand weight
    double[MAX_PARAMETERS] parameters
    double scale
    bint sum_values
    void* value
    void* grad
    void* grad_2
    void* hess


cdef inline const void* direct(const Operand* x, const Call* call, floating* _) noexcept nogil:
    """The operand's memory if a tile of it can be used where it lies, else NULL."""
    cdef int typenum = cnp.NPY_DOUBLE
    if floating is float:
        typenum = cnp.NPY_FLOAT
    # In place, the loops get a copy: the compiler must not fear that a store changes what is still to be read.
    if x.typenum != typenum or x.data == call.grad or x.data == call.grad_2 or x.data == call.hess:
        return NULL
    return x.data


cdef bint outside(int domain, const floating* t, const double* weight, Py_ssize_t n) noexcept nogil:
    """Whether an element that counts (its weight is not 0) is outside the domain; a NaN is."""
    cdef Py_ssize_t i
    cdef int bad = 0
    if domain == UNIT_INTERVAL:
        if weight == NULL:
            for i in range(n):
                bad |= not (t[i] >= 0 and t[i] <= 1)
        else:
            for i in range(n):
                bad |= weight[i] != 0 and not (t[i] >= 0 and t[i] <= 1)
    elif domain == SIGN:
        if weight == NULL:
            for i in range(n):
                bad |= fabs(t[i]) != 1
        else:
            for i in range(n):
                bad |= weight[i] != 0 and fabs(t[i]) != 1
    return bad


cdef inline void weigh(floating* x, const double* weight, double scale, Py_ssize_t n) noexcept nogil:
    """x *= scale * weight, where a weight of 0 gives 0 whatever x is. NULL is passed over."""
    cdef Py_ssize_t i
    for i in range(n if x != NULL else 0):
        x[i] = 0 if weight[i] == 0 else <floating> (x[i] * (scale * weight[i]))


cdef double run_chunk(const Call* call, floating* _, Py_ssize_t start, Py_ssize_t stop, char* bad) noexcept nogil:
    """Run elements start to stop, tile by tile; the sum of their weighted losses."""
    cdef floating[6 * TILE + 16] memory
    cdef double[TILE] weights
    cdef floating* pred_copy = aligned(memory)
    cdef floating* target_copy = pred_copy + TILE
    cdef floating* third_copy = target_copy + TILE
    cdef floating* value_copy = third_copy + TILE
    cdef floating* scratch = value_copy + TILE
    cdef floating[MAX_PARAMETERS] parameters
    cdef double* weight = NULL if call.weight.data == NULL else weights
    cdef const floating* pred = <const floating*> direct(&call.pred, call, _)
    cdef const floating* target = <const floating*> direct(&call.target, call, _)
    cdef floating* value
    cdef Tile x
    cdef double total = 0
    cdef Py_ssize_t i = start, k
    for k in range(MAX_PARAMETERS):
        parameters[k] = <floating> call.parameters[k]
    x.e = scratch + TILE
    x.u = third_copy
    if call.third.data == NULL:
        if floating is float:
            x.u = SINGLE_ONES
        else:
            x.u = DOUBLE_ONES
    x.scale = call.scale if weight == NULL else 1
    while i < stop:
        x.n = min(TILE, stop - i)
        if weight != NULL:
            expand(&call.weight, i, weight, x.n, <double*> pred_copy)  # not yet in use
        x.t = at(target, i)
        if target == NULL:
            expand(&call.target, i, target_copy, x.n, scratch)
            x.t = target_copy
        if call.domain != ANY:
            bad[0] |= outside(call.domain, <const floating*> x.t, weight, x.n)
        if call.check_only:
            i += x.n
            continue
        x.p = at(pred, i)
        if pred == NULL:
            expand(&call.pred, i, pred_copy, x.n, scratch)
            x.p = pred_copy
        if call.third.data != NULL:
            expand(&call.third, i, third_copy, x.n, scratch)
        value = value_copy if call.value == NULL else <floating*> call.value + i
        x.value = value if call.value != NULL or call.sum_values or call.grad_2 != NULL else NULL
        x.grad = at(<floating*> call.grad, i)
        x.grad_2 = at(<floating*> call.grad_2, i)
        x.hess = at(<floating*> call.hess, i)
        if floating is float:
            SINGLE[call.loss](&x, parameters)
        else:
            DOUBLE[call.loss](&x, parameters)
        if call.sum_values:
            total += ordered_sum(value, x.n) if weight == NULL else weighted_sum(value, weight, x.n)
        if weight != NULL:
            if call.value != NULL:
                weigh(value, weight, 1, x.n)
            weigh(<floating*> x.grad, weight, call.scale, x.n)
            weigh(<floating*> x.grad_2, weight, call.scale, x.n)
            weigh(<floating*> x.hess, weight, call.scale, x.n)
        i += x.n
    return total


cdef double run_all(const Call* call, floating* _, Py_ssize_t n, int threads, char* bad) noexcept nogil:
    """Run all chunks; their sums are added in order, so the result does not depend on the number of threads."""
    cdef double[MAX_CHUNKS] partial
    cdef char[MAX_CHUNKS] flag
    cdef Py_ssize_t size = chunk_size(n, TILE), chunks = (n + size - 1) // size, k
    cdef double total = 0
    if threads <= 1:
        for k in range(chunks):
            flag[k] = 0
            partial[k] = run_chunk(call, _, k * size, min(n, (k + 1) * size), &flag[k])
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
            flag[k] = 0
            partial[k] = run_chunk(call, _, k * size, min(n, (k + 1) * size), &flag[k])
    for k in range(chunks):
        total += partial[k]
        bad[0] |= flag[k]
    return total


def run(
    int loss, cnp.ndarray pred, cnp.ndarray target, cnp.ndarray third, cnp.ndarray weight,
    Py_ssize_t weight_inner, tuple parameters, int domain, bint check_only, double scale, bint sum_values,
    cnp.ndarray value, cnp.ndarray grad, cnp.ndarray grad_2, cnp.ndarray hess, int threads
):
    """Run one loss over checked, C-contiguous arrays: the weighted sum, or None where a target is not in the domain.

    threads = 0 stands for an input so small that releasing the GIL would cost more than it gives.
    """
    cdef Call call
    cdef Py_ssize_t n = cnp.PyArray_SIZE(pred)
    cdef bint single = cnp.PyArray_TYPE(pred) == cnp.NPY_FLOAT
    cdef char bad = 0
    cdef double total
    cdef int k
    call.loss = loss
    call.domain = domain
    call.check_only = check_only
    call.pred = operand(pred, 1)
    call.target = operand(target, 1)
    call.third = operand(third, 1)
    call.weight = operand(weight, weight_inner)
    if len(parameters) > MAX_PARAMETERS:
        raise IndexError("too many parameters: raise MAX_PARAMETERS")
    for k in range(MAX_PARAMETERS):
        call.parameters[k] = parameters[k] if k < len(parameters) else 0
        if single:
            call.parameters[k] = fmin(call.parameters[k], FLT_MAX)
    call.scale = fmin(scale, FLT_MAX) if single and weight is None else scale  # a slope of 0 times inf would be NaN
    call.sum_values = sum_values
    call.value = address(value)
    call.grad = address(grad)
    call.grad_2 = address(grad_2)
    call.hess = address(hess)
    if threads == 0:
        total = run_all(&call, <float*> NULL, n, 0, &bad) if single else run_all(&call, <double*> NULL, n, 0, &bad)
    else:
        with nogil:
            total = (
                run_all(&call, <float*> NULL, n, threads, &bad) if single
                else run_all(&call, <double*> NULL, n, threads, &bad)
            )
    return None if bad else total


cdef double sum_chunk(const void* data, int typenum, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef double[TILE] tile
    cdef double total = 0
    cdef Py_ssize_t i = start, k, n
    while i < stop:
        n = min(TILE, stop - i)
        load(data, typenum, i, tile, n)
        for k in range(n):
            tile[k] = tile[k] if tile[k] >= 0 and tile[k] < INFINITY else NAN
        total += ordered_sum(tile, n)
        i += n
    return total


def sum_weights(cnp.ndarray weight, int threads):
    """The sum of a C-contiguous array of weights; NaN if one of them is negative or not finite."""
    cdef double[MAX_CHUNKS] partial
    cdef Py_ssize_t n = cnp.PyArray_SIZE(weight), size = chunk_size(n, TILE), chunks = (n + size - 1) // size, k
    cdef const void* data = cnp.PyArray_DATA(weight)
    cdef int typenum = cnp.PyArray_TYPE(weight)
    cdef double total = 0
    with nogil:
        if threads <= 1:
            for k in range(chunks):
                partial[k] = sum_chunk(data, typenum, k * size, min(n, (k + 1) * size))
        else:
            for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
                partial[k] = sum_chunk(data, typenum, k * size, min(n, (k + 1) * size))
        for k in range(chunks):
            total += partial[k]
    return total
