"""Losses of a batch against a batch: from the arguments to tiles of similarities, and back.

The N x N similarities never exist at once. A tile of them is a matrix product into a buffer. A kernel turns it into
slopes in place, and two more products add these to the gradients. The products are NumPy's, and so are the threads
that they run on.

Softmax needs the sums over whole rows (and columns) before the first slope. So it computes its tiles twice. This costs
a fourth matrix product. Keeping the tiles would need N x N memory. A small batch keeps them. A softmax in one direction
has strips of whole rows for tiles, if the batch is not too large. If a batch meets itself, a tile serves for its mirror
image too.

New memory costs more than what a small batch does with it, up to 2 us a page. So there is one buffer for all tiles,
which malloc has at hand for the next call. Memory for each tile would go back to the system in between.
"""

cimport numpy as cnp

import math

import numpy as np

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport sum_of_weights, threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments import number
from fastloss._core.request.arguments cimport floating, floating_as, real
from fastloss._core.request.call cimport GRAD, Call
from fastloss._core.request.domains cimport NOT_NEGATIVE

cnp.import_array()

# Vectors along a side of a tile. Products of 512 to 1024 run at the full speed of BLAS (measured with 64, 256 and 512
# dimensions). Larger tiles gain nothing, and smaller ones wake its threads more often.
TILE_SIDE = 1024
# The least height of a strip. Below it, adding a product to a gradient takes as long as the product.
LOWEST_STRIP = TILE_SIDE // 8
# A softmax with at most this many similarities (16 MB of float32) keeps them. Others compute them twice.
MAX_CACHED = 4 * TILE_SIDE * TILE_SIDE

# A decorator. Overflow and NaN are results here. NumPy must not warn about them.
cdef quiet = np.errstate(all="ignore")


# ---------------------------------------------------------------------------------------------------------------------
# From the arguments to the samples that count, and back


cdef class Batch:
    """One call: the samples that count, sorted by their labels, and where the results go.

    A loss sets `losses`, writes `grads`, and sets `grads_of_numbers`. If no sample counts, it does none of these.
    """

    cdef Call call
    cdef object rows                    # the samples that count, sorted by label; None for all in their order
    cdef object loss_weights            # the weights of their losses; None if all are 1
    cdef tuple results                  # the gradients that the caller gets, one for each input; () for the value alone
    cdef readonly tuple vectors         # an array for each input of vectors
    cdef readonly tuple numbers         # a float for each input that is a number
    cdef readonly tuple positives       # for each sample, where those with its label begin and end
    cdef readonly weight                # of each loss, times the scale of the gradient
    cdef readonly tuple grads           # arrays for the gradients with respect to the vectors; () for the value alone
    cdef readonly bint counts           # whether there is a loss, and the caller asks for results
    cdef public losses
    cdef public tuple grads_of_numbers

    def __init__(
        self, declaration, int outputs, dict common, tuple vectors, tuple numbers=(), labels=None,
        bint needs_positives=False, bint needs_negatives=False
    ):
        cdef Call call
        cdef list names = [x.name for x in declaration.inputs]
        first = floating(vectors[0], names[0])
        dtype = checks.computed_in(first.dtype)
        if first.ndim != 2:
            raise ValueError(f"{names[0]} must have shape (N, D), vectors as rows, not {first.shape}")
        if first.shape[1] == 0:
            raise ValueError(f"{names[0]} must hold vectors of at least one element, and has shape {first.shape}")
        cdef list arrays = [], likes = [], checked = []
        for name, given in zip(names, vectors):
            x = real(given, name) if arrays else first
            if x.shape != first.shape:
                raise ValueError(f"{name} must have the shape of {names[0]}, {first.shape}, not {x.shape}")
            arrays.append(floating_as(x, dtype))  # half precision becomes float32
            likes.append(first)
            checked.append((name, given, x, True))
        self.numbers = tuple([a_number(x, declared) for declared, x in zip(declaration.inputs[len(vectors):], numbers)])
        likes.extend([np.zeros((), first.dtype) for _ in numbers])
        n = len(first)
        if len(names) > len(likes):
            given, labels = labels, checks.class_labels(labels, names[1], n)
            checked.append((names[1], given, labels, True))
        self.call = call = Call(declaration, outputs, (n,), (), common)
        call.threads = threads_for(n)
        call.allocate(tuple(likes), tuple(checked))
        sum_of_weights(call)  # for its checks

        weight = None if call.weight is None else np.broadcast_to(call.weight, n)
        self.rows, self.positives = sorted_samples(weight, labels, n)
        if self.rows is not None:
            arrays = [x[self.rows] for x in arrays]
        elif call.in_place:
            arrays = [x.copy() for x in arrays]
        self.vectors = tuple(arrays)
        weight = np.ones(n) if weight is None else weight.astype(float)
        if self.rows is not None:
            weight = weight[self.rows]
        if needs_positives:
            size = self.positives[1] - self.positives[0]
            weight *= (size > 1) & (size < len(size)) if needs_negatives else size > 1
        self.loss_weights = None if call.weight is None and not needs_positives else weight
        total = np.add.reduce(weight)
        call.divide_by(total)
        self.counts = total > 0 and outputs != 0
        self.weight = weight * call.scale
        self.losses = 0.0
        self.grads_of_numbers = ()
        self.results = call.grads if call.wants(GRAD) else ()
        self.grads = self.results[:len(vectors)]
        if self.rows is not None or dtype != first.dtype:
            self.grads = tuple([np.empty_like(x) for x in arrays[:len(self.grads)]])

    def result(self):
        """What the caller gets."""
        cdef Call call = self.call
        losses, rows, dtype = self.losses, self.rows, self.vectors[0].dtype
        total = 0.0
        if self.counts:
            if self.loss_weights is not None:
                losses = np.where(self.loss_weights == 0, 0, self.loss_weights * losses)
            total = np.add.reduce(losses)
        if rows is not None or not self.counts:
            for grad in self.results:
                grad[...] = 0
        where = slice(None) if rows is None else rows
        for grad, part in zip(self.results, self.grads if self.counts else ()):
            if part is not grad:
                grad[where] = part
        for grad, slope in zip(self.results[len(self.vectors):], self.grads_of_numbers):
            grad[...] = dtype.type(slope)
        if call.values is not None:
            call.values[...] = 0
            call.values[where] = np.asarray(losses, dtype)
        return call.result(total)


def a_number(given, declared):
    """An input that is a number, as a float."""
    name = declared.name
    if type(given) is not float:
        x = real(given, name)
        if x.ndim:
            raise ValueError(f"{name} must be a number, not an array of shape {x.shape}")
        given = float(x)
    return number(given, name, 0 if declared.domain == NOT_NEGATIVE else -math.inf)


cdef tuple sorted_samples(weight, labels, Py_ssize_t n):
    """Return (rows, positives).

    `rows` are the samples with weight, sorted by label; None means all samples in their order. `positives` are the
    start and the end of the range of samples with the same label. Without labels, the only positive of sample i is
    number i of the other batch.
    """
    rows = None if weight is None else np.flatnonzero(weight)
    if labels is None:
        if rows is not None and len(rows) == n:
            rows = None
        start = np.arange(n if rows is None else len(rows))
        return rows, (start, start + 1)
    order = np.argsort(labels if rows is None else labels[rows], kind="stable")
    rows = order if rows is None else rows[order]
    return rows, kernels.batches.ranges(labels[rows])


# ---------------------------------------------------------------------------------------------------------------------
# Tiles


class Tiles:
    """The similarities of vectors x with vectors y, or with themselves, tile by tile, and the way back to gradients."""

    def __init__(self, x, y=None, *, by_rows=False, twice=False):
        n = len(x)
        self.alike = y is None
        self.x, self.y = x, x if y is None else y
        height = width = min(n, TILE_SIDE)
        strip = TILE_SIDE * TILE_SIDE // n
        if by_rows and strip >= LOWEST_STRIP:
            height, width = min(strip, n), n
        elif self.alike and n * n <= MAX_CACHED:  # smaller tiles, since half of each tile on the diagonal is wasted
            height = width = min(n, max(2 * LOWEST_STRIP, (n + 3) // 4))
        # The tiles, as pairs of slices (rows, columns), in lines of the same rows.
        self.lines = [
            [
                (slice(i, min(i + height, n)), slice(j, min(j + width, n)))
                for j in range(i if self.alike else 0, n, width)
            ]
            for i in range(0, n, height)
        ]
        self.caches = twice and n * n <= MAX_CACHED
        self.cache = {}
        self.free = 0  # where the unused part of the buffer begins
        self.buffer = np.empty(height * width * (sum(map(len, self.lines)) if self.caches else 1), x.dtype)
        self.product = np.empty(0, x.dtype)

    def similarities(self, rows, columns):
        """Return the similarities of a tile.

        If they are not in the cache, they are computed. Unless the cache keeps all tiles, that evicts the last one.
        """
        key = rows.start, columns.start
        if key in self.cache:
            return self.cache[key]
        if not self.caches:
            self.cache.clear()
            self.free = 0
        x, y = self.x[rows], self.y[columns]
        if self.y is self.x and rows == columns:
            y = y.copy()  # NumPy's routine for a matrix times its own transpose is up to 3 times slower
        s = self.buffer[self.free:][:len(x) * len(y)].reshape(len(x), len(y))
        self.free += s.size
        self.cache[key] = np.matmul(x, y.T, out=s)
        return s

    def set_gradients(self, slopes, rows, columns, grads):
        """Add this tile's part of the gradients of x and y. The first tile of a row or column overwrites."""
        self.add(slopes, self.y[columns], grads[0][rows], columns.start == 0)
        if not self.alike or rows != columns:
            last = len(grads) - 1  # negative indices are compiled out
            self.add(slopes.T, self.x[rows], grads[last][columns], rows.start == 0)

    def add(self, a, b, to, first):
        """Add the product of a and b, or set it if it is the `first`."""
        if first:
            np.matmul(a, b, out=to)
        else:
            if self.product.size < to.size:
                self.product = np.empty(to.size, to.dtype)
            to += np.matmul(a, b, out=self.product[:to.size].reshape(to.shape))


# ---------------------------------------------------------------------------------------------------------------------
# Softmax


def softmax(x, y, factor, positives, weight, symmetric, grads):
    """Return the loss of each row of factor x y^T (or the mean of row and column, if symmetric).

    Write into `grads` the gradients with respect to x and y, divided by `factor`. Without y, x meets itself. The
    softmax is then by rows, and each pair counts in the rows of both of its samples. `symmetric` has no effect then.
    """
    n, alike, kernel = len(x), y is None, kernels.batches
    by_rows = not alike and not symmetric
    tiles = Tiles(x, y, by_rows=by_rows, twice=bool(grads) and not by_rows)
    rows = kernel.Totals(n, x.dtype)
    columns = rows if alike else kernel.Totals(n, x.dtype) if symmetric else None
    directions = [rows] if columns is None or alike else [rows, columns]
    share = 1 / <double> len(directions)
    losses = np.zeros(n)
    for group in tiles.lines if by_rows else [sum(tiles.lines, [])]:
        for i, j in group:
            of_columns = columns if not alike or i != j else None
            s = tiles.similarities(i, j)
            kernel.add_to_sums(s, factor, i.start, j.start, positives, alike, rows, of_columns)
        first, stop = group[0][0].start, group[len(group) - 1][0].stop
        for totals in directions:
            totals.find_losses_and_slopes(first, stop, positives, alike, weight, losses, share)
        for i, j in group if grads else []:
            s = tiles.similarities(i, j)
            kernel.softmax_slopes(s, factor, i.start, j.start, positives, alike, rows, columns)
            tiles.set_gradients(s, i, j, grads)
    return losses


@quiet
def info_nce(declaration, int outputs, query, key, dict common, double temperature, bint symmetric):
    batch = Batch(declaration, outputs, common, (query, key))
    factor = 1 / temperature
    if batch.counts:
        batch.losses = softmax(*batch.vectors, factor, batch.positives, factor * batch.weight, symmetric, batch.grads)
    return batch.result()


@quiet
def clip(declaration, int outputs, image, text, logit_scale, dict common):
    batch = Batch(declaration, outputs, common, (image, text), (logit_scale,))
    factor = batch.numbers[0]
    if batch.counts:
        batch.losses = softmax(*batch.vectors, factor, batch.positives, batch.weight, True, batch.grads)
        batch.grads_of_numbers = grad_of_factor(batch.vectors[0], factor, batch.grads)
    return batch.result()


@quiet
def supcon(declaration, int outputs, z, labels, dict common, double temperature):
    batch = Batch(declaration, outputs, common, (z,), labels=labels, needs_positives=True)
    factor = 1 / temperature
    if batch.counts:
        z = batch.vectors[0]
        batch.losses = softmax(z, None, factor, batch.positives, factor * batch.weight, False, batch.grads)
    return batch.result()


@quiet
def nt_xent(declaration, int outputs, z1, z2, dict common, double temperature):
    """The two views of a sample are neighbours in one batch. Each is the other's only positive."""
    batch = Batch(declaration, outputs, common, (z1, z2))
    if batch.counts:
        units, inverse_norms = kernels.batches.unit_vectors(*batch.vectors)
        start = np.arange(len(units)) // 2 * 2
        slopes = (np.empty_like(units),) if batch.grads else ()
        factor = 1 / temperature
        weight = np.repeat(batch.weight * (factor / 2), 2)
        losses = softmax(units, None, factor, (start, start + 2), weight, False, slopes)
        if batch.grads:
            kernels.batches.gradients_through_units(*slopes, units, inverse_norms, *batch.grads)
        batch.losses = (losses[0::2] + losses[1::2]) / 2
    return batch.result()


def grad_of_factor(x, factor, grads):
    """Return the gradient with respect to the factor of factor x y^T, in a tuple; () without `grads`.

    Then multiply `grads` by the factor, which `softmax` and `siglip` left out.
    """
    if not grads:
        return ()
    slope = kernels.batches.inner_product(x, grads[0])
    for grad in grads:
        grad *= factor
    return (slope,)


# ---------------------------------------------------------------------------------------------------------------------
# Others


@quiet
def siglip(declaration, int outputs, image, text, logit_scale, logit_bias, dict common):
    batch = Batch(declaration, outputs, common, (image, text), (logit_scale, logit_bias))
    if batch.counts:
        tiles = Tiles(*batch.vectors)
        losses, slopes = np.zeros((2, len(batch.weight)))
        for line in tiles.lines:
            for i, j in line:
                s = tiles.similarities(i, j)
                kernels.batches.sigmoid_tile(
                    s, *batch.numbers, i.start, j.start, batch.positives, batch.weight, losses, slopes
                )
                if batch.grads:
                    tiles.set_gradients(s, i, j, batch.grads)
        batch.losses = losses
        of_scale = grad_of_factor(batch.vectors[0], batch.numbers[0], batch.grads)
        batch.grads_of_numbers = (*of_scale, slopes.sum())
    return batch.result()


@quiet
def batch_hard_triplet(declaration, int outputs, z, labels, dict common, double margin, bint soft):
    batch = Batch(
        declaration, outputs, common, (z,), labels=labels, needs_positives=True, needs_negatives=True
    )
    if batch.counts:
        batch.losses = hardest_triplets(
            batch.vectors[0], batch.positives, batch.rows, batch.weight, margin, soft, batch.grads
        )
    return batch.result()


def hardest_triplets(z, positives, order, weight, margin, soft, grads):
    """The losses of the hardest triplets, and their gradients. `order` holds the caller's index of each sample.

    The products of centred vectors leave few pairs that may be the hardest. Their distances are then measured.
    """
    kernel, order = kernels.batches, order.astype(np.int64, copy=False)
    n, d = z.shape
    size = kernel.largest_of(z)
    if not math.isfinite(size):
        for grad in grads:
            grad[...] = np.nan
        return np.full(n, np.nan)
    unit = np.ldexp(z.dtype.type(1), math.frexp(size)[1] - 1)
    scaled = z / unit  # so squares neither overflow nor vanish
    centred = scaled - medians_of_some_rows(scaled)
    if z.dtype == checks.FLOAT64:
        z = scaled
    else:
        unit = 1  # in double precision, squares of float32 do neither
    bounds = bounds_of_scores(np.einsum("ij,ij->i", centred, centred), d)
    best, index = np.full((2, n), -np.inf), np.zeros((2, n), np.int32)
    tiles = Tiles(centred)
    for line in tiles.lines:
        for i, j in line:
            s = tiles.similarities(i, j)
            kernel.mine(s, i.start, j.start, positives, z, order, bounds, best, index)
    losses = np.zeros(n)
    for grad in grads:
        grad[...] = 0
    kernel.triplets(z, index, weight, unit, margin, soft, losses, *grads or (None,))
    return losses


def bounds_of_scores(squares, d):
    """The arrays of bounds that `mine` takes.

    `squares` are the squared lengths of vectors of d elements below 4. The score of a pair, computed from these and
    from the scalar product, has an error of at most (4 d + 32) u times the sum of both squares, where u is half of eps.
    In units of u times this sum:

    * d come from the scalar product, times 2, and d from the squares. A sum of d products has an error of at most
      d u / (1 - d u) times the sum of their magnitudes, in any order, with fused multiplications or without.
    * 4 come from centring: it moves the ends of a distance by u times their lengths.
    * 6 come from the arithmetic of the bounds.

    The rest is for terms in u^2, as long as d u is at most 1/8. Underflow costs less than d times the smallest normal
    number.
    """
    info = np.finfo(squares.dtype)
    signs, error = np.array([[-1.0], [1.0]]), (2 * d + 16) * info.eps
    certain, possible = [
        ((signs + e) * squares + math.copysign(d * info.tiny, e)).astype(squares.dtype) for e in (-error, error)
    ]
    return certain, possible, np.full_like(certain, info.min)


def medians_of_some_rows(z):
    """The medians of at most 64 rows, as a centre. A mean would follow an outlier."""
    some = z[::(len(z) + 63) // 64]
    half = len(some) // 2
    return np.partition(some, half, axis=0)[half]
