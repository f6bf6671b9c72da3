"""Losses of a linear layer: values by hand, the same as a product and the loss of its scores, chunks, memory."""

import tracemalloc

import numpy as np
import pytest

import fastloss as fl
from tests.losses.cases import LINEAR
from tests.losses.comparing import assert_close, assert_same_bits, largest
from tests.losses.support import NAN, each_dtype, for_each, raises, random

X = np.array([[1.0, 2.0], [0.0, -1.0]])
WEIGHT = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def test_cross_entropy_by_hand():
    """Scores (0, log 3) and (0, -log 3): the right class has 3/4 and then 1/4."""
    x, weight, bias, target = [[1.0], [-1.0]], [[0.0], [np.log(3)]], [5.0, 5.0], [1, 1]
    value, (of_x, of_weight, of_bias) = fl.linear_cross_entropy.value_and_grad(
        np.array(x), weight, target, bias=bias, reduction="sum"
    )
    assert value == pytest.approx(np.log(4 / 3) + np.log(4), rel=1e-15)
    np.testing.assert_allclose(of_x, [[-np.log(3) / 4], [-np.log(3) * 3 / 4]], rtol=1e-15)
    np.testing.assert_allclose(of_weight, [[0.25 - 0.75], [-0.25 + 0.75]], rtol=1e-15)
    np.testing.assert_allclose(of_bias, [1, -1], rtol=1e-15)


def test_hinge_by_hand():
    """Scores (1, 2, 3) and (0, -1, -1)."""
    value, (of_x, of_weight) = fl.linear_multiclass_hinge.value_and_grad(X, WEIGHT, [2, 1], reduction="sum")
    assert value == (0 + 0) + (2 + 1)
    assert of_x.tolist() == [[0, 0], [2, -1]]
    assert of_weight.tolist() == [[0, -1], [0, 2], [0, -1]]
    assert fl.linear_multiclass_hinge(X, WEIGHT, [2, 1], power=2, margin=2, reduction="none").tolist() == [1, 9 + 4]


def test_focal_and_poly1_by_hand():
    """Equal scores of two classes: both have the probability 1/2."""
    x, weight = np.ones((1, 3)), np.zeros((2, 3))
    assert fl.linear_softmax_focal(x, weight, [0]) == pytest.approx(np.log(2) / 4, rel=1e-15)
    assert fl.linear_poly1_cross_entropy(x, weight, [0], epsilon=3) == pytest.approx(np.log(2) + 1.5, rel=1e-15)


def dense(problem, **common):
    """Value and gradients of the same layer by products of all scores."""
    given = dict(problem.inputs)
    x, weight, target, bias = given["x"], given["weight"], given["target"], given.get("bias", 0)
    options = {k: v for k, v in problem.options.items() if k != "chunk_bytes"}
    loss = getattr(fl, problem.case.name.removeprefix("linear_"))
    value, slopes = loss.value_and_grad(x @ weight.T + bias, target, **options, **common)
    s, rows = slopes.reshape(-1, len(weight)), x.reshape(-1, x.shape[-1])
    return value, (slopes @ weight, s.T @ rows, *([s.sum(0)] if "bias" in given else []))


@for_each(LINEAR)
@each_dtype
@pytest.mark.parametrize("chunk_bytes", [1, 3000, 2**26])
def test_the_same_as_a_product_and_the_loss_of_its_scores(case, dtype, chunk_bytes):
    for shape in ((40, 7), (3, 5, 4), (6,), (9, 1), (2, 300)):
        problem = case.problem(shape, -1, dtype)
        problem = problem.with_(problem.options | {"chunk_bytes": chunk_bytes})
        weight = problem.weight() if len(shape) > 1 else None
        for common in ({}, {"reduction": "sum"}, {"normalizer": 3.0}, {"sample_weight": weight}):
            value, grads = problem.value_and_grad(**common)
            expected, wanted = dense(problem, **common)
            scale = 40 if dtype is np.float64 else 40 * 2**29
            assert_close(value, expected, scale, 1.0)
            for grad, x in zip(grads, wanted, strict=True):
                assert_close(grad, x, 100, largest(x) + 1)
            assert problem.normalizer(**common) == pytest.approx(dense_normalizer(problem, **common), rel=1e-15)


def dense_normalizer(problem, **common):
    options = {k: v for k, v in problem.options.items() if k != "chunk_bytes"}
    scores = np.zeros((*problem.batch, problem.classes), problem.pred.dtype)
    loss = getattr(fl, problem.case.name.removeprefix("linear_"))
    return loss.normalizer(scores, problem.target, **options, **common)


def test_several_chunks_of_default_size_agree_with_one():
    x, weight, target = random(3000, 8), random(40, 8, seed=1), np.arange(3000) % 40
    one = fl.linear_cross_entropy.value_and_grad(x, weight, target)  # a chunk of 1 MB, which is all
    several = fl.linear_cross_entropy.value_and_grad(x, weight, target, chunk_bytes=40_000)
    assert_close(several, one, 200, largest(one))


def test_no_derivatives_of_single_losses():
    losses = fl.linear_cross_entropy(X, WEIGHT, [2, 0], reduction="none")
    assert_same_bits(losses, fl.cross_entropy(X @ WEIGHT.T, [2, 0], reduction="none"))
    text = "reduction='none' gives the losses alone: the gradient with respect to weight is a sum over the samples"
    out = (X.copy(), WEIGHT.copy())
    for method in (fl.linear_cross_entropy.grad, fl.linear_cross_entropy.value_and_grad):
        with raises(ValueError, text):
            method(*out, [2, 0], reduction="none", out=out)
    assert_same_bits(out, (X, WEIGHT))


# ---------------------------------------------------------------------------------------------------------------------
# Samples that do not count


@for_each(LINEAR)
@pytest.mark.parametrize("bad", [NAN, np.inf, 1e300])
def test_ignored_samples_reach_nothing(case, bad):
    """Whether a sample weight, the label or a class weight of 0 ignores them."""
    problem = case.problem((30, 5), -1)
    kept = np.random.default_rng(0).random(30) < 0.6
    dirty = problem.copied()
    dirty.inputs["x"][~kept] = bad
    clean = problem.each(lambda x: x[kept])
    value, (of_x, *others) = clean.value_and_grad()
    ways = [(dirty, {"sample_weight": kept})]
    if case.class_indices and "ignore_index" not in case.parameters:
        holes = np.where(kept, problem.target, -100)
        ways.append((dirty.with_(target=holes), {}))
    for ignoring, common in ways:
        actual, (grad, *more) = ignoring.value_and_grad(**common)
        assert actual == pytest.approx(value, rel=1e-13)
        assert_close(grad[kept], of_x, 40, largest(of_x))
        assert np.all(grad[~kept] == 0)
        for a, b in zip(more, others, strict=True):
            assert_close(a, b, 100, largest(b))


def test_a_sample_with_a_class_of_weight_0_is_ignored():
    x = np.array([[1.0, 2.0], [NAN, np.inf], [0.5, -1.0]])
    for loss in (fl.linear_cross_entropy, fl.linear_softmax_focal, fl.linear_multiclass_hinge):
        actual = loss.value_and_grad(x, WEIGHT, [2, 1, 0], class_weight=[1, 0, 2])
        value, (of_x, of_weight) = loss.value_and_grad(x[::2], WEIGHT, [2, 0], class_weight=[1, 0, 2])
        assert_close(actual, (value, (np.array([of_x[0], [0, 0], of_x[1]]), of_weight)), 8)


def test_nan_reaches_the_sums_and_its_own_sample():
    x = random(20, 3)
    x[7, 1] = NAN
    weight, target = random(4, 3, seed=1), np.arange(20) % 4
    for chunk_bytes in (100, 2**26):
        value, (of_x, of_weight) = fl.linear_cross_entropy.value_and_grad(x, weight, target, chunk_bytes=chunk_bytes)
        assert np.isnan(value) and np.isnan(of_weight).all()
        assert np.isnan(of_x[7]).all() and np.isfinite(np.delete(of_x, 7, 0)).all()
        losses = fl.linear_cross_entropy(x, weight, target, reduction="none", chunk_bytes=chunk_bytes)
        assert np.flatnonzero(np.isnan(losses)).tolist() == [7]


def test_a_bias_of_minus_infinity_excludes_its_class():
    actual = fl.linear_cross_entropy.value_and_grad(X, WEIGHT, [0, 1], bias=[0.0, 0.0, -np.inf])
    value, (of_x, of_weight, of_bias) = fl.linear_cross_entropy.value_and_grad(X, WEIGHT[:2], [0, 1], bias=[0.0, 0.0])
    of_weight, of_bias = (np.concatenate([g, np.zeros_like(g[:1])]) for g in (of_weight, of_bias))
    assert_close(actual, (value, (of_x, of_weight, of_bias)), 8)


# ---------------------------------------------------------------------------------------------------------------------
# Sizes, layouts, results in place


@each_dtype
def test_sizes_of_0_and_1(dtype):
    def call(n, d, c, **more):
        x, weight = np.ones((n, d), dtype), np.ones((c, d), dtype)
        return fl.linear_cross_entropy.value_and_grad(x, weight, np.zeros(n, int), bias=np.zeros(c, dtype), **more)

    for n, d, c in ((0, 3, 2), (0, 0, 1), (2, 0, 4), (1, 1, 1), (3, 2, 1)):
        for more in ({}, {"reduction": "sum"}, {"sample_weight": np.zeros(n)}):
            value, grads = call(n, d, c, **more)
            assert [g.shape for g in grads] == [(n, d), (c, d), (c,)] and all(g.dtype == dtype for g in grads)
            expected = np.log(c) if n and "sample_weight" not in more else 0
            assert value == pytest.approx(expected * (n if "reduction" in more else 1), rel=1e-6)
            assert np.all(grads[0] == 0) and np.all(grads[1] == 0)
    value, grads = fl.linear_cross_entropy.value_and_grad(np.array([1.0, 2.0]), WEIGHT, 2)
    assert value == fl.cross_entropy(WEIGHT @ [1.0, 2.0], 2) and grads[0].shape == (2,)


def test_a_transposed_weight_is_not_copied():
    n, d, c = 8, 500, 4000
    x, target = random(n, d, dtype=np.float32), np.arange(n)
    stored = random(d, c, dtype=np.float32, seed=1)
    expected = fl.linear_cross_entropy(x, stored.T.copy(), target)
    tracemalloc.start()
    try:
        value = fl.linear_cross_entropy(x, stored.T, target)
        assert tracemalloc.get_traced_memory()[1] < stored.nbytes / 10
    finally:
        tracemalloc.stop()
    assert value == pytest.approx(expected, rel=1e-6)


def test_a_weight_of_any_layout_and_dtype():
    x, weight, target = random(9, 6), random(5, 6, seed=1), np.arange(9) % 5
    value, grads = fl.linear_cross_entropy.value_and_grad(x, weight, target)
    wide = np.zeros((10, 12))
    wide[::2, ::-2] = weight
    for other in (np.asfortranarray(weight), wide[::2, ::-2], weight.astype(">f8"), weight.tolist()):
        actual, of_other = fl.linear_cross_entropy.value_and_grad(x, other, target)
        assert_close((actual, of_other), (value, grads), 16, largest(grads))
        assert all(g.flags.c_contiguous for g in of_other)
    single = fl.linear_cross_entropy.grad(x.astype(np.float32), weight, target)
    assert all(g.dtype == np.float32 for g in single)


def test_out_may_be_the_layer_itself():
    """Also with several chunks, which all read x and W."""
    x, weight, bias, target = random(50, 3), random(4, 3, seed=1), random(4, seed=2), np.arange(50) % 4
    for common in ({}, {"sample_weight": np.arange(50) % 3}):
        expected = fl.linear_cross_entropy.value_and_grad(x, weight, target, bias=bias, chunk_bytes=300, **common)
        out = (x.copy(), weight.copy(), bias.copy())
        actual = fl.linear_cross_entropy.value_and_grad(
            *out[:2], target, bias=out[2], chunk_bytes=300, out=out, **common
        )
        assert_same_bits(actual, expected)
        assert all(a is b for a, b in zip(actual[1], out, strict=True))


@pytest.mark.parametrize("length, more", [(512, {}), (8, {}), (8, {"sample_weight": np.arange(2048) % 2})])
def test_memory(length, more):
    """Besides the results, at most a tenth of the scores, which are 262 MB."""
    x, weight = random(2048, length, dtype=np.float32), np.zeros((32_000, length), np.float32)
    out = (np.empty_like(x), np.empty_like(weight))
    fl.linear_cross_entropy(x[:2], weight[:2], [0, 1])  # the first call loads the kernels
    tracemalloc.start()
    try:
        fl.linear_cross_entropy.value_and_grad(x, weight, np.arange(2048), out=out, **more)
        assert tracemalloc.get_traced_memory()[1] < 2048 * 32_000 * 4 / 10
    finally:
        tracemalloc.stop()


def test_chunk_bytes_bounds_the_memory():
    x, weight, target = random(400, 4), np.zeros((2000, 4)), np.zeros(400, int)
    out = (np.empty_like(x), np.empty_like(weight))
    peaks = []
    for chunk_bytes in (1, 160_000, 2**26):
        tracemalloc.start()
        try:
            fl.linear_cross_entropy.value_and_grad(x, weight, target, chunk_bytes=chunk_bytes, out=out)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[0] + 100_000 < peaks[1] < peaks[0] + 200_000 < peaks[2]


# ---------------------------------------------------------------------------------------------------------------------
# Errors


def test_errors():
    loss, x, weight, target = fl.linear_cross_entropy, X, WEIGHT, [2, 0]
    with raises(ValueError, "x must hold vectors along its last axis, and is 0-dimensional"):
        loss(np.array(1.0), weight, target)
    for wrong in (weight.T, weight[0], weight[:0], np.zeros((3, 2, 1))):
        text = f"weight must have shape (C, 2), one row or more, each as long as the vectors in x, not {wrong.shape}"
        with raises(ValueError, text):
            loss(x, wrong, target)
    with raises(ValueError, "weight must have at most 2147483647 classes, not 2147483648"):
        loss(np.zeros((2, 0)), np.zeros((2**31, 0)), target)
    with raises(ValueError, "bias must have shape (3,), not (2,)"):
        loss(x, weight, target, bias=[1.0, 2.0])
    with raises(ValueError, "class_weight must have shape (3,), not (2,)"):
        loss(x, weight, target, class_weight=[1.0, 2.0])
    with raises(ValueError, "target must have shape (2,) (class indices) or (2, 3) (probabilities), not (3,)"):
        loss(x, weight, [0, 1, 2])
    with raises(ValueError, "target must have shape (2,) (class indices), not (2, 3)"):
        fl.linear_multiclass_hinge(x, weight, np.eye(3)[:2])
    with raises(ValueError, "chunk_bytes must be at least 1, not 0"):
        loss(x, weight, target, chunk_bytes=0)
    with raises(TypeError, "chunk_bytes must be an integer, not float"):
        loss(x, weight, target, chunk_bytes=1e6)
    with raises(ValueError, f"chunk_bytes must fit 64 bits, not {2**70}"):
        loss(x, weight, target, chunk_bytes=2**70)
    with raises(ValueError, "power must be 1 or 2, not 3"):
        fl.linear_multiclass_hinge(x, weight, target, power=3)


def test_a_bad_target_is_named_by_its_place_in_the_array_of_the_caller():
    """However many chunks there are, whichever samples are ignored, and before anything is written."""
    x, weight = random(4, 6, 3), random(5, 3, seed=1)
    labels = np.tile([0, -100, 2, 3, -100, 4], (4, 1))
    labels[2, 3] = 7
    probabilities = np.full((4, 6, 5), 0.2)
    probabilities[2, 3, 1] = 1.5
    for target, text in (
        (labels, "target[2, 3] = 7 is not a class index in [0, 5) nor ignore_index (-100)"),
        (probabilities, "target[2, 3, 1] = 1.5 is not in [0, 1]"),
    ):
        out = (x.copy(), weight.copy())
        for call in (fl.linear_cross_entropy.grad, fl.linear_cross_entropy.value_and_grad):
            with raises(ValueError, text):
                call(*out, target, out=out, chunk_bytes=100)
        assert_same_bits(out, (x, weight))
        for call in (fl.linear_cross_entropy, fl.linear_cross_entropy.normalizer):
            with raises(ValueError, text):
                call(x, weight, target)
        kept = np.ones((4, 6))
        kept[2, 3] = 0
        fl.linear_cross_entropy(x, weight, target, sample_weight=kept)
