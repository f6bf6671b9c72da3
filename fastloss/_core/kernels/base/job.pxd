"""What the drivers of all families share: places in tables of losses, and the first member of each driver's Job."""

from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport fmax, fmin

from fastloss._core.kernels.base.memory cimport address
from fastloss._core.kernels.base.operands cimport Operand, take_leading
from fastloss._core.kernels.base.vecmath cimport copysign, fabs
from fastloss._core.request.call cimport GRAD, HESS, OUTPUTS, VALUE, Call, Stage

cdef enum:
    MAX_PARAMETERS = 8      # of a loss
    MAX_LOSSES = 64         # of a driver

cdef struct Common:
    int loss                    # its place in the driver's table
    Stage stage
    Operand weight              # sample weights
    double[MAX_PARAMETERS] parameters
    double scale                # of the derivatives, if they are weighted: in double precision
    double scale_unweighted     # the same, but finite in the dtype of the derivatives: 0 times inf would be NaN
    bint sum_values             # whether the losses are summed
    void* out[OUTPUTS]          # NULL for an output that the caller did not ask for


cdef inline int place_for(dict losses, str name) except -1:
    """Return the next free place in the table of a driver. Add it to `losses`, under the name of the loss."""
    cdef int place = len(losses)
    if place == MAX_LOSSES:
        raise IndexError("the table of losses is full: raise MAX_LOSSES")
    losses[name] = place
    return place


cdef inline int take_parameters(double* slots, tuple parameters, bint single) except -1:
    """Set MAX_PARAMETERS slots; those without a parameter are 0.

    A parameter outside the range of the dtype becomes the nearest number of the dtype but inf and 0, which would make
    NaN.
    """
    cdef double smallest = 2.0**-149 if single else 2.0**-1074, largest = FLT_MAX if single else DBL_MAX, x
    cdef int k
    if len(parameters) > MAX_PARAMETERS:
        raise IndexError("too many parameters: raise MAX_PARAMETERS")
    for k in range(MAX_PARAMETERS):
        x = parameters[k] if k < len(parameters) else 0
        slots[k] = x if x == 0 else copysign(fmin(fmax(fabs(x), smallest), largest), x)
    return 0


cdef inline int take_call(Common* job, Call call, int loss, bint single, bint single_parameters) except -1:
    """Set what a call says. `single` is whether results are float32, `single_parameters` whether parameters are."""
    cdef Py_ssize_t k
    job.loss = loss
    job.stage = call.stage
    take_leading(&job.weight, call.weight, call.shape)
    take_parameters(job.parameters, call.parameters, single_parameters)
    job.scale = call.scale
    job.scale_unweighted = fmin(call.scale, FLT_MAX if single else DBL_MAX)
    job.sum_values = call.sum_values
    for k in range(OUTPUTS):
        job.out[k] = NULL
    job.out[VALUE] = address(call.values)
    for k in range(len(call.grads)):
        job.out[GRAD + 2 * k] = address(call.grads[k])
        if HESS + 2 * k < OUTPUTS:  # the last of them has no Hessian
            job.out[HESS + 2 * k] = address(call.hesses[k])
    return 0
