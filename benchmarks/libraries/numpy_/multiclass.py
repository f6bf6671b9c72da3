"""Losses with several classes along an axis: with logits and with probabilities."""

from typing import Any

import numpy as np

from ...shared_types import Array, Result
from .binary import binary_cross_entropy_with_logits

# ---------------------------------------------------------------------------------------------------------------------
# Logits


def cross_entropy(
    pred: Array,
    target: Array,
    *,
    axis: int = -1,
    class_weight: Array | None = None,
    ignore_index: int = -100,
    out: Array | None = None,
) -> Result:
    labels = np.expand_dims(target, axis)
    scale: Any = 1 / pred.dtype.type(target.size)
    if class_weight is not None:
        counts = labels != ignore_index
        labels = np.where(counts, labels, 0)
        scale = class_weight[labels] * counts
        scale /= scale.sum()
    grad, total, log_p = _exponentials(pred, labels, axis, out)
    log_p *= scale
    grad *= scale / total
    np.put_along_axis(grad, labels, np.take_along_axis(grad, labels, axis) - scale, axis)
    return -float(log_p.sum()), grad


def softmax_focal(
    pred: Array, target: Array, *, gamma: float = 2.0, axis: int = -1, out: Array | None = None
) -> Result:
    labels = np.expand_dims(target, axis)
    grad, total, log_p = _exponentials(pred, labels, axis, out)
    wrong = -np.expm1(log_p)
    power = wrong**gamma
    slope = (power - gamma * wrong ** (gamma - 1) * np.exp(log_p) * log_p) / target.size
    grad *= slope / total
    np.put_along_axis(grad, labels, -slope * wrong, axis)
    return -float((power * log_p).mean()), grad


def poly1_cross_entropy(
    pred: Array, target: Array, *, epsilon: float = 1.0, axis: int = -1, out: Array | None = None
) -> Result:
    labels = np.expand_dims(target, axis)
    grad, total, log_p = _exponentials(pred, labels, axis, out)
    wrong = -np.expm1(log_p)
    slope = (1 + epsilon * np.exp(log_p)) / target.size
    grad *= slope / total
    np.put_along_axis(grad, labels, -slope * wrong, axis)
    return float((epsilon * wrong - log_p).mean()), grad


def multilabel_soft_margin(pred: Array, target: Array, *, axis: int = -1, out: Array | None = None) -> Result:
    return binary_cross_entropy_with_logits(pred, target, out=out)  # the mean of the means over the classes


def _exponentials(pred: Array, labels: Array, axis: int, out: Array | None) -> tuple[Array, Array, Array]:
    """Return numerators and denominator of the softmax, and the logarithm of the label's probability."""
    e = np.subtract(pred, pred.max(axis=axis, keepdims=True), out=out)
    picked = np.take_along_axis(e, labels, axis)
    np.exp(e, out=e)
    total = e.sum(axis=axis, keepdims=True)
    picked -= np.log(total)
    return e, total, picked


# ---------------------------------------------------------------------------------------------------------------------
# Probabilities and log-probabilities


def categorical_cross_entropy(pred: Array, target: Array, *, axis: int = -1, out: Array | None = None) -> Result:
    labels = np.expand_dims(target, axis)
    p = np.take_along_axis(pred, labels, axis)
    value = np.maximum(np.log(p), -100).mean()
    np.maximum(p, np.finfo(p.dtype).tiny, out=p)
    p *= -target.size
    return -float(value), _at_labels(1 / p, pred, labels, axis, out)


def nll(pred: Array, target: Array, *, axis: int = -1, out: Array | None = None) -> Result:
    labels = np.expand_dims(target, axis)
    slope = -1 / pred.dtype.type(target.size)
    value = np.take_along_axis(pred, labels, axis).mean()
    return -float(value), _at_labels(slope, pred, labels, axis, out)


def _at_labels(slope: Any, pred: Array, labels: Array, axis: int, out: Array | None) -> Array:
    """Return a gradient that is `slope` at the labels and 0 elsewhere."""
    grad = np.empty_like(pred) if out is None else out
    grad.fill(0)
    np.put_along_axis(grad, labels, slope, axis)
    return grad
