"""The six losses as a good NumPy user writes them: vectorised, stable in the tails, in place where that is natural.

Each returns the mean loss and its gradient. They serve three times: as what fastloss is compared with, as the plain
half of the training runs, and, called with a wider dtype, as the reference that accuracy is measured against.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def mse(pred: Array, target: Array, *, out: Array | None = None) -> tuple[float, Array]:
    grad = np.subtract(pred, target, out=out)
    value = np.vdot(grad, grad) / grad.size
    grad *= 2 / grad.size
    return float(value), grad


def mae(pred: Array, target: Array, *, out: Array | None = None) -> tuple[float, Array]:
    grad = np.subtract(pred, target, out=out)
    value = np.abs(grad).mean()
    np.sign(grad, out=grad)
    grad /= grad.size
    return float(value), grad


def huber(pred: Array, target: Array, *, delta: float = 1.0, out: Array | None = None) -> tuple[float, Array]:
    r = pred - target
    grad = np.clip(r, -delta, delta, out=out)
    # g (r - g/2) is r^2/2 inside and delta (|r| - delta/2) outside; g r is at least g^2, so nothing cancels.
    value = (np.vdot(grad, r) - np.vdot(grad, grad) / 2) / r.size
    grad /= r.size
    return float(value), grad


def binary_cross_entropy_with_logits(pred: Array, target: Array, *, out: Array | None = None) -> tuple[float, Array]:
    e = np.abs(pred)
    np.negative(e, out=e)
    np.exp(e, out=e)  # never above 1, so neither log1p nor the sigmoid can overflow
    value = (np.maximum(pred, 0) - pred * target + np.log1p(e)).mean()
    grad = np.divide(np.where(pred >= 0, 1, e), 1 + e, out=out)
    grad -= target
    grad /= grad.size
    return float(value), grad


def hinge(pred: Array, target: Array, *, margin: float = 1.0, out: Array | None = None) -> tuple[float, Array]:
    gap = pred * target
    np.subtract(margin, gap, out=gap)
    grad = np.multiply(target, gap > 0, out=out)
    grad /= -grad.size
    np.maximum(gap, 0, out=gap)
    return float(gap.mean()), grad


def cross_entropy(pred: Array, target: Array, *, axis: int = -1, out: Array | None = None) -> tuple[float, Array]:
    labels = np.expand_dims(target, axis)
    grad = np.subtract(pred, pred.max(axis=axis, keepdims=True), out=out)
    picked = np.take_along_axis(grad, labels, axis)
    np.exp(grad, out=grad)
    total = grad.sum(axis=axis, keepdims=True)
    value = (np.log(total) - picked).mean()
    total *= target.size
    grad /= total
    np.put_along_axis(grad, labels, np.take_along_axis(grad, labels, axis) - 1 / target.size, axis)
    return float(value), grad
