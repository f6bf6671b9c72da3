"""The loops of a loss over the elements of a tile, for the families whose losses are functions of one element."""

from cython cimport floating
from libc.string cimport memcpy

from fastloss._core.kernels.base.job cimport MAX_LOSSES, MAX_PARAMETERS, place_for
from fastloss._core.kernels.base.memory cimport at, stream
from fastloss._core.kernels.base.sums cimport LANES
from fastloss._core.kernels.base.vecmath cimport exp_nonpositive, fabs
from fastloss._core.request.call cimport GRAD, GRAD_2, HESS, HESS_2, OUTPUTS, VALUE

cdef struct Tile:
    const void* pred
    const void* target
    const void* third
    void* first         # scratch, for what `first` computes of each element
    Py_ssize_t n
    double scale        # of every derivative
    void* out[OUTPUTS]  # NULL for an output that neither the caller nor the driver needs
    bint stream         # whether gradients go past the caches; only without second derivatives

ctypedef void (*single_loops)(const Tile*, const float*) noexcept nogil
ctypedef void (*double_loops)(const Tile*, const double*) noexcept nogil


# A loss is a function of one element. It gets the elements of the inputs, what the function `first` made of them, and
# the parameters. It writes its outputs. `first` runs in a loop of its own. So the processor can overlap two short
# chains of instructions; it cannot look far enough ahead to overlap one long chain.

cdef inline floating nothing(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    """The `first` of a loss that needs none."""
    return 0


cdef inline floating exp_minus_abs(
    floating logit, floating target, floating third, const floating* parameters
) noexcept nogil:
    return exp_nonpositive(-fabs(logit))


cdef inline void lanes_past_caches(
    void (*loss)(floating, floating, floating, floating, const floating*, floating*) noexcept nogil,
    const floating* pred, const floating* target, const floating* third, const floating* first,
    const floating* parameters, floating scale, floating* value, floating* grad, floating* grad_2, bint two_gradients
) noexcept nogil:
    """Compute LANES elements and store them past the caches."""
    cdef floating[LANES] values, grads, grads_2
    cdef floating[OUTPUTS] out
    cdef Py_ssize_t i
    for i in range(OUTPUTS):
        out[i] = 0
    for i in range(LANES):
        loss(pred[i], target[i], third[i], first[i], parameters, out)
        values[i] = out[VALUE]
        grads[i] = out[GRAD] * scale
        if two_gradients:
            grads_2[i] = out[GRAD_2] * scale
    if value != NULL:
        memcpy(value, values, sizeof(values))
    stream(grad, grads, sizeof(grads))
    if two_gradients:
        stream(grad_2, grads_2, sizeof(grads_2))


cdef inline void loops(
    floating (*first_of)(floating, floating, floating, const floating*) noexcept nogil,
    void (*loss)(floating, floating, floating, floating, const floating*, floating*) noexcept nogil,
    const Tile* tile, const floating* parameters, bint two_gradients=False
) noexcept nogil:
    """One loop for each combination of outputs, so that the compiler drops what that combination does not need.

    `two_gradients` says that the loss has derivatives with respect to a second input too.
    """
    cdef const floating* pred = <const floating*> tile.pred
    cdef const floating* target = <const floating*> tile.target
    cdef const floating* third = <const floating*> tile.third
    cdef floating* first = <floating*> tile.first
    cdef floating* value = <floating*> tile.out[VALUE]
    cdef floating* grad = <floating*> tile.out[GRAD]
    cdef floating* hess = <floating*> tile.out[HESS]
    cdef floating* grad_2 = <floating*> tile.out[GRAD_2]
    cdef floating* hess_2 = <floating*> tile.out[HESS_2]
    cdef floating scale = <floating> tile.scale
    cdef floating[MAX_PARAMETERS] slots
    cdef floating[OUTPUTS] out
    cdef Py_ssize_t start = 0, i
    for i in range(MAX_PARAMETERS):
        slots[i] = parameters[i]  # a local copy stays in registers: the stores below cannot alias it
    for i in range(OUTPUTS):
        out[i] = 0
    if <void*> first_of != <void*> nothing[floating]:
        for i in range(tile.n):
            first[i] = first_of(pred[i], target[i], third[i], slots)
    while tile.stream and start + LANES <= tile.n:
        lanes_past_caches(
            loss, pred + start, target + start, third + start, first + start, slots, scale, at(value, start),
            grad + start, at(grad_2, start), two_gradients
        )
        start += LANES
    if hess != NULL:
        for i in range(start, tile.n):
            loss(pred[i], target[i], third[i], first[i], slots, out)
            grad[i] = out[GRAD] * scale
            hess[i] = out[HESS] * scale
            if two_gradients:
                grad_2[i] = out[GRAD_2] * scale
                hess_2[i] = out[HESS_2] * scale
    elif grad == NULL:
        for i in range(start, tile.n):
            loss(pred[i], target[i], third[i], first[i], slots, out)
            value[i] = out[VALUE]
    elif value == NULL:
        for i in range(start, tile.n):
            loss(pred[i], target[i], third[i], first[i], slots, out)
            grad[i] = out[GRAD] * scale
            if two_gradients:
                grad_2[i] = out[GRAD_2] * scale
    else:
        for i in range(start, tile.n):
            loss(pred[i], target[i], third[i], first[i], slots, out)
            value[i] = out[VALUE]
            grad[i] = out[GRAD] * scale
            if two_gradients:
                grad_2[i] = out[GRAD_2] * scale


# ---------------------------------------------------------------------------------------------------------------------
# The table of the losses of a driver. Pointers to functions of a fused type cannot be stored, so a loss registers its
# loops twice.

cdef struct Table:
    single_loops[MAX_LOSSES] single
    double_loops[MAX_LOSSES] double


cdef inline int register(Table* table, dict losses, str name, single_loops single, double_loops double_) except -1:
    """Add a loss to the table, and its place there to the dictionary."""
    cdef int place = place_for(losses, name)
    table.single[place] = single
    table.double[place] = double_
    return 0


cdef inline void run_loops(
    const Table* table, int loss, const Tile* tile, const double* parameters, floating* as_type
) noexcept nogil:
    """Run the loops of a loss over a tile, with the parameters in the dtype of the tile."""
    cdef floating[MAX_PARAMETERS] slots
    cdef int k
    for k in range(MAX_PARAMETERS):
        slots[k] = <floating> parameters[k]
    if floating is float:
        table.single[loss](tile, slots)
    else:
        table.double[loss](tile, slots)
