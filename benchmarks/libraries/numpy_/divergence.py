"""Divergences between distributions that lie along an axis."""

import numpy as np

from ...shared_types import Array

TwoGradients = tuple[Array, Array]


def kl_divergence(pred: Array, target: Array, *, axis: int = -1, out: Array | None = None) -> tuple[float, Array]:
    batch = pred.size // pred.shape[axis]
    logs = np.log(target, out=out)
    logs -= pred
    value = np.vdot(target, logs) / batch
    return float(value), np.multiply(target, -1 / pred.dtype.type(batch), out=logs)


def js_divergence(
    pred: Array, target: Array, *, beta: float = 0.5, axis: int = -1, out: TwoGradients | None = None
) -> tuple[float, TwoGradients]:
    batch = pred.size // pred.shape[axis]
    grad_pred, grad_target = out or (None, None)
    grad_pred = _pull(target - pred, beta, grad_pred)
    grad_pred *= np.exp(pred)
    grad_pred *= (1 - beta) / batch
    grad_target = _pull(pred - target, 1 - beta, grad_target)
    grad_target *= np.exp(target)
    grad_target *= beta / batch
    return float(grad_pred.sum() + grad_target.sum()), (grad_pred, grad_target)


def _pull(r: Array, share: float, out: Array | None) -> Array:
    """Return log p - log m. The mixture m has this share of the other distribution, which is exp(r) p."""
    np.expm1(r, out=r)
    r *= share
    return np.negative(np.log1p(r, out=r), out=out)


def gaussian_kl(mu: Array, log_var: Array, *, out: TwoGradients | None = None) -> tuple[float, TwoGradients]:
    batch = mu.size // mu.shape[-1]
    grad_mu, grad_log_var = out or (None, None)
    e = np.expm1(log_var, out=grad_log_var)
    value = (np.vdot(mu, mu) + (e - log_var).sum()) / (2 * batch)
    e /= 2 * batch
    return float(value), (np.divide(mu, batch, out=grad_mu), e)
