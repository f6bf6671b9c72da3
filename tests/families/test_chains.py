"""Structured outputs: values computed by hand, brute force, and rules of their own."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from tests.losses import reference
from tests.losses.comparing import assert_close, assert_same_bits, leaves
from tests.losses.layouts import LAYOUTS
from tests.losses.problem import levels
from tests.losses.support import HALVES, INF, NAN, each_dtype, raises

CHAINS = [fl.linear_chain_crf, fl.structured_hinge]
each_chain = pytest.mark.parametrize("loss", CHAINS, ids=repr)

# ---------------------------------------------------------------------------------------------------------------------
# Chains: by hand

#: Two steps of two tags. The scores of the paths 00, 01, 10, 11 are 3, 1, 3, 7.
EMISSIONS, TRANSITIONS = np.array([[1.0, 3], [0, 2]]), np.array([[2.0, -2], [0, 2]])
SCORES = np.array([3.0, 1, 3, 7])


def test_crf_by_hand(level):
    p = np.exp(SCORES) / np.exp(SCORES).sum()
    value, (of_emissions, of_transitions) = fl.linear_chain_crf.value_and_grad(EMISSIONS, [0, 1], TRANSITIONS)
    assert value == pytest.approx(-np.log(p[1]), rel=1e-15)
    assert_close(of_emissions, np.array([[p[0] + p[1] - 1, p[2] + p[3]], [p[0] + p[2], p[1] + p[3] - 1]]), 8, 1.0)
    assert_close(of_transitions, (p - [0, 1, 0, 0]).reshape(2, 2), 8, 1.0)


def test_scores_of_ends_by_hand(level):
    start, end = np.array([1.0, -1]), np.array([0.5, 0])
    scores = SCORES + [1.5, 1, -0.5, -1]
    p = np.exp(scores) / np.exp(scores).sum()
    value, grads = fl.linear_chain_crf.value_and_grad(EMISSIONS, [0, 1], TRANSITIONS, start=start, end=end)
    assert value == pytest.approx(-np.log(p[1]), rel=1e-15)
    assert_close(grads[2], np.array([p[0] + p[1] - 1, p[2] + p[3]]), 8, 1.0)
    assert_close(grads[3], np.array([p[0] + p[2], p[1] + p[3] - 1]), 8, 1.0)
    of_end = fl.linear_chain_crf.grad(EMISSIONS, [0, 1], TRANSITIONS, end=end)
    assert len(of_end) == 3 and of_end[2].shape == (2,)


def test_hinge_by_hand(level):
    value, grads = fl.structured_hinge.value_and_grad(EMISSIONS, [0, 1], TRANSITIONS)
    assert value == 7 + 1 - 1  # the path 11 has one wrong tag
    assert_same_bits(grads, (np.array([[-1.0, 1], [0, 0]]), np.array([[0.0, -1], [0, 1]])))
    assert fl.structured_hinge(EMISSIONS, [1, 1], TRANSITIONS) == 0
    value, grads = fl.structured_hinge.value_and_grad(EMISSIONS, [1, 1], TRANSITIONS, margin=5.0)
    assert value == max(3 + 10, 1 + 5, 3 + 5, 7) - 7
    assert grads[1].tolist() == [[1, 0], [0, -1]]


def test_viterbi_by_hand(level):
    tags, score = fl.viterbi(EMISSIONS, TRANSITIONS)
    assert tags.tolist() == [1, 1] and tags.dtype == np.int64 and score == 7 and score.shape == ()
    tags, score = fl.viterbi(EMISSIONS.astype(np.float32), TRANSITIONS, start=[5.0, 0], end=[5.0, 0])
    assert tags.tolist() == [0, 0] and score == 13 and score.dtype == np.float32


# ---------------------------------------------------------------------------------------------------------------------
# Chains: every path


def paths_of(emissions, transitions, start, end):
    """All paths of a sequence, and their scores."""
    steps, k = emissions.shape
    paths = np.array(list(itertools.product(range(k), repeat=steps)), dtype=int).reshape(k**steps, steps)
    with np.errstate(invalid="ignore"):
        if not steps:
            return paths, np.zeros(1)
        return paths, np.array([reference.score_of_path(p, emissions, transitions, start, end) for p in paths])


@st.composite
def chains(draw):
    """Sequences, with scores near each other, far apart, and -inf; and transitions, lengths, start, end and tags."""
    n, steps, k = draw(st.integers(0, 3)), draw(st.integers(0, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    spread = st.sampled_from([0.0, 1.0, 30.0, 800.0])

    def scores(*shape):
        x = draw(spread) * rng.standard_normal(shape)
        x[rng.random(shape) < draw(st.sampled_from([0, 0, 0.2]))] = -INF
        return x

    arrays = scores(n, steps, k), rng.integers(0, k, (n, steps)), scores(k, k)
    return *arrays, rng.integers(0, steps + 1, n), scores(k), scores(k)


@given(drawn=chains(), margin=st.sampled_from([0.0, 1.0, 0.3, 2000.0, -1.0]))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_all_paths(drawn, margin):
    emissions, tags, transitions, lengths, start, end = drawn
    common = {"lengths": lengths, "start": start, "end": end}
    losses = fl.linear_chain_crf(emissions, tags, transitions, **common, reduction="none")
    hinges = fl.structured_hinge(emissions, tags, transitions, margin=margin, **common, reduction="none")
    decoded, best = fl.viterbi(emissions, transitions, **common)
    for i, n in enumerate(lengths):
        e, y = emissions[i, :n], tags[i, :n]
        paths, scores = paths_of(e, transitions, start, end)
        with np.errstate(invalid="ignore"):
            right = scores[np.flatnonzero((paths == y).all(axis=1))[0]]
            size = 1 + np.max(np.abs(scores), initial=0, where=np.isfinite(scores)) + abs(margin) * n
            assert_close(losses[i], np.maximum(0, np.logaddexp.reduce(scores) - right), 16, size)
            wrong = np.sum(paths != y, axis=1)
            assert_close(hinges[i], np.max(scores + margin * wrong) - right, 16, size)
        assert_close(best[i], scores.max(), 16, size)
        assert np.all(decoded[i, n:] == 0)
        if best[i] > -INF:
            assert_close(scores[np.flatnonzero((paths == decoded[i, :n]).all(axis=1))[0]], scores.max(), 16, size)
        grads = fl.linear_chain_crf.grad(e, y, transitions, start=start, end=end)
        with np.errstate(invalid="ignore"):  # no path is allowed
            p = np.exp(scores - np.logaddexp.reduce(scores))
        assert_close(grads[0], expected_tags(paths, p, y, len(start)), 32, size)
        assert_close(grads[1], expected_moves(paths, p, y, len(start)), 32, size)


def expected_tags(paths, p, tags, k):
    ones = np.eye(k)
    return np.einsum("p,ptk->tk", p, ones[paths]) - ones[tags]


def expected_moves(paths, p, tags, k):
    ones = np.eye(k)
    return np.einsum("p,pti,ptj->ij", p, ones[paths[:, :-1]], ones[paths[:, 1:]]) - ones[tags[:-1]].T @ ones[tags[1:]]


# ---------------------------------------------------------------------------------------------------------------------
# Chains: rules of their own


def batch(n=5, steps=4, k=3, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    emissions, transitions = rng.standard_normal((n, steps, k)), rng.standard_normal((k, k))
    return emissions.astype(dtype), rng.integers(0, k, (n, steps)), transitions.astype(dtype)


@each_chain
@each_dtype
def test_steps_behind_the_end_may_hold_anything(loss, dtype, level):
    emissions, tags, transitions = batch(dtype=dtype)
    lengths = np.array([4, 0, 1, 2, 3])
    dirty, bad = emissions.copy(), tags.astype(np.int64)
    behind = np.arange(4) >= lengths[:, np.newaxis]
    dirty[behind], bad[behind] = NAN, 2**62
    value, grads = loss.value_and_grad(emissions, tags, transitions, lengths=lengths)
    assert_same_bits(loss.value_and_grad(dirty, bad, transitions, lengths=lengths), (value, grads))
    assert np.all(grads[0][behind] == 0)
    assert loss.normalizer(dirty, bad, transitions, lengths=lengths) == 5
    for x, y in zip(
        fl.viterbi(dirty, transitions, lengths=lengths),
        fl.viterbi(emissions, transitions, lengths=lengths),
        strict=True,
    ):
        assert_same_bits(x, y)
    in_place = dirty.copy()
    assert_same_bits(loss.grad(in_place, bad, transitions, lengths=lengths, out=(in_place, transitions.copy())), grads)


@each_chain
def test_a_sequence_with_weight_zero_may_hold_anything(loss):
    emissions, tags, transitions = batch()
    lengths = np.array([4, 3, 1, 2, 4])
    weight = np.array([1.0, 0, 2, 0, 1])
    expected = loss.value_and_grad(emissions, tags, transitions, lengths=lengths, sample_weight=weight)
    emissions[1], tags[1], lengths[3] = NAN, -7, 99
    assert_same_bits(loss.value_and_grad(emissions, tags, transitions, lengths=lengths, sample_weight=weight), expected)


@each_chain
def test_leading_axes_and_single_sequences(loss):
    emissions, tags, transitions = batch(6)
    losses = loss(emissions, tags, transitions, reduction="none")
    two = loss(emissions.reshape(2, 3, 4, 3), tags.reshape(2, 3, 4), transitions, reduction="none")
    assert_same_bits(two.reshape(6), losses)
    one = loss(emissions[2], tags[2], transitions, reduction="none")
    assert one.shape == () and one == losses[2]
    assert loss(emissions[2], tags[2], transitions, lengths=4) == losses[2]
    assert loss(emissions[2], tags[2], transitions, sample_weight=2.0, reduction="sum") == 2 * losses[2]
    scores = fl.viterbi(emissions.reshape(2, 3, 4, 3), transitions)[1]
    assert scores.shape == (2, 3) and fl.viterbi(emissions[2], transitions, lengths=4)[1] == scores[0, 2]


@each_chain
@each_dtype
def test_no_sequences_steps_or_choice(loss, dtype, level):
    for shape in ((0, 4, 3), (3, 0, 2), (0, 0, 1)):
        tags, transitions = np.zeros(shape[:-1], int), np.zeros((shape[-1], shape[-1]), dtype)
        value, grads = loss.value_and_grad(np.zeros(shape, dtype), tags, transitions)
        assert value == 0 and all(np.all(x == 0) for x in grads)
        assert loss(np.zeros(shape, dtype), tags, transitions, reduction="none").tolist() == [0] * shape[0]
        decoded, scores = fl.viterbi(np.zeros(shape, dtype), transitions)
        assert decoded.shape == shape[:-1] and scores.tolist() == [0] * shape[0]
    emissions, tags, transitions = batch(k=1, dtype=dtype)
    value, grads = loss.value_and_grad(emissions, tags, transitions)
    assert value == 0 and all(np.all(x == 0) for x in grads)


@each_chain
@each_dtype
def test_right_path_that_is_forbidden(loss, dtype, level):
    emissions, tags, transitions = batch(dtype=dtype)
    tags[:] = 0
    tags[2, 1:3] = 1, 2
    transitions[1, 2] = -INF
    losses = loss(emissions, tags, transitions, reduction="none")
    assert losses[2] == INF and np.all(np.isfinite(np.delete(losses, 2)))
    value, grads = loss.value_and_grad(emissions, tags, transitions)
    assert value == INF and all(np.all(np.isfinite(x)) for x in grads)
    assert grads[1][1, 2] == pytest.approx(-1 / 5)  # one move in five sequences


@each_chain
def test_without_any_path(loss, level):
    emissions, tags, transitions = batch()
    emissions[2, 1] = -INF
    losses = loss(emissions, tags, transitions, reduction="none")
    assert np.isnan(losses).tolist() == [False, False, True, False, False]
    grads = loss.grad(emissions, tags, transitions)
    assert (
        np.all(np.isnan(grads[0][2])) and np.all(np.isnan(grads[1])) and not np.isnan(np.delete(grads[0], 2, 0)).any()
    )
    assert fl.viterbi(emissions, transitions)[1][2] == -INF


def test_crf_is_exact_for_scores_of_any_range(level):
    """Tag 1 is far behind and returns: in linear space its sum would be 0."""
    for far in (50.0, 400.0, 900.0, 1e6):
        emissions = np.array([[0.0, -far], [0.0, 0.0], [0.0, 2 * far]])
        transitions = np.array([[0.0, -INF], [-INF, 0.0]])
        value, grads = fl.linear_chain_crf.value_and_grad(emissions, [1, 1, 1], transitions, reduction="sum")
        assert value == pytest.approx(np.exp(-far), rel=1e-9, abs=1e-15)
        assert fl.linear_chain_crf(emissions, [0, 0, 0], transitions) == pytest.approx(far, rel=1e-15)
        assert_close(grads[1], np.array([[2.0, 0], [0, -2]]) * np.exp(-far), 8, 1.0)


@pytest.mark.parametrize("spread", [1.0, 100.0, 1e4])
def test_crf_of_float32_has_the_accuracy_of_float64(spread, level):
    emissions, tags, transitions = batch(7, 30, 9, np.float32)
    wide = emissions * np.float32(spread), tags, transitions * np.float32(spread)
    value, grads = fl.linear_chain_crf.value_and_grad(*wide)
    expected, of_expected = fl.linear_chain_crf.value_and_grad(wide[0].astype(float), tags, wide[2].astype(float))
    assert value == expected
    for x, y in zip(grads, of_expected, strict=True):
        assert x.dtype == np.float32 and np.array_equal(x, y.astype(np.float32))


def test_crf_of_independent_tags_is_cross_entropy():
    emissions, tags, _ = batch(6, 5, 4)
    value, (grad, _) = fl.linear_chain_crf.value_and_grad(emissions, tags, np.zeros((4, 4)), reduction="sum")
    expected, of_expected = fl.cross_entropy.value_and_grad(emissions, tags, reduction="sum")
    assert value == pytest.approx(expected, rel=1e-14)
    assert_close(grad, of_expected, 16, 1.0)


def test_ties_are_broken_from_the_end():
    for level in levels():
        tags, score = fl.viterbi(np.zeros((2, 5, 40), np.float32), np.zeros((40, 40)))
        assert not tags.any() and not score.any(), level
        # The paths 0 2, 1 1, 2 0 have the same score.
        transitions = np.fliplr(np.eye(3))
        assert fl.viterbi(np.zeros((2, 3)), transitions)[0].tolist() == [2, 0]
        # Of these, 2 0 has the smallest last tag; with the margin, 1 1 has only one wrong tag.
        grad = fl.structured_hinge.grad(np.zeros((2, 3)), [0, 0], transitions, margin=0.0)
        assert grad[0].tolist() == [[-1, 0, 1], [0, 0, 0]]


def test_hinge_that_is_zero_has_no_gradient():
    """The right path has a rival of the same score that would win the tie."""
    value, grads = fl.structured_hinge.value_and_grad(np.zeros((2, 2)), [1, 1], np.zeros((2, 2)), margin=0.0)
    assert value == 0 and all(np.all(x == 0) for x in grads)


def test_hinge_without_transitions_is_a_sum_of_crammer_singer():
    emissions, tags, _ = batch(6, 5, 4)
    value, (grad, _) = fl.structured_hinge.value_and_grad(emissions, tags, np.zeros((4, 4)), reduction="sum")
    expected, of_expected = fl.crammer_singer.value_and_grad(emissions, tags, reduction="sum")
    assert value == pytest.approx(expected, rel=1e-14)
    assert np.array_equal(grad, of_expected)


@pytest.mark.parametrize("place", ["emissions", "transitions", "start", "end"])
def test_nan_anywhere_makes_the_score_nan(place):
    emissions, tags, transitions = batch()
    scores = {"transitions": transitions, "start": np.zeros(3), "end": np.zeros(3), "emissions": emissions}
    scores[place][1] = NAN
    for loss in CHAINS:
        assert np.isnan(loss(tags=tags, **scores))
        assert all(np.isnan(x).any() for x in leaves(loss.grad(tags=tags, **scores)))
    decoded, best = fl.viterbi(**scores)
    assert np.isnan(best[1]) and np.isnan(best).all() == (place != "emissions")
    assert np.all((decoded >= 0) & (decoded < 3))


def test_viterbi_takes_any_layout_and_dtype():
    emissions, _, transitions = batch(5, 4, 3)
    lengths, start = np.array([4, 0, 2, 3, 1]), np.array([0.0, 1, 2])
    expected = fl.viterbi(emissions, transitions, lengths=lengths, start=start)
    for layout in LAYOUTS:
        actual = fl.viterbi(layout(emissions), layout(transitions), lengths=layout(lengths), start=layout(start))
        assert_same_bits(actual, expected)
    for dtype in "bBhHiIlLqQ":
        assert_same_bits(fl.viterbi(emissions, transitions, lengths=lengths.astype(dtype), start=start), expected)
    for half in HALVES.values():
        tags, scores = fl.viterbi(emissions.astype(half), transitions)
        same, singles = fl.viterbi(emissions.astype(half).astype(np.float32), transitions)
        assert scores.dtype == half and np.array_equal(tags, same) and np.array_equal(scores, singles.astype(half))


def test_viterbi_has_the_same_bits_for_any_number_of_threads():
    emissions, _, transitions = batch(701, 20, 40, np.float32)
    fl.set_num_threads(1)
    expected = fl.viterbi(emissions, transitions)
    fl.set_num_threads(3)
    assert_same_bits(fl.viterbi(emissions, transitions), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Chains: errors


@each_chain
def test_bad_shapes_of_chains(loss):
    emissions, tags, transitions = batch()
    for bad in (np.zeros(3), np.zeros((2, 3, 0))):
        with raises(ValueError, f"emissions must have shape (..., T, K) with at least one tag, not {bad.shape}"):
            loss(bad, tags, transitions)
    with raises(ValueError, "tags must have shape (5, 4), a tag for each step, not (5, 3)"):
        loss(emissions, tags[:, :3], transitions)
    with raises(ValueError, "transitions must have shape (3, 3), not (3, 2)"):
        loss(emissions, tags, transitions[:, :2])
    with raises(ValueError, "lengths must have shape (5,), a length for each sequence, not ()"):
        loss(emissions, tags, transitions, lengths=4)
    for name in ("start", "end"):
        with raises(ValueError, f"{name} must have shape (3,), not (2,)"):
            loss(emissions, tags, transitions, **{name: [0.0, 1]})


@each_chain
def test_bad_tags_and_lengths(loss):
    emissions, tags, transitions = batch()
    lengths = np.array([4, 3, 0, 2, 4])
    for bad in (3, -1, 2**63 - 1, -(2**63)):
        wrong = tags.copy()
        wrong[3, 1] = bad
        out = np.full_like(emissions, 7), np.full_like(transitions, 7)
        with raises(ValueError, f"tags[3, 1] = {bad} is not a tag in [0, 3)"):
            loss.grad(emissions, wrong, transitions, lengths=lengths, out=out)
        assert np.all(out[0] == 7) and np.all(out[1] == 7)
        with raises(ValueError, f"tags[3, 1] = {bad} is not a tag in [0, 3)"):
            loss.normalizer(emissions, wrong, transitions)
    with raises(ValueError, f"tags[0, 2] = {2**64 - 1} is not a tag in [0, 3)"):
        loss(
            emissions,
            np.where(np.arange(4) == 2, np.uint64(2**64 - 1), np.uint64(0)) + 0 * tags.astype("u8"),
            transitions,
        )
    for bad in (5, -1, 2**63 - 1):
        lengths[1] = bad
        with raises(ValueError, f"lengths[1] = {bad} is not a length in [0, 4]"):
            loss(emissions, tags, transitions, lengths=lengths)
        with raises(ValueError, f"lengths[1] = {bad} is not a length in [0, 4]"):
            fl.viterbi(emissions, transitions, lengths=lengths)
    with raises(TypeError, "tags must be of an integer dtype, not float64"):
        loss(emissions, tags * 1.0, transitions)
    with raises(TypeError, "lengths must be of an integer dtype, not bool"):
        loss(emissions, tags, transitions, lengths=lengths > 0)


@each_chain
def test_chains_have_no_gradients_of_single_losses(loss):
    text = f"reduction='none' goes with the value alone: {loss.__name__} adds up its gradients"
    for method in (loss.grad, loss.value_and_grad):
        with raises(ValueError, text):
            method(*batch(), reduction="none")
