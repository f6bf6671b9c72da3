"""Regularisers: penalties that are added to a loss, and what is done to weights and activations, against overfitting.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` of the penalties are those of every loss, but that
`reduction` is "sum" unless said otherwise: see `fastloss.Loss`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from fastloss._loss import Loss
from fastloss.kernels import call
from fastloss.kernels.call import elementwise, number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = ["dropout", "elastic_net", "l1", "l2", "max_norm"]

Penalty = partial(Loss, reduction="sum")


@Penalty
def l1(want: int, /, w: ArrayLike, strength: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Absolute values, strength sum(abs(w)): drives parameters to exactly 0 (the lasso).

    The gradient is strength sign(w), and 0 at w = 0; the second derivative is 0.

    Parameters
    ----------
    w : array_like
        Parameters of any shape, float32 or float64.
    strength : float, default 1.0
        Factor >= 0.

    References
    ----------
    R. Tibshirani, Regression Shrinkage and Selection via the Lasso, JRSS B 58 (1996).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.l1.value_and_grad(np.array([2.0, 0.0, -3.0]), 0.5)
    (2.5, array([ 0.5,  0. , -0.5]))
    """
    return elementwise(want, "l1", w, None, (number(strength, "strength", 0),), common, name="w")


@Penalty
def l2(want: int, /, w: ArrayLike, strength: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Squares, strength/2 sum(w^2): keeps parameters small (ridge regression, weight decay).

    The gradient is strength w, the second derivative strength.

    Parameters
    ----------
    w : array_like
        Parameters of any shape, float32 or float64.
    strength : float, default 1.0
        Factor >= 0.

    References
    ----------
    A. E. Hoerl and R. W. Kennard, Ridge Regression, Technometrics 12 (1970).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.l2.value_and_grad(np.array([2.0, 0.0, -3.0]), 0.5)
    (3.25, array([ 1. ,  0. , -1.5]))
    """
    return elementwise(want, "l2", w, None, (number(strength, "strength", 0),), common, name="w")


@Penalty
def elastic_net(
    want: int, /, w: ArrayLike, strength: float = 1.0, l1_ratio: float = 0.5, **common: Unpack[Common]
) -> Any:
    r"""A mixture of `l1` and `l2`, strength (l1_ratio sum(abs(w)) + (1 - l1_ratio)/2 sum(w^2)): sparse, yet stable.

    The gradient is strength (l1_ratio sign(w) + (1 - l1_ratio) w), the second derivative strength (1 - l1_ratio).

    Parameters
    ----------
    w : array_like
        Parameters of any shape, float32 or float64.
    strength : float, default 1.0
        Factor >= 0.
    l1_ratio : float, default 0.5
        The share of `l1`, in [0, 1].

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
    return elementwise(want, "elastic_net", w, None, parameters, common, name="w")


def max_norm(w: ArrayLike, limit: float, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Scale every vector along one axis that is longer than `limit` down to that length.

    It is the projection onto a ball, w min(1, limit / norm(w)) with the Euclidean norm: for the weights of each unit of
    a layer after an optimiser's step, or for gradients. Unlike `l2` it bounds weights without pulling them to zero, and
    it goes well with `dropout`.

    Parameters
    ----------
    w : array_like
        Weights of at least one axis, float32 or float64.
    limit : float
        The largest norm, finite and >= 0. With 0 every vector becomes zero.
    axis : int
        The axis that the vectors run along: -1 for the rows of a matrix, 0 for its columns.
    out : ndarray, optional
        Where the result goes: C-contiguous, of the shape and dtype of `w`. It may be `w` itself.

    Returns
    -------
    ndarray
        Of the shape and dtype of `w`. Vectors within the limit are unchanged to the last bit.

    Raises
    ------
    TypeError
        If `w` is not float32 or float64, `limit` not a number, `axis` not an integer, or `out` not an array of that
        dtype.
    ValueError
        If `limit` is negative or not finite, `axis` is not one of `w`, or `out` has another shape, is read-only or not
        C-contiguous, or lies partly over `w`.

    Notes
    -----
    Norms are computed in double precision, for elements of any size: squares of float64 neither overflow nor underflow.
    The same input gives the same bits for any number of threads. A vector with a NaN becomes NaN throughout; one with
    an infinite element and no NaN is multiplied by limit / inf = 0: its infinite elements become NaN, the others 0.

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
    result: NDArray[Any] = call.max_norm(w, limit, axis, out)
    return result


def dropout(x: ArrayLike, rate: float, seed: int, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Drop elements at random, and scale up the others so that the expectation stays: inverted dropout.

    y = x / (1 - rate) where an element is kept, and 0 where it is dropped, whatever it was. Against co-adapted features
    in training; leave it out in prediction.

    Parameters
    ----------
    x : array_like
        Activations of any shape, float32 or float64.
    rate : float
        The probability of an element to be dropped, in [0, 1], rounded to a multiple of 2^-32. 0 keeps everything, 1
        drops everything.
    seed : int
        From 0 to 2^64 - 1. Take another one for each layer and step: the same seed drops the same places.
    out : ndarray, optional
        Where y goes: C-contiguous, of the shape and dtype of `x`. It may be `x` itself.

    Returns
    -------
    y : ndarray
        Of the shape and dtype of `x`.
    mask : ndarray of bool
        True where an element is kept. The gradient by `x` is that by `y`, divided and dropped in the same way: see the
        example.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64, `rate` not a number, `seed` not an integer, or `out` not an array of that
        dtype.
    ValueError
        If `rate` or `seed` is out of range, or `out` has another shape, is read-only or not C-contiguous, or lies
        partly over `x`.

    Notes
    -----
    Whether an element is kept depends on `seed`, `rate` and its index in C order alone: not on dtype, memory layout,
    CPU, number of threads or the elements that follow. Element i = 1024 k + 256 j + b, with j < 4 and b < 256, is
    dropped if word j of Philox4x32-10 is less than rate 2^32; the counter is 256 k + b, the key is `seed`. With a
    higher rate, the same seed drops the same elements and others.

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

    The gradient by x, of that by y:

    >>> grad_y = np.array([1.0, 1.0, 1.0, 3.0, 3.0, 3.0])
    >>> np.where(mask, grad_y / (1 - 0.5), 0)
    array([2., 2., 0., 6., 0., 0.])
    """
    result: tuple[NDArray[Any], NDArray[Any]] = call.dropout(x, rate, seed, out)
    return result
