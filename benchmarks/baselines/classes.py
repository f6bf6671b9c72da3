"""One class of several: rows of logits."""

import numpy as np

from ..types import Array


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
