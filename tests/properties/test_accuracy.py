"""Errors in units in the last place, at every CPU level, against the definitions evaluated in a wider type."""

from dataclasses import replace

import numpy as np
import pytest

import fastloss as fl
from tests.losses.cases import CASES, SOFTMAX
from tests.losses.comparing import assert_close, leaves
from tests.losses.generators import probabilities
from tests.losses.problem import levels
from tests.losses.support import for_each, without_products

NO_WIDER = pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is no wider than double")
TYPES = [pytest.param(np.float32, id="float32"), pytest.param(np.float64, id="float64", marks=NO_WIDER)]
each_type = pytest.mark.parametrize("dtype", TYPES)


def ulps(actual, expected, sizes=0):
    """The largest error of `actual`, in units in the last place of the expected result, or of its size if given."""
    worst = 0
    for a, b, size in zip(leaves(actual), leaves(expected), leaves(sizes), strict=True):
        spacing = np.spacing(np.maximum(np.abs(b), size).astype(a.dtype))
        worst = max(worst, np.max(np.where(a == b, 0, np.abs(a - b) / spacing), initial=0))
    return worst


def grid(rng, shape, axis):
    """Numbers whose differences are exact, so that a softmax of them is well-conditioned."""
    return rng.integers(-1024, 1025, shape) / 128


def well_conditioned(case, dtype):
    if not case.has_axis:
        yield case.problem((6000,), dtype=dtype)
        return
    if case.family == "classes":
        case = replace(case, inputs=case.inputs | {case.first: grid})
    for shape in ((1000, 10), (20, 1000), (10, 40, 20)):
        yield case.problem(shape, 1, dtype)


@for_each(CASES, without_products)  # products of NumPy round similarities and scores first
@each_type
def test_values_and_derivatives(case, dtype):
    # Every option adds a rounding or two, and in float64 the sum over the classes rounds as well.
    more = 2 if case.parameters else 0
    of_sum = 2 if dtype is np.float64 else 0
    probable = case.of_classes and case.inputs.get("target") is probabilities
    difference = {"label_smoothing", "z_loss"} & case.parameters.keys() or probable
    for problem in well_conditioned(case, dtype):
        expected = problem.expected(reduction="none")
        sizes = (expected.sizes[0], 0, 0) if case.exact_derivatives else expected.sizes
        for _ in levels():
            value, grad, hess = problem.everything(reduction="none")
            assert ulps(value, expected.value, sizes[0]) <= 4 + more + of_sum * (case.family == "terms")
            if case.has_axis and difference:
                continue  # the gradient is a difference of two numbers
            assert ulps(grad, expected.grad, sizes[1]) <= 4 + max(more, of_sum * case.has_axis)
            assert ulps(hess, expected.hess, sizes[2]) <= 8 + more


# ---------------------------------------------------------------------------------------------------------------------
# Tails: tiny losses and gradients are relatively accurate


@each_type
def test_binary_cross_entropy_in_both_tails(dtype, level):
    """Logits so far out that the smaller of the two losses of a label is still a normal number."""
    case = next(case for case in CASES if case.name == "binary_cross_entropy_with_logits")
    reach = 80 if dtype is np.float32 else 700
    z = np.linspace(-reach, reach, 4001).astype(dtype)
    for label in (0, 1):
        problem = case.problem(z.shape, dtype=dtype).with_(pred=z, target=np.full_like(z, label))
        expected = problem.expected(reduction="none")
        value, grad = problem.value_and_grad(reduction="none")
        hess = problem.grad_and_hess(reduction="none")[1]
        assert ulps(value, expected.value) <= 4
        assert ulps(grad, expected.grad) <= 4
        assert ulps(hess, expected.hess) <= 6


@each_type
@pytest.mark.parametrize("shape", [(40, 3), (40, 64), (40, 65), (3, 600), (5, 3, 20), (5, 3, 4)], ids=str)
def test_confident_cross_entropy(dtype, shape, level):
    """A right answer with a margin of 50: the loss is about C e^-50, not 0, and so is its gradient."""
    rng = np.random.default_rng(0)
    gap = 50
    z = rng.integers(-64, 65, shape).astype(dtype) / 64
    label = rng.integers(0, shape[1], shape[:1] + shape[2:])
    np.put_along_axis(z, np.expand_dims(label, 1), gap, 1)
    problem = SOFTMAX[0].problem(shape, 1, dtype).with_(pred=z, target=label)
    expected = problem.expected(reduction="none")
    value, grad = problem.value_and_grad(reduction="none")
    assert 0 < expected.value.max() < 1e-18
    assert ulps(value, expected.value) <= 5
    assert ulps(grad, expected.grad) <= 6


@each_type
def test_confident_two_classes_over_a_wide_range(dtype, level):
    reach = 80 if dtype is np.float32 else 700
    gap = np.arange(-reach, reach + 1)
    z = np.stack([gap, np.zeros_like(gap)], axis=1).astype(dtype)
    problem = SOFTMAX[0].problem(z.shape, 1, dtype).with_(pred=z, target=np.zeros(len(gap), int))
    expected = problem.expected(reduction="none")
    value, grad = problem.value_and_grad(reduction="none")
    assert ulps(value, expected.value) <= 4
    assert ulps(grad, expected.grad) <= 4


def test_two_classes_are_a_binary_loss():
    z = np.linspace(-30, 30, 101)
    two = np.stack([np.zeros_like(z), z], axis=1)
    y = np.arange(101) % 2
    value, grad = fl.cross_entropy.value_and_grad(two, y, reduction="none")
    expected_value, expected_grad = fl.binary_cross_entropy_with_logits.value_and_grad(z, y, reduction="none")
    assert_close(value, expected_value, 8)
    assert_close(grad[:, 1], expected_grad, 8)


def test_long_sums_of_a_row():
    """A row of equal logits has the loss log C, also where float32 could not add up C ones."""
    for classes in (65, 1000, 100_000, 20_000_001):
        value = fl.cross_entropy(np.full((1, classes), -3.5, np.float32), [classes - 1], reduction="none")
        assert_close(value, np.log([classes]), 2)
