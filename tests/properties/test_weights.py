"""Sample weights: their shapes, their scale, and elements with weight 0."""

import itertools

import numpy as np
import pytest

import fastloss as fl
from tests.losses.cases import CASES
from tests.losses.comparing import assert_close, assert_same_bits, largest, leaves
from tests.losses.support import FLOATS, REDUCTIONS, each_case, each_dtype, each_independent_case, for_each

pytestmark = pytest.mark.filterwarnings("error")


@each_case
@each_dtype
def test_weights_are_for_the_leading_axes_of_the_loss(case, dtype):
    for problem in case.problems(dtype):
        for ndim in range(1, len(problem.batch)):
            weight = problem.weight(ndim)
            full = np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(problem.batch) - ndim)), problem.batch)
            for reduction in REDUCTIONS:
                problem.assert_as_expected(sample_weight=weight, reduction=reduction)
                actual, expected = (problem.everything(sample_weight=w, reduction=reduction) for w in (weight, full))
                for a, b in zip(leaves(actual), leaves(expected), strict=True):
                    assert_close(a, b, 40, largest(b))


@each_case
@each_dtype
def test_an_axis_of_length_one_stands_for_the_whole_axis(case, dtype):
    """For each choice of axes. The shapes are of one tile and of several, with up to three axes apart."""
    shapes = [((9, 5), 1)] if case.in_batch else [((2, 3, 4, 2, 3), -1), ((6, 5, 3, 130), -1)]
    if case.has_axis and not case.in_batch:
        shapes = [((2, 3, 3, 4, 2, 3), 2), ((7, 3, 5, 80), 1)]
    for shape, axis in shapes:
        problem = case.problem(shape, axis, dtype)
        axes = range(len(problem.batch))
        for whole in (x for n in axes for x in itertools.combinations(axes, n + 1)):
            weight = problem.weight(whole=whole)
            full = np.broadcast_to(weight, problem.batch).copy()
            for reduction in REDUCTIONS:
                actual, expected = (problem.everything(sample_weight=w, reduction=reduction) for w in (weight, full))
                for a, b in zip(leaves(actual), leaves(expected), strict=True):
                    if reduction == "mean":  # the sum of the weights is rounded otherwise
                        assert_close(a, b, 40, largest(b))
                    else:
                        assert_same_bits(a, b)
        problem.assert_as_expected(sample_weight=problem.weight(whole=axes[1:2]))


def test_axes_of_length_one_by_hand():
    pred, target = np.array([[1.0, 2, 3], [4, 5, 6]]), np.zeros((2, 3))
    assert fl.mse(pred, target, sample_weight=[[2.0], [1.0]]) == (2 * 14 + 77) / 9
    assert fl.mse(pred, target, sample_weight=[[1.0, 0, 3]]) == (1 + 16 + 3 * (9 + 36)) / 8
    assert fl.mse(pred, target, sample_weight=[3.0]) == 91 / 6
    assert fl.mse.grad(pred, target, sample_weight=[[1.0, 0, 3]], reduction="sum").tolist() == [[2, 0, 18], [8, 0, 36]]
    volume = np.arange(24.0).reshape(2, 3, 4)
    weight = np.array([[[1.0, 0, 2, 0]], [[0, 3, 0, 0]]])
    assert fl.mae(volume, np.zeros_like(volume), sample_weight=weight, reduction="sum") == 12 + 2 * 18 + 3 * 51
    assert fl.mae(volume, np.zeros_like(volume), sample_weight=weight) == 201 / 18


def test_no_axis_is_the_only_one_of_a_weight_for_a_loss_without_axes():
    assert fl.mse(np.array(3.0), 1.0, sample_weight=2.0, reduction="sum") == 8
    with pytest.raises(ValueError, match=r"not \(1,\)$"):
        fl.mse(np.array(3.0), 1.0, sample_weight=[2.0])


@each_case
def test_equal_weights_cancel_in_the_mean_alone(case):
    problem = case.small()
    for reduction in REDUCTIONS:
        plain = problem.everything(reduction=reduction)
        weighted = problem.everything(reduction=reduction, sample_weight=np.full(problem.batch[:1], 4.0))
        factor = 1 if reduction == "mean" else 4
        for a, b in zip(leaves(weighted), leaves(plain), strict=True):
            assert_close(a, factor * b, 4, largest(factor * b))


@each_case
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_elements_with_weight_zero_are_ignored(case, bad):
    """NaN and inf under a weight of 0 reach neither value nor gradient."""
    for dtype in FLOATS:
        problem = case.small(dtype)
        for hidden in (np.array([1, 0, 2.5, 0, 1, 0]), problem.weight(seed=1)):
            dirty = problem.copied()
            for x in dirty.inputs.values():
                if x.dtype.kind == "f" and x.shape[: hidden.ndim] == hidden.shape:
                    x[problem.in_batch(np.nonzero(hidden == 0)) if x.shape == problem.pred.shape else hidden == 0] = bad
            for reduction in REDUCTIONS:
                common = {"sample_weight": hidden, "reduction": reduction}
                actual, clean = dirty.everything(**common), problem.everything(**common)
                for a, b in zip(leaves(actual), leaves(clean), strict=True):
                    assert np.array_equal(a, b)  # 0 and -0 are equal
                for grad in leaves(actual[1])[:1]:
                    assert np.all(grad[problem.in_batch(np.nonzero(hidden == 0))] == 0)


@each_independent_case
def test_an_integer_weight_is_a_repeated_sample(case):
    problem = case.small()
    times = np.array([1, 0, 3, 2, 0, 1])
    value, *grads = leaves(problem.value_and_grad(sample_weight=times, reduction="mean"))
    repeated = problem.each(lambda x: np.repeat(x, times, axis=0))
    expected_value, *expected_grads = leaves(repeated.value_and_grad(reduction="mean"))
    assert_close(value, expected_value)
    starts = np.cumsum(times) - times
    for name, grad, expected in zip(case.differentiable, grads, expected_grads, strict=True):
        if name in case.for_all_samples or not grad.ndim:
            assert_close(grad, expected, scale=largest(expected))
            continue
        grad, expected = map(problem.samples_first, (grad, expected))
        for i, k in enumerate(times):
            assert_close(grad[i], expected[starts[i] : starts[i] + k].sum(axis=0), scale=largest(grad))


@each_case
@each_dtype
def test_all_weights_zero(case, dtype):
    for problem in case.problems(dtype):
        problem = problem.with_(pred=np.full_like(problem.pred, np.nan))
        for reduction in REDUCTIONS:
            for x in leaves(problem.everything(sample_weight=np.zeros(problem.batch), reduction=reduction)):
                assert np.all(x == 0)


@each_case
def test_scale_of_weights_may_be_extreme(case):
    """The mean does not depend on the unit of the weights."""
    problem = case.small()
    weight = problem.weight()
    expected = problem.everything(sample_weight=weight, reduction="mean")
    for unit in (2.0**-900, 2.0**900):
        assert_close(problem.everything(sample_weight=weight * unit, reduction="mean"), expected, 8)


@pytest.mark.parametrize("weight", [1e-300, 1e-60, 1e60, 1e300])
@each_dtype
def test_weights_of_any_size(dtype, weight):
    """They are applied in double precision, whatever the dtype of the loss."""
    pred, target = np.array([1, 3], dtype), np.zeros(2, dtype)
    value, grad = fl.mse.value_and_grad(pred, target, sample_weight=np.full(2, weight))
    assert value == pytest.approx(5, rel=1e-15)
    assert grad.tolist() == pytest.approx([1, 3], rel=1e-15)
    value, grad = fl.cross_entropy.value_and_grad(
        np.zeros((2, 2), dtype), np.array([0, 1]), sample_weight=np.full(2, weight)
    )
    assert value == pytest.approx(np.log(2), rel=1e-7)
    assert grad.ravel().tolist() == pytest.approx([-0.25, 0.25, 0.25, -0.25], rel=1e-15)


@for_each(CASES, lambda case: case.family == "batches")
@each_dtype
def test_a_sample_with_weight_zero_is_no_negative_of_the_others(case, dtype):
    problem = case.problem((20, 3), dtype=dtype)
    kept = np.random.default_rng(1).random(20) < 0.7
    dirty = problem.copied()
    for x in dirty.inputs.values():
        if x.ndim == 2:
            x[~kept] = np.nan
    value, grad = dirty.value_and_grad(sample_weight=kept)
    expected, of_part = problem.each(lambda x: x[kept]).value_and_grad()
    assert_close(value, expected, 4)
    for g, e in zip(leaves(grad), leaves(of_part), strict=True):
        assert_same_bits(g[kept] if g.ndim else g, e)
        assert not g.ndim or np.all(g[~kept] == 0)
