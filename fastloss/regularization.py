"""Penalties that are added to a loss, and functions that limit weights or drop activations, against overfitting.

* Penalties on weights: `l1`, `l2`, `elastic_net`. Their default reduction is "sum".
* Functions, not losses: `max_norm` limits the length of weight vectors, `dropout` drops activations.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` of the penalties are those of every loss: see
`fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from fastloss._core.calls import regularizers
from fastloss._core.calls.elementwise import elementwise
from fastloss._core.request.arguments import number
from fastloss._declaration import Elementwise, Input
from fastloss._loss import loss

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "dropout",
    "elastic_net",
    "l1",
    "l2",
    "max_norm",
]

WEIGHTS = Input("w", differentiable=True)

L1 = Elementwise("l1", (WEIGHTS,), reduction="sum")


@loss(L1)
def l1(outputs: int, /, w: ArrayLike, strength: float = 1.0, **common: Unpack[Common]) -> Any:
    """Sum of absolute values of the parameters of a model (the lasso).

    Use it to drive parameters to exactly 0. Take `l2` to keep them small instead, or `elastic_net` for both. For the
    parameters w, with the default reduction::

        loss = strength * sum(abs(w))

    Parameters
    ----------
    w : array_like
        Parameters of a model, of any shape, half precision, float32 or float64.
    strength : float, default 1.0
        The factor of the penalty. It must be >= 0. With 0 the penalty is 0, also for an infinite `w`.

    Notes
    -----
    The gradient with respect to `w` is strength * sign(w). At w = 0 it is 0. The second derivative is 0.

    References
    ----------
    R. Tibshirani, Regression Shrinkage and Selection via the Lasso, JRSS B 58 (1996).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.l1.value_and_grad(np.array([2.0, 0.0, -3.0]), 0.5)
    (2.5, array([ 0.5,  0. , -0.5]))
    """
    strength = number(strength, "strength", 0)
    kernel = "zero" if strength == 0 else None  # also for an infinite w
    return elementwise(L1, outputs, w, None, (strength,), common, kernel=kernel)


L2 = Elementwise("l2", (WEIGHTS,), reduction="sum")


@loss(L2)
def l2(outputs: int, /, w: ArrayLike, strength: float = 1.0, **common: Unpack[Common]) -> Any:
    """Half the sum of squares of the parameters of a model (ridge regression, weight decay).

    Use it to keep parameters small. Take `l1` to drive them to exactly 0, or `elastic_net` for both. For the parameters
    w, with the default reduction::

        loss = strength / 2 * sum(w^2)

    Parameters
    ----------
    w : array_like
        Parameters of a model, of any shape, half precision, float32 or float64.
    strength : float, default 1.0
        The factor of the penalty. It must be >= 0. With 0 the penalty is 0, also for an infinite `w`.

    Notes
    -----
    The gradient with respect to `w` is strength * w. The second derivative is strength.

    References
    ----------
    A. E. Hoerl and R. W. Kennard, Ridge Regression, Technometrics 12 (1970).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.l2.value_and_grad(np.array([2.0, 0.0, -3.0]), 0.5)
    (3.25, array([ 1. ,  0. , -1.5]))
    """
    strength = number(strength, "strength", 0)
    kernel = "zero" if strength == 0 else None  # also for an infinite w
    return elementwise(L2, outputs, w, None, (strength,), common, kernel=kernel)


ELASTIC_NET = Elementwise("elastic_net", (WEIGHTS,), reduction="sum")


@loss(ELASTIC_NET)
def elastic_net(
    outputs: int, /, w: ArrayLike, strength: float = 1.0, l1_ratio: float = 0.5, **common: Unpack[Common]
) -> Any:
    """A mixture of the penalties `l1` and `l2`.

    Use it for parameters that are sparse, as with `l1`, and more stable than with `l1` alone. For the parameters w,
    with the default reduction::

        loss = strength * (l1_ratio * sum(abs(w)) + (1 - l1_ratio) / 2 * sum(w^2))

    Parameters
    ----------
    w : array_like
        Parameters of a model, of any shape, half precision, float32 or float64.
    strength : float, default 1.0
        The factor of the penalty. It must be >= 0. With 0 the penalty is 0, also for an infinite `w`.
    l1_ratio : float, default 0.5
        The share of `l1`, in [0, 1]. With 1 the penalty is `l1`, and with 0 it is `l2`.

    Notes
    -----
    The gradient with respect to `w` is strength * (l1_ratio * sign(w) + (1 - l1_ratio) * w), where sign(0) is 0. The
    second derivative is strength * (1 - l1_ratio).

    References
    ----------
    H. Zou and T. Hastie, Regularization and Variable Selection via the Elastic Net, JRSS B 67 (2005).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.elastic_net.value_and_grad(np.array([2.0, 0.0, -3.0]), l1_ratio=0.5)
    (5.75, array([ 1.5,  0. , -2. ]))
    """
    strength, l1_ratio = number(strength, "strength", 0), number(l1_ratio, "l1_ratio", 0, 1)
    parameters = (strength * l1_ratio, strength * (1 - l1_ratio))
    return elementwise(ELASTIC_NET, outputs, w, None, parameters, common)


def max_norm(w: ArrayLike, limit: float, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Scale down every vector that is longer than a limit, along one axis of an array.

    Use it on the weights of each unit of a layer after a step of the optimiser, or on gradients. Unlike `l2`, it limits
    weights without pulling them to 0. It works well together with `dropout`. Each vector v along `axis` becomes::

        v * min(1, limit / norm(v))

    where norm is the Euclidean norm. This is the projection onto a ball of radius `limit`.

    Parameters
    ----------
    w : array_like
        Weights with at least one axis, half precision, float32 or float64.
    limit : float
        The largest norm. It must be >= 0, or inf. With 0 every finite vector becomes 0. With inf nothing changes.
    axis : int, default -1
        The axis along which the vectors lie: -1 for the rows of a matrix, 0 for its columns.
    out : ndarray, optional
        The array for the result: C-contiguous, with the shape and dtype of `w`. It may be `w` itself.

    Returns
    -------
    ndarray
        The scaled vectors, with the shape and dtype of `w`. It is `out`, if that is given.

    Raises
    ------
    TypeError
        If `w` is not of a floating dtype, `limit` is not a number, `axis` is not an integer, or `out` is not an array
        of the dtype of `w`.
    ValueError
        If `limit` is negative or NaN, or `w` does not have the axis. If `out` has another shape, is read-only,
        is not C-contiguous, or overlaps part of `w`.

    Notes
    -----
    A vector within the limit is unchanged to the last bit.

    Norms are computed in double precision. Squares of float64 elements neither overflow nor underflow, for elements of
    any size. The same input gives the same bits for any number of threads.

    If `limit` is finite, a vector with a NaN becomes NaN in all its elements. A vector with an infinite element and no
    NaN has the factor limit / inf = 0: its infinite elements become NaN, and the others become 0.

    References
    ----------
    N. Srebro, A. Shraibman, Rank, trace-norm and max-norm (COLT 2005); for the units of a network: G. E. Hinton et al.,
    Improving neural networks by preventing co-adaptation of feature detectors, arXiv:1207.0580 (2012).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> w = np.array([[3.0, 4.0], [0.6, 0.8]])
    >>> fl.max_norm(w, 2.5)
    array([[1.5, 2. ],
           [0.6, 0.8]])
    >>> fl.max_norm(w, 3.0, axis=0, out=w) is w
    True
    """
    result: NDArray[Any] = regularizers.max_norm(w, limit, axis, out)
    return result


def dropout(x: ArrayLike, rate: float, seed: int, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Set random elements to 0 and scale up the others, so that the expectation stays the same (inverted dropout).

    Use it in training, to keep units from relying on each other (co-adapted features). Leave it out in prediction. For
    each element of x::

        y = x / (1 - rate)    if the element is kept
        y = 0                 if the element is dropped, even if x is NaN

    Parameters
    ----------
    x : array_like
        Activations of any shape, half precision, float32 or float64.
    rate : float
        The probability that an element is dropped, in [0, 1]. It is rounded to a multiple of 2^-32. With 0 all elements
        are kept, and with 1 all are dropped.
    seed : int
        The seed, from 0 to 2^64 - 1. Use another seed for each layer and each step: the same seed drops the same
        positions.
    out : ndarray, optional
        The array for y: C-contiguous, with the shape and dtype of `x`. It may be `x` itself.

    Returns
    -------
    y : ndarray
        The scaled elements and zeros, with the shape and dtype of `x`. It is `out`, if that is given.
    mask : ndarray of bool
        True where an element is kept, in the shape of `x`.

    Raises
    ------
    TypeError
        If `x` is not of a floating dtype, `rate` is not a number, `seed` is not an integer, or `out` is not an array of
        the dtype of `x`.
    ValueError
        If `rate` or `seed` is out of range. If `out` has another shape, is read-only, is not C-contiguous, or overlaps
        part of `x`.

    Notes
    -----
    Let grad_y be the gradient with respect to y. The gradient with respect to `x` is grad_y / (1 - rate) where `mask`
    is True. Elsewhere it is 0.

    Only `seed`, `rate` and the index of an element in C order decide whether the element is kept. The dtype, the memory
    layout, the CPU, the number of threads and the elements that follow have no influence. A higher rate with the same
    seed drops all of the same elements, and usually others too.

    The random numbers come from Philox4x32-10. Write the index of an element as 1024 k + 256 j + b, with j < 4 and
    b < 256. The element is dropped if word j of the generator is less than rate * 2^32. The counter of the generator is
    256 k + b, and its key is `seed`.

    References
    ----------
    N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, Dropout: a simple way to prevent neural
    networks from overfitting, JMLR 15 (2014). The generator: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw,
    Parallel random numbers: as easy as 1, 2, 3 (SC 2011).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> x = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> y, mask = fl.dropout(x, 0.5, seed=1)
    >>> y
    array([2., 4., 0., 8., 0., 0.])
    >>> mask
    array([ True,  True, False,  True, False, False])

    The gradient with respect to x, from the gradient with respect to y:

    >>> grad_y = np.array([1.0, 1.0, 1.0, 3.0, 3.0, 3.0])
    >>> np.where(mask, grad_y / (1 - 0.5), 0)
    array([2., 2., 0., 6., 0., 0.])
    """
    result: tuple[NDArray[Any], NDArray[Any]] = regularizers.dropout(x, rate, seed, out)
    return result
