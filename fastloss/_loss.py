"""The Loss object, and the arguments that every loss takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypedDict

from numpy.typing import ArrayLike, NDArray

from fastloss.kernels.call import GRAD, HESS, VALUE

if TYPE_CHECKING:
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
