"""The Loss object, and the two ways from a loss's arguments into its kernel: `elementwise` and `class_axis`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypedDict

from numpy.typing import ArrayLike, NDArray

from fastloss import _checks
from fastloss._cpu import kernels
from fastloss.kernels.call import GRAD, HESS, VALUE, Call, class_shape, floating, number, real, same_shape

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

    __name__: str

    def __init__(self, function: Callable[Concatenate[int, P], Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        signature = inspect.signature(function)
        _, *own = signature.parameters.values()  # the first says what is wanted: the methods fill it in
        common = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=v) for k, v in COMMON.items()]
        self.__signature__ = signature.replace(parameters=[*own[:-1], *common])  # in place of **common
        # For help(), which shows of an object no more than its docstring. NumPy's ufuncs do the same.
        plain = [p.replace(annotation=p.empty) for p in self.__signature__.parameters.values()]
        self._usage = f"{self.__name__}{inspect.Signature(plain)}"
        self.__doc__ = f"{self._usage}\n\n{inspect.cleandoc(function.__doc__ or '')}"

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
        return f"<loss {self._usage}>"

    def __reduce__(self) -> str:
        return self.__name__


# ---------------------------------------------------------------------------------------------------------------------
# The way from the arguments of a loss into its kernel. `common` are the arguments of every loss: see Loss.


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
    p = floating(pred, "pred")
    t = real(target, "target", p.dtype)
    same_shape(t, "target", p, "pred")
    call = Call(want, p.shape, p.size, **common)
    call.allocate(
        p, third if third_differentiable else p if want & HESS else None,
        ("pred", pred, p, True), ("target", target, t, True), ("the third operand", third, third, False),
    )  # fmt: skip
    call.divide_by(call.sum_of_weights())
    by_third, hess = (None, call.second) if want & HESS else (call.second, None)
    kernel = kernels.elementwise
    total = 0.0
    for check_only in (True, False) if call.in_place and domain else (False,):
        total = kernel.run(
            kernel.LOSSES[loss], p, t, third, third_inner, call.weight, call.weight_inner, parameters,
            kernel.DOMAINS[domain], check_only, call.scale, call.sums, call.values, call.grad, by_third, hess, call.threads,
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
    p = floating(pred, "pred")
    axis, batch, shape = class_shape(p, axis)
    if shape[1] == 0:
        raise ValueError(f"pred must have at least one class, and has shape {p.shape}")
    t = real(target, "target", p.dtype)
    is_labels = t.shape == batch and t.dtype.kind in "iu"
    if not is_labels:
        t = _checks.probabilities(t, p, batch)
    ignore_index = _checks.integer(ignore_index, "ignore_index")
    if ignore_index >= 0 and not is_labels:
        raise ValueError("ignore_index goes with class indices, and target holds probabilities")
    w = None if class_weight is None else _checks.class_weights(class_weight, shape[1], p.dtype)
    smoothing = number(label_smoothing, "label_smoothing", 0, 1)

    call = Call(want, batch, p.size, **common)
    call.allocate(
        p, p if want & HESS else None,
        ("pred", pred, p, True), ("target", target, t, False), ("class_weight", class_weight, w, False),
    )  # fmt: skip
    call.divide_by(call.sum_of_weights())
    kernel = kernels.softmax
    total = 0.0
    # First only check the target and sum the weights that it brings: labels are checked before anything is written.
    for measure in (True, False) if is_labels or w is not None or call.in_place else (False,):
        total = kernel.run(
            kernel.LOSSES[loss], p, t, is_labels, shape, call.weight, call.weight_inner, w, ignore_index, smoothing,
            parameters, measure, call.scale, call.sums, call.values, call.grad, call.second, call.threads,
        )  # fmt: skip
        if total is None:
            _checks.raise_class_target(t, is_labels, axis, shape[1], ignore_index, call.weight)
        if measure:
            call.divide_by(total)
    return call.result(total)
