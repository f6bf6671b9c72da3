"""Regularisers: what is added to a loss, or done to weights and activations, against overfitting."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from fastloss.kernels import call

__all__ = ["dropout", "max_norm"]


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
