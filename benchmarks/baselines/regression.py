"""Regression: r = pred - target."""

import numpy as np

from ..types import Array

Result = tuple[float, Array]


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


def poisson_nll(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    grad = np.exp(pred, out=out)
    value = grad.mean() - np.vdot(target, pred) / grad.size
    grad -= target
    grad /= grad.size
    return float(value), grad


def gamma_nll(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    grad = np.negative(pred, out=out)
    np.exp(grad, out=grad)
    grad *= target
    value = grad.mean() + pred.mean()
    np.subtract(1, grad, out=grad)
    grad /= grad.size
    return float(value), grad


def tweedie(pred: Array, target: Array, *, power: float = 1.5, out: Array | None = None) -> Result:
    fit = (1 - power) * pred
    np.exp(fit, out=fit)
    fit *= target
    grad = np.multiply(pred, 2 - power, out=out)
    np.exp(grad, out=grad)
    value = fit.mean() / (power - 1) + grad.mean() / (2 - power)
    grad -= fit
    grad /= grad.size
    return float(value), grad


def gaussian_nll(
    pred: Array, target: Array, var: Array, *, eps: float = 1e-6, out: tuple[Array, Array] | None = None
) -> tuple[float, tuple[Array, Array]]:
    by_pred, by_var = out or (None, None)
    v = np.maximum(var, eps)
    r = pred - target
    by_pred = np.divide(r, v, out=by_pred)
    value = (np.log(v).mean() + np.vdot(r, by_pred) / r.size) / 2
    by_var = np.divide(1, v, out=by_var)
    by_var -= by_pred * by_pred
    by_var *= var >= eps
    by_pred /= r.size
    by_var /= 2 * r.size
    return float(value), (by_pred, by_var)


def cauchy(pred: Array, target: Array, *, c: float = 1.0, out: Array | None = None) -> Result:
    grad = np.subtract(pred, target, out=out)
    square = _square_of_ratio(grad, c)
    value = c**2 / 2 * np.log1p(square).mean()
    square += 1
    grad /= square
    grad /= grad.size
    return float(value), grad


def welsch(pred: Array, target: Array, *, c: float = 1.0, out: Array | None = None) -> Result:
    grad = np.subtract(pred, target, out=out)
    e = _square_of_ratio(grad, c)
    np.negative(e, out=e)
    np.exp(e, out=e)
    value = c**2 / 2 * (1 - e.mean())
    grad *= e
    grad /= grad.size
    return float(value), grad


def geman_mcclure(pred: Array, target: Array, *, c: float = 1.0, out: Array | None = None) -> Result:
    r = np.subtract(pred, target, out=out)
    weight = _square_of_ratio(r, c)
    weight += 1
    np.divide(1, weight, out=weight)
    weighted = r * weight
    value = np.vdot(weighted, r) / 2 / r.size
    grad = np.multiply(weighted, weight, out=r)
    grad /= grad.size
    return float(value), grad


def fair(pred: Array, target: Array, *, c: float = 1.0, out: Array | None = None) -> Result:
    grad = np.subtract(pred, target, out=out)
    u = np.abs(grad)
    u /= c
    value = c**2 * (u - np.log1p(u)).mean()
    u += 1
    grad /= u
    grad /= grad.size
    return float(value), grad


def tukey(pred: Array, target: Array, *, c: float = 1.0, out: Array | None = None) -> Result:
    grad = np.subtract(pred, target, out=out)
    rest = _square_of_ratio(grad, c)
    np.subtract(1, rest, out=rest)
    np.maximum(rest, 0, out=rest)
    square = rest * rest
    value = c**2 / 6 * (1 - np.vdot(square, rest) / grad.size)
    grad *= square
    grad /= grad.size
    return float(value), grad


def _square_of_ratio(r: Array, c: float) -> Array:
    u = r / c
    u *= u
    return u
