"""Distributions along an axis, and their sums over it."""

import numpy as np

from ..types import Array

Pair = tuple[Array, Array]


def kl_divergence(pred: Array, target: Array, *, axis: int = -1, out: Array | None = None) -> tuple[float, Array]:
    batch = pred.size // pred.shape[axis]
    logs = np.log(target, out=out)
    logs -= pred
    value = np.vdot(target, logs) / batch
    return float(value), np.multiply(target, -1 / pred.dtype.type(batch), out=logs)


def js_divergence(
    pred: Array, target: Array, *, beta: float = 0.5, axis: int = -1, out: Pair | None = None
) -> tuple[float, Pair]:
    batch = pred.size // pred.shape[axis]
    by_pred, by_target = out or (None, None)
    by_pred = _pull(target - pred, beta, by_pred)
    by_pred *= np.exp(pred)
    by_pred *= (1 - beta) / batch
    by_target = _pull(pred - target, 1 - beta, by_target)
    by_target *= np.exp(target)
    by_target *= beta / batch
    return float(by_pred.sum() + by_target.sum()), (by_pred, by_target)


def _pull(r: Array, share: float, out: Array | None) -> Array:
    """log p - log m, where the mixture m has this share of the other distribution, exp(r) times p."""
    np.expm1(r, out=r)
    r *= share
    return np.negative(np.log1p(r, out=r), out=out)


def gaussian_kl(mu: Array, log_var: Array, *, out: Pair | None = None) -> tuple[float, Pair]:
    batch = mu.size // mu.shape[-1]
    by_mu, by_log_var = out or (None, None)
    e = np.expm1(log_var, out=by_log_var)
    value = (np.vdot(mu, mu) + (e - log_var).sum()) / (2 * batch)
    e /= 2 * batch
    return float(value), (np.divide(mu, batch, out=by_mu), e)
