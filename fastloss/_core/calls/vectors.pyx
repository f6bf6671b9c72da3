"""Losses of vectors: from the arguments to the kernel and back."""

cimport numpy as cnp

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport past_caches, sum_of_weights, threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments cimport floating, real
from fastloss._core.request.call cimport Call

cnp.import_array()


def vectors(
    declaration, int outputs, tuple arrays, tuple parameters, dict common, *, label=None, str kernel=None,
    double p=2.0, double eps=0.0
):
    """Run a loss of vectors, which lie along the last axis: one loss for each row of the arrays.

    `arrays` are two or three arrays of vectors. `label` has the shape of the unreduced loss, if the declaration has
    one. `kernel` is the name in the driver's table, if that is not the name of the loss. Distances are p-norms of
    differences, with `eps` added to each element. `common` are the arguments of every loss.
    """
    cdef tuple names = declaration.vectors
    cdef str name = names[0], label_name = declaration.label_name
    cdef int domain = declaration.label_domain, gradients = declaration.gradients, k
    cdef cnp.ndarray first = floating(arrays[0], name)
    cdef tuple shape = (<object> first).shape, inputs = (first,), likes = (first,)
    cdef Py_ssize_t axis = len(shape) - 1, size = cnp.PyArray_SIZE(first)
    if axis < 0:
        raise ValueError(f"{name} must hold vectors along its last axis, and is 0-dimensional")
    if shape[axis] == 0:
        raise ValueError(f"{name} must hold vectors of at least one element, and has shape {shape}")
    for k in range(1, len(names)):
        x = real(arrays[k], names[k])
        if not cnp.PyArray_SAMESHAPE(x, first):
            raise ValueError(f"{names[k]} must have the shape of {name}, {shape}, not {x.shape}")
        inputs += (x,)
        if k < gradients:
            likes += (first,)
    cdef tuple batch = shape[:axis]
    y = None
    if label_name is not None:
        y = real(label, label_name)
        if y.shape != batch:
            raise ValueError(
                f"{label_name} must have the shape of {name} without the last axis, {batch}, not {y.shape}"
            )
    cdef Call call = Call(declaration, outputs, batch, parameters, common)
    call.threads = threads_for(size)
    call.stream = past_caches((len(inputs) + gradients) * cnp.PyArray_NBYTES(first))
    if call.out is None:
        call.allocate(likes, ())
    else:
        call.allocate(likes, (
            *[(name, given, used, True) for name, given, used in zip(names, arrays, inputs)],
            (label_name, label, y, False),
        ))
    call.divide_by(sum_of_weights(call))
    driver = kernels.vectors
    place = driver.LOSSES[declaration.name if kernel is None else kernel]
    # CHECK first for the reason given in elementwise.pyx.
    total = 0.0
    for call.stage in call.stages(call.checks_first() and y is not None):
        total = driver.run(call, place, inputs, y, domain, p, eps)
        if total is None:
            checks.raise_outside([(label_name, y, declaration.label_domain)], checks.FLOAT64, call.weight)
    return call.result(total)
