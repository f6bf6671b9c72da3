"""Losses of vectors, which lie along the last axis, and of scores and distances of two samples."""

import numpy as np

from ...shared_types import Array

TwoGradients = tuple[Array, Array]
ThreeGradients = tuple[Array, Array, Array]


def contrastive(
    x1: Array, x2: Array, same: Array, *, margin: float = 1.0, out: TwoGradients | None = None
) -> tuple[float, TwoGradients]:
    grad_x1, grad_x2 = out or (None, None)
    grad_x1 = np.subtract(x1, x2, out=grad_x1)
    d = np.sqrt(_squares(grad_x1))
    short = np.maximum(margin - d, 0)
    value = np.where(same == 1, d * d, short * short).mean() / 2
    grad_x1 *= (np.where(same == 1, 1, -short / d) / d.size).astype(x1.dtype)[..., np.newaxis]
    return float(value), (grad_x1, np.negative(grad_x1, out=grad_x2))


def triplet(
    anchor: Array, positive: Array, negative: Array, *, margin: float = 1.0, eps: float = 1e-6,
    out: ThreeGradients | None = None,
) -> tuple[float, ThreeGradients]:  # fmt: skip
    grad_anchor, grad_positive, grad_negative = out or (None, None, None)
    grad_positive = np.subtract(anchor, positive, out=grad_positive)
    grad_positive += eps
    grad_negative = np.subtract(anchor, negative, out=grad_negative)
    grad_negative += eps
    near, far = (np.sqrt(_squares(x)) for x in (grad_positive, grad_negative))
    losses = np.maximum(near - far + margin, 0)
    active = np.sign(losses) / losses.size
    grad_positive *= (-active / near)[..., np.newaxis]
    grad_negative *= (active / far)[..., np.newaxis]
    grad_anchor = np.add(grad_positive, grad_negative, out=grad_anchor)
    return float(losses.mean()), (np.negative(grad_anchor, out=grad_anchor), grad_positive, grad_negative)


def cosine_embedding(
    x1: Array, x2: Array, label: Array, *, margin: float = 0.0, out: TwoGradients | None = None
) -> tuple[float, TwoGradients]:
    grad_x1, grad_x2 = out or (None, None)
    n1, n2 = np.sqrt(_squares(x1)), np.sqrt(_squares(x2))
    cosine = np.einsum("...i,...i->...", x1, x2) / (n1 * n2)
    value = np.where(label == 1, 1 - cosine, np.maximum(cosine - margin, 0)).mean()
    slope = (np.where(label == 1, -1, cosine > margin) / cosine.size).astype(x1.dtype)
    grad_x1 = np.multiply(x1, (-slope * cosine / n1**2)[..., np.newaxis], out=grad_x1)
    grad_x1 += x2 * (slope / (n1 * n2))[..., np.newaxis]
    grad_x2 = np.multiply(x2, (-slope * cosine / n2**2)[..., np.newaxis], out=grad_x2)
    grad_x2 += x1 * (slope / (n1 * n2))[..., np.newaxis]
    return float(value), (grad_x1, grad_x2)


def cosine_distance(pred: Array, target: Array, *, out: Array | None = None) -> tuple[float, Array]:
    n1, n2 = np.sqrt(_squares(pred)), np.sqrt(_squares(target))
    cosine = np.einsum("...i,...i->...", pred, target) / (n1 * n2)
    grad = np.multiply(pred, (cosine / n1**2 / cosine.size)[..., np.newaxis], out=out)
    grad -= target * (1 / (n1 * n2 * cosine.size))[..., np.newaxis]
    return float(1 - cosine.mean()), grad


def margin_ranking(
    x1: Array, x2: Array, label: Array, *, margin: float = 0.0, out: TwoGradients | None = None
) -> tuple[float, TwoGradients]:
    grad_x1, grad_x2 = out or (None, None)
    losses = np.subtract(x2, x1, out=grad_x2)
    losses *= label
    losses += margin
    np.maximum(losses, 0, out=losses)
    value = losses.mean()
    grad_x2 = np.sign(losses, out=losses)
    grad_x2 *= label
    grad_x2 /= grad_x2.size
    return float(value), (np.negative(grad_x2, out=grad_x1), grad_x2)


def hinge_embedding(x: Array, label: Array, *, margin: float = 1.0, out: Array | None = None) -> tuple[float, Array]:
    losses = np.where(label == 1, x, np.maximum(margin - x, 0))
    value = losses.mean()
    grad = np.where(label == 1, 1, -np.sign(losses)).astype(x.dtype)
    grad /= grad.size
    return float(value), grad


def _squares(x: Array) -> Array:
    return np.einsum("...i,...i->...", x, x)
