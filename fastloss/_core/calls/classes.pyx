"""Softmax and margin losses, which have a class axis: from the arguments to the kernel and back."""

cimport numpy as cnp

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport sum_of_weights, threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments import number
from fastloss._core.request.arguments cimport class_shape, class_target, floating
from fastloss._core.request.call cimport CHECK, Call

cnp.import_array()


def classes(
    declaration, int outputs, pred, target, tuple parameters, dict common, *, axis, class_weight, ignore_index,
    label_smoothing=0.0, str kernel=None
):
    """Run a loss of `pred` with a class axis; `target` holds class indices or, if the loss takes them, probabilities.

    `kernel` is the name in the driver's table, if that is not the name of the loss. `common` are the arguments of every
    loss.
    """
    cdef cnp.ndarray p = floating(pred, "pred"), given
    cdef tuple batch, shape
    axis, batch, shape = class_shape(p, axis)
    if shape[1] == 0:
        raise ValueError(f"pred must have at least one class, and has shape {(<object> p).shape}")
    checks.check_classes(shape[1], "pred")
    given, ignore_index = class_target(target, p, batch, ignore_index, declaration.takes_probabilities)
    cdef bint has_labels = cnp.PyArray_NDIM(given) < cnp.PyArray_NDIM(p)
    computed_in = checks.computed_in((<object> p).dtype)
    w = None if class_weight is None else checks.class_weights(class_weight, shape[1], computed_in)
    cdef double smoothing = number(label_smoothing, "label_smoothing", 0, 1)
    cdef Call call = Call(declaration, outputs, batch, parameters, common)
    call.threads = threads_for(cnp.PyArray_SIZE(p))
    if call.out is None:
        call.allocate((p,), ())
    else:
        call.allocate((p,), (
            ("pred", pred, p, True), ("target", target, given, False), ("class_weight", class_weight, w, False)
        ))
    call.divide_by(sum_of_weights(call))
    driver = getattr(kernels, declaration.driver)
    place = driver.LOSSES[declaration.name if kernel is None else kernel]
    # The check comes before anything is written. It also sums the weights that the target brings to the mean.
    cdef bint weighs = has_labels or w is not None
    for call.stage in call.stages(weighs or call.checks_first()):
        sums = driver.run(call, place, p, given, shape, w, ignore_index, smoothing)
        if sums is None:
            checks.raise_class_target(given, has_labels, axis, shape[1], ignore_index, call.weight)
        total, target_weight = sums
        if call.stage == CHECK and weighs:
            call.divide_by(target_weight)
    return call.result(total)
