"""Losses of a batch against a batch: tile by tile, so that the N x N similarities never exist at once.

A tile of similarities is a matrix product into a buffer, which a kernel of pairs.pyx turns into slopes in place; two
more products add these to the gradients. The products are NumPy's, and so are the threads they run on.

Softmax needs the sums over whole rows (and columns) before the first slope, so its tiles are computed twice: one
product in four, as keeping them would take N x N. `clip` of (4096, 256) takes no longer than its four products, and the
kernels less than a tenth of that. A batch of one tile keeps it; and so does a softmax in one direction, whose tiles are
strips of whole rows if the batch is not too large for that. Where a batch meets itself, a tile serves for its mirror
image too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastloss._cpu import kernels

#: Vectors along a side of a tile. Products of 512 to 1024 run at the full speed of BLAS (measured with 64, 256 and 512
#: dimensions); larger tiles gain nothing, smaller ones wake its threads more often.
TILE = 1024
#: The least height of a strip: below, adding a product to a gradient takes as long as the product.
LOWEST_STRIP = TILE // 8

Array = NDArray[Any]
Span = tuple[slice, slice]
Positives = tuple[Array, Array]


class Tiles:
    """The similarities of vectors x with vectors y, tile by tile in one buffer, and the way back to gradients."""

    def __init__(self, x: Array, y: Array, *, by_rows: bool = False) -> None:
        n = len(x)
        self.x, self.y, self.alike = x, y, y is x
        self.height, self.width = min(TILE, n), min(TILE, n)
        if by_rows and (strip := TILE * TILE // n) >= LOWEST_STRIP:
            self.height, self.width = min(strip, n), n
        self.buffer = np.empty(self.height * self.width, x.dtype)
        self.product = np.empty((0, 0), x.dtype)

    def groups(self, by_rows: bool) -> Iterator[list[Span]]:
        """The tiles, (rows, columns), grouped by what has to be summed up before slopes are known: rows, or all."""
        n = len(self.x)
        lines = []
        for i in range(0, n, self.height):
            rows = slice(i, min(i + self.height, n))
            starts = range(i if self.alike else 0, n, self.width)
            lines.append([(rows, slice(j, min(j + self.width, n))) for j in starts])
        return iter(lines if by_rows else [[tile for line in lines for tile in line]])

    def similarities(self, rows: slice, columns: slice) -> Array:
        x, y = self.x[rows], self.y[columns].T
        shape = len(x), y.shape[1]
        return np.matmul(x, y, out=self.buffer[: shape[0] * shape[1]].reshape(shape))

    def add_gradients(self, slopes: Array, rows: slice, columns: slice, grads: tuple[Array, ...]) -> None:
        """Add what the slopes of a tile are to the gradients by x and y."""
        self.add(slopes, self.y[columns], grads[0][rows])
        if not self.alike or rows != columns:
            self.add(slopes.T, self.x[rows], grads[-1][columns])

    def add(self, a: Array, b: Array, to: Array) -> None:
        if self.product.size < to.size:
            self.product = np.empty(to.shape, to.dtype)
        to += np.matmul(a, b, out=self.product[: len(to)])


# ---------------------------------------------------------------------------------------------------------------------
# Softmax


class Sums:
    """Sums of exp(k s) over the negatives and the positives of each vector, and what follows from them."""

    def __init__(self, n: int, dtype: np.dtype[Any]) -> None:
        self.top = np.full((2, n), np.finfo(dtype).min, dtype)  # the sums are mass exp(top)
        self.mass = np.zeros((3, n))  # over the negatives, over the positives, and the sum of k s over these
        self.slope = np.zeros((2, 3, n), dtype)  # see pairs.pyx

    @property
    def pair(self) -> tuple[Array, Array]:
        return self.top, self.mass

    def settle(self, span: slice, counts: Array, weight: Array) -> Array:
        """The losses of some vectors, from their numbers of positives; and the slopes of these losses times weights.

        A loss is log(sum over all) - mean over positives of k s. Kept apart as softplus(log sum over negatives - log
        sum over positives), and the rest, which is 0 for a single positive, it does not cancel where it is small.
        """
        negative, positive, total = self.mass[:, span]
        top = self.top[:, span].astype(float)
        log_positive = top[1] + np.log(positive)
        gap = top[0] + np.log(negative) - log_positive
        share, rest = 1 / (1 + np.exp(-gap)), 1 / (1 + np.exp(gap))  # of the negatives in the sum, and of the positives
        alone, single = counts == 0, counts == 1
        slope = self.slope[:, :, span]
        slope[:, 1] = top
        slope[0, 0] = np.where(alone | (negative == 0), 0, weight * share / negative)
        slope[1, 0] = np.where(alone | single, 0, weight * rest / positive)
        slope[1, 2] = np.where(alone, 0, weight / counts * np.where(single, share, 1))
        return np.where(alone, 0, np.where(single, 0, log_positive - total / counts) + np.logaddexp(0, gap))


def softmax(
    x: Array, y: Array, k: float, positives: Positives, weight: Array, both: bool, grads: tuple[Array, ...]
) -> Array:
    """The losses, and in `grads` the gradients, of softmax over k x y^T by rows, or the mean of rows and columns.

    Where y is x, it is by rows, and each pair counts in the rows of both of its samples.
    """
    tiles = Tiles(x, y, by_rows=not both and y is not x)
    n, alike, kernel = len(x), tiles.alike, kernels.pairs
    counts = positives[1] - positives[0] - alike
    rows = Sums(n, x.dtype)
    columns = rows if alike else Sums(n, x.dtype) if both else None
    losses = np.zeros(n)
    for group in tiles.groups(by_rows=columns is None):
        for i, j in group:
            s = tiles.similarities(i, j)
            of_columns = columns if not alike or i != j else None
            kernel.add_to_sums(
                s, k, i.start, j.start, positives, alike, rows.pair, of_columns.pair if of_columns else None
            )
        span = group[0][0] if columns is None else slice(n)
        if columns is None or alike:
            losses[span] = rows.settle(span, counts[span], weight[span])
        else:
            losses = (rows.settle(span, counts, weight / 2) + columns.settle(span, counts, weight / 2)) / 2
        for i, j in group if grads else []:
            if len(group) > 1:
                s = tiles.similarities(i, j)
            kernel.softmax_slopes(
                s, k, i.start, j.start, positives, alike, rows.slope, columns.slope if columns else None
            )
            tiles.add_gradients(s, i, j, grads)
    return losses


def info_nce(
    inputs: tuple[Array, Array], numbers: tuple[()], _: None, weight: Array, grads: tuple[Array, ...],
    *, temperature: float, symmetric: bool,
) -> tuple[Array, tuple[()]]:  # fmt: skip
    losses = softmax(*inputs, 1 / temperature, one_each(len(weight)), weight, symmetric, grads)
    multiply(grads, 1 / temperature)
    return losses, ()


def clip(
    inputs: tuple[Array, Array], numbers: tuple[float], _: None, weight: Array, grads: tuple[Array, ...]
) -> tuple[Array, tuple[float]]:
    losses = softmax(*inputs, numbers[0], one_each(len(weight)), weight, True, grads)
    by_scale = slope_of_scale(inputs[0], grads)
    multiply(grads, numbers[0])
    return losses, (by_scale,)


def supcon(
    inputs: tuple[Array], numbers: tuple[()], positives: Positives, weight: Array, grads: tuple[Array, ...],
    *, temperature: float,
) -> tuple[Array, tuple[()]]:  # fmt: skip
    losses = softmax(*inputs, *inputs, 1 / temperature, positives, weight, True, grads)
    multiply(grads, 1 / temperature)
    return losses, ()


def nt_xent(
    inputs: tuple[Array, Array], numbers: tuple[()], _: None, weight: Array, grads: tuple[Array, ...],
    *, temperature: float,
) -> tuple[Array, tuple[()]]:  # fmt: skip
    """The two views of a sample are neighbours in one batch, each the other's only positive."""
    n, d = inputs[0].shape
    both = np.stack(inputs, axis=1).reshape(2 * n, d)
    inverse_norm = normalise(both)
    start = np.arange(2 * n) // 2 * 2
    grad = np.zeros_like(both) if grads else both
    slopes = (grad,) if grads else ()
    losses = softmax(both, both, 1 / temperature, (start, start + 2), np.repeat(weight / 2, 2), True, slopes)
    if grads:
        grad -= np.einsum("ij,ij->i", grad, both, dtype=float).astype(grad.dtype)[:, None] * both
        grad *= (inverse_norm / temperature)[:, None]
        grads[0][...], grads[1][...] = grad[0::2], grad[1::2]
    return losses.reshape(n, 2).mean(axis=1), ()


def normalise(x: Array) -> Array:
    """Divide each row by its norm, in place, and return one over the norms; a zero vector stays, and 0 is its entry."""
    exponent = np.frexp(np.maximum(x.max(axis=1), -x.min(axis=1)))[1]
    np.ldexp(x, -exponent[:, None], out=x)  # so squares neither overflow nor vanish
    norm = np.sqrt(np.einsum("ij,ij->i", x, x, dtype=float))
    norm[norm == 0] = np.inf
    x /= norm[:, None]
    inverse: Array = np.ldexp(1 / norm, -exponent)
    return inverse


def one_each(n: int) -> Positives:
    """The positives of batches where row i belongs to row i."""
    return np.arange(n), np.arange(1, n + 1)


def multiply(grads: tuple[Array, ...], k: float) -> None:
    for grad in grads:
        grad *= k


def slope_of_scale(x: Array, grads: tuple[Array, ...]) -> float:
    """The derivative by k, from gradients by x of a function of k x y^T that lack the factor k."""
    return float(np.einsum("ij,ij->", x, grads[0], dtype=float)) if grads else 0.0


# ---------------------------------------------------------------------------------------------------------------------
# Others


def siglip(
    inputs: tuple[Array, Array], numbers: tuple[float, float], _: None, weight: Array, grads: tuple[Array, ...]
) -> tuple[Array, tuple[float, float]]:
    tiles = Tiles(*inputs)
    positives, losses, by_bias = one_each(len(weight)), np.zeros(len(weight)), 0.0
    for line in tiles.groups(by_rows=True):
        for i, j in line:
            s = tiles.similarities(i, j)
            by_bias += kernels.pairs.sigmoid_tile(s, *numbers, i.start, j.start, positives, weight, losses)
            if grads:
                tiles.add_gradients(s, i, j, grads)
    by_scale = slope_of_scale(inputs[0], grads)
    multiply(grads, numbers[0])
    return losses, (by_scale, by_bias)


def batch_hard_triplet(
    inputs: tuple[Array], numbers: tuple[()], positives: Positives, weight: Array, grads: tuple[Array, ...],
    *, margin: float, soft: bool,
) -> tuple[Array, tuple[()]]:  # fmt: skip
    """The triplets are chosen by |x|^2 + |y|^2 - 2 x y, of vectors centred against cancellation, and then measured."""
    (z,), n = inputs, len(weight)
    size = np.max(np.abs(z))
    if not np.isfinite(size):
        for grad in grads:
            grad[...] = np.nan
        return np.full(n, np.nan), ()
    unit = np.ldexp(z.dtype.type(1), np.frexp(size)[1] - 1)
    z = z / unit  # so squares neither overflow nor vanish
    centred = z - middle(z)
    squares = np.einsum("ij,ij->i", centred, centred)
    best, index = np.full((2, n), -np.inf, z.dtype), np.zeros((2, n), np.int32)
    tiles = Tiles(centred, centred)
    for line in tiles.groups(by_rows=True):
        for i, j in line:
            kernels.pairs.mine(tiles.similarities(i, j), i.start, j.start, positives, squares, best, index)
    near, far = (kernels.pairs.distances(z, k) for k in index)
    gap = float(unit) * (far - near)
    loss, slope = (np.logaddexp(0, gap), 1 / (1 + np.exp(-gap))) if soft else (gap + margin, gap + margin > 0)
    for grad in grads:
        for distance, k, sign in ((far, index[1], 1), (near, index[0], -1)):
            pull = np.where(distance > 0, sign * weight * slope / distance, 0)
            kernels.pairs.pull(z, k, np.where(weight > 0, pull, 0), grad)
    return np.maximum(loss, 0), ()


def middle(z: Array) -> Array:
    """A vector amid most: the medians of some rows. A mean would follow an outlier."""
    some = z[:: -(-len(z) // 64)]
    half = len(some) // 2
    middle: Array = np.partition(some, half, axis=0)[half]
    return middle


# ---------------------------------------------------------------------------------------------------------------------
# Batches


def arrange(weight: Array, labels: Array | None) -> tuple[Array | None, Positives | None]:
    """The samples that are there, of weight > 0, sorted by label; None for all as they are. And their positives."""
    rows = np.flatnonzero(weight)
    if labels is None:
        return (None if len(rows) == len(weight) else rows), None
    labels = labels[rows]
    order = np.argsort(labels, kind="stable")
    labels = labels[order]
    first = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]])[: len(labels)])
    sizes = np.diff(first, append=len(labels))
    start = np.repeat(first, sizes)
    return rows[order], (start, start + np.repeat(sizes, sizes))


def has_positives(positives: Positives) -> Array:
    return positives[1] - positives[0] > 1


def has_both(positives: Positives) -> Array:
    """Whether a sample has positives and negatives."""
    size = positives[1] - positives[0]
    return (size > 1) & (size < len(size))
