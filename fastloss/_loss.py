"""The Loss object: how a loss is called, and what its help says."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import BuiltinMethodType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypedDict, TypeVar

from fastloss._core.request.call import COMMON, OUTPUTS_OF
from fastloss._core.request.familiar import PARAMETERS
from fastloss._declaration import Declaration

P = ParamSpec("P")
T = TypeVar("T")
VALUE = OUTPUTS_OF["value"]

if TYPE_CHECKING:
    from typing import Generic, NoReturn

    from numpy.typing import ArrayLike, NDArray

    Out = NDArray[Any] | tuple[NDArray[Any], ...] | None

    class Common(TypedDict, total=False):
        """The keyword arguments of every loss."""

        sample_weight: ArrayLike | None
        reduction: Literal["mean", "sum", "none"]
        normalizer: float | None
        out: Out
else:
    Generic = {P: object}  # without this, help(Loss) lists the methods of typing.Generic

COMMON_PARAMETERS = """\
sample_weight : array_like, optional
    Weights >= 0, in the shape of the unreduced loss or of its leading axes. An axis of length 1 stands for the whole
    axis. An element with weight 0 is ignored, even if it is NaN.
reduction : {{"mean", "sum", "none"}}, default "{reduction}"
    "sum" adds the weighted losses. "mean" divides this sum by the sum of the weights. "none" returns each weighted
    loss.
normalizer : float, optional
    A number > 0 that replaces the sum of the weights under "mean".
out : ndarray or tuple of ndarray, optional
    Where a method writes the derivatives: an array, or a tuple of arrays, like what the method returns for them.
    It may be an input that has a gradient. See `fastloss.Loss`.

"""

RETURNS = """\
Returns
-------
float, or ndarray for reduction="none"
    The call returns the value. `value_and_grad(...)` returns (value, gradient). `grad(...)` returns the gradient.
    `normalizer(...)` returns the sum of the weights, a float.
    {gradient}
    {hessian}

Raises
------
TypeError
    If an input has a wrong dtype, or a parameter a wrong type.
ValueError
    If shapes do not match, or a value is outside its domain. The message names the argument. For a bad
    element it also names the position and the value.

"""


class Method(functools.partial):  # type: ignore[type-arg]
    """A method of a loss. It is faster to call than a bound method, which has to pass its arguments on."""

    def __reduce__(self) -> Any:
        return getattr, (vars(self)["__self__"], vars(self)["__name__"])

    def __repr__(self) -> str:
        return f"<method {vars(self)['__qualname__']}>"

    def __get__(self, instance: object, owner: type | None = None) -> Method:
        """Return the method itself: as an attribute of a class, it does not take the instance as an argument."""
        return self

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """What help() and documentation tools ask for. To them a partial is no routine, but a built-in method is."""
        return BuiltinMethodType


class MadeOnce(functools.cached_property[T]):
    """A method that a loss makes when it is first asked for. With a name, it is a routine to help()."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        super().__set_name__(owner, name)
        self.__name__ = name


class Loss(Generic[P]):
    """A loss function. Call it for its value, or call one of its methods for derivatives too.

    Every loss takes its own inputs and parameters, and these four keyword arguments.

    ``sample_weight=None``
        Weights >= 0, as an array. Its shape is that of the leading axes of the unreduced loss: ``(N,)`` or ``(N, D)``
        for a loss of shape ``(N, D)``. An axis of length 1 stands for the whole axis: ``(N, 1)``, ``(1, D)``. A single
        number and ``(D,)`` raise ValueError. An element with weight 0 is ignored: NaN or inf in it reaches neither
        value nor gradient, and its label may be anything.
    ``reduction="mean"``
        "none" is the array of the weighted losses, w loss, where w is the sample weight. "sum" is sum(w loss). "mean"
        divides this sum by sum(w) over all losses, or by their number if there are no weights. A weight that stands for
        several losses counts for each of them. Losses with `class_weight` multiply w by the weight of the target: see
        their Notes. If the weights add up to 0, the value is 0.0 and the
        gradient 0. Penalties on weights have the default "sum".
    ``normalizer=None``
        A number > 0 that replaces the sum of the weights under "mean". Use it when you compute a batch in parts: the
        method `normalizer` returns the sum of the weights of each part. If it is a count that can be 0, such as the
        number of positive labels, give ``max(count, 1)``.
    ``out=None``
        Where a method writes derivatives. For `grad` and `value_and_grad` it is an array, or a tuple of arrays if the
        loss has several gradients. For `grad_and_hess` it is the pair (gradient, Hessian), each of that form. Each
        array has the shape and the dtype of its derivative, and is C-contiguous. It may be an input that has a
        gradient, which the result then overwrites. Weights and class indices must not be overwritten. An array that
        shares only a part of its memory with an input, and two arrays of `out` that share memory, raise ValueError.

    Notes
    -----
    The value is a float, or an array for ``reduction="none"``. Derivatives are those of the returned value. They have
    the shape of their input and the dtype of the first input. A loss with several differentiable inputs returns a tuple
    of gradients. Sums are accumulated in double precision. The same input gives the same bits for any number of
    threads. In-batch losses and those of a linear layer use NumPy's matrix products, so their bits can depend on the
    number of BLAS threads.

    The first input may be float32, float64 or of half precision: float16, or bfloat16 of the package ml_dtypes. Half
    precision is computed in float32. The value is that of the same numbers in float32. Each derivative, and each loss
    of ``reduction="none"``, is the float32 result rounded once: its relative error is at most 2^-11 for float16 and
    2^-8 for bfloat16. float16 has no numbers below 6e-8, so small gradients of a mean over many elements become 0. Then
    take ``reduction="sum"`` and divide later, or a smaller `normalizer`. In-batch losses, losses of a linear layer,
    `dropout` and `max_norm` make a float32 copy of their inputs. The others convert tile by tile.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred, target = np.array([0.0, 3.0]), np.array([0.5, 1.0])
    >>> fl.huber(pred, target)
    0.8125
    >>> fl.huber.grad(pred, target)
    array([-0.25,  0.5 ])

    Compute a batch in parts. The normalizers of the parts add up to that of the whole batch:

    >>> parts = [(pred[:1], target[:1]), (pred[1:], target[1:])]
    >>> total = sum(fl.huber.normalizer(*part) for part in parts)
    >>> results = [fl.huber.value_and_grad(*part, normalizer=total) for part in parts]
    >>> sum(value for value, _ in results), [grad.tolist() for _, grad in results]
    (0.8125, [[-0.25], [0.5]])

    Half precision:

    >>> value, grad = fl.huber.value_and_grad(pred.astype(np.float16), target)
    >>> value, grad
    (0.8125, array([-0.25,  0.5 ], dtype=float16))

    Write the gradient over the input:

    >>> value, grad = fl.huber.value_and_grad(pred, target, sample_weight=[1.0, 0.0], out=pred)
    >>> value, grad is pred
    (0.125, True)
    """

    __name__: str
    #: What the loss is: its family, its inputs and their domains.
    declaration: Declaration
    __signature__: inspect.Signature
    _function: Callable[Concatenate[int, P], Any]

    def __init__(self, declaration: Declaration, function: Callable[Concatenate[int, P], Any]) -> None:
        """Make a loss. fastloss does this for every loss, and users have no need to."""
        # The first parameter is `outputs`. The last is **common, which stands for the arguments of every loss.
        own = list(inspect.signature(function).parameters.values())[1:-1]
        defaults = COMMON | {"reduction": declaration.reduction}
        common = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=v) for k, v in defaults.items()]
        annotations = {k: v for k, v in function.__annotations__.items() if k not in ("outputs", "common")}
        vars(self).update(
            {name: getattr(function, name) for name in ("__name__", "__qualname__", "__module__")},
            __wrapped__=function,
            __annotations__=annotations,
            __signature__=inspect.Signature([p.replace(annotation=p.empty) for p in (*own, *common)]),
            # python -OO drops docstrings
            __doc__=function.__doc__ and documentation(declaration, inspect.cleandoc(function.__doc__)),
            declaration=declaration,
            _function=function,
        )
        PARAMETERS[declaration.name] = tuple(self.__signature__.parameters)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{self!r} cannot be changed", name=name, obj=self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the value: a float, or an array for ``reduction="none"``."""
        return self._function(VALUE, *args, **kwargs)

    @MadeOnce
    def grad(self) -> Callable[P, Any]:
        """Return the gradient with respect to the differentiable input; a tuple of gradients if there are several."""
        return self._method("grad")

    @MadeOnce
    def value_and_grad(self) -> Callable[P, tuple[Any, Any]]:
        """Return the value and the gradient, computed together."""
        return self._method("value_and_grad")

    @MadeOnce
    def grad_and_hess(self) -> Callable[P, tuple[Any, Any]]:
        """Return the gradient and the diagonal of the Hessian, computed together. `out` is a pair of both.

        The prediction comes first, and then the target. Gradient boosting libraries with a scikit-learn interface call
        an objective as f(y_true, y_pred), in the other order. If you pass them this method itself, gradients have the
        wrong sign, or the wrong values. Write a function that exchanges the two. A booster needs the derivatives of
        the sum, not those of the mean:

        >>> import numpy as np, fastloss as fl
        >>> def objective(y_true, y_pred):
        ...     return fl.pseudo_huber.grad_and_hess(y_pred, y_true, reduction="sum")
        >>> objective(np.array([1.0, 2.0]), np.array([1.0, 2.75]))
        (array([0. , 0.6]), array([1.   , 0.512]))

        Losses between vectors have no such method, since their Hessian is far from diagonal.
        """
        if not self.declaration.hessian:
            message = f"{self.__name__} has no grad_and_hess: its Hessian is far from diagonal"
            raise AttributeError(message, name="grad_and_hess", obj=self)
        return self._method("grad_and_hess")

    @MadeOnce
    def normalizer(self) -> Callable[P, float]:
        """Return the sum of the weights, which is what "mean" divides by: a float. It computes no loss.

        The weights are those of samples and classes; ignored elements have none. Without weights it is the number of
        elements of the unreduced loss. It takes the arguments of the loss and checks them. Use it to compute a batch in
        parts:

        >>> import numpy as np, fastloss as fl
        >>> logits, labels = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]), np.array([0, -100, 1])
        >>> parts = [(logits[:2], labels[:2]), (logits[2:], labels[2:])]
        >>> total = sum(fl.cross_entropy.normalizer(*part) for part in parts)
        >>> total
        2.0
        >>> round(sum(fl.cross_entropy(*part, normalizer=total) for part in parts), 6)
        0.087758
        >>> round(fl.cross_entropy(logits, labels), 6)
        0.087758

        The total is 0 if nothing is left to average. Then ``normalizer=total or 1`` gives the value 0.0 instead of an
        error. In-batch losses compare samples only within a part, so their parts are not the whole.
        """
        return self._method("normalizer")

    def _method(self, name: str) -> Method:
        method = Method(self._function, OUTPUTS_OF[name])
        doc = None
        if self.__doc__:
            about = inspect.cleandoc(getattr(Loss, name).__doc__)
            doc = f"{about}\n\nThe arguments are those of `{self.__name__}`:\n\n{self.__doc__}"
        vars(method).update(
            __self__=self,
            __name__=name,
            __qualname__=f"{self.__name__}.{name}",
            __module__=self.__module__,
            __signature__=self.__signature__,
            __doc__=doc,
        )
        return method

    def __get__(self, instance: object, owner: type | None = None) -> Loss[P]:
        """Return the loss itself. An object with `__get__` is a routine to help() and to documentation tools."""
        return self

    def __repr__(self) -> str:
        return f"<loss {self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__


for _method in (Loss.__init__, Loss.__setattr__, Loss.__call__, Loss.__get__, Loss.__reduce__, Loss.__repr__):
    _method.__annotations__ = {}  # they are for type checkers, and would fill help(Loss)


def loss(declaration: Declaration) -> Callable[[Callable[Concatenate[int, P], Any]], Loss[P]]:
    """Make a Loss of a function that takes the outputs that the caller asks for, its own arguments and **common."""
    return functools.partial(Loss, declaration)


def documentation(declaration: Declaration, own: str) -> str:
    """Add to the docstring of a loss what its declaration says: the common parameters, the results and the errors."""
    inputs = [f"`{x.name}`{' (if given)' * x.optional}" for x in declaration.inputs if x.differentiable]
    if len(inputs) == 1:
        gradient = f"The gradient has the shape and dtype of {inputs[0]}."
        results = "the gradient and the diagonal of the Hessian"
    else:
        gradient = f"The gradient is a tuple of those with respect to {', '.join(inputs[:-1])} and {inputs[-1]}."
        results = "two such tuples: the gradients and the diagonals of the Hessians"
    if declaration.hessian:
        hessian = f"`grad_and_hess(...)` returns {results}."
    else:
        hessian = "There is no `grad_and_hess`: the Hessian is far from diagonal."
    generated = COMMON_PARAMETERS.format(reduction=declaration.reduction)
    generated += RETURNS.format(hessian=hessian, gradient=gradient)
    parameters, heading, notes = own.partition("\nNotes\n-----\n")
    return f"{parameters.rstrip()}\n{generated}{heading.lstrip()}{notes}"
