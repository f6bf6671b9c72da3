"""Every loss as a plain NumPy definition in float64 (long double where the input is), to compare with and to read.

An elementwise loss is a function of (pred, target) that returns three arrays of their shape: the loss of each element,
its derivative and its second derivative by pred. A loss with a class axis is a function of pred and target
as arrays (samples, classes), of class weights (classes,) and of the weight (samples, 1) that the target of each sample
brings to the mean; its loss has the shape (samples,).

`elementwise` and `class_axis` add to them what all losses share: weights, ignored samples, reductions, normalizer.
"""

from typing import NamedTuple

import numpy as np


class Result(NamedTuple):
    value: float | np.ndarray
    grad: np.ndarray
    hess: np.ndarray
    scale: float  # the size of the numbers that a derivative is made of, where it is a difference that cancels


# ---------------------------------------------------------------------------------------------------------------------
# Regression


def mse(p, t):
    r = p - t
    return r**2, 2 * r, np.full_like(r, 2)


def mae(p, t):
    r = p - t
    return np.abs(r), np.sign(r), np.zeros_like(r)


def huber(p, t, delta=1.0):
    r = p - t
    near = np.abs(r) <= delta
    loss = np.where(near, r**2 / 2, delta * (np.abs(r) - delta / 2))
    return loss, np.where(near, r, delta * np.sign(r)), np.where(near, 1.0, 0.0)


# ---------------------------------------------------------------------------------------------------------------------
# Binary


def binary_cross_entropy_with_logits(z, t, pos_weight=None, alpha=None, label_smoothing=0.0):
    smoothing = z.dtype.type(label_smoothing)
    t = t * (1 - smoothing) + smoothing / 2
    alpha_t = 1.0 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
    a = alpha_t * t * (1.0 if pos_weight is None else pos_weight)  # the weight of -log p
    b = alpha_t * (1 - t)  # the weight of -log(1 - p)
    # -log(1 - p) = log(1 + exp z) and -log p = log(1 + exp -z); where a weight is 0, an infinite logit costs nothing.
    loss = zero_or(a, np.logaddexp(0, -z)) + zero_or(b, np.logaddexp(0, z))
    p, q = sigmoid(z), sigmoid(-z)
    return loss, b * p - a * q, (a + b) * p * q


def hinge(z, t, margin=1.0):
    gap = margin - t * z
    grad = np.where(gap > 0, -t, np.where(gap <= 0, 0, gap))  # gap itself: NaN stays NaN
    return np.maximum(0, gap), grad, np.zeros_like(gap)


# ---------------------------------------------------------------------------------------------------------------------
# Classes


def cross_entropy(z, t, w, mass, label_smoothing=0.0, z_loss=0.0):
    classes = z.shape[1]
    q = w * ((1 - label_smoothing) * t + label_smoothing / classes)
    total = q.sum(axis=1, keepdims=True)

    peak = z.max(axis=1, keepdims=True)
    e = np.exp(z - peak)
    others = sum_of_others(e)
    first = z.argmax(axis=1, keepdims=True)
    above = np.log1p(np.take_along_axis(others, first, axis=1))  # lse - peak, accurate for a confident row too
    lse = peak + above
    p, not_p = e / (e + others), others / (e + others)

    loss = zero_or(q, peak - z + above).sum(axis=1) + (z_loss * mass * lse**2)[:, 0]
    # total p - q, written so that it does not cancel where p is near 1
    grad = (total - q) * p - q * not_p + 2 * z_loss * mass * lse * p
    hess = total * p * not_p + 2 * z_loss * mass * (lse * p * not_p + p**2)
    return loss, grad, hess


# ---------------------------------------------------------------------------------------------------------------------
# What the definitions use


def sigmoid(z):
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def zero_or(weight, x):
    """weight * x, and 0 where the weight is 0, whatever x is."""
    return np.where(weight == 0, 0, weight * x)


def sum_of_others(e):
    """For each class the sum over the other classes: those before it plus those behind it, so nothing cancels."""
    before, behind = np.zeros_like(e), np.zeros_like(e)
    before[:, 1:] = np.cumsum(e[:, :-1], axis=1)
    behind[:, :-1] = np.cumsum(e[:, :0:-1], axis=1)[:, ::-1]
    return before + behind


# ---------------------------------------------------------------------------------------------------------------------
# What all losses share


def elementwise(loss, pred, target, *, sample_weight=None, reduction="mean", normalizer=None, **parameters):
    dtype = np.result_type(pred, float)
    pred, target = np.asarray(pred, dtype), np.asarray(target, dtype)
    with np.errstate(all="ignore"):
        terms = loss(pred, target, **parameters)
        return reduce(*terms, np.ones(pred.shape), sample_weight, reduction, normalizer)


def class_axis(
    loss, pred, target, *, axis=-1, class_weight=None, ignore_index=-100,
    sample_weight=None, reduction="mean", normalizer=None, **parameters,
):  # fmt: skip
    dtype = np.result_type(pred, float)
    pred, target = np.asarray(pred, dtype), np.asarray(target)
    classes = pred.shape[axis]
    z = np.moveaxis(pred, axis, -1)
    batch = z.shape[:-1]
    if target.shape == pred.shape:
        t = np.moveaxis(target, axis, -1).astype(dtype)
        kept = np.ones(batch)
    else:  # class indices
        t = np.asarray(target[..., np.newaxis] == np.arange(classes), dtype)
        kept = np.asarray(target != ignore_index, float)
    w = np.ones(classes) if class_weight is None else np.asarray(class_weight, float)
    mass = kept if class_weight is None else kept * (t @ w)
    if class_weight is not None and not parameters.get("label_smoothing"):
        kept = kept * (mass != 0)  # a sample of which no part has a weight is not there either

    with np.errstate(all="ignore"):
        samples = int(np.prod(batch))
        flat = z.reshape(samples, classes), t.reshape(samples, classes), w, mass.reshape(samples, 1)
        value, grad, hess = loss(*flat, **parameters)
        grad, hess = (np.moveaxis(d.reshape(z.shape), -1, axis) for d in (grad, hess))
        return reduce(value.reshape(batch), grad, hess, kept, sample_weight, reduction, normalizer, mass, axis)


def reduce(loss, grad, hess, kept, sample_weight, reduction, normalizer, mass=1.0, axis=None):
    """Apply the weights and the reduction.

    `kept` is 0 where an element of the loss is not there; `mass` the weight that it brings to the mean's denominator
    besides its sample weight. `loss` and its derivatives contain the class weights already. `axis` is the axis that the
    derivatives have and the loss has not.
    """
    w = np.asarray(kept, float)
    if sample_weight is not None:
        w = w * match_leading(np.asarray(sample_weight, float), w.ndim)
    value = zero_or(w, loss)
    scale = 1.0
    if reduction == "mean":
        divisor = np.sum(w * mass) if normalizer is None else normalizer
        scale = 1 / divisor if divisor else 0.0
    if reduction != "none":
        value = float(value.sum() * scale) if scale else 0.0
    by_element = w if axis is None else np.expand_dims(w, axis)
    factor = by_element * scale
    grad, hess = zero_or(factor, grad), zero_or(factor, hess)
    size = max(np.max(np.abs(x), initial=0, where=np.isfinite(x)) for x in (factor, grad, hess))
    return Result(value, grad, hess, float(size))


def match_leading(weight, ndim):
    """weight with axes of size 1 behind its own, to be broadcast along the trailing axes."""
    return weight.reshape(weight.shape + (1,) * (ndim - weight.ndim))
