"""The way from the arguments of a loss into its kernel, compiled because small arrays feel each microsecond of it.

`elementwise`, `class_axis`, `summed` and `rows`, near the end, are what the public losses call, and after them what
the public functions call that are no losses. What is not as a kernel wants it goes on to _checks.py, which converts it
or raises.
"""

cimport numpy as cnp
from libc.math cimport INFINITY, isfinite

import numpy as np

from fastloss import _checks, _pairs
from fastloss._checks import FLOAT64
from fastloss._cpu import get_num_threads, kernels

cnp.import_array()

# What a method of a loss wants: any sum of these.
VALUE, GRAD, HESS = 1, 2, 4

# The passes of a kernel over its input: see summed.pyx.
cdef int RUN = 0, MEASURE = 1, CHECK = 2

# The arguments that every loss takes.
COMMON = {"sample_weight": None, "reduction": "mean", "normalizer": None, "out": None}

# An input of fewer elements runs on the calling thread, which keeps the GIL: waking others, 0.03 ms where they sleep,
# would cost more than they save. Where an element is little work beside its memory traffic, twice as many still do.
SERIAL = 65536
LIGHT = 2

# Gradients go past the caches where an array is larger than its share of these is likely to be: 1.05 to 1.4 times as
# fast for most losses, 0.92 for those that compute longest.
STREAM = 1 << 25  # bytes


cdef floating(x, str name):
    """An input that fixes the dtype of the result, as a kernel wants it: float32 or float64, C-contiguous."""
    if cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(x):
        if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT or cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE:
            return x
    return _checks.floating(x, name)


cdef real(x, str name, dtype):
    """An input of any real dtype, as a kernel wants it: the kernels load bool, integers, float32 and float64."""
    if cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(x):
        if 0 <= cnp.PyArray_TYPE(x) <= cnp.NPY_DOUBLE:
            return x
    return _checks.real(x, name, dtype)


cdef floating_as(x, dtype):
    """A real array as a kernel wants it that reads no other dtype."""
    if cnp.PyArray_ISCARRAY_RO(x) and x.dtype == dtype:
        return x
    return _checks.contiguous(x, dtype)


def number(x, str name, double low=-INFINITY, double high=INFINITY, *, bint above=False, bint below=False):
    """A finite parameter in [low, high], without low if it must be `above`, without high if it must be `below`."""
    cdef double value
    if type(x) is float:
        value = x
        if isfinite(value) and low <= value <= high and not (above and value == low) and not (below and value == high):
            return x
    return _checks.number(x, name, low, high, above=above, below=below)


cdef class_shape(cnp.ndarray pred, axis, str has_axis="pred must have a class axis"):
    """The class axis counted from the front, the batch shape, and pred's shape as (outer, classes, inner).

    `has_axis` is for the message on an array without any.
    """
    cdef int ndim = cnp.PyArray_NDIM(pred), index
    index = ndim - 1 if type(axis) is int and axis == -1 and ndim > 0 else _checks.axis(axis, ndim, has_axis)
    shape = (<object> pred).shape
    return index, shape[:index] + shape[index + 1:], around(pred, index)


cdef tuple around(cnp.ndarray x, int axis):
    """The shape of x as (outer, length of the axis, inner)."""
    cdef Py_ssize_t outer = 1, inner = 1
    cdef int k
    for k in range(axis):
        outer *= cnp.PyArray_DIM(x, k)
    for k in range(axis + 1, cnp.PyArray_NDIM(x)):
        inner *= cnp.PyArray_DIM(x, k)
    return outer, cnp.PyArray_DIM(x, axis), inner


cdef cnp.ndarray empty_like(cnp.ndarray x):
    return cnp.PyArray_EMPTY(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)


cdef enum Overlap:
    APART
    SAME        # exactly the same bytes
    PARTLY


cdef Overlap overlap(cnp.ndarray a, cnp.ndarray b):
    """How the bytes of two contiguous arrays lie."""
    cdef size_t a_start = <size_t> cnp.PyArray_DATA(a), a_stop = a_start + cnp.PyArray_NBYTES(a)
    cdef size_t b_start = <size_t> cnp.PyArray_DATA(b), b_stop = b_start + cnp.PyArray_NBYTES(b)
    if a_stop <= b_start or b_stop <= a_start:
        return APART
    return SAME if a_start == b_start and a_stop == b_stop else PARTLY


cdef cnp.ndarray output(x, str name, cnp.ndarray like):
    """An array to write results into, checked."""
    if (
        cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY(x) and cnp.PyArray_SAMESHAPE(x, like)
        and cnp.PyArray_TYPE(x) == cnp.PyArray_TYPE(like)
    ):
        return x
    return _checks.output(x, name, like)


NOTHING = tuple([(None,) * n for n in range(5)])  # for a loss of n differentiable inputs


cdef class Call:
    """One call of a loss: the arguments that every loss takes, and what becomes of them."""

    cdef int want
    cdef tuple shape               # of the unreduced loss
    cdef cnp.ndarray weight        # sample weights
    cdef Py_ssize_t weight_inner   # elements of the unreduced loss that share a weight
    cdef int threads               # 0: so small that the GIL is kept
    cdef double scale              # of the derivatives
    cdef bint sums                 # whether the kernel is to sum up the losses
    cdef cnp.ndarray values        # the unreduced loss, under reduction "none"
    cdef tuple grads               # one for each differentiable input
    cdef tuple hesses              # the diagonals of the Hessian by these, if wanted
    cdef tuple taken               # the arrays of `out` so far, with their names
    cdef bint in_place             # whether an input may change before it was checked
    cdef object sample_weight, normalizer, out
    cdef bint mean
    cdef double divisor

    def __init__(
        self, str loss, int want, tuple shape, Py_ssize_t elements, dict common, reduction="mean"
    ):
        for name in common:
            if name not in COMMON:
                raise TypeError(f"{loss}() got an unexpected keyword argument {name!r}")
        sample_weight, normalizer, out = None, None, None
        if common:
            reduction = common.get("reduction", reduction)
            sample_weight = common.get("sample_weight")
            normalizer = common.get("normalizer")
            out = common.get("out")
        if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
        self.mean = reduction == "mean"
        if normalizer is not None:
            if not self.mean:
                raise ValueError(f"normalizer goes with reduction='mean', not {reduction!r}")
            normalizer = _checks.number(normalizer, "normalizer", 0, above=True)
        if out is not None and want == VALUE:
            raise TypeError("out goes with grad, value_and_grad and grad_and_hess: a value needs no array")
        self.want = want
        self.taken = ()
        self.shape = shape
        self.normalizer = normalizer
        self.out = out
        self.sums = (want & 1) and reduction != "none"
        self.threads = 0 if elements < SERIAL else get_num_threads()
        self.sample_weight = sample_weight
        self.weight_inner = 1
        if sample_weight is not None:
            self.weight = _checks.leading_weights(sample_weight, shape)
            for length in shape[self.weight.ndim:]:
                self.weight_inner *= length

    cdef double sum_of_weights(self) except? -1:
        """The sum of the sample weights over the unreduced loss, after a check of them."""
        if self.weight is None:
            total = 1.0
            for length in self.shape:
                total *= length
            return total
        total = kernels.elementwise.sum_weights(self.weight, self.threads)
        if total != total:
            _checks.finite_weights(self.weight, "sample_weight", self.weight)
        return total * self.weight_inner

    cdef allocate(self, tuple likes, tuple inputs):
        """Set the arrays for the results; `likes` has an array like the gradient for each differentiable input.

        With `out`, each input is (name, what the caller gave, the array the kernel reads, whether the kernel may write
        over it).
        """
        self.grads = self.hesses = NOTHING[len(likes)]
        if self.want & 1 and not self.sums:
            self.values = np.empty(self.shape, (<object> likes[0]).dtype)
        if self.want == 1:
            return
        if self.out is not None:
            inputs += (("sample_weight", self.sample_weight, self.weight, False),)
        if not self.want & 4:
            self.grads = self.arrays(self.out, "out", likes, inputs)
        elif self.out is None:
            self.grads = self.arrays(None, "", likes, inputs)
            self.hesses = self.arrays(None, "", likes, inputs)
        else:
            _checks.parts(self.out, "out", 2, "arrays" if len(likes) == 1 else "tuples of arrays")
            self.grads = self.arrays(self.out[0], "out[0]", likes, inputs)
            self.hesses = self.arrays(self.out[1], "out[1]", likes, inputs)

    cdef tuple arrays(self, given, str name, tuple likes, tuple inputs):
        """An array for each of `likes`: new ones, or those given."""
        if len(likes) == 1:
            return (empty_like(likes[0]) if given is None else self.given_array(given, name, likes[0], inputs),)
        if given is None:
            return tuple([empty_like(like) for like in likes])
        _checks.parts(given, name, len(likes), "arrays")
        return tuple([self.given_array(given[k], f"{name}[{k}]", likes[k], inputs) for k in range(len(likes))])

    cdef cnp.ndarray given_array(self, x, str name, cnp.ndarray like, tuple inputs):
        """An array of `out`, checked. It may be exactly an input that the kernel may write over."""
        cdef cnp.ndarray array
        cdef Overlap how
        array = output(x, name, like)
        for input_name, given, used, may_be_out in inputs:
            if used is not None:
                how = overlap(array, used)
                if how == PARTLY or how == SAME and not may_be_out:
                    raise ValueError(f"{name} overlaps {input_name}")
                # Over the original of a copy the kernel may write, but an error must leave it as it was.
                apart = used is given or isinstance(given, np.ndarray) and not np.may_share_memory(array, given)
                if how == SAME or not apart:
                    self.in_place = True
        for other_name, other in self.taken:
            if overlap(array, other) != APART:
                raise ValueError(f"{name} overlaps {other_name}")
        self.taken += ((name, array),)
        return array

    cdef divide_by(self, double weights):
        """Settle the divisor of the results, from the sum of all weights."""
        self.divisor = 1
        if self.mean:
            self.divisor = weights if self.normalizer is None else self.normalizer
        self.scale = 1 / self.divisor if self.divisor != 0 else 0  # 0: nothing is left to average
        if not (isfinite(self.divisor) and isfinite(self.scale)):
            what = "the weights add up to" if self.normalizer is None else "normalizer is"
            raise ValueError(f"{what} {self.divisor}, which float64 cannot divide by")

    cdef result(self, double total):
        """What the caller gets, from the weighted sum of the losses."""
        value = self.values
        if self.sums:
            value = total / self.divisor if self.divisor != 0 else 0.0
        if self.want == 1:
            return value
        grads = self.grads[0] if len(self.grads) == 1 else self.grads
        if self.want & 4:
            return grads, self.hesses[0] if len(self.grads) == 1 else self.hesses
        return (value, grads) if self.want & 1 else grads


def elementwise(
    int want, str loss, pred, target, tuple parameters, dict common, *,
    str kernel=None, str name="pred", str target_name="target", str pred_domain=None, str domain=None,
    tuple along_last_axis=None, tuple second=None, bint same_shape=False, bint light=False
):
    """Run an elementwise loss of `pred` and `target`, which have the same shape; or a penalty, whose `target` is None.

    `kernel` is the name in the driver's list, if not that of the loss. `name` and `target_name` are those of `pred` and
    `target`; `pred_domain` and `domain` say what elements of these may be: see DOMAINS in _checks.py. A third operand
    is either `along_last_axis`, a weight or one for each index of the last axis: its name and what the caller gave. Or
    it is `second`, an input with a gradient of its own, whose shape is that of `pred`, or unless `same_shape` of its
    leading axes: its name, what the caller gave, and its domain. `light` says that the loss is a few operations an
    element, no exponential or division. `common` are the arguments of every loss: see Loss.
    """
    p = floating(pred, name)
    t = u = third_name = third_domain = given = None
    cdef tuple shape = p.shape, likes = (p,)
    cdef Py_ssize_t third_inner = 1, size = cnp.PyArray_SIZE(p)
    if target is not None:
        t = real(target, target_name, p.dtype)
        if not cnp.PyArray_SAMESHAPE(t, p):
            raise ValueError(f"{target_name} must have the shape of {name}, {shape}, not {t.shape}")
    if along_last_axis is not None:
        third_name, given = along_last_axis
        u = _checks.weights_along_last_axis(given, third_name, p)
    elif second is not None:
        third_name, given, third_domain = second
        u = real(given, third_name, p.dtype)
        if u.shape != (shape if same_shape else shape[:u.ndim]):
            or_leading = "" if same_shape else " or of leading axes of it,"
            raise ValueError(f"{third_name} must have the shape of {name}, {shape},{or_leading} not {u.shape}")
        for length in shape[u.ndim:]:
            third_inner *= length
        likes = (p, u if u.dtype == p.dtype else np.broadcast_to(p.dtype.type(0), u.shape))
    # A penalty is light too; but with one array to read a second thread pays early, and NumPy's dot product uses it.
    cdef Call call = Call(
        loss, want, shape, size // LIGHT if light else size, common, "sum" if target is None else "mean"
    )
    call.allocate(likes, () if call.out is None else (
        (name, pred, p, True), (target_name, target, t, True), (third_name, given, u, True)
    ))
    call.divide_by(call.sum_of_weights())
    derivatives = (call.grads[0], call.hesses[0], None, None)
    if second is not None:
        derivatives = (call.grads[0], call.hesses[0], call.grads[1], call.hesses[1])
        if size == 0 and want != 1:  # sums over nothing
            call.grads[1][...] = 0
            if want & 4:
                call.hesses[1][...] = 0
    driver = kernels.elementwise
    place = driver.LOSSES[loss if kernel is None else kernel]
    domains = (pred_domain, domain, third_domain)
    for check_only in [True, False] if call.in_place and domains != (None, None, None) else [False]:
        total = driver.run(
            place, (p, t, u), third_inner, call.weight, call.weight_inner, parameters, domains, check_only,
            call.scale, call.sums, call.values, derivatives, cnp.PyArray_NBYTES(p) >= STREAM, call.threads
        )
        if total is None:
            _checks.raise_outside(zip((name, target_name, third_name), (p, t, u), domains), p.dtype, call.weight)
    return call.result(total)


cdef tuple class_target(target, cnp.ndarray pred, tuple batch, ignore_index, bint only_labels=False):
    """The target, class indices in the shape of the batch or probabilities in that of pred; and ignore_index."""
    t = real(target, "target", FLOAT64)
    if t.shape == batch and t.size == 0:  # an empty list is float64
        t = np.zeros(batch, np.int64)
    cdef bint is_labels = t.shape == batch and t.dtype.kind in "iu"
    if not is_labels and (only_labels or not cnp.PyArray_SAMESHAPE(t, pred)):
        _checks.raise_not_for_classes(t, target, pred, batch, not only_labels)
    ignore_index = _checks.integer(ignore_index, "ignore_index")
    if ignore_index >= 0 and not is_labels:
        raise ValueError("ignore_index goes with class indices, and target holds probabilities")
    return t, ignore_index


def class_axis(
    int want, str loss, pred, target, tuple parameters, dict common, *,
    axis=-1, class_weight=None, ignore_index=-100, label_smoothing=0.0, str family="softmax", str kernel=None,
    bint only_labels=False
):
    """Run a loss of `pred` with a class axis, and class indices or probabilities `target`.

    `family` names the driver, and `kernel` the loss in its list, if not `loss`; `only_labels` rules probabilities out.
    """
    p = floating(pred, "pred")
    axis, batch, shape = class_shape(p, axis)
    if shape[1] == 0:
        raise ValueError(f"pred must have at least one class, and has shape {p.shape}")
    given, ignore_index = class_target(target, p, batch, ignore_index, only_labels)
    cdef bint is_labels = given.shape == batch
    t = given if is_labels else _checks.contiguous(given, p.dtype)
    w = None if class_weight is None else _checks.class_weights(class_weight, shape[1], p.dtype)
    smoothing = number(label_smoothing, "label_smoothing", 0, 1)

    cdef Call call = Call(loss, want, batch, cnp.PyArray_SIZE(p), common)
    call.allocate((p,), () if call.out is None else (
        ("pred", pred, p, True), ("target", target, t, False), ("class_weight", class_weight, w, False)
    ))
    call.divide_by(call.sum_of_weights())
    driver = getattr(kernels, family)
    place = driver.LOSSES[loss if kernel is None else kernel]
    # First only check the target and sum the weights that it brings: labels are checked before anything is written.
    for measure in [True, False] if is_labels or w is not None or call.in_place else [False]:
        total = driver.run(
            place, p, t, is_labels, shape, call.weight, call.weight_inner, w, ignore_index, smoothing,
            parameters, measure, call.scale, call.sums, call.values, call.grads[0], call.hesses[0], call.threads
        )
        if total is None:
            _checks.raise_class_target(given, is_labels, axis, shape[1], ignore_index, call.weight)
        if measure and (is_labels or w is not None):
            call.divide_by(total)
    return call.result(total)


def summed(
    int want, str loss, pred, target, tuple parameters, dict common, *,
    axis=-1, class_weight=None, ignore_index=None, label_smoothing=None, str kernel=None,
    tuple names=("pred", "target"), tuple domains=(None, None), bint pair=False, bint mean=False, bint light=False
):
    """Run a loss that is the sum, or with `mean` the mean, of its terms along the class axis.

    `target` has the shape of `pred`; where the loss takes ignore_index, it may be class indices too. `kernel` is the
    name in the driver's list, if not that of the loss. `names` are those of `pred` and `target`, and `domains` say what
    elements of these may be: see DOMAINS in _checks.py. `pair` says that the loss has a gradient by both. With a
    label_smoothing, which is checked already, the loss gets the factor and the summand of a smoothed target as further
    parameters, and with `mean` one over the number of classes. `light` is as for `elementwise`.
    """
    p = floating(pred, names[0])
    an_axis, one = ("a class axis", "class") if names[0] == "pred" else ("an axis", "element along it")
    axis, batch, shape = class_shape(p, axis, f"{names[0]} must have {an_axis}")
    if shape[1] == 0:
        raise ValueError(f"{names[0]} must have at least one {one}, and has shape {p.shape}")
    cdef bint is_labels = False, by_target = False, one_class
    if ignore_index is not None:
        t, ignore_index = class_target(target, p, batch, ignore_index)
        is_labels = t.shape == batch
        by_target = is_labels or class_weight is not None
    else:
        t = real(target, names[1], p.dtype)
        if not cnp.PyArray_SAMESHAPE(t, p):
            raise ValueError(f"{names[1]} must have the shape of {names[0]}, {p.shape}, not {t.shape}")
    w = None if class_weight is None else _checks.class_weights(class_weight, shape[1], FLOAT64)
    one_class = is_labels
    if label_smoothing is not None:
        parameters += (1 - label_smoothing, label_smoothing / shape[1])
        one_class = is_labels and label_smoothing == 0
    if mean:
        parameters += (1 / <double> shape[1],)

    cdef Py_ssize_t elements = cnp.PyArray_SIZE(p)
    if one_class and want == VALUE:
        elements //= shape[1]
    elif light or one_class:
        elements //= LIGHT
    cdef Call call = Call(loss, want, batch, elements, common)
    likes = (p, t if t.dtype == p.dtype else np.broadcast_to(p.dtype.type(0), t.shape)) if pair else (p,)
    call.allocate(likes, () if call.out is None else (
        (names[0], pred, p, True), (names[1], target, t, not is_labels), ("class_weight", class_weight, w, False)
    ))
    cdef double weights = call.sum_of_weights()
    call.divide_by(weights if w is None or by_target else weights * w.mean())
    derivatives = (call.grads[0], call.hesses[0], None, None)
    if pair:
        derivatives = (call.grads[0], call.hesses[0], call.grads[1], call.hesses[1])
    driver = kernels.summed
    place = driver.LOSSES[loss if kernel is None else kernel]
    # What is written over, or divided by, must be known to be right before anything is written.
    stages = [RUN]
    if want != VALUE and (by_target or call.in_place):
        stages = [CHECK if call.in_place else MEASURE, RUN]
    for stage in stages:
        sums = driver.run(
            place, p, t, is_labels, one_class, shape, call.weight, call.weight_inner, w,
            -1 if ignore_index is None else ignore_index, parameters, domains, stage, call.scale, call.sums,
            call.values, derivatives, cnp.PyArray_NBYTES(p) >= STREAM, call.threads
        )
        if sums is None:
            _checks.raise_term(
                names, p, t, domains, axis, call.weight, w, ignore_index, is_labels, one_class
            )
        total, mass = sums
        if by_target:
            call.divide_by(mass)
    return call.result(total)


def rows(
    int want, str loss, tuple names, tuple given, tuple parameters, dict common, *,
    str kernel=None, double p=2, double eps=0, str label_name=None, label=None, str domain=None, int differentiable=3
):
    """Run a loss of vectors, which lie along the last axis: one loss for each row of them.

    `given` are two or three arrays of vectors, `names` theirs; the gradient is by the first of them, as many as are
    `differentiable`. `kernel` is the name in the driver's list, if not that of the loss. Distances are p-norms of
    differences, with `eps` added to each. A `label` has the shape of the loss; its `domain` says what it may be: see
    DOMAINS in _checks.py.
    """
    first = floating(given[0], names[0])
    cdef tuple shape = first.shape, vectors = (first,), likes = (first,)
    cdef Py_ssize_t axis = len(shape) - 1
    if axis < 0:
        raise ValueError(f"{names[0]} must hold vectors along its last axis, and is 0-dimensional")
    if shape[axis] == 0:
        raise ValueError(f"{names[0]} must hold vectors of at least one element, and has shape {shape}")
    for name, x in zip(names[1:], given[1:]):
        t = real(x, name, first.dtype)
        if not cnp.PyArray_SAMESHAPE(t, first):
            raise ValueError(f"{name} must have the shape of {names[0]}, {shape}, not {t.shape}")
        vectors += (t,)
        if len(likes) < differentiable:
            likes += (first,)
    cdef tuple batch = shape[:axis]
    y = None
    if label_name is not None:
        y = real(label, label_name, FLOAT64)
        if y.shape != batch:
            raise ValueError(
                f"{label_name} must have the shape of {names[0]} without the last axis, {batch}, not {y.shape}"
            )
    cdef Call call = Call(loss, want, batch, cnp.PyArray_SIZE(first), common)
    inputs = []
    if call.out is not None:
        inputs = [(name, x, used, True) for name, x, used in zip(names, given, vectors)]
        inputs.append((label_name, label, y, False))
    call.allocate(likes, tuple(inputs))
    call.divide_by(call.sum_of_weights())
    driver = kernels.rows
    place = driver.LOSSES[loss if kernel is None else kernel]
    for check_only in [True, False] if call.in_place and y is not None else [False]:
        total = driver.run(
            place, vectors, y, domain, p, eps, call.weight, call.weight_inner, parameters, check_only, call.scale,
            call.sums, call.values, call.grads, call.threads
        )
        if total is None:
            _checks.raise_outside([(label_name, y, domain)], FLOAT64, call.weight)
    return call.result(total)


def pairs(
    int want, str loss, tuple inputs, run, dict common, *, tuple numbers=(), labels=None, counts=None
):
    """Run a loss of a batch of vectors against a batch; each of `inputs` is a name and what the caller gave.

    `run` is the function of _pairs.py, which gets the arrays, the `numbers` (scalars with a gradient of their own), the
    ranges of positives by `labels`, weights times the scale of the gradient, and arrays for the gradients, none for the
    value alone. It gives the losses and the derivatives by the numbers. `counts` tells from the ranges of
    positives which samples have a loss.
    """
    name, given = inputs[0]
    first = floating(given, name)
    if first.ndim != 2:
        raise ValueError(f"{name} must have shape (N, D), vectors as rows, not {first.shape}")
    if first.shape[1] == 0:
        raise ValueError(f"{name} must hold vectors of at least one element, and has shape {first.shape}")
    arrays, values, likes, checked = [], [], [], []
    for other, given in inputs:
        x = first if other == name else real(given, other, first.dtype)
        if x.shape != first.shape:
            raise ValueError(f"{other} must have the shape of {name}, {first.shape}, not {x.shape}")
        arrays.append(x if x is first else floating_as(x, first.dtype))
        likes.append(first)
        checked.append((other, given, x, True))
    for other, given in numbers:
        if type(given) is not float:
            x = real(given, other, FLOAT64)
            if x.ndim:
                raise ValueError(f"{other} must be a number, not an array of shape {x.shape}")
            given = float(x)
        values.append(number(given, other))
        likes.append(np.zeros((), first.dtype))
    n = len(first)
    if labels is not None:
        given, labels = labels, _checks.class_labels(labels, "labels", n)
        checked.append(("labels", given, labels, True))

    cdef Call call = Call(loss, want, (n,), n, common)
    call.allocate(tuple(likes), tuple(checked))
    call.sum_of_weights()  # for its checks
    rows, positives = _pairs.arrange(call.weight, labels, n)
    if rows is not None:
        arrays = [x[rows] for x in arrays]
    elif call.in_place:
        arrays = [x.copy() for x in arrays]
    weight = np.ones(n) if call.weight is None else call.weight.astype(float)
    if rows is not None:
        weight = weight[rows]
    if counts is not None:
        weight *= counts(positives)

    grads = call.grads if want != VALUE else ()
    slopes = grads[:len(arrays)]
    if rows is not None:
        slopes = tuple([np.empty_like(x) for x in arrays[:len(slopes)]])
    losses, by_numbers, total = 0.0, (), 0.0
    with np.errstate(all="ignore"):
        weights = np.add.reduce(weight)
        call.divide_by(weights)
        if weights > 0:
            losses, by_numbers = run(tuple(arrays), tuple(values), positives, weight * call.scale, slopes)
            if call.weight is not None or counts is not None:
                losses = np.where(weight == 0, 0, weight * losses)
            total = np.add.reduce(losses)
        if rows is not None or weights == 0:
            for grad in grads:
                grad[...] = 0
        if rows is not None and weights > 0:
            for grad, slope in zip(grads, slopes):
                grad[rows] = slope
        for grad, slope in zip(grads[len(arrays):], by_numbers):
            grad[...] = slope
    if call.values is not None:
        call.values[...] = 0
        call.values[slice(None) if rows is None else rows] = losses
    return call.result(total)


cdef cnp.ndarray result_for(out, str name, cnp.ndarray x):
    """Where a function of one array x writes its result: a new array, or `out`, which may be x itself."""
    if out is None:
        return empty_like(x)
    y = output(out, "out", x)
    if overlap(y, x) == PARTLY:
        raise ValueError(f"out overlaps {name}")
    return y


def max_norm(w, limit, axis, out):
    """Scale the vectors along `axis` whose norm exceeds the limit."""
    x = floating(w, "w")
    limit = number(limit, "limit", 0)
    shape = around(x, _checks.axis(axis, x.ndim, "w must have an axis"))
    y = result_for(out, "w", x)
    kernels.regularization.max_norm(x, y, shape, limit, 0 if x.size < SERIAL else get_num_threads())
    return y


def dropout(x, rate, seed, out):
    """Inverted dropout: the result and the mask of what was kept."""
    a = floating(x, "x")
    rate = number(rate, "rate", 0, 1)
    seed = _checks.seed(seed)
    y = result_for(out, "x", a)
    mask = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a), cnp.NPY_BOOL, 0)
    kernels.regularization.dropout(
        a, y, mask, seed, round(rate * 2.0**32), 1 - rate, 0 if a.size < SERIAL else get_num_threads()
    )
    return y, mask
