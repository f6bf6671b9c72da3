"""Regression losses of a prediction and a target of the same shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._loss import Loss, elementwise
from fastloss.kernels.call import number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = ["huber", "mae", "mse"]


@Loss
def mse(want: int, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    return elementwise(want, "mse", pred, target, **common)


@Loss
def mae(want: int, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    return elementwise(want, "mae", pred, target, **common)


@Loss
def huber(want: int, pred: ArrayLike, target: ArrayLike, *, delta: float = 1.0, **common: Unpack[Common]) -> Any:
    return elementwise(want, "huber", pred, target, (number(delta, "delta", 0, above=True),), **common)
