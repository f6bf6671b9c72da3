"""CTC: all alignments of tiny sequences, infeasible ones, lengths, long and sharp sequences, errors."""

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from tests.losses import reference
from tests.losses.cases import ALIGNMENTS
from tests.losses.comparing import assert_close, assert_same_bits
from tests.losses.problem import levels
from tests.losses.support import FLOATS, INF, NAN, REDUCTIONS, each_dtype, each_precision, peak_of, raises, random

pytestmark = pytest.mark.filterwarnings("error")


def spelt_by(alignment, blank):
    """The labels that a class for each frame spells."""
    return [k for k, _ in itertools.groupby(alignment) if k != blank]


def sum_of_alignments(logits, labels, blank):
    """The loss and its gradient, by a look at every alignment."""
    with np.errstate(all="ignore"):
        e = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-INF))
        p = e / e.sum(axis=1, keepdims=True)
        total, occupied = 0.0, np.zeros_like(p)
        for alignment in itertools.product(range(p.shape[1]), repeat=len(p)):
            if spelt_by(alignment, blank) == list(labels):
                way = range(len(p)), alignment
                total += np.prod(p[way])
                occupied[way] += np.prod(p[way])
        return -np.log(total), p - occupied / total


def labels_of(sequence):
    """For a number of classes: labels and the class of blank."""
    classes, blank, labels = sequence
    return classes, blank, [k % (classes - 1) + (k % (classes - 1) >= blank) for k in labels] if classes > 1 else []


SEQUENCES = st.integers(1, 4).flatmap(
    lambda classes: st.tuples(
        st.just(classes), st.integers(0, classes - 1), st.lists(st.integers(0, 2), max_size=4)
    ).map(labels_of)
)


@given(
    sequence=SEQUENCES,
    frames=st.integers(0, 5),
    forbidden=st.floats(0, 0.5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_every_alignment_of_a_tiny_sequence(sequence, frames, forbidden, seed):
    classes, blank, labels = sequence
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((frames, classes))
    one = rng.integers(0, classes, (frames, 1)) == np.arange(classes)  # at least one class is possible
    logits[(rng.random(logits.shape) < forbidden) & ~one] = -INF
    value, grad = fl.ctc.value_and_grad(logits, labels, frames, len(labels), blank=blank)
    expected, slope = sum_of_alignments(logits, labels, blank)
    assert_close(value, expected, 64, max(1, frames))
    assert_close(grad, slope, 64, 1)


def test_by_hand(level):
    """Two frames of equal logits: of four alignments, 11, 01 and 10 spell 1, and 00 spells nothing."""
    logits = np.zeros((2, 2))
    assert fl.ctc(logits, [1], 2, 1) == pytest.approx(np.log(4 / 3), rel=1e-15)
    assert fl.ctc(logits, [], 2, 0) == pytest.approx(np.log(4), rel=1e-15)
    assert fl.ctc(logits, [1, 1], 2, 2) == INF
    assert_close(fl.ctc.grad(logits, [1], 2, 1), np.array([[1, -1], [1, -1]]) / 6, 4)
    # Only 1 0 1 spells 1, 1.
    assert fl.ctc(np.zeros((3, 2)), [1, 1], 3, 2) == pytest.approx(np.log(8), rel=1e-15)
    # The mean divides by the number of sequences, or by their weights, and by no length.
    losses = np.log([4 / 3, 4])
    batch = np.zeros((2, 2, 2)), [[1], [7]], [2, 2], [1, 0]
    assert fl.ctc(*batch) == pytest.approx(losses.mean(), rel=1e-15)
    assert fl.ctc(*batch, sample_weight=[3, 1]) == pytest.approx(losses @ [0.75, 0.25], rel=1e-15)
    assert fl.ctc.normalizer(*batch, sample_weight=[3, 1]) == 4


def problem(frames=9, sequences=7, classes=5, dtype=np.float64):
    case = ALIGNMENTS[0].problem((frames, sequences, classes), -1, dtype)
    return list(case.inputs.values())


@each_precision
def test_concatenated_targets(dtype, level):
    logits, targets, *lengths = problem(dtype=np.float64)
    logits = logits.astype(dtype)
    flat = np.concatenate([row[:n] for row, n in zip(targets, lengths[1], strict=True)])
    for more in ({}, {"sample_weight": np.arange(7)}, {"reduction": "none"}):
        expected = fl.ctc.value_and_grad(logits, targets, *lengths, **more)
        assert_same_bits(fl.ctc.value_and_grad(logits, flat, *lengths, **more), expected)
        assert_same_bits(fl.ctc.value_and_grad(logits, flat.astype(np.uint8), *lengths, **more), expected)


@each_precision
def test_one_sequence(dtype, level):
    logits, targets, *lengths = problem(dtype=np.float64)
    logits = logits.astype(dtype)
    value, grad = fl.ctc.value_and_grad(logits, targets, *lengths, reduction="none")
    for n in range(7):
        alone = logits[:, n], targets[n], lengths[0][n], int(lengths[1][n])
        one, of_one = fl.ctc.value_and_grad(*alone, reduction="none")
        assert one.shape == () and of_one.shape == (9, 5)
        assert_same_bits((one[()], of_one), (value[n], grad[:, n].copy()))
        assert type(fl.ctc(*alone)) is float
        assert fl.ctc(*alone, sample_weight=2.0, reduction="sum") == pytest.approx(2 * float(one), rel=0.01)


def test_blank_may_be_any_class(level):
    """Classes have no order but that of the sums over them."""
    logits, targets, *lengths = problem()
    value, grad = fl.ctc.value_and_grad(logits, targets, *lengths, reduction="none")
    for blank in range(5):
        order = np.insert(np.arange(1, 5), blank, 0)  # of the old classes
        where = np.argsort(order)
        moved, of_moved = fl.ctc.value_and_grad(
            logits[..., order], where[targets], *lengths, blank=blank, reduction="none"
        )
        assert_close(moved, value, 16)
        assert_close(of_moved, grad[..., order], 16, 1)


@each_dtype
def test_what_lies_behind_a_length_does_not_matter(dtype, level):
    logits, targets, *lengths = problem(dtype=dtype)
    expected = fl.ctc.value_and_grad(logits, targets, *lengths, reduction="none")
    for n in range(7):
        logits[lengths[0][n] :, n] = [NAN, INF, -INF, NAN, 1][n % 5]
        targets[n, lengths[1][n] :] = [-1, 0, 5, 2**40, -(2**63)][n % 5]
    value, grad = fl.ctc.value_and_grad(logits, targets, *lengths, reduction="none")
    assert_same_bits((value, grad), expected)
    for n in range(7):
        assert not grad[lengths[0][n] :, n].any()


@each_dtype
@pytest.mark.parametrize("bad", [[1, 2, 2, 3], [1, 1], [1, 2, 3, 1, 2, 3]])
def test_labels_that_need_more_frames_than_there_are(dtype, bad, level):
    """A frame for each label, and one between two that are the same."""
    needed = len(bad) + sum(a == b for a, b in itertools.pairwise(bad))
    logits = random(needed, 2, 4, dtype=dtype)
    targets, lengths = [bad, bad], [len(bad)] * 2
    assert np.all(np.isfinite(fl.ctc(logits, targets, [needed, needed], lengths, reduction="none")))
    short = [needed, needed - 1]
    value, grad = fl.ctc.value_and_grad(logits, targets, short, lengths, reduction="none")
    assert np.isfinite(value[0]) and value[1] == INF
    assert np.all(np.isfinite(grad[:, 0])) and np.all(np.isnan(grad[:-1, 1])) and not grad[-1, 1].any()
    assert fl.ctc(logits, targets, short, lengths) == INF
    for reduction in REDUCTIONS:
        options = {"reduction": reduction, "zero_infinity": True}
        finite, slope = fl.ctc.value_and_grad(logits, targets, short, lengths, **options)
        assert not slope[:, 1].any()
        share = 2 if reduction == "mean" else 1  # it counts in the mean
        assert_close(np.max(finite), value[0] if reduction == "none" else float(value[0]) / share, 2**30)
        assert_close(slope[:, 0], grad[:, 0] / share, 2)
    assert fl.ctc.normalizer(logits, targets, short, lengths) == 2
    ignored = fl.ctc.value_and_grad(logits, targets, short, lengths, sample_weight=[1, 0])
    assert np.isfinite(ignored[0]) and not ignored[1][:, 1].any()


@each_dtype
def test_no_labels_no_frames_no_sequences(dtype, level):
    z = random(3, 2, 4, dtype=dtype)
    all_blank = fl.cross_entropy(z, np.zeros((3, 2), int), reduction="none").sum(axis=0)
    for targets in (np.zeros((2, 0), int), [], np.zeros((2, 5))[:, :0], [[9, 9], [9, 9]]):
        value, grad = fl.ctc.value_and_grad(z, targets, [3, 3], [0, 0], reduction="none")
        assert_close(value, all_blank, 8)
        assert_close(grad, fl.cross_entropy.grad(z, np.zeros((3, 2), int), reduction="sum"), 8)
    value, grad = fl.ctc.value_and_grad(z, [[1], [1]], [0, 0], [0, 1], reduction="none")
    assert value.tolist() == [0, INF] and not grad.any()
    value, grad = fl.ctc.value_and_grad(z[:0], [[1], [1]], [0, 0], [0, 1], reduction="none", zero_infinity=True)
    assert value.tolist() == [0, 0] and grad.shape == (0, 2, 4)
    value, grad = fl.ctc.value_and_grad(z[:, :0], np.zeros((0, 3), int), [], [])
    assert value == 0.0 and grad.shape == (3, 0, 4)
    # A class alone is blank, and sure.
    value, grad = fl.ctc.value_and_grad(z[..., :1], [[], []], [3, 2], [0, 0], reduction="none")
    assert value.tolist() == [0, 0] and not grad.any()


@each_dtype
def test_forbidden_classes(dtype, level):
    """-inf makes no NaN where another alignment exists."""
    z = random(4, 1, 3, dtype=dtype)
    z[1:, 0, 1] = -INF  # label 1 has to be in frame 0
    value, grad = fl.ctc.value_and_grad(z, [[1, 2]], [4], [2])
    assert np.isfinite(value) and np.all(np.isfinite(grad)) and not grad[1:, 0, 1].any()
    z[0, 0, 1] = -INF
    value, grad = fl.ctc.value_and_grad(z, [[1, 2]], [4], [2])
    assert value == INF and np.all(np.isnan(grad))
    value, grad = fl.ctc.value_and_grad(z, [[1, 2]], [4], [2], zero_infinity=True)
    assert value == 0 and not grad.any()


@pytest.mark.parametrize("bad", [NAN, INF])
@each_dtype
def test_nan_and_inf_in_one_frame_reach_all_frames_of_the_sequence(dtype, bad, level):
    logits, targets, *lengths = problem(dtype=dtype)
    clean = fl.ctc.value_and_grad(logits, targets, *lengths, reduction="none")
    for label in range(5):
        dirty = logits.copy()
        dirty[2, 3, label] = bad
        for zero_infinity in (False, True):
            value, grad = fl.ctc.value_and_grad(dirty, targets, *lengths, reduction="none", zero_infinity=zero_infinity)
            assert np.isnan(value[3]) and np.all(np.isnan(grad[: lengths[0][3], 3]))
            assert not grad[lengths[0][3] :, 3].any()
            others = np.arange(7) != 3
            assert_same_bits((value[others], grad[:, others]), (clean[0][others], clean[1][:, others]))


@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_long_and_sharp_sequences(scale):
    """Probabilities far below the smallest double: the loss is up to 1e6. Its logarithms round in the reference."""
    rng = np.random.default_rng(scale)
    logits, labels = np.float32(scale) * rng.standard_normal((2000, 20), np.float32), rng.integers(1, 20, 80)
    (expected, _), (slope, size) = reference.ctc(logits.astype(np.longdouble), labels)
    for _ in levels():
        for dtype in FLOATS:
            value, grad = fl.ctc.value_and_grad(logits.astype(dtype), labels, 2000, 80)
            assert value == pytest.approx(float(expected), rel=1e-13)
            assert np.all(np.abs(grad - slope) <= 1e-12 * scale + np.finfo(dtype).eps * size)


@each_dtype
def test_sure_sequences(dtype, level):
    """The way that a model is sure of takes all but 1e-13 of the probability."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 10, 100)
    way = np.repeat(labels, 4)
    way[::4] = 0
    logits = np.zeros((400, 10), dtype)
    logits[np.arange(400), way] = 40
    value, grad = fl.ctc.value_and_grad(logits, labels, 400, 100)
    assert 0 <= value < 1e-12 and np.abs(grad).max() < 1e-12
    assert fl.ctc(logits, labels[::-1], 400, 100) > 1000


def test_huge_logits(level):
    logits = np.zeros((3, 2))
    logits[:, 0] = 1e300
    assert fl.ctc(logits, [1], 3, 1) == pytest.approx(1e300, rel=1e-15)
    assert fl.ctc(logits * [1e5, 1], [1], 3, 1) == INF
    assert fl.ctc(logits, [], 3, 0) == 0


def test_frames_are_read_where_they_lie():
    """A view of an array (N, T, C) needs no copy."""
    fl.set_num_threads(1)
    x = random(60, 300, 50, dtype=np.float32)
    targets, lengths = np.ones((60, 2), int), (np.full(60, 300), np.full(60, 2))
    view = x.transpose(1, 0, 2)
    expected = fl.ctc.value_and_grad(np.ascontiguousarray(view), targets, *lengths)
    assert_same_bits(fl.ctc.value_and_grad(view, targets, *lengths), expected)
    assert_same_bits(fl.ctc.value_and_grad(view[::-1][::-1], targets, *lengths), expected)
    assert peak_of(lambda: fl.ctc(view, targets, *lengths)) < 64 * 1024 < x.nbytes / 10


def test_memory_is_that_of_one_sequence_for_each_thread():
    x, targets, lengths = (
        random(1000, 20, 5, dtype=np.float32),
        np.ones((20, 100), int),
        (np.full(20, 1000), [100] * 20),
    )
    out = np.empty_like(x)
    for threads in (1, 2):
        fl.set_num_threads(threads)
        assert peak_of(lambda: fl.ctc(x, targets, *lengths)) < threads * 64 * 1024
        most = threads * (32 * 1001 * 112 + 64 * 1024)
        assert most / 2 < peak_of(lambda: fl.ctc.value_and_grad(x, targets, *lengths, out=out)) < most


def test_frames_farther_apart_than_32_bits_count():
    try:
        memory = np.empty(2**33 + 64, np.uint8)  # the system gives memory only to what is written
    except MemoryError:
        pytest.skip("the system does not promise that much memory")
    far = np.lib.stride_tricks.as_strided(memory[:64].view(np.float32), (3, 2, 4), (2**32, 16, 4))
    far[...] = near = random(3, 2, 4, dtype=np.float32)
    arguments = [[1, 2], [3, 3]], [3, 3], [2, 2]
    assert_same_bits(fl.ctc.value_and_grad(far, *arguments), fl.ctc.value_and_grad(near, *arguments))


@pytest.mark.parametrize("integer", "bBhHiIlLqQ")
def test_integers_of_any_dtype(integer):
    logits, *rest = problem()
    expected = fl.ctc.value_and_grad(logits, *rest)
    assert_same_bits(fl.ctc.value_and_grad(logits, *(x.astype(integer) for x in rest)), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Errors


def refused(text, logits=None, targets=((1, 2), (3, 3)), input_lengths=(4, 4), target_lengths=(2, 2), **options):
    logits = np.zeros((4, 2, 5)) if logits is None else logits
    for method in (fl.ctc, fl.ctc.grad, fl.ctc.value_and_grad, fl.ctc.normalizer):
        with raises(ValueError, text):
            method(logits, targets, input_lengths, target_lengths, **options)
    out = np.ones((4, 2, 5))
    if np.shape(logits) == out.shape:
        with raises(ValueError, text):
            fl.ctc.grad(logits, targets, input_lengths, target_lengths, out=out, **options)
        assert np.all(out == 1)


def test_bad_labels_are_named():
    refused("targets[1, 1] = 5 is not a class index in [0, 5) other than blank (0)", targets=[[1, 2], [3, 5]])
    refused("targets[0, 1] = 0 is not a class index in [0, 5) other than blank (0)", targets=[[1, 0], [-1, 3]])
    refused("targets[1, 0] = -1 is not a class index in [0, 5) other than blank (0)", targets=[[1, 2], [-1, 3]])
    refused("targets[3] = 4 is not a class index in [0, 5) other than blank (4)", targets=[1, 2, 3, 4], blank=4)
    huge = np.array([[1, 2], [3, 2**63 + 1]], np.uint64)
    refused("targets[1, 1] = 9223372036854775809 is not a class index in [0, 5) other than blank (0)", targets=huge)
    one = {"logits": np.zeros((4, 5)), "input_lengths": 4, "target_lengths": 2}
    refused("targets[1] = 0 is not a class index in [0, 5) other than blank (0)", targets=[3, 0], **one)
    # But not behind a length, nor in a sequence with weight 0.
    assert fl.ctc(np.zeros((4, 2, 5)), [[1, 0], [9, 3]], [4, 4], [1, 2], sample_weight=[1, 0]) > 0
    refused("targets[1, 0] = 9 is not a class index in [0, 5) other than blank (0)", targets=[[1, 0], [9, 3]],
            sample_weight=[0, 1])  # fmt: skip


def test_bad_lengths_are_named():
    refused("input_lengths[1] = 5 is not in [0, 4], the number of frames", input_lengths=[4, 5])
    refused("input_lengths[0] = -1 is not in [0, 4], the number of frames", input_lengths=[-1, 5])
    refused("target_lengths[1] = 3 is not in [0, 2], the length of targets", target_lengths=[2, 3])
    huge = np.array([2**63, 1], np.uint64)
    refused("target_lengths[0] = 9223372036854775808 is not in [0, 2], the length of targets", target_lengths=huge)
    refused("input_lengths must have shape (2,), not (3,)", input_lengths=[4, 4, 4])
    refused("target_lengths must have shape (2,), not ()", target_lengths=2)
    one = {"logits": np.zeros((4, 5)), "targets": [1, 2], "target_lengths": 2}
    refused("input_lengths = 9 is not in [0, 4], the number of frames", input_lengths=9, **one)
    refused("input_lengths must have shape (), not (1,)", input_lengths=[4], **one)
    # Those of weight 0 may be anything.
    common = {"sample_weight": [0, 1], "reduction": "sum"}
    expected = fl.ctc.value_and_grad(np.zeros((4, 2, 5)), [[1, 2], [3, 3]], [4, 4], [2, 2], **common)
    actual = fl.ctc.value_and_grad(np.zeros((4, 2, 5)), [[1, 2], [3, 3]], [-9, 4], [2**40, 2], **common)
    assert_same_bits(actual, expected)


def test_concatenated_targets_have_the_sum_of_their_lengths():
    text = "targets must have the sum of target_lengths, 4, as its length, not 5"
    refused(text, targets=[1, 2, 3, 3, 1])
    text = "target_lengths[0] = 6 is not in [0, 5], the length of targets"
    refused(text, targets=[1, 2, 3, 3, 1], target_lengths=[6, 2], sample_weight=[0, 1])


def test_bad_shapes_and_blanks():
    refused("logits must have shape (T, N, C), or (T, C) for one sequence, not (4,)", logits=np.zeros(4))
    refused("logits must have at least one class, and has shape (4, 2, 0)", logits=np.zeros((4, 2, 0)))
    text = "targets must have shape (2, S) or (sum of target_lengths,) for logits (4, 2, 5), not (3, 2)"
    refused(text, targets=np.ones((3, 2), int))
    for blank in (-1, 5, 2**62):
        refused(f"blank must be a class index in [0, 5), not {blank}", blank=blank)
    with raises(TypeError, "targets must be of an integer dtype, not float64"):
        fl.ctc(np.zeros((4, 2, 5)), [[1.0, 2], [3, 3]], [4, 4], [2, 2])
    with raises(TypeError, "input_lengths must be of an integer dtype, not bool"):
        fl.ctc(np.zeros((4, 2, 5)), [[1, 2], [3, 3]], [True, True], [2, 2])
    with raises(TypeError, "zero_infinity must be True or False, not 1"):
        fl.ctc(np.zeros((4, 2, 5)), [[1, 2], [3, 3]], [4, 4], [2, 2], zero_infinity=1)


def test_out_overlaps_no_targets():
    memory = np.zeros(40)
    targets = memory[:4].view(np.int64).reshape(2, 2)
    targets[...] = [[1, 2], [3, 3]]
    with raises(ValueError, "out overlaps targets"):
        fl.ctc.grad(np.zeros((4, 2, 5)), targets, [4, 4], [2, 2], out=memory.reshape(4, 2, 5))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_a_bad_logit_of_a_sequence_without_alignment_is_not_hidden(bad, zero_infinity):
    logits = np.zeros((2, 3, 4))
    logits[1, 0, 2] = logits[1, 2, 2] = bad
    lengths = [2, 2, 1]  # the last sequence ends before its bad logit
    call = partial(fl.ctc, logits, [[1, 1, 1]] * 3, lengths, [3, 3, 3], zero_infinity=zero_infinity)
    expected = 0 if zero_infinity else np.inf
    np.testing.assert_array_equal(call(reduction="none"), [np.nan, expected, expected])


def test_nothing_is_certain():
    value = fl.ctc(np.zeros((0, 1, 2)), np.zeros((1, 0), int), [0], [0], reduction="none")
    assert value == 0 and not np.signbit(value)
