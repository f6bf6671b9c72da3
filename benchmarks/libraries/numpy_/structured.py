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


def linear_chain_crf(emissions: Array, tags: Array, transitions: Array, *, out: Any = None) -> tuple[float, Arrays]:
    """A loop over the steps, with all sequences at once."""
    n, steps, k = emissions.shape
    alpha = np.empty_like(emissions)
    alpha[:, 0] = emissions[:, 0]
    for t in range(1, steps):
        alpha[:, t] = emissions[:, t] + _log_sum_exp(alpha[:, t - 1, :, None] + transitions, axis=1)
    total = _log_sum_exp(alpha[:, -1], axis=1)
    grad, of_transitions = np.empty_like(emissions), np.zeros_like(transitions)
    grad[:, -1] = np.exp(alpha[:, -1] - total[:, None])
    for t in range(steps - 1, 0, -1):
        # The probability of each pair of neighbours: that of the second tag, and that of the first one given the second
        move = alpha[:, t - 1, :, None] + transitions
        move -= (alpha[:, t] - emissions[:, t])[:, None, :]
        np.exp(move, out=move)
        move *= grad[:, t, None, :]
        of_transitions += move.sum(axis=0)
        grad[:, t - 1] = move.sum(axis=2)
    value = np.sum(total - _score(emissions, tags, transitions))
    return _less_right(value, grad, of_transitions, tags)


def structured_hinge(
    emissions: Array, tags: Array, transitions: Array, *, margin: float = 1.0, out: Any = None
) -> tuple[float, Arrays]:
    n, steps, k = emissions.shape
    every = np.arange(n)
    ones = np.eye(k, dtype=emissions.dtype)
    scores = emissions + margin * (1 - ones[tags])
    alpha, before = scores[:, 0], np.empty((steps, n, k), int)
    for t in range(1, steps):
        move = alpha[:, :, None] + transitions
        before[t] = move.argmax(axis=1)
        alpha = np.take_along_axis(move, before[t][:, None], axis=1)[:, 0] + scores[:, t]
    path = np.empty((n, steps), int)
    path[:, -1] = alpha.argmax(axis=1)
    for t in range(steps - 1, 0, -1):
        path[:, t - 1] = before[t][every, path[:, t]]
    value = np.sum(alpha.max(axis=1) - _score(emissions, tags, transitions))
    of_transitions = np.zeros_like(transitions)
    np.add.at(of_transitions, (path[:, :-1], path[:, 1:]), 1)
    return _less_right(value, ones[path], of_transitions, tags)


def _log_sum_exp(x: Array, axis: int) -> Array:
    peak = x.max(axis=axis, keepdims=True)
    total: Array = np.log(np.exp(x - peak).sum(axis=axis))
    return total + peak.squeeze(axis)


def _score(emissions: Array, tags: Array, transitions: Array) -> Array:
    of_tags: Array = np.take_along_axis(emissions, tags[:, :, None], axis=2).sum(axis=(1, 2))
    return of_tags + transitions[tags[:, :-1], tags[:, 1:]].sum(axis=1)


def _less_right(value: Any, grad: Array, of_transitions: Array, tags: Array) -> tuple[float, Arrays]:
    """Subtract the right path from the counts of tags and moves, and divide by the number of sequences."""
    n, steps, _ = grad.shape
    grad[np.arange(n)[:, None], np.arange(steps), tags] -= 1
    np.subtract.at(of_transitions, (tags[:, :-1], tags[:, 1:]), 1)
    grad /= n
    of_transitions /= n
    return float(value) / n, (grad, of_transitions)
