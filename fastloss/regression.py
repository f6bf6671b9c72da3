"""Regression losses of a prediction and a target of the same shape.

With r = pred - target. The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see
`fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._loss import Loss
from fastloss.kernels.call import elementwise, number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = ["huber", "mae", "mse"]


@Loss
def mse(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Squared error, r^2: the default for regression. Its minimiser is the mean; outliers weigh heavily.

    The gradient is 2 r, the second derivative 2. scikit-learn's `HalfSquaredError` is half of it.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64. They fix the dtype of the result.
    target : array_like
        Of the shape of `pred`; any real dtype.

    Raises
    ------
    TypeError
        If `pred` is not float32 or float64, or `target` not real.
    ValueError
        If the shapes differ, or a weight is negative.

    References
    ----------
    C. F. Gauss, Theoria combinationis observationum erroribus minimis obnoxiae (1821).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.mse.value_and_grad(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (2.0, array([ 0., -2.]))
    """
    return elementwise(want, "mse", pred, target, (), common, light=True)


@Loss
def mae(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Absolute error, abs(r): regression that outliers cannot pull. Its minimiser is the median.

    The gradient is the sign of r, and 0 at r = 0; the second derivative is 0.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64. They fix the dtype of the result.
    target : array_like
        Of the shape of `pred`; any real dtype.

    Raises
    ------
    TypeError
        If `pred` is not float32 or float64, or `target` not real.
    ValueError
        If the shapes differ, or a weight is negative.

    References
    ----------
    R. J. Boscovich (1757); P. Bloomfield and W. L. Steiger, Least Absolute Deviations (1983).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.mae.value_and_grad(np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 4.0]), reduction="sum")
    (3.0, array([ 0., -1.,  1.]))
    """
    return elementwise(want, "mae", pred, target, (), common, light=True)


@Loss
def huber(want: int, /, pred: ArrayLike, target: ArrayLike, *, delta: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Huber loss: squared error near the target, absolute error far from it.

    r^2 / 2 where abs(r) <= delta, else delta (abs(r) - delta / 2). The gradient is r, limited to [-delta, delta]; the
    second derivative is 1 where abs(r) <= delta, else 0.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64. They fix the dtype of the result.
    target : array_like
        Of the shape of `pred`; any real dtype.
    delta : float, default 1.0
        Where the loss becomes linear, in the unit of `pred`; > 0.

    Raises
    ------
    TypeError
        If `pred` is not float32 or float64, `target` not real, or `delta` not a number.
    ValueError
        If the shapes differ, `delta` is not finite and > 0, or a weight is negative.

    References
    ----------
    P. J. Huber, Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 35 (1964).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred, target = np.array([0.5, 3.0]), np.array([0.0, 0.0])
    >>> fl.huber(pred, target, reduction="none")
    array([0.125, 2.5  ])
    >>> fl.huber.grad_and_hess(pred, target, reduction="sum")
    (array([0.5, 1. ]), array([1., 0.]))
    """
    return elementwise(want, "huber", pred, target, (number(delta, "delta", 0, above=True),), common, light=True)
