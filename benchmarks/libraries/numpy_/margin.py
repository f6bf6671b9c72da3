"""Losses of scores and their margins."""

import numpy as np

from ...shared_types import Array, Result
from .binary import sigmoid_and_log1p

# ---------------------------------------------------------------------------------------------------------------------
# Labels -1, 1


def hinge(pred: Array, target: Array, *, margin: float = 1.0, out: Array | None = None) -> Result:
    gap = pred * target
    np.subtract(margin, gap, out=gap)
    grad = np.multiply(target, gap > 0, out=out)
    grad /= -grad.size
    np.maximum(gap, 0, out=gap)
    return float(gap.mean()), grad


def squared_hinge(pred: Array, target: Array, *, margin: float = 1.0, out: Array | None = None) -> Result:
    gap = np.multiply(pred, target, out=out)
    np.subtract(margin, gap, out=gap)
    np.maximum(gap, 0, out=gap)
    value = np.vdot(gap, gap) / gap.size
    gap *= target
    gap *= -2 / gap.size
    return float(value), gap


def modified_huber(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    gap = pred * target
    np.subtract(1, gap, out=gap)
    np.maximum(gap, 0, out=gap)
    grad = np.minimum(gap, 2, out=out)
    # g (2 gap - g) is gap^2 up to gap = 2, and 4 (gap - 1) = -4 y z from there
    value = (2 * np.vdot(grad, gap) - np.vdot(grad, grad)) / gap.size
    grad *= target
    grad *= -2 / grad.size
    return float(value), grad


def logistic(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    margin = pred * target
    np.negative(margin, out=margin)
    p, log_1p = sigmoid_and_log1p(margin, out)
    log_1p += np.maximum(margin, 0)
    p *= target
    p /= -p.size
    return float(log_1p.mean()), p


def exponential(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    grad = np.multiply(pred, target, out=out)
    np.negative(grad, out=grad)
    np.exp(grad, out=grad)
    value = grad.mean()
    grad *= target
    grad /= -grad.size
    return float(value), grad


def perceptron(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    return hinge(pred, target, margin=0.0, out=out)


# ---------------------------------------------------------------------------------------------------------------------
# Several classes along an axis


def multiclass_hinge(
    pred: Array, target: Array, *, margin: float = 1.0, axis: int = -1, out: Array | None = None
) -> Result:
    labels = np.expand_dims(target, axis)
    gap = np.subtract(pred, np.take_along_axis(pred, labels, axis), out=out)
    gap += margin
    np.put_along_axis(gap, labels, 0, axis)
    np.maximum(gap, 0, out=gap)
    value = gap.sum() / target.size
    grad = np.sign(gap, out=gap)
    np.put_along_axis(grad, labels, -grad.sum(axis=axis, keepdims=True), axis)
    grad /= target.size
    return float(value), grad


def crammer_singer(
    pred: Array, target: Array, *, margin: float = 1.0, axis: int = -1, out: Array | None = None
) -> Result:
    labels = np.expand_dims(target, axis)
    others = np.positive(pred, out=out)  # a copy
    np.put_along_axis(others, labels, -np.inf, axis)
    worst = others.argmax(axis=axis, keepdims=True)
    gap = np.take_along_axis(others, worst, axis) - np.take_along_axis(pred, labels, axis)
    gap += margin
    np.maximum(gap, 0, out=gap)
    value = gap.mean()
    slope = np.sign(gap, out=gap)
    slope /= target.size
    grad = others
    grad.fill(0)
    np.put_along_axis(grad, worst, slope, axis)
    np.put_along_axis(grad, labels, -slope, axis)
    return float(value), grad
