"""Elementwise losses: from the arguments to the kernel and back."""

cimport numpy as cnp
from libc.math cimport INFINITY

import numpy as np

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport past_caches, sum_of_weights, threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments import number
from fastloss._core.request.arguments cimport floating, like_gradient, real
from fastloss._core.request.call cimport CHECK, Call
from fastloss._core.request.domains cimport ANY

cnp.import_array()

cdef tuple ANYTHING = (ANY, ANY, ANY)  # the domains of operands that may be any number
cdef ONE = np.ones(())                 # a weight for the whole loss


def elementwise(
    declaration, int outputs, pred, target, tuple parameters, dict common, *, third=None, along_axis=None,
    bint target_lacks_axis=False, ignore_index=None, str kernel=None
):
    """Run an elementwise loss of `pred` and `target`, which have the same shape. The `target` of a penalty is None.

    `third` is the third operand, if the declaration has one: an input with a gradient of its own. `along_axis` are the
    arguments of `checks.along_axis` besides pred, for a third operand that is a number, or one for each index of an
    axis of pred. A loss has this or `third`, never both. With `target_lacks_axis`, the target has pred's shape without
    the last axis. `kernel` is the name in the driver's table, if that is not the name of the loss. `common` are the
    arguments of every loss.
    """
    cdef tuple names = declaration.names, domains = declaration.domains
    cdef bint has_target = names[1] is not None, has_third = names[2] is not None
    p = floating(pred, names[0])
    t = u = None
    cdef tuple shape = p.shape, likes = (p,)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(p)
    if has_target:
        t = real(target, names[1])
        if target_lacks_axis:
            if t.shape != shape[:len(shape) - 1]:
                raise ValueError(
                    f"{names[1]} must have the shape of {names[0]} without its last axis, {shape[:len(shape) - 1]}, "
                    f"as {along_axis[0]} has one element for each index of it, not {t.shape}"
                )
        elif not cnp.PyArray_SAMESHAPE(t, p):
            raise ValueError(f"{names[1]} must have the shape of {names[0]}, {shape}, not {t.shape}")
    if has_third:
        u = third_operand(declaration.operands[2], third, p, names[0])
        likes = (p, like_gradient(u, p.dtype))
    elif along_axis is not None:
        names = names[:2] + along_axis[:1]
        third = along_axis[1]
        u = checks.along_axis(p, *along_axis)
    if ignore_index is not None:
        ignore_index = checks.integer(ignore_index, "ignore_index")
    cdef Call call = Call(declaration, outputs, shape, parameters, common)
    call.threads = threads_for(size, declaration.light)
    # The inputs and the gradients.
    call.stream = past_caches((2 + has_target + 2 * has_third) * cnp.PyArray_NBYTES(p))
    if call.out is None:
        call.allocate(likes, ())
    else:
        call.allocate(likes, ((names[0], pred, p, True), (names[1], target, t, True), (names[2], third, u, True)))
    if ignore_index is not None and call.weight is None:
        call.weight = ONE
    call.divide_by(sum_of_weights(call))
    if size == 0 and has_third:  # its gradient is a sum over nothing
        for gradient in (call.grads[1], call.hesses[1]):
            if gradient is not None:
                gradient[...] = 0
    driver = kernels.elementwise
    place = driver.LOSSES[declaration.name if kernel is None else kernel]
    total = 0.0
    # If a result is written over an input, all elements must be valid before anything is written. If elements are
    # ignored, the sum of the weights of the others must be known before derivatives are scaled.
    for call.stage in call.stages(ignore_index is not None or call.checks_first() and domains != ANYTHING):
        total = driver.run(call, place, (p, t, u), domains, ignore_index)
        if total is None:
            checks.raise_outside(zip(names, (p, t, u), domains), p.dtype, call.weight, ignore_index)
        if call.stage == CHECK and ignore_index is not None:
            call.divide_by(total)
    return call.result(total)


cdef third_operand(third, given, cnp.ndarray pred, str pred_name):
    """The third operand, checked."""
    cdef tuple shape = (<object> pred).shape
    u = real(given, third.name)
    same_shape = third.shape == "pred"
    if u.shape != (shape if same_shape else shape[:u.ndim]):
        or_leading = "" if same_shape else " or of leading axes of it,"
        raise ValueError(f"{third.name} must have the shape of {pred_name}, {shape},{or_leading} not {u.shape}")
    return u


def scale(x, str name, str at_0="zero", str at_inf="half_square"):
    """The kernel, None for the loss's own, and the parameters of a loss that bends at the residual x.

    At 0 and at inf the loss is its limit, which has a kernel of its own. Compiled, because small calls notice it.
    """
    cdef double value = number(x, name, 0, infinite=True)
    if 0 < value < INFINITY:
        return None, (value, 1 / value)
    return at_0 if value == 0 else at_inf, ()
