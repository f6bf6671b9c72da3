"""Losses for regression. In all of them, r = pred - target."""

import numpy as np

from ...shared_types import Array, Result


def mse(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    grad = np.subtract(pred, target, out=out)
    value = np.vdot(grad, grad) / grad.size
    grad *= 2 / grad.size
    return float(value), grad


def mae(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    grad = np.subtract(pred, target, out=out)
    value = np.abs(grad).mean()
    np.sign(grad, out=grad)
    grad /= grad.size
    return float(value), grad


def huber(pred: Array, target: Array, *, delta: float = 1.0, out: Array | None = None) -> Result:
    r = pred - target
    grad = np.clip(r, -delta, delta, out=out)
    # g (r - g/2) is r^2/2 inside and delta (|r| - delta/2) outside; g r is at least g^2, so nothing cancels.
    value = (np.vdot(grad, r) - np.vdot(grad, grad) / 2) / r.size
    grad /= r.size
    return float(value), grad


def smooth_l1(pred: Array, target: Array, *, beta: float = 1.0, out: Array | None = None) -> Result:
    value, grad = huber(pred, target, delta=beta, out=out)
    grad /= beta
    return value / beta, grad


def pseudo_huber(pred: Array, target: Array, *, delta: float = 1.0, out: Array | None = None) -> Result:
    r = np.subtract(pred, target, out=out)
    root = r / delta
    root *= root
    root += 1
    np.sqrt(root, out=root)
    value = (r * r / (root + 1)).mean()  # delta^2 (root - 1), which cancels for small r
    r /= root
    r /= r.size
    return float(value), r


def log_cosh(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    grad = np.subtract(pred, target, out=out)
    size = np.abs(grad)
    e = -2 * size
    np.exp(e, out=e)
    value = (size + np.log1p(e)).mean() - np.log(2)
    np.tanh(grad, out=grad)
    grad /= grad.size
    return float(value), grad


def quantile(pred: Array, target: Array, *, q: float = 0.5, out: Array | None = None) -> Result:
    r = pred - target
    grad = np.sign(r, out=out)  # -1, 0, 1 become -q, 0, 1 - q
    grad *= 0.5
    grad += (0.5 - q) * (r != 0)
    value = np.vdot(grad, r) / r.size
    grad /= r.size
    return float(value), grad


def expectile(pred: Array, target: Array, *, q: float = 0.5, out: Array | None = None) -> Result:
    r = np.subtract(pred, target, out=out)
    weighted = r * np.where(r > 0, r.dtype.type(1 - q), r.dtype.type(q))
    value = np.vdot(weighted, r) / r.size
    np.multiply(weighted, 2 / r.size, out=r)
    return float(value), r


def epsilon_insensitive(pred: Array, target: Array, *, epsilon: float = 0.1, out: Array | None = None) -> Result:
    grad = np.subtract(pred, target, out=out)
    excess = np.abs(grad)
    excess -= epsilon
    np.sign(grad, out=grad)
    grad *= excess > 0
    grad /= grad.size
    return float(np.maximum(excess, 0, out=excess).mean()), grad


def squared_epsilon_insensitive(
    pred: Array, target: Array, *, epsilon: float = 0.1, out: Array | None = None
) -> Result:
    grad = np.subtract(pred, target, out=out)
    grad -= np.clip(grad, -epsilon, epsilon)
    value = np.vdot(grad, grad) / grad.size
    grad *= 2 / grad.size
    return float(value), grad


def msle(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    grad = np.log1p(pred, out=out)
    grad -= np.log1p(target)
    value = np.vdot(grad, grad) / grad.size
    grad /= pred + 1
    grad *= 2 / grad.size
    return float(value), grad


def mape(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    grad = np.subtract(pred, target, out=out)
    scale = np.maximum(np.abs(target), np.finfo(pred.dtype).eps)
    value = (np.abs(grad) / scale).mean()
    np.sign(grad, out=grad)
    scale *= grad.size
    grad /= scale
    return float(value), grad
