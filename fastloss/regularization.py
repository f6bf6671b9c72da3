"""Regularisers: penalties on parameters w, added to a loss.

The arguments `sample_weight`, `reduction` (here "sum" unless said otherwise), `normalizer` and `out` are those of every
loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._loss import Loss
from fastloss.kernels.call import elementwise, number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = ["elastic_net", "l1", "l2"]

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
    return _penalty(want, "l1", w, number(strength, "strength", 0), 0.0, common)


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
    return _penalty(want, "l2", w, 0.0, number(strength, "strength", 0), common)


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
    return _penalty(want, "elastic_net", w, strength * l1_ratio, strength * (1 - l1_ratio), common)


def _penalty(want: int, loss: str, w: ArrayLike, linear: float, square: float, common: Common) -> Any:
    """linear abs(w) + square/2 w^2."""
    common = {"reduction": "sum", **common}
    return elementwise(want, loss, w, None, (linear, square), common, kernel="elastic_net", name="w", light=True)
