"""Regularisers: what is added to a loss, or done to weights and activations, against overfitting."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from fastloss.kernels import call

__all__ = ["dropout", "max_norm"]


def max_norm(w: ArrayLike, limit: float, axis: int = -1, out: NDArray[Any] | None = None) -> NDArray[Any]:
    return call.max_norm(w, limit, axis, out)


def dropout(
    x: ArrayLike, rate: float, seed: int, out: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    return call.dropout(x, rate, seed, out)
