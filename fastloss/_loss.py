"""The Loss object, and the arguments that every loss takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypedDict

from numpy.typing import ArrayLike, NDArray

from fastloss.kernels.call import COMMON, GRAD, HESS, VALUE

if TYPE_CHECKING:
    Out = NDArray[Any] | tuple[NDArray[Any], ...] | None

    class Common(TypedDict, total=False):
        """The keyword arguments of every loss."""

        sample_weight: ArrayLike | None
        reduction: Literal["mean", "sum", "none"]
        normalizer: float | None
        out: Out


P = ParamSpec("P")

METHODS = """\
A loss is called for its value; ``.grad``, ``.value_and_grad`` and ``.grad_and_hess`` take the same arguments for the
gradient, for both in one pass, and for the gradient and the diagonal of the Hessian."""

METHODS_WITHOUT_HESSIAN = """\
A loss is called for its value; ``.grad`` and ``.value_and_grad`` take the same arguments for the gradient, and for both
in one pass. There is no ``.grad_and_hess``: the Hessian is far from diagonal."""

ARGUMENTS = """\
`sample_weight`, `reduction`, `normalizer` and `out` mean the same for every loss: see `fastloss.Loss`. The first input
fixes the dtype of the result; the others may have any real dtype, bool and integers too. TypeError for an input of a
wrong dtype or a parameter of a wrong type, ValueError for shapes that do not match and for a value out of its domain,
named with its position."""


class Method(functools.partial):  # type: ignore[type-arg]
    """A method of a loss: faster to call than a bound method that has to pass its arguments on."""

    def __reduce__(self) -> Any:
        return getattr, (vars(self)["__self__"], vars(self)["__name__"])


class Loss(Generic[P]):
    """A loss function: call it for its value, or call one of its methods for derivatives as well.

    Every loss takes these keyword arguments, besides its own:

    Parameters
    ----------
    sample_weight : array_like, optional
        Weights >= 0. Their shape is the leading axes of the unreduced loss: ``(N,)`` or ``(N, D)`` for a loss of shape
        ``(N, D)``. An element of weight 0 counts as not there: a NaN or inf in it reaches neither value nor gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        ``"mean"`` is sum(w l) / sum(w), where w is the product of sample, class and mask weights. ``"none"`` gives the
        array of the weighted losses. Where nothing is left to average, the value is 0.0 and the gradient 0. The default
        of `l1`, `l2` and `elastic_net` is ``"sum"``.
    normalizer : float, optional
        A positive number that replaces sum(w) under ``"mean"``: for gradient accumulation, or ranks in parallel.
    out : ndarray or tuple of ndarray, optional
        Where the derivatives go, for the methods: C-contiguous, of their shape and dtype, and as the method returns
        them: an array, or the tuple (gradient, second derivative). It may be the input itself.

    Notes
    -----
    The value is a float, or with ``reduction="none"`` an array. Derivatives are those of the returned value, and have
    the shape and dtype of the input: float32 or float64. A loss with several differentiable inputs gives a tuple for
    each of gradient and Hessian, and takes one as `out`. Sums are accumulated in double precision. The same input gives
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
    #: The gradient by the differentiable input; a tuple of gradients if there are several.
    grad: Callable[P, Any]
    #: The value and the gradient, in one pass.
    value_and_grad: Callable[P, tuple[Any, Any]]
    #: The gradient and the diagonal of the Hessian, in one pass; `out` is a tuple of both. Losses of
    #: whole vectors, whose Hessian is far from diagonal, have no such method.
    grad_and_hess: Callable[P, tuple[Any, Any]]

    def __init__(
        self, function: Callable[Concatenate[int, P], Any], *, reduction: str = "mean", hessian: bool = True
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        # The first parameter says what is wanted; the last is **common, and stands for the arguments of every loss.
        signature = inspect.signature(function)
        own = list(signature.parameters.values())[1:-1]
        defaults = COMMON | {"reduction": reduction}
        common = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=v) for k, v in defaults.items()]
        self.__signature__ = signature.replace(parameters=[*own, *common])
        # As in NumPy's ufuncs, the usage is part of the docstring: help() shows no more than that of an object.
        self._usage = str(inspect.Signature([p.replace(annotation=p.empty) for p in [*own, *common]]))
        about = f"{METHODS if hessian else METHODS_WITHOUT_HESSIAN}\n{ARGUMENTS}"
        self.__doc__ = f"{self.__name__}{self._usage}\n\n{inspect.cleandoc(function.__doc__ or '')}\n\n{about}"
        methods = {"grad": GRAD, "value_and_grad": VALUE | GRAD} | ({"grad_and_hess": GRAD | HESS} if hessian else {})
        for name, want in methods.items():
            method = Method(function, want)
            usage = f"{self.__name__}.{name}{self._usage}"
            vars(method).update(
                __self__=self, __name__=name, __signature__=self.__signature__, __doc__=f"{usage}\n\n{about}"
            )
            setattr(self, name, method)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The value: a float, or an array under ``reduction="none"``."""
        return self._function(VALUE, *args, **kwargs)

    if not TYPE_CHECKING:  # which would take it that a loss has attributes of every name

        def __getattr__(self, name: str) -> Any:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name == "grad_and_hess":
                message = f"{self.__name__} has no grad_and_hess: its Hessian is far from diagonal"
            raise AttributeError(message, name=name, obj=self)

    def __repr__(self) -> str:
        return f"<loss {self.__name__}{self._usage}>"

    def __reduce__(self) -> str:
        return self.__name__
