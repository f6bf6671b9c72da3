"""The Loss object, and the two ways from a loss's arguments into its kernel: `elementwise` and `class_axis`."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, NamedTuple, ParamSpec, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss import _checks
from fastloss._cpu import get_num_threads, kernels
from fastloss.kernels.memory import APART, PARTLY, SAME, overlap

if TYPE_CHECKING:
    from typing_extensions import Unpack

    Out = NDArray[Any] | tuple[NDArray[Any], ...] | None

    class Common(TypedDict, total=False):
        """The keyword arguments of every loss."""

        sample_weight: ArrayLike | None
        reduction: Literal["mean", "sum", "none"]
        normalizer: float | None
        out: Out


COMMON = {"sample_weight": None, "reduction": "mean", "normalizer": None, "out": None}

P = ParamSpec("P")

#: What a call wants: any sum of these.
VALUE, GRAD, HESS = 1, 2, 4

#: An input of fewer elements runs on the calling thread: waking others would cost more than they save.
SERIAL = 32768


class Loss(Generic[P]):
    """A loss function: call it for its value, or call one of its methods for derivatives as well.

    Every loss takes these keyword arguments, besides its own:

    Parameters
    ----------
    sample_weight : array_like, optional
        Weights >= 0. Their shape is the leading axes of the unreduced loss: ``(N,)`` or ``(N, D)`` for a loss of shape
        ``(N, D)``. An element of weight 0 counts as not there: a NaN or inf in it reaches neither value nor gradient.
    reduction : {"mean", "sum", "none"}
        ``"mean"`` is sum(w l) / sum(w), where w is the product of sample, class and mask weights. ``"none"`` gives the
        array of the weighted losses. Where nothing is left to average, the value is 0.0 and the gradient 0.
    normalizer : float, optional
        A positive number that replaces sum(w) under ``"mean"``: for gradient accumulation, or ranks in parallel.
    out : ndarray or tuple of ndarray, optional
        Where the derivatives go, for the methods: C-contiguous, of their shape and dtype. It may be the input itself.

    Notes
    -----
    The value is a float, or with ``reduction="none"`` an array. Derivatives are those of the returned value, and have
    the shape and dtype of the input: float32 or float64. Sums are accumulated in double precision. The same input gives
    the same bits for any number of threads.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred, target = np.array([0.0, 3.0]), np.array([0.5, 1.0])
    >>> fl.huber(pred, target)
    0.8125
    >>> fl.huber.grad(pred, target)
    array([-0.25,  0.5 ])
    >>> value, grad = fl.huber.value_and_grad(pred, target, sample_weight=[1.0, 0.0], out=pred)
    >>> value, grad is pred
    (0.125, True)
    """

    def __init__(self, function: Callable[Concatenate[int, P], Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        signature = inspect.signature(function)
        _, *own = signature.parameters.values()  # the first says what is wanted: the methods fill it in
        common = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=v) for k, v in COMMON.items()]
        self.__signature__ = signature.replace(parameters=[*own[:-1], *common])  # in place of **common

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The value: a float, or an array under ``reduction="none"``."""
        return self._function(VALUE, *args, **kwargs)

    def grad(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The gradient by the differentiable input; a tuple of gradients if there are several."""
        return self._function(GRAD, *args, **kwargs)

    def value_and_grad(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """The value and the gradient, in one pass."""
        result: tuple[Any, Any] = self._function(VALUE | GRAD, *args, **kwargs)
        return result

    def grad_and_hess(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """The gradient and the diagonal of the Hessian, in one pass. `out` is a tuple of both."""
        result: tuple[Any, Any] = self._function(GRAD | HESS, *args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"<loss {self.__module__}.{self.__name__}{self.__signature__}>"

    def __reduce__(self) -> str:
        return self.__name__


def elementwise(
    want: int,
    kernel: str,
    pred: ArrayLike,
    target: ArrayLike,
    parameters: tuple[float, ...] = (),
    *,
    domain: str | None = None,
    third: NDArray[Any] | None = None,
    third_inner: int = 1,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
    normalizer: float | None = None,
    out: Out = None,
    **unexpected: object,
) -> Any:
    """Run an elementwise loss of `pred` and `target`, which have the same shape.

    `domain` says what a target may be: None (anything), "unit interval" or "sign". `third` is a further operand of which
    each element stands for `third_inner` consecutive elements of the loss, wrapping around at its end.
    """
    module = kernels.elementwise
    p = _checks.floating(pred, "pred")
    t = _checks.real(target, "target", p.dtype)
    shape = p.shape
    if t.shape != shape:
        _checks.same_shape(t, "target", shape, "pred")
    size = p.size
    threads = 0 if size < SERIAL else get_num_threads()

    weight, inner, total = None, 1, float(size)
    if sample_weight is not None:
        weight = _checks.leading_weights(sample_weight, shape)
        inner = size // weight.size if weight.size else 1
        total = total_weight(weight, threads) * inner

    scale, divisor = settle(want, reduction, normalizer, out, unexpected, total)
    value = np.empty(shape, p.dtype) if want & VALUE and reduction == "none" else None
    inputs = ((pred, p), (target, t), (sample_weight, weight), (third, third))
    grads, in_place = outputs(want, out, (p, p) if want & HESS else (p,), inputs)
    grad = grads[0] if grads else None
    hess = grads[1] if want & HESS else None

    sum_values = want & VALUE and value is None
    code = module.DOMAINS[domain]
    loss = module.LOSSES[kernel]
    result = 0.0
    for check_only in (True, False) if in_place and code else (False,):
        result = module.run(
            loss, p, t, third, third_inner, weight, inner, parameters, code, check_only, scale, sum_values, value,
            grad, None, hess, threads,
        )  # fmt: skip
        if result is None:
            raise_outside(t, weight, domain)
    return assemble(want, value, result, divisor, grads)


# ---------------------------------------------------------------------------------------------------------------------
# The way from the arguments of a loss into its kernel.


class Input(NamedTuple):
    """An array that a kernel reads."""

    name: str
    given: object  # by the caller
    used: NDArray[Any] | None  # `given` itself, or a copy of it that the kernel can use
    may_be_out: bool = False  # whether the kernel can write its result over it


class Call:
    """One call of a loss: the arguments that every loss takes, and what becomes of them."""

    def __init__(
        self,
        want: int,
        shape: tuple[int, ...],
        elements: int,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        normalizer: float | None = None,
        out: Out = None,
        **unexpected: object,
    ) -> None:
        """`shape` is that of the unreduced loss; `elements` tells how much work it is."""
        if unexpected:
            raise TypeError(f"got an unexpected keyword argument {next(iter(unexpected))!r}")
        if reduction != "mean":
            if reduction not in ("sum", "none"):
                raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
            if normalizer is not None:
                raise ValueError(f"normalizer goes with reduction='mean', not {reduction!r}")
        if normalizer is not None:
            normalizer = _checks.number(normalizer, "normalizer", 0, above=True)
        if out is not None and want == VALUE:
            raise TypeError("out goes with grad, value_and_grad and grad_and_hess: a value needs no array")
        self.want = want
        self.shape = shape
        self.reduction = reduction
        self.normalizer = normalizer
        self.out = out
        self.threads = 0 if elements < SERIAL else get_num_threads()
        self.weight = None
        self.weight_inner = 1
        self.sum_of_weights = float(math.prod(shape))
        if sample_weight is not None:
            self.weight = _checks.leading_weights(sample_weight, shape)
            self.weight_inner = math.prod(shape[self.weight.ndim :])
            total: float = kernels.elementwise.sum_weights(self.weight, self.threads)
            if total != total:
                _checks.raise_first(self.weight, ~(self.weight >= 0), "sample_weight", "a weight >= 0")
            self.sum_of_weights = total * self.weight_inner

    def allocate(self, like: list[NDArray[Any]], inputs: list[Input]) -> None:
        """Arrays for the results: `values` under reduction "none", and `derivatives`, with the form of `like`."""
        self.sums = bool(self.want & VALUE) and self.reduction != "none"
        self.values = None
        if self.want & VALUE and not self.sums:
            self.values = np.empty(self.shape, like[0].dtype)
        self.in_place = False
        if self.want == VALUE:
            self.derivatives = []
        elif self.out is None:
            self.derivatives = [np.empty(x.shape, x.dtype) for x in like]
        else:
            self.derivatives = self._given_arrays(like, inputs)

    def _given_arrays(self, like: list[NDArray[Any]], inputs: list[Input]) -> list[NDArray[Any]]:
        several = len(like) > 1
        if several and not (isinstance(self.out, tuple) and len(self.out) == len(like)):
            raise TypeError(f"out must be a tuple of {len(like)} arrays")
        arrays: list[NDArray[Any]] = []
        for k, given in enumerate(self.out if isinstance(self.out, tuple) and several else (self.out,)):
            name = f"out[{k}]" if several else "out"
            array = _checks.output(given, name, like[k])
            if any(overlap(array, other) != APART for other in arrays):
                raise ValueError(f"{name} overlaps out[0]")
            for x in inputs:
                if x.used is None:
                    continue
                how = overlap(array, x.used)
                if how == PARTLY or how == SAME and not x.may_be_out:
                    raise ValueError(f"{name} overlaps {x.name}")
                # Over a copy nothing is lost by writing, but an error must leave the original as it was.
                copied = x.used is not x.given and isinstance(x.given, np.ndarray)
                if how == SAME or copied and np.may_share_memory(array, x.given):
                    self.in_place = True
            arrays.append(array)
        return arrays

    def divide_by(self, weights: float) -> None:
        """Settle `divisor` and `scale` of the results, from the sum of all weights."""
        self.divisor = 1.0 if self.reduction != "mean" else self.normalizer or weights
        self.scale = 1 / self.divisor if self.divisor else 0.0  # 0: nothing is left to average

    def derivative(self, k: int) -> NDArray[Any] | None:
        return self.derivatives[k] if k < len(self.derivatives) else None

    def result(self, total: float) -> Any:
        """What the caller gets, from the weighted sum of the losses."""
        value: Any = self.values
        if self.sums:
            value = total / self.divisor if self.divisor else 0.0
        if self.want == VALUE:
            return value
        derivatives = self.derivatives[0] if len(self.derivatives) == 1 else tuple(self.derivatives)
        return (value, derivatives) if self.want & VALUE else derivatives


def elementwise(
    want: int,
    loss: str,
    pred: ArrayLike,
    target: ArrayLike,
    parameters: tuple[float, ...] = (),
    *,
    domain: Literal["unit interval", "sign"] | None = None,
    third: NDArray[Any] | None = None,
    third_inner: int = 1,
    third_differentiable: bool = False,
    **common: Any,
) -> Any:
    """Run an elementwise loss of `pred` and `target`, which have the same shape.

    `domain` says what a target may be; None: any number. `third` is a further operand, C-contiguous, of which each
    element stands for `third_inner` consecutive elements of the loss, beginning anew at its end. Where the loss has a
    gradient by it, it has the shape and dtype of `pred`.
    """
    p = _checks.floating(pred, "pred")
    t = _checks.real(target, "target", p.dtype)
    if t.shape != p.shape:
        raise ValueError(f"target must have the shape of pred, {p.shape}, not {t.shape}")
    call = Call(want, p.shape, p.size, **common)
    second = third if third_differentiable else p if want & HESS else None
    inputs = [Input("pred", pred, p, True), Input("target", target, t, True), Input("the third operand", third, third)]
    inputs.append(Input("sample_weight", common.get("sample_weight"), call.weight))
    call.allocate([p] if second is None else [p, second], inputs)
    call.divide_by(call.sum_of_weights)
    by_third, hess = (None, call.derivative(1)) if want & HESS else (call.derivative(1), None)
    kernel = kernels.elementwise
    total = 0.0
    for check_only in (True, False) if call.in_place and domain else (False,):
        total = kernel.run(
            kernel.LOSSES[loss], p, t, third, third_inner, call.weight, call.weight_inner, parameters,
            kernel.DOMAINS[domain], check_only, call.scale, call.sums, call.values, call.derivative(0), by_third, hess,
            call.threads,
        )  # fmt: skip
        if total is None:
            _checks.raise_outside(t, domain, call.weight)
    return call.result(total)


def class_axis(
    want: int,
    loss: str,
    pred: ArrayLike,
    target: ArrayLike,
    parameters: tuple[float, ...] = (),
    *,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    **common: Any,
) -> Any:
    """Run a softmax loss of logits `pred`, and class indices or probabilities `target`."""
    p = _checks.floating(pred, "pred")
    axis = _checks.axis(axis, p.ndim)
    before, classes, after = p.shape[:axis], p.shape[axis], p.shape[axis + 1 :]
    if classes == 0:
        raise ValueError(f"pred must have at least one class, and has shape {p.shape}")
    t, is_labels = _checks.class_target(target, p, before + after)
    ignore_index = _checks.integer(ignore_index, "ignore_index")
    if not -(2**63) <= ignore_index < 2**63:
        raise ValueError(f"ignore_index must fit 64 bits, not {ignore_index}")
    if ignore_index >= 0 and not is_labels:
        raise ValueError("ignore_index goes with class indices, and target holds probabilities")
    w = None if class_weight is None else _checks.class_weights(class_weight, classes, p.dtype)
    smoothing = _checks.number(label_smoothing, "label_smoothing", 0, 1)

    call = Call(want, before + after, p.size, **common)
    inputs = [Input("pred", pred, p, True), Input("target", target, t), Input("class_weight", class_weight, w)]
    inputs.append(Input("sample_weight", common.get("sample_weight"), call.weight))
    call.allocate([p, p] if want & HESS else [p], inputs)
    call.divide_by(call.sum_of_weights)
    kernel = kernels.softmax
    total = 0.0
    # First only check the target and sum the weights that it brings: labels are checked before anything is written.
    for measure in (True, False) if is_labels or w is not None or call.in_place else (False,):
        total = kernel.run(
            kernel.LOSSES[loss], p, t, is_labels, (math.prod(before), classes, math.prod(after)), call.weight,
            call.weight_inner, w, ignore_index, smoothing, parameters, measure, call.scale, call.sums, call.values,
            call.derivative(0), call.derivative(1), call.threads,
        )  # fmt: skip
        if total is None:
            _checks.raise_class_target(t, is_labels, axis, classes, ignore_index, call.weight)
        if measure:
            call.divide_by(total)
    return call.result(total)
