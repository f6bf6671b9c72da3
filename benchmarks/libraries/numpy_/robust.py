"""Robust losses for regression. In all of them, r = pred - target."""

import numpy as np

from ...shared_types import Array, Result


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
