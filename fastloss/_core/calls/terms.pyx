"""Losses that are sums of terms along a class axis: from the arguments to the kernel and back."""

cimport numpy as cnp

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport past_caches, sum_of_weights, threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments cimport class_shape, class_target, floating, like_gradient, real
from fastloss._core.request.call cimport GRAD, MEASURE, RUN, Call

cnp.import_array()


def terms(
    declaration, int outputs, pred, target, tuple parameters, dict common, *, axis=-1, class_weight=None,
    ignore_index=None, label_smoothing=None, str kernel=None
):
    """Run a loss that is the sum, or the mean, of its terms along the class axis.

    `target` has the shape of `pred`. If the loss takes labels, it may hold class indices instead. With a
    `label_smoothing`, which the caller has checked, the loss gets two more parameters: the factor and the summand that
    make the smoothed target. The mean gets one over the number of classes as its last parameter. `kernel` is the name
    in the driver's table, if that is not the name of the loss. `common` are the arguments of every loss.
    """
    cdef bint light = declaration.light, two_gradients = declaration.two_gradients
    cdef tuple names = declaration.names, domains = declaration.domains, batch, shape
    cdef str name = names[0]
    cdef cnp.ndarray p = floating(pred, name), t
    cdef bint is_pred = name == "pred"
    if is_pred:
        axis, batch, shape = class_shape(p, axis)
    else:
        axis, batch, shape = class_shape(p, axis, f"{name} must have an axis")
    cdef Py_ssize_t n_classes = shape[1], elements = cnp.PyArray_SIZE(p)
    if n_classes == 0:
        one = "class" if is_pred else "element along it"
        raise ValueError(f"{name} must have at least one {one}, and has shape {(<object> p).shape}")
    dtype = (<object> p).dtype
    cdef bint has_labels = False, weighs = False, one_class
    if declaration.takes_labels:
        t, ignore_index = class_target(target, p, batch, ignore_index, True)
        has_labels = cnp.PyArray_NDIM(t) < cnp.PyArray_NDIM(p)
        weighs = has_labels or class_weight is not None
    else:
        t = real(target, names[1])
        if not cnp.PyArray_SAMESHAPE(t, p):
            shapes = (<object> p).shape, (<object> t).shape
            raise ValueError(f"{names[1]} must have the shape of {name}, {shapes[0]}, not {shapes[1]}")
    w = None if class_weight is None else checks.class_weights(class_weight, n_classes, checks.FLOAT64)
    one_class = has_labels
    if label_smoothing is not None:
        parameters += (1 - label_smoothing, label_smoothing / n_classes)
        one_class = has_labels and label_smoothing == 0
    if declaration.mean:
        parameters += (1 / <double> n_classes,)

    cdef Call call = Call(declaration, outputs, batch, parameters, common)
    if one_class and not call.wants(GRAD):
        call.threads = threads_for(elements // n_classes)
    else:
        call.threads = threads_for(elements, light or one_class)
    # The inputs and the gradients: class indices take little memory.
    call.stream = past_caches((2 + (not has_labels) + two_gradients) * cnp.PyArray_NBYTES(p))
    likes = (p,)
    if two_gradients:
        likes = (p, like_gradient(t, dtype))
    if call.out is None:
        call.allocate(likes, ())
    else:
        call.allocate(likes, (
            (name, pred, p, True), (names[1], target, t, not has_labels), ("class_weight", class_weight, w, False)
        ))
    cdef double weights = sum_of_weights(call)
    call.divide_by(weights if w is None or weighs else weights * w.mean())
    driver = kernels.terms
    place = driver.LOSSES[declaration.name if kernel is None else kernel]
    # Before the kernel writes over an input, all elements must be known to be valid. Before it scales derivatives, the
    # sum of the weights must be known.
    cdef tuple stages = call.stages(call.checks_first())
    if weighs and call.wants(GRAD) and not call.in_place:
        stages = MEASURE, RUN
    for call.stage in stages:
        sums = driver.run(
            call, place, p, t, one_class, shape, w, -1 if ignore_index is None else ignore_index, domains
        )
        if sums is None:
            checks.raise_term(names, p, t, domains, axis, call.weight, w, ignore_index, has_labels, one_class)
        total, target_weight = sums
        if weighs:
            call.divide_by(target_weight)
    return call.result(total)
