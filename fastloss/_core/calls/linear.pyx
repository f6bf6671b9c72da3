"""A linear layer and the loss of its scores: from the arguments to matrix products and a kernel, and back.

The scores x W^T + b of all samples never exist at once. For each chunk of samples, a product writes them into a buffer,
and the kernel of the loss writes their gradient over them. Two more products turn this gradient into those with respect
to x and W. Ignored samples take part in no product. The products are NumPy's, and so are the threads that they run on.
"""

cimport numpy as cnp

import numpy as np

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport sum_of_weights, threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments import number
from fastloss._core.request.arguments cimport class_target, floating, floating_as, like_gradient
from fastloss._core.request.call cimport CHECK, GRAD, Call

cnp.import_array()

# The scores of a chunk should fit a cache. But products of few rows are slow, and each chunk costs a pass over the
# gradient with respect to W. So a chunk has 128 to 512 rows even if they take more than CHUNK_BYTES: one part in CHUNKS
# of all rows, which bounds the memory. The caller's limit comes first.
CHUNK_BYTES = 1 << 20
CHUNKS = 11
LEAST_ROWS, MOST_ROWS = 128, 512
# Of a product that is added to the gradient with respect to W: it should stay in a cache. BLAS is slow below 1 MB.
BLOCK_BYTES = 3 << 19

# A decorator. Overflow and NaN are results here. NumPy must not warn about them.
cdef quiet = np.errstate(all="ignore")


@quiet
def linear(
    declaration, int outputs, x, weight, target, bias, tuple parameters, dict common, *, class_weight, ignore_index,
    chunk_bytes, label_smoothing=0.0, str kernel=None
):
    """Run the loss `declaration.of_scores` of the scores x W^T + bias. `bias` may be None.

    `kernel` is the name in the driver's table, if that is not the name of that loss. `common` are the arguments of
    every loss.
    """
    of_scores = declaration.of_scores
    cdef cnp.ndarray features = floating(x, "x"), given
    cdef tuple shape = (<object> features).shape
    cdef Py_ssize_t ndim = len(shape), samples = 1, classes
    if ndim == 0:
        raise ValueError("x must hold vectors along its last axis, and is 0-dimensional")
    cdef tuple batch = shape[:ndim - 1]
    for length in batch:
        samples *= length
    dtype = checks.computed_in((<object> features).dtype)
    w = checks.rows_of_classes(weight, "weight", shape[ndim - 1], dtype)
    classes = len(w)
    b = None if bias is None else checks.each_class(bias, "bias", classes, dtype)
    all_scores = np.broadcast_to(dtype.type(0), (*batch, classes))  # stands for what never exists
    given, ignore_index = class_target(target, all_scores, batch, ignore_index, of_scores.takes_probabilities, False)
    cdef bint has_labels = cnp.PyArray_NDIM(given) < ndim
    of_class = None if class_weight is None else checks.class_weights(class_weight, classes, dtype)
    cdef double smoothing = number(label_smoothing, "label_smoothing", 0, 1)
    cdef Py_ssize_t most_rows = checks.at_least_1(chunk_bytes, "chunk_bytes") // (classes * dtype.itemsize)
    cdef Call call = Call(declaration, outputs, batch, parameters, common), part
    if call.wants(GRAD) and common.get("reduction") == "none":
        raise ValueError(
            "reduction='none' gives the losses alone: the gradient with respect to weight is a sum over the samples"
        )
    layer = [("x", x, features), ("weight", weight, w)] + ([] if b is None else [("bias", bias, b)])
    likes = tuple([like_gradient(used, (<object> features).dtype) for _, _, used in layer])
    call.allocate(likes, () if call.out is None else (
        *[(*which, True) for which in layer], ("target", target, given, False),
        ("class_weight", class_weight, of_class, False),
    ))
    call.divide_by(sum_of_weights(call))

    driver = getattr(kernels, of_scores.driver)
    place = driver.LOSSES[of_scores.name if kernel is None else kernel]

    def run(Call one, scores, target):
        sums = driver.run(
            one, place, scores, target, (len(scores), classes, 1), of_class, ignore_index, smoothing
        )
        if sums is None:
            checks.raise_class_target(given, has_labels, ndim - 1, classes, ignore_index, call.weight)
        return sums

    # The check of the whole target. It also sums the weights that the target brings to the mean.
    all_targets = (<object> given).reshape([samples] if has_labels else [samples, classes])
    call.stage = CHECK
    _, target_weight = run(call, all_scores.reshape(samples, classes), all_targets)
    if has_labels or of_class is not None:
        call.divide_by(target_weight)
    if not outputs:
        return call.result(0)

    weights = weights_of_samples(call.weight, batch)
    rows = rows_that_count(samples, all_targets if has_labels else None, ignore_index, weights)
    cdef Py_ssize_t n = samples if rows is None else len(rows), start, height
    height = max(CHUNK_BYTES // (classes * dtype.itemsize), min(MOST_ROWS, max(LEAST_ROWS, (n + CHUNKS - 1) // CHUNKS)))
    height = max(1, min(n, most_rows, height))
    x2 = floating_as(features, dtype).reshape(samples, shape[ndim - 1])
    buffer = np.empty((height, classes), dtype)
    gradients = None
    results = call.grads if call.wants(GRAD) else ()
    if results:
        # All chunks read x and W, and halves are added up in float32.
        apart = call.in_place or dtype != (<object> features).dtype
        gradients = Gradients([np.empty(grad.shape, dtype) if apart else grad for grad in results], x2, w)
        if rows is not None:
            gradients.of_x[...] = 0
    losses = None
    if call.values is not None:
        call.values[...] = 0
        losses = (<object> call.values).reshape(samples)
    cdef double total = 0
    for start in range(0, n, height):
        chunk = slice(start, min(n, start + height))
        if rows is not None:
            chunk = rows[chunk]
        x_chunk = x2[chunk]
        scores = np.matmul(x_chunk, w.T, out=buffer[:len(x_chunk)])
        if b is not None:
            scores += b
        part = Call(declaration, outputs, (len(scores),), parameters, {})
        part.threads = threads_for(scores.size)
        part.weight = None if weights is None else np.ascontiguousarray(weights[chunk])
        part.scale = call.scale
        part.sum_values = call.sum_values
        part.values = None if losses is None else np.empty(len(scores), dtype)
        part.grads, part.hesses = (scores if results else None,), (None,)
        total += run(part, scores, all_targets[chunk])[0]
        if losses is not None:
            losses[chunk] = part.values
        if results:
            gradients.add(scores, x_chunk, chunk)
    if results:
        gradients.write(results)
    return call.result(total)


cdef weights_of_samples(weight, tuple batch):
    """A weight for each sample, in one axis; None without weights."""
    if weight is None:
        return None
    return np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(batch) - weight.ndim)), batch).reshape(-1)


cdef rows_that_count(Py_ssize_t samples, labels, ignore_index, weights):
    """The samples that are not ignored, or None for all of them."""
    counts = np.ones(samples, bool) if labels is None else labels != ignore_index
    if weights is not None:
        counts &= weights != 0
    return None if counts.all() else np.flatnonzero(counts)


class Gradients:
    """The gradients with respect to x, W and b, to which each chunk adds."""

    def __init__(self, sums, x, w):
        self.sums, self.w = sums, w
        self.of_x, self.of_w = sums[0].reshape(x.shape), sums[1]
        self.of_b = np.zeros(len(w)) if len(sums) > 2 else None
        self.height = min(len(w), max(1, BLOCK_BYTES // max(1, w.itemsize * w.shape[1])))
        self.product = np.empty((self.height, w.shape[1]), w.dtype)
        self.empty = True

    def add(self, slopes, x, rows):
        """Add what follows from the gradient with respect to the scores of these rows."""
        if not np.isfinite(np.vdot(x, x)):  # there may be 0 times NaN: a sample without any slope is ignored
            x = np.where(slopes.any(1)[:, np.newaxis], x, 0)
        for i in range(0, len(self.w), self.height):
            of_w = self.of_w[i:i + self.height]
            to = of_w if self.empty else self.product[:len(of_w)]
            np.matmul(slopes[:, i:i + self.height].T, x, out=to)
            if not self.empty:
                of_w += to
        self.empty = False
        if self.of_b is not None:
            self.of_b += slopes.sum(0, dtype=float)
        if isinstance(rows, slice):
            np.matmul(slopes, self.w, out=self.of_x[rows])
        else:
            self.of_x[rows] = np.matmul(slopes, self.w)

    def write(self, results):
        if self.empty:
            self.of_w[...] = 0
        if self.of_b is not None:
            self.sums[2][...] = self.of_b
        for result, sum_ in zip(results, self.sums):
            if result is not sum_:
                result[...] = sum_
