"""Losses of structured outputs."""

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
