"""Losses of a batch in which every sample meets every other, with all N x N similarities in memory at once."""

from typing import Any

import numpy as np

from ...shared_types import Array, Arrays


def info_nce(query: Array, key: Array, *, temperature: float = 0.07, out: Any = None) -> tuple[float, Arrays]:
    s = query @ key.T / query.dtype.type(temperature)
    value, slope = _cross_entropy(s, np.arange(len(s)))
    slope /= temperature
    return value, (slope @ key, slope.T @ query)


def clip(image: Array, text: Array, logit_scale: Array, *, out: Any = None) -> tuple[float, Arrays]:
    s = image @ text.T
    own = np.arange(len(s))
    value, slope = _cross_entropy(logit_scale * s, own)
    other, transposed = _cross_entropy(logit_scale * s.T, own)
    slope += transposed.T
    slope /= 2
    grad_scale = (slope * s).sum(dtype=np.result_type(s, float))
    slope *= logit_scale
    return (value + other) / 2, (slope @ text, slope.T @ image, np.asarray(grad_scale))


def siglip(
    image: Array, text: Array, logit_scale: Array, logit_bias: Array, *, out: Any = None
) -> tuple[float, Arrays]:
    n = len(image)
    s = image @ text.T
    z = logit_scale * s + logit_bias
    np.einsum("ii->i", z)[...] *= -1
    value = np.logaddexp(0, z).sum(dtype=np.result_type(z, float)) / n
    slope = 1 / (1 + np.exp(-z))
    np.einsum("ii->i", slope)[...] *= -1
    slope /= n
    grad_scale, grad_bias = (slope * s).sum(dtype=np.result_type(s, float)), slope.sum(dtype=np.result_type(s, float))
    slope *= logit_scale
    return float(value), (slope @ text, slope.T @ image, np.asarray(grad_scale), np.asarray(grad_bias))


def nt_xent(z1: Array, z2: Array, *, temperature: float = 0.5, out: Any = None) -> tuple[float, Arrays]:
    z = np.concatenate([z1, z2])
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    z /= norm
    s = z @ z.T / z.dtype.type(temperature)
    np.fill_diagonal(s, -np.inf)
    value, slope = _cross_entropy(s, np.roll(np.arange(len(z)), len(z1)))
    slope += slope.T
    grad = slope @ z
    grad -= np.sum(grad * z, axis=1, keepdims=True) * z
    grad /= temperature * norm
    return value, (grad[: len(z1)], grad[len(z1) :])


def supcon(z: Array, labels: Array, *, temperature: float = 0.1, out: Any = None) -> tuple[float, Array]:
    s = z @ z.T / z.dtype.type(temperature)
    same = labels[:, None] == labels
    np.fill_diagonal(same, False)
    np.fill_diagonal(s, -np.inf)
    counts = same.sum(axis=1, keepdims=True)
    anchors = np.count_nonzero(counts)
    share = np.divide(same, counts, where=counts > 0, out=np.zeros_like(s))
    p = np.exp(s - s.max(axis=1, keepdims=True))
    total = p.sum(axis=1, keepdims=True)
    p /= total
    log_p = s - s.max(axis=1, keepdims=True) - np.log(total)
    value = -np.sum(share * np.where(same, log_p, 0)) / anchors
    p *= counts > 0
    p -= share
    p += p.T
    p /= anchors * temperature
    return float(value), p @ z


def batch_hard_triplet(z: Array, labels: Array, *, margin: float = 1.0, out: Any = None) -> tuple[float, Array]:
    same = labels[:, None] == labels
    square = np.einsum("ij,ij->i", z, z)
    distances = square[:, None] + square - 2 * (z @ z.T)
    np.fill_diagonal(distances, 0)
    far = np.where(same, distances, -1).argmax(axis=1)
    near = np.where(same, np.inf, distances).argmin(axis=1)
    counted = (same.sum(axis=1) > 1) & ~same.all(axis=1)
    to_far, to_near = z - z[far], z - z[near]
    d_far, d_near = (np.linalg.norm(r, axis=1) for r in (to_far, to_near))
    loss = np.maximum(0, d_far - d_near + margin) * counted
    active = (loss > 0)[:, None] / np.count_nonzero(counted)
    to_far *= active / np.where(d_far > 0, d_far, 1)[:, None]
    to_near *= active / np.where(d_near > 0, d_near, 1)[:, None]
    grad = to_far - to_near
    np.subtract.at(grad, far, to_far)
    np.add.at(grad, near, to_near)
    return float(loss.sum() / np.count_nonzero(counted)), grad.astype(z.dtype, copy=False)


def _cross_entropy(s: Array, positive: Array) -> tuple[float, Array]:
    """Return the mean cross-entropy, where each row has one positive, and its gradient with respect to s."""
    n = len(s)
    e = s - s.max(axis=1, keepdims=True)
    own = e[np.arange(n), positive]
    np.exp(e, out=e)
    total = e.sum(axis=1, keepdims=True)
    value = np.mean(np.log(total[:, 0]) - own)
    e /= total * n
    e[np.arange(n), positive] -= 1 / n
    return float(value), e
