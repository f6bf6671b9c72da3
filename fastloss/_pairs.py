"""Losses of a batch against a batch: tile by tile, so that the N x N similarities never exist at once.

A tile of similarities is a matrix product into a buffer, which a kernel of pairs.pyx turns into slopes in place; two
more products add these to the gradients. The products are NumPy's, and so are the threads they run on.

Softmax needs the sums over whole rows (and columns) before the first slope, so its tiles are computed twice: one
product in four, as keeping them would take N x N. A small batch keeps them; and a softmax in one direction has strips
of whole rows for tiles, if the batch is not too large for that. Where a batch meets itself, a tile serves for its
mirror image too.

New memory costs more than what a small batch does with it, up to 2 us a page: so there is one buffer for all tiles,
which malloc has at hand for the next call; of memory for each tile it would return most to the system in between.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastloss._cpu import kernels

#: Vectors along a side of a tile. Products of 512 to 1024 run at the full speed of BLAS (measured with 64, 256 and 512
#: dimensions); larger tiles gain nothing, smaller ones wake its threads more often.
TILE = 1024
#: The least height of a strip: below, adding a product to a gradient takes as long as the product.
LOWEST_STRIP = TILE // 8
#: So many similarities are kept rather than computed twice: 16 MB of float32.
KEPT = 4 * TILE * TILE

Array = NDArray[Any]
Span = tuple[slice, slice]
Positives = tuple[Array, Array]


class Tiles:
    """The similarities of vectors x with vectors y, or with themselves, tile by tile, and the way back to gradients."""

    def __init__(self, x: Array, y: Array | None = None, *, by_rows: bool = False, twice: bool = False) -> None:
        n = len(x)
        self.alike = y is None
        self.x, self.y = x, x if y is None else y
        height = width = min(n, TILE)
        strip = TILE * TILE // n
        if by_rows and strip >= LOWEST_STRIP:
            height, width = min(strip, n), n
        elif self.alike and n * n <= KEPT:  # smaller ones, as half of those on the diagonal is for nothing
            height = width = min(n, max(2 * LOWEST_STRIP, -(-n // 4)))
        #: The tiles, (rows, columns), in lines of the same rows.
        self.lines = [
            [
                (slice(i, min(i + height, n)), slice(j, min(j + width, n)))
                for j in range(i if self.alike else 0, n, width)
            ]
            for i in range(0, n, height)
        ]
        self.keeps = twice and n * n <= KEPT
        self.kept: dict[tuple[int, int], Array] = {}
        self.free = 0
        self.buffer = np.empty(height * width * (sum(map(len, self.lines)) if self.keeps else 1), x.dtype)
        self.product = np.empty(0, x.dtype)

    def similarities(self, rows: slice, columns: slice) -> Array:
        """Those of a tile: as they are if they are still there, or computed, and then others go for them."""
        key = rows.start, columns.start
        if key in self.kept:
            return self.kept[key]
        if not self.keeps:
            self.kept.clear()
            self.free = 0
        x, y = self.x[rows], self.y[columns]
        if self.y is self.x and rows == columns:
            y = y.copy()  # NumPy takes a matrix times its own transpose by a routine that is up to 3 times slower
        s = self.buffer[self.free :][: len(x) * len(y)].reshape(len(x), len(y))
        self.free += s.size
        self.kept[key] = np.matmul(x, y.T, out=s)
        return s

    def set_gradients(self, slopes: Array, rows: slice, columns: slice, grads: tuple[Array, ...]) -> None:
        """Add what the slopes of a tile are to the gradients by x and y. The first of a row or column sets them."""
        self.add(slopes, self.y[columns], grads[0][rows], columns.start == 0)
        if not self.alike or rows != columns:
            self.add(slopes.T, self.x[rows], grads[-1][columns], rows.start == 0)

    def add(self, a: Array, b: Array, to: Array, first: bool) -> None:
        if first:
            np.matmul(a, b, out=to)
        else:
            if self.product.size < to.size:
                self.product = np.empty(to.size, to.dtype)
            to += np.matmul(a, b, out=self.product[: to.size].reshape(to.shape))


# ---------------------------------------------------------------------------------------------------------------------
# Softmax


def softmax(
    x: Array, y: Array | None, k: float, positives: Positives, weight: Array, both: bool, grads: tuple[Array, ...]
) -> Array:
    """The losses of softmax over k x y^T by rows, or the mean of rows and columns; in `grads` the gradients, over k.

    Without y, x meets itself: it is by rows, and each pair counts in the rows of both of its samples.
    """
    n, alike, kernel = len(x), y is None, kernels.pairs
    by_rows = not both and not alike
    tiles = Tiles(x, y, by_rows=by_rows, twice=bool(grads) and not by_rows)
    rows = kernel.Totals(n, x.dtype)
    columns = rows if alike else kernel.Totals(n, x.dtype) if both else None
    directions = [rows] if columns is None or alike else [rows, columns]
    share = 1 / len(directions)
    losses = np.zeros(n)
    for group in tiles.lines if by_rows else [sum(tiles.lines, [])]:
        for i, j in group:
            of_columns = columns if not alike or i != j else None
            s = tiles.similarities(i, j)
            kernel.add_to_sums(s, k, i.start, j.start, positives, alike, rows, of_columns)
        first, stop = group[0][0].start, group[-1][0].stop
        for totals in directions:
            totals.settle(first, stop, positives, alike, weight, share, losses, share)
        for i, j in group if grads else []:
            s = tiles.similarities(i, j)
            kernel.softmax_slopes(s, k, i.start, j.start, positives, alike, rows, columns)
            tiles.set_gradients(s, i, j, grads)
    return losses


def info_nce(
    inputs: tuple[Array, Array], numbers: tuple[()], positives: Positives, weight: Array, grads: tuple[Array, ...],
    *, temperature: float, symmetric: bool,
) -> tuple[Array, tuple[()]]:  # fmt: skip
    k = 1 / temperature
    return softmax(*inputs, k, positives, k * weight, symmetric, grads), ()


def clip(
    inputs: tuple[Array, Array], numbers: tuple[float], positives: Positives, weight: Array, grads: tuple[Array, ...]
) -> tuple[Array, tuple[float, ...]]:
    losses = softmax(*inputs, numbers[0], positives, weight, True, grads)
    return losses, by_scale(inputs[0], numbers[0], grads)


def supcon(
    inputs: tuple[Array], numbers: tuple[()], positives: Positives, weight: Array, grads: tuple[Array, ...],
    *, temperature: float,
) -> tuple[Array, tuple[()]]:  # fmt: skip
    k = 1 / temperature
    return softmax(*inputs, None, k, positives, k * weight, True, grads), ()


def nt_xent(
    inputs: tuple[Array, Array], numbers: tuple[()], _: Positives, weight: Array, grads: tuple[Array, ...],
    *, temperature: float,
) -> tuple[Array, tuple[()]]:  # fmt: skip
    """The two views of a sample are neighbours in one batch, each the other's only positive."""
    units, inverse_norms = kernels.pairs.unit_vectors(*inputs)
    start = np.arange(len(units)) // 2 * 2
    slopes = (np.empty_like(units),) if grads else ()
    k = 1 / temperature
    losses = softmax(units, None, k, (start, start + 2), np.repeat(weight * (k / 2), 2), True, slopes)
    if grads:
        kernels.pairs.gradients_through_units(*slopes, units, inverse_norms, *grads)
    return (losses[0::2] + losses[1::2]) / 2, ()


def by_scale(x: Array, k: float, grads: tuple[Array, ...]) -> tuple[float, ...]:
    """The derivative by k of a function of k x y^T, from the gradients over k, which become the gradients."""
    if not grads:
        return ()
    slope: float = kernels.pairs.inner_product(x, grads[0])
    for grad in grads:
        grad *= k
    return (slope,)


# ---------------------------------------------------------------------------------------------------------------------
# Others


def siglip(
    inputs: tuple[Array, Array], numbers: tuple[float, float], positives: Positives, weight: Array,
    grads: tuple[Array, ...],
) -> tuple[Array, tuple[float, ...]]:  # fmt: skip
    tiles = Tiles(*inputs)
    losses, slopes = np.zeros((2, len(weight)))
    for line in tiles.lines:
        for i, j in line:
            s = tiles.similarities(i, j)
            kernels.pairs.sigmoid_tile(s, *numbers, i.start, j.start, positives, weight, losses, slopes)
            if grads:
                tiles.set_gradients(s, i, j, grads)
    return losses, (*by_scale(inputs[0], numbers[0], grads), slopes.sum())


def batch_hard_triplet(
    inputs: tuple[Array], numbers: tuple[()], positives: Positives, weight: Array, grads: tuple[Array, ...],
    *, margin: float, soft: bool,
) -> tuple[Array, tuple[()]]:  # fmt: skip
    """The triplets are chosen by |x|^2 + |y|^2 - 2 x y, of vectors centred against cancellation, and then measured."""
    (z,), n = inputs, len(weight)
    size = kernels.pairs.largest_of(z)
    if not math.isfinite(size):
        for grad in grads:
            grad[...] = np.nan
        return np.full(n, np.nan), ()
    unit = np.ldexp(z.dtype.type(1), math.frexp(size)[1] - 1)
    z = z / unit  # so squares neither overflow nor vanish
    centred = z - middle(z)
    squares = np.einsum("ij,ij->i", centred, centred)
    best, index = np.full((2, n), -np.inf, z.dtype), np.zeros((2, n), np.int32)
    tiles = Tiles(centred)
    for line in tiles.lines:
        for i, j in line:
            s = tiles.similarities(i, j)
            kernels.pairs.mine(s, i.start, j.start, positives, squares, best, index)
    losses = np.zeros(n)
    for grad in grads:
        grad[...] = 0
    kernels.pairs.triplets(z, index, weight, unit, margin, soft, losses, *grads or (None,))
    return losses, ()


def middle(z: Array) -> Array:
    """A vector amid most: the medians of some rows. A mean would follow an outlier."""
    some = z[:: -(-len(z) // 64)]
    half = len(some) // 2
    middle: Array = np.partition(some, half, axis=0)[half]
    return middle


# ---------------------------------------------------------------------------------------------------------------------
# Batches


def arrange(weight: Array | None, labels: Array | None, n: int) -> tuple[Array | None, Positives]:
    """The samples that are there, of weight > 0, sorted by label; None for all as they are. And their positives."""
    rows = None if weight is None else np.flatnonzero(weight)
    if labels is None:
        if rows is not None and len(rows) == n:
            rows = None
        bounds = np.arange((n if rows is None else len(rows)) + 1)
        return rows, (bounds[:-1], bounds[1:])
    order = np.argsort(labels if rows is None else labels[rows], kind="stable")
    rows = order if rows is None else rows[order]
    return rows, kernels.pairs.ranges(labels[rows])


def has_positives(positives: Positives) -> Array:
    return positives[1] - positives[0] > 1


def has_both(positives: Positives) -> Array:
    """Whether a sample has positives and negatives."""
    size = positives[1] - positives[0]
    return (size > 1) & (size < len(size))
