"""Losses of two classes: with probabilities and with logits."""

import numpy as np

from ...shared_types import Array, Result

# ---------------------------------------------------------------------------------------------------------------------
# Probabilities and labels 0, 1


def binary_cross_entropy(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    rest = 1 - pred
    logs = np.maximum(np.log(pred), -100)
    value = np.vdot(target, logs) / pred.size
    np.maximum(np.log1p(-pred, out=logs), -100, out=logs)
    value += np.vdot(1 - target, logs) / pred.size
    rest *= pred
    grad = np.subtract(pred, target, out=out)
    grad /= np.maximum(rest, np.finfo(pred.dtype).tiny, out=rest)
    grad /= grad.size
    return -float(value), grad


def binary_focal(pred: Array, target: Array, *, gamma: float = 2.0, out: Array | None = None) -> Result:
    wrong = np.abs(target - pred)  # 1 minus the probability of the label
    right = 1 - wrong
    loss = np.log(right)
    np.maximum(loss, -100, out=loss)
    slope = wrong ** (gamma - 1)
    power = slope * wrong
    slope *= gamma
    slope *= loss
    loss *= power
    slope -= np.divide(power, right, out=power)
    sign = np.multiply(target, 2, out=out)
    sign -= 1
    grad = np.multiply(sign, slope, out=sign)
    grad /= grad.size
    return -float(loss.mean()), grad


# ---------------------------------------------------------------------------------------------------------------------
# Logits and labels 0, 1


def binary_cross_entropy_with_logits(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    p, log_1p = sigmoid_and_log1p(pred, out)
    value = (np.maximum(pred, 0) - pred * target + log_1p).mean()
    p -= target
    p /= p.size
    return float(value), p


def sigmoid_focal(pred: Array, target: Array, *, gamma: float = 2.0, out: Array | None = None) -> Result:
    sign = 2 * target
    sign -= 1
    margin = sign * pred
    right, loss = sigmoid_and_log1p(margin, out)
    loss -= np.minimum(margin, 0)  # -log right
    wrong = 1 - right
    power = wrong**gamma
    grad = np.multiply(right, loss, out=right)
    grad *= gamma
    grad += wrong
    grad *= power
    grad *= sign
    grad /= -grad.size
    return float(np.vdot(power, loss) / loss.size), grad


def sigmoid_poly1(pred: Array, target: Array, *, epsilon: float = 1.0, out: Array | None = None) -> Result:
    p, log_1p = sigmoid_and_log1p(pred, out)
    wrong = np.abs(p - target)
    value = (np.maximum(pred, 0) - pred * target + log_1p + epsilon * wrong).mean()
    slope = 1 - wrong
    slope *= epsilon
    slope += 1
    p -= target
    p *= slope
    p /= p.size
    return float(value), p


def brier(pred: Array, target: Array, *, out: Array | None = None) -> Result:
    p, _ = sigmoid_and_log1p(pred, out, want_log=False)
    slope = 1 - p
    slope *= p
    p -= target
    value = np.vdot(p, p) / p.size
    p *= slope
    p *= 2 / p.size
    return float(value), p


def sigmoid_and_log1p(z: Array, out: Array | None, want_log: bool = True) -> tuple[Array, Array]:
    """sigmoid(z), and log(1 + exp(-|z|)), the two parts of the losses with logits."""
    e = np.abs(z)
    np.negative(e, out=e)
    np.exp(e, out=e)  # never above 1, so neither log1p nor the sigmoid can overflow
    p = np.divide(np.where(z >= 0, 1, e), 1 + e, out=out)
    return p, np.log1p(e, out=e) if want_log else e
