"""Losses of sequences of tags, and decoding: from the arguments to the kernel and back."""

cimport numpy as cnp

import numpy as np

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport sum_of_weights, threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments cimport floating, floating_as, like_gradient, real
from fastloss._core.request.call cimport GRAD, Call

cnp.import_array()

# A tag meets each tag of the next step. So many of these meetings are as much work as an element of another loss.
MEETINGS = 8

# A decorator. Overflow is a result here. NumPy must not warn about it.
cdef quiet = np.errstate(all="ignore")


cdef cnp.ndarray integers(given, str name, str what, tuple shape):
    """An array of any integer dtype in this shape."""
    cdef cnp.ndarray x = real(given, name)
    if (<object> x).shape != shape:
        raise ValueError(f"{name} must have shape {shape}, {what}, not {(<object> x).shape}")
    if cnp.PyArray_SIZE(x) == 0:  # np.asarray([]) has dtype float64
        return np.zeros(shape, np.int64)
    if not cnp.PyArray_ISINTEGER(x):
        raise TypeError(f"{name} must be of an integer dtype, not {checks.dtype_of(given, name)}")
    return x


cdef class Scores:
    """The arguments of a loss of chains and of decoding: what scores a path, and how long it is."""

    cdef cnp.ndarray emissions
    cdef cnp.ndarray lengths            # or None
    cdef tuple given                    # transitions, and start and end unless they are None
    cdef tuple names
    cdef tuple arrays                   # the same, as arrays
    cdef tuple doubles                  # transitions, start and end as the kernel reads them
    cdef tuple batch                    # the shape of the unreduced loss
    cdef Py_ssize_t steps, tags         # T and K
    cdef int threads

    def __init__(self, emissions, transitions, lengths, start, end):
        cdef cnp.ndarray x = floating(emissions, "emissions")
        cdef tuple shape = (<object> x).shape
        cdef int ndim = len(shape)
        if ndim < 2 or shape[ndim - 1] == 0:
            raise ValueError(f"emissions must have shape (..., T, K) with at least one tag, not {shape}")
        self.emissions = x
        self.batch, self.steps, self.tags = shape[:ndim - 2], shape[ndim - 2], shape[ndim - 1]
        self.threads = threads_for(cnp.PyArray_SIZE(x) * max(1, self.tags // MEETINGS))
        self.lengths = None
        if lengths is not None:
            self.lengths = integers(lengths, "lengths", "a length for each sequence", self.batch)
        self.given, self.names, self.arrays, self.doubles = (), (), (), ()
        for name, given, wanted in (
            ("transitions", transitions, (self.tags, self.tags)), ("start", start, (self.tags,)),
            ("end", end, (self.tags,)),
        ):
            if given is None and name != "transitions":
                self.doubles += (np.zeros(self.tags),)
                continue
            array = real(given, name)
            if array.shape != wanted:
                raise ValueError(f"{name} must have shape {wanted}, not {array.shape}")
            self.given += (given,)
            self.names += (name,)
            self.arrays += (array,)
            self.doubles += (floating_as(array, checks.FLOAT64),)

    cdef raise_invalid(self, cnp.ndarray tags, weight):
        """Raise ValueError for the first length or tag that counts and is not valid."""
        weighted = checks.is_weighted(weight, len(self.batch))
        counts = np.arange(self.steps) < self.steps
        if self.lengths is not None:
            lengths = np.asarray(self.lengths)
            bad = ((lengths < 0) | (lengths > self.steps)) & weighted
            if bad.any():
                checks.raise_first(lengths, bad, "lengths", f"a length in [0, {self.steps}]")
            counts = np.arange(self.steps) < lengths[..., None]
        bad = ((<object> tags < 0) | (<object> tags >= self.tags)) & weighted[..., None] & counts
        checks.raise_first(tags, bad, "tags", f"a tag in [0, {self.tags})")


@quiet
def chains(
    declaration, int outputs, emissions, tags, transitions, lengths, start, end, tuple parameters, dict common
):
    """Run a loss of sequences of tags. `common` are the arguments of every loss."""
    cdef Scores scores = Scores(emissions, transitions, lengths, start, end)
    cdef cnp.ndarray x = scores.emissions, right
    right = integers(tags, "tags", "a tag for each step", scores.batch + (scores.steps,))
    cdef Call call = Call(declaration, outputs, scores.batch, parameters, common)
    if call.wants(GRAD) and common.get("reduction") == "none":
        raise ValueError(f"reduction='none' goes with the value alone: {declaration.name} adds up its gradients")
    call.threads = scores.threads
    dtype = (<object> x).dtype
    cdef tuple likes = (x, *[like_gradient(array, dtype) for array in scores.arrays])
    if call.out is None:
        call.allocate(likes, ())
    else:
        call.allocate(likes, (
            ("emissions", emissions, x, True), ("tags", tags, right, False),
            ("lengths", lengths, scores.lengths, False),
            *[(name, given, used, True) for name, given, used in zip(scores.names, scores.given, scores.arrays)],
        ))
    call.divide_by(sum_of_weights(call))
    driver = kernels.chains
    place = driver.LOSSES[declaration.name]
    total, sums = 0.0, None
    for call.stage in call.stages(True):  # the check comes before anything is written
        results = driver.run(call, place, x, right, scores.lengths, scores.doubles)
        if results is None:
            scores.raise_invalid(right, call.weight)
        total, sums = results
    if sums is not None:
        set_gradients(scores, call.grads[1:], sums)
    return call.result(total)


cdef set_gradients(Scores scores, tuple grads, sums):
    """Round the sums of the kernel: the gradients with respect to transitions, start and end."""
    cdef Py_ssize_t k = scores.tags
    of_scores = {"transitions": sums[:k * k].reshape(k, k), "start": sums[k * k:k * k + k], "end": sums[k * k + k:]}
    for name, grad in zip(scores.names, grads):
        grad[...] = of_scores[name].astype(checks.computed_in(grad.dtype))


@quiet
def viterbi(emissions, transitions, lengths, start, end):
    """The best tags of each sequence, and their score."""
    cdef Scores scores = Scores(emissions, transitions, lengths, start, end)
    cdef cnp.ndarray x = scores.emissions
    best, best_score = np.empty(scores.batch + (scores.steps,), np.int64), np.empty(scores.batch)
    if not kernels.chains.decode(x, scores.lengths, scores.doubles, best, best_score, scores.threads):
        scores.raise_invalid(best, None)
    dtype = (<object> x).dtype
    return best, best_score.astype(checks.computed_in(dtype)).astype(dtype)
