"""Reductions, the normalizer, and sums in double precision."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.cases import CASES
from tests.losses.comparing import assert_close, largest, leaves
from tests.losses.support import each_case, each_independent_case, for_each, raises

pytestmark = pytest.mark.filterwarnings("error")


@each_case
def test_sum_and_mean_are_those_of_the_losses(case):
    for problem in case.problems():
        losses = problem.value(reduction="none")
        total = problem.value(reduction="sum")
        assert_close(total, np.sum(losses, dtype=float), 100)
        assert_close(problem.value(reduction="mean", normalizer=8.0), total / 8, 4)
        if "none" in case.reductions:
            assert_close(problem.grad(reduction="none"), problem.grad(reduction="sum"), 4)
        by_eight, of_sum = problem.grad(reduction="mean", normalizer=8.0), problem.grad(reduction="sum")
        assert_close(tuple(leaves(by_eight)), tuple(x / 8 for x in leaves(of_sum)), 4)


@each_case
def test_normalizer_replaces_the_sum_of_weights(case):
    problem = case.small()
    weight = problem.weight()
    of_sum = problem.everything(sample_weight=weight, reduction="sum")
    by_seven = problem.everything(sample_weight=weight, reduction="mean", normalizer=7)
    for actual, expected in zip(leaves(by_seven), leaves(of_sum), strict=True):
        assert_close(actual, expected / 7, 4, largest(expected))


@each_independent_case
def test_parts_of_a_batch_accumulate_to_the_whole(case):
    whole, parts = case.small(), [slice(0, 2), slice(2, 5), slice(5, None)]
    for weight in (None, whole.weight(), whole.weight(1)):
        problems = [
            (whole.each(lambda x, part=part: x[part]), {"sample_weight": None if weight is None else weight[part]})
            for part in parts
        ]
        total = sum(problem.normalizer(**common) for problem, common in problems)
        expected = leaves(whole.value_and_grad(reduction="mean", sample_weight=weight))
        results = [leaves(p.value_and_grad(reduction="mean", normalizer=total, **common)) for p, common in problems]
        for name, wanted, *actual in zip(("value", *case.differentiable), expected, *results, strict=True):
            of_samples = np.ndim(wanted) and name not in case.for_all_samples
            joined = np.concatenate(actual, case.sample_axis) if of_samples else sum(actual)
            assert_close(joined, wanted, scale=largest(wanted))


@each_case
def test_normalizer_of_a_loss_is_what_its_mean_divides_by(case):
    for problem in case.problems():
        for weight in (None, problem.weight(), np.zeros(problem.batch)):
            total = problem.normalizer(sample_weight=weight)
            assert type(total) is float
            expected = problem.value(sample_weight=weight, reduction="sum") / total if total else 0.0
            assert_close(problem.value(sample_weight=weight, reduction="mean"), expected, 4)
            for more in ({"reduction": "sum"}, {"reduction": "none"}, {"reduction": "mean", "normalizer": 3}):
                assert problem.normalizer(sample_weight=weight, **more) == total
        with pytest.raises(TypeError, match="^out goes with grad"):
            problem.normalizer(out=problem.pred)


@for_each(CASES, lambda case: not case.in_batch and (case.has_axis or case.takes_any_shape))
def test_float32_sums_are_accumulated_in_float64(case):
    """The mean of many float32 losses is that of float64 accumulation, far below one float32 ulp."""
    n = 100_000
    classes = 1 if case.family == "terms" else 3  # with one class no sum of terms is rounded to float32
    problem = case.problem((n, classes) if case.has_axis else (n,), dtype=np.float32, seed=3)
    losses = problem.value(reduction="none")
    exact, size = losses.sum(dtype=np.longdouble), np.abs(losses).sum(dtype=float)
    # The losses of vectors and of sequences are not rounded before they are summed.
    limit = 1e-9 if case.of_vectors or case.of_sequences or case.of_chains else 1e-12
    assert abs(problem.value(reduction="sum") - exact) <= limit * size


def test_tiny_normalizer_keeps_zero_slopes():
    grad = fl.mse.grad(np.array([1e-20, 0], np.float32), np.zeros(2, np.float32), normalizer=1e-45)
    assert grad.tolist() == [pytest.approx(6.8e18, rel=0.01), 0]


def test_zero_slopes_stay_zero_for_any_weight():
    assert fl.mse.grad(np.zeros(1), np.zeros(1), sample_weight=[1e300], normalizer=1e-300).tolist() == [0]


def test_normalizer_that_cannot_be_divided_by():
    with raises(ValueError, "normalizer is 1e-310, which float64 cannot divide by"):
        fl.mse(np.ones(2), np.zeros(2), normalizer=1e-310)


def test_weights_that_cannot_be_divided_by():
    with pytest.raises(ValueError, match=r"^the weights add up to inf, which float64 cannot divide by$"):
        fl.mse(np.ones(2), np.zeros(2), sample_weight=[1e308, 1e308])
    with pytest.raises(ValueError, match=r"^the weights add up to 2e-320, which float64 cannot divide by$"):
        fl.mse(np.ones(2), np.zeros(2), sample_weight=[1e-320, 1e-320])
