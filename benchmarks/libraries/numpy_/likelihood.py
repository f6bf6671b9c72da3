"""Negative log-likelihoods of counts, of positive amounts, and with a predicted variance."""

import numpy as np

from ...shared_types import Array, Result


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
    grad_pred, grad_var = out or (None, None)
    v = np.maximum(var, eps)
    r = pred - target
    grad_pred = np.divide(r, v, out=grad_pred)
    value = (np.log(v).mean() + np.vdot(r, grad_pred) / r.size) / 2
    grad_var = np.divide(1, v, out=grad_var)
    grad_var -= grad_pred * grad_pred
    grad_var *= var >= eps
    grad_pred /= r.size
    grad_var /= 2 * r.size
    return float(value), (grad_pred, grad_var)
