"""CTC: from the arguments to the kernel and back."""

cimport numpy as cnp

import numpy as np

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport sum_of_weights, threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments cimport floating, is_half, real
from fastloss._core.request.call cimport Call

cnp.import_array()


def alignments(
    declaration, int outputs, logits, targets, input_lengths, target_lengths, dict common, *, blank, bint zero_infinity
):
    """Run a loss of sequences of logits (T, N, C), or of one sequence (T, C). `common` are the arguments of every loss.

    `targets` are (N, S), or all labels one behind the other; (S,) for one sequence.
    """
    # The kernel reads frames wherever they lie. But results are written over an input only if it is contiguous.
    cdef bint in_place = common.get("out") is not None
    cdef cnp.ndarray x = logits if not in_place and has_whole_frames(logits) else floating(logits, "logits")
    cdef int ndim = cnp.PyArray_NDIM(x)
    cdef tuple shape = (<object> x).shape, batch = shape[1:2] if ndim == 3 else ()
    if ndim != 2 and ndim != 3:
        raise ValueError(f"logits must have shape (T, N, C), or (T, C) for one sequence, not {shape}")
    cdef Py_ssize_t frames = shape[0], classes = shape[ndim - 1], most_labels
    if classes == 0:
        raise ValueError(f"logits must have at least one class, and has shape {shape}")
    blank = checks.integer(blank, "blank")
    if not 0 <= blank < classes:
        raise ValueError(f"blank must be a class index in [0, {classes}), not {checks.shown(blank)}")
    cdef cnp.ndarray y = integers(targets, "targets")
    cdef bint padded = cnp.PyArray_NDIM(y) == ndim - 1
    if not padded and (ndim == 2 or cnp.PyArray_NDIM(y) != 1) or padded and ndim == 3 and y.shape[0] != x.shape[1]:
        wanted = f"({batch[0]}, S) or (sum of target_lengths,)" if batch else "(S,)"
        raise ValueError(f"targets must have shape {wanted} for logits {shape}, not {(<object> y).shape}")
    cdef Call call = Call(declaration, outputs, batch, (), common)
    most_labels = cnp.PyArray_DIM(y, cnp.PyArray_NDIM(y) - 1)
    cdef cnp.ndarray of_input = lengths(input_lengths, "input_lengths", call, frames, "the number of frames", True)
    # If targets are one behind the other, each length says where the others are.
    cdef cnp.ndarray of_target = lengths(
        target_lengths, "target_lengths", call, most_labels, "the length of targets", padded
    )
    cdef cnp.ndarray starts = np.empty_like(of_target)
    cdef long long* start = <long long*> cnp.PyArray_DATA(starts)
    cdef const long long* length = <const long long*> cnp.PyArray_DATA(of_target)
    cdef Py_ssize_t sequences = cnp.PyArray_SIZE(of_target), end = 0, longest = 0, i
    for i in range(sequences):
        start[i] = i * most_labels if padded else end
        end += 0 if end > most_labels else length[i]  # the sum may be out of range
        longest = max(longest, <Py_ssize_t> length[i])
    if not padded and end != most_labels:
        raise ValueError(
            f"targets must have the sum of target_lengths, {of_target.sum()}, as its length, not {most_labels}"
        )
    # A frame takes a few operations for each class, and more for each state.
    call.threads = threads_for(frames * sequences * (classes + 4 * longest))
    if in_place:
        call.allocate((x,), (
            ("logits", logits, x, True), ("targets", targets, y, False)
        ))
    else:
        call.allocate((x,), ())
    call.divide_by(sum_of_weights(call))
    total = 0.0
    for call.stage in call.stages(True):
        total = kernels.alignments.run(
            call, x if ndim == 3 else x[:, None], y, starts, of_input, of_target, blank, zero_infinity
        )
        if total is None:
            raise_label(y, starts, of_target, np.atleast_1d(counting(call)), classes, blank)
    return call.result(total)


cdef bint has_whole_frames(x):
    """Whether the kernel can read an array: the classes of a frame lie side by side. Frames may lie anywhere."""
    cdef int last
    if not (cnp.PyArray_CheckExact(x) and cnp.PyArray_ISBEHAVED_RO(x) and cnp.PyArray_NDIM(x) > 1):
        return False
    last = cnp.PyArray_NDIM(x) - 1
    if cnp.PyArray_STRIDE(x, last) != cnp.PyArray_ITEMSIZE(x):
        return False
    return cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT or cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE or is_half(x)


cdef integers(x, str name):
    """A C-contiguous array of any integer dtype. np.asarray([]) has dtype float64, and passes."""
    array = real(x, name)
    if array.size == 0:
        return np.zeros(array.shape, np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be of an integer dtype, not {checks.dtype_of(x, name)}")
    return array


cdef counting(Call call):
    """Whether each sequence has a weight other than 0."""
    return np.broadcast_to(checks.is_weighted(call.weight, len(call.shape)), call.shape)


cdef cnp.ndarray lengths(x, str name, Call call, Py_ssize_t most, str most_is, bint may_be_hidden):
    """The lengths of the sequences, as int64 that no other thread knows: one for each, in one axis.

    With `may_be_hidden`, those of sequences with weight 0 may be anything. They become 0 if they are out of range.
    """
    given = integers(x, name)
    if given.shape != call.shape:
        raise ValueError(f"{name} must have shape {call.shape}, not {given.shape}")
    cdef cnp.ndarray result = given.astype(np.int64).reshape(-1)  # a number of 2^63 or more becomes negative
    cdef long long* length = <long long*> cnp.PyArray_DATA(result)
    cdef bint invalid = False
    cdef Py_ssize_t i
    for i in range(cnp.PyArray_SIZE(result)):
        invalid |= not 0 <= length[i] <= most
    if invalid:
        bad = ((<object> result < 0) | (<object> result > most)).reshape(call.shape)
        named = bad & counting(call) if may_be_hidden else bad
        if named.any():
            checks.raise_first(given, named, name, f"in [0, {most}], {most_is}")
        result[bad.reshape(-1)] = 0
    return result


cdef raise_label(targets, starts, of_target, counts, classes, blank):
    """Raise ValueError for the first label of a sequence that counts that is no class index, or is blank."""
    bad = np.zeros(targets.shape, bool)
    flat, label = bad.reshape(-1), targets.reshape(-1)
    for start, length in zip(starts[counts], of_target[counts]):
        part = label[start : start + length]
        flat[start : start + length] = (part < 0) | (part >= classes) | (part == blank)
    checks.raise_first(targets, bad, "targets", f"a class index in [0, {classes}) other than blank ({blank})")
