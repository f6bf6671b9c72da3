"""Losses of structured outputs. Those of sequences have a loop over the frames, and are vectorised over the batch."""

from functools import lru_cache
from typing import Any

import numpy as np

from ...shared_types import Array, Arrays


def hierarchical_cross_entropy(
    x: Array, node_weight: Array, target: Array, *, tree: Any, out: Any = None
) -> tuple[float, Arrays]:
    """All samples at once, level by level from the root."""
    length, node, sign = _paths(tree)
    grad_x, grad_weight = (np.empty_like(x), np.empty_like(node_weight)) if out is None else out
    grad_x[...] = 0
    grad_weight[...] = 0
    value = 0.0
    for level in range(length[target].max(initial=0)):
        some = np.flatnonzero(length[target] > level)
        k, s = node[target[some], level], sign[target[some], level].astype(x.dtype)
        rows, vectors = node_weight[k], x[some]
        z = -s * np.einsum("ij,ij->i", rows, vectors)
        value += float(np.logaddexp(0, z).sum())
        slope = (-s / (1 + np.exp(-z)) / len(x))[:, np.newaxis]
        grad_x[some] += slope * rows
        order = np.argsort(k, kind="stable")
        first = np.flatnonzero(np.diff(k[order], prepend=-1))
        grad_weight[k[order][first]] = np.add.reduceat((slope * vectors)[order], first)
    return value / len(x), (grad_x, grad_weight)


@lru_cache(maxsize=2)
def _paths(tree: Any) -> tuple[Array, Array, Array]:
    """For each class the length of its path, and the nodes and the signs of its decisions, filled up with 0."""
    codes, length = tree.codes, tree.lengths
    node, sign = np.zeros((2, len(codes), tree.depth), np.int32)
    beginnings = sorted({code[:k] for code in codes for k in range(len(code))}, key=lambda text: (len(text), text))
    number = {text: k for k, text in enumerate(beginnings)}
    for c, code in enumerate(codes):
        node[c, : len(code)] = [number[code[:k]] for k in range(len(code))]
        sign[c, : len(code)] = [1 if bit == "1" else -1 for bit in code]
    return length, node, sign


def ctc(
    logits: Array, targets: Array, input_lengths: Array, target_lengths: Array, *, out: Any = None
) -> tuple[float, Array]:
    """With blank 0, in logarithms. A sequence that has ended stays in its last states."""
    frames, n, _ = logits.shape
    log_p = logits - logits.max(axis=2, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=2, keepdims=True))
    states = np.zeros((n, 2 * targets.shape[1] + 1), targets.dtype)
    states[:, 1::2] = targets
    skip = np.zeros(states.shape, bool)  # whether a way leads from two states before
    skip[:, 3::2] = targets[:, 1:] != targets[:, :-1]
    running = np.arange(frames)[:, None] < input_lengths
    of_state = np.take_along_axis(log_p, states[None], axis=2)
    lowest = of_state.dtype.type(-np.inf)

    forward = np.full((frames, *states.shape), lowest)
    forward[0, :, :2] = of_state[0, :, :2]
    for t in range(1, frames):
        before = forward[t - 1]
        ways = before.copy()
        ways[:, 1:] = np.logaddexp(before[:, 1:], before[:, :-1])
        ways[:, 2:] = np.logaddexp(ways[:, 2:], np.where(skip[:, 2:], before[:, :-2], lowest))
        forward[t] = np.where(running[t][:, None], ways + of_state[t], before)
    is_last = np.arange(states.shape[1]) - 2 * target_lengths[:, None]
    is_last = (is_last == 0) | (is_last == -1)
    log_total = np.logaddexp.reduce(np.where(is_last, forward[-1], lowest), axis=1)

    back = np.where(is_last, np.zeros_like(lowest), lowest)
    grad = np.exp(log_p)
    rows = np.arange(n)[:, None]
    for t in range(frames - 1, -1, -1):
        occupied = np.exp(forward[t] + back - log_total[:, None])
        np.subtract.at(grad[t], (rows, states), occupied)
        behind = back + of_state[t]
        ways = behind.copy()
        ways[:, :-1] = np.logaddexp(behind[:, :-1], behind[:, 1:])
        ways[:, :-2] = np.logaddexp(ways[:, :-2], np.where(skip[:, 2:], behind[:, 2:], lowest))
        back = np.where(running[t][:, None], ways, back)
    grad *= running[..., None]
    grad /= n
    return float(-log_total.mean(dtype=np.result_type(log_total, float))), grad
