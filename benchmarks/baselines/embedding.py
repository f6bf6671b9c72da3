"""Vectors along the last axis, and the scores and distances of pairs."""

import numpy as np

from ..types import Array

Pair = tuple[Array, Array]
Triple = tuple[Array, Array, Array]


def contrastive(
    x1: Array, x2: Array, same: Array, *, margin: float = 1.0, out: Pair | None = None
) -> tuple[float, Pair]:
    by_x1, by_x2 = out or (None, None)
    by_x1 = np.subtract(x1, x2, out=by_x1)
    d = np.sqrt(_squares(by_x1))
    short = np.maximum(margin - d, 0)
    value = np.where(same == 1, d * d, short * short).mean() / 2
    by_x1 *= (np.where(same == 1, 1, -short / d) / d.size).astype(x1.dtype)[..., np.newaxis]
    return float(value), (by_x1, np.negative(by_x1, out=by_x2))


def triplet(
    anchor: Array, positive: Array, negative: Array, *, margin: float = 1.0, eps: float = 1e-6,
    out: Triple | None = None,
) -> tuple[float, Triple]:  # fmt: skip
    by_anchor, by_positive, by_negative = out or (None, None, None)
    by_positive = np.subtract(anchor, positive, out=by_positive)
    by_positive += eps
    by_negative = np.subtract(anchor, negative, out=by_negative)
    by_negative += eps
    near, far = (np.sqrt(_squares(x)) for x in (by_positive, by_negative))
    losses = np.maximum(near - far + margin, 0)
    active = np.sign(losses) / losses.size
    by_positive *= (-active / near)[..., np.newaxis]
    by_negative *= (active / far)[..., np.newaxis]
    by_anchor = np.add(by_positive, by_negative, out=by_anchor)
    return float(losses.mean()), (np.negative(by_anchor, out=by_anchor), by_positive, by_negative)


def cosine_embedding(
    x1: Array, x2: Array, label: Array, *, margin: float = 0.0, out: Pair | None = None
) -> tuple[float, Pair]:
    by_x1, by_x2 = out or (None, None)
    n1, n2 = np.sqrt(_squares(x1)), np.sqrt(_squares(x2))
    cosine = np.einsum("...i,...i->...", x1, x2) / (n1 * n2)
    value = np.where(label == 1, 1 - cosine, np.maximum(cosine - margin, 0)).mean()
    slope = (np.where(label == 1, -1, cosine > margin) / cosine.size).astype(x1.dtype)
    by_x1 = np.multiply(x1, (-slope * cosine / n1**2)[..., np.newaxis], out=by_x1)
    by_x1 += x2 * (slope / (n1 * n2))[..., np.newaxis]
    by_x2 = np.multiply(x2, (-slope * cosine / n2**2)[..., np.newaxis], out=by_x2)
    by_x2 += x1 * (slope / (n1 * n2))[..., np.newaxis]
    return float(value), (by_x1, by_x2)


def cosine_distance(pred: Array, target: Array, *, out: Array | None = None) -> tuple[float, Array]:
    n1, n2 = np.sqrt(_squares(pred)), np.sqrt(_squares(target))
    cosine = np.einsum("...i,...i->...", pred, target) / (n1 * n2)
    grad = np.multiply(pred, (cosine / n1**2 / cosine.size)[..., np.newaxis], out=out)
    grad -= target * (1 / (n1 * n2 * cosine.size))[..., np.newaxis]
    return float(1 - cosine.mean()), grad


def margin_ranking(
    x1: Array, x2: Array, label: Array, *, margin: float = 0.0, out: Pair | None = None
) -> tuple[float, Pair]:
    by_x1, by_x2 = out or (None, None)
    losses = np.subtract(x2, x1, out=by_x2)
    losses *= label
    losses += margin
    np.maximum(losses, 0, out=losses)
    value = losses.mean()
    by_x2 = np.sign(losses, out=losses)
    by_x2 *= label
    by_x2 /= by_x2.size
    return float(value), (np.negative(by_x2, out=by_x1), by_x2)


def hinge_embedding(x: Array, label: Array, *, margin: float = 1.0, out: Array | None = None) -> tuple[float, Array]:
    losses = np.where(label == 1, x, np.maximum(margin - x, 0))
    value = losses.mean()
    grad = np.where(label == 1, 1, -np.sign(losses)).astype(x.dtype)
    grad /= grad.size
    return float(value), grad


def _squares(x: Array) -> Array:
    return np.einsum("...i,...i->...", x, x)
