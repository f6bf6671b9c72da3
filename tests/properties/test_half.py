"""Losses of float16 and bfloat16 are computed in float32. Every result is rounded once."""

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.request.domains import Domain
from tests.losses.comparing import as_tuple, leaves, like
from tests.losses.support import (
    INF,
    NAN,
    ONE_OF_EACH,
    REDUCTIONS,
    each_case,
    each_half,
    for_each,
    one_of_each,
    peak_of,
    raises,
    without_products,
)


def in_halves(problem, half):
    """The problem with real inputs in half precision, and the same numbers in float32."""
    halves = {k: x.astype(half) if x.dtype == np.float32 else x for k, x in problem.inputs.items()}
    singles = {k: x.astype(np.float32) if x.dtype == half else x for k, x in halves.items()}
    return problem.with_(**halves), problem.with_(**singles)


def assert_rounded(halves, singles, half):
    """Assert that arrays of half precision are arrays of float32 rounded to the nearest, to the bit."""
    for x, y in zip(leaves(halves), leaves(singles), strict=True):
        assert x.dtype == half and y.dtype == np.float32
        with np.errstate(over="ignore", invalid="ignore"):
            np.testing.assert_array_equal(x.astype(np.float32), y.astype(half).astype(np.float32))


def assert_same(problem, single, half, rtol=1e-14, **common):
    value, expected = problem.value(**common), single.value(**common)
    if common.get("reduction") == "none":
        assert_rounded(value, expected, half)
    else:
        assert type(value) is float
        np.testing.assert_allclose(value, expected, rtol=rtol)
    if common.get("reduction", "mean") in problem.case.reductions:
        assert_rounded(problem.grad(**common), single.grad(**common), half)
    if problem.case.hessian:
        assert_rounded(problem.grad_and_hess(**common), single.grad_and_hess(**common), half)


@each_case
@each_half
def test_results_are_those_of_float32_rounded_once(case, half):
    for problem in case.problems(np.float32):
        problem, single = in_halves(problem, half)
        weight = problem.weight()
        for reduction in REDUCTIONS:
            assert_same(problem, single, half, reduction=reduction)
            assert_same(problem, single, half, reduction=reduction, sample_weight=weight)


@for_each(ONE_OF_EACH, lambda case: not case.in_batch and case.has_axis)
@pytest.mark.parametrize("shape, axis", [((3, 9000), 1), ((2, 1300, 40), 1), ((2, 3000, 20), 1), ((7, 40, 300), 1)])
@each_half
def test_samples_that_fill_more_than_a_tile(case, shape, axis, half):
    axis = axis if "axis" in case.problem((2, 2), -1, np.float32).options else -1
    problem, single = in_halves(case.problem(shape, axis, np.float32), half)
    assert_same(problem, single, half, rtol=1e-7)  # A value alone may be summed in another order.
    assert_same(problem, single, half, reduction="none", sample_weight=problem.weight())


@one_of_each
@each_half
def test_results_may_be_written_over_pred(case, half):
    for problem in case.problems(np.float32):
        problem, _ = in_halves(problem, half)
        expected = problem.value_and_grad()
        inputs = problem.copied()
        out = inputs.pred
        if len(as_tuple(inputs.differentiated)) > 1:
            out = (out, *like(inputs.differentiated)[1:])
        value, grad = inputs.value_and_grad(out=out)
        assert leaves(grad)[0] is inputs.pred
        assert value == expected[0]
        for x, y in zip(leaves(grad), leaves(expected[1]), strict=True):
            np.testing.assert_array_equal(x.view(np.uint16), y.view(np.uint16))


@for_each(ONE_OF_EACH, lambda case: case.declaration.inputs[0].domain == Domain.ANY)
@each_half
def test_nan_and_inf(case, half):
    problem, single = in_halves(case.problem((9, 5), -1, np.float32), half)
    for special in (NAN, INF, -INF):
        problem.pred.reshape(-1)[7] = single.pred.reshape(-1)[7] = special
        assert_same(problem, single, half, reduction="none")
        assert_same(problem, single, half, sample_weight=problem.weight())


@for_each(ONE_OF_EACH, lambda case: "target" in case.inputs)
@each_half
def test_a_float32_target_keeps_its_precision(case, half):
    shape = (40, 50) if case.has_axis else (2000,)
    problem = case.problem(shape, -1, np.float32)
    if problem.target.dtype != np.float32:
        pytest.skip("the target is not real")
    halves = {k: x.astype(half) for k, x in problem.inputs.items() if k != "target" and np.ndim(x)}
    singles = {k: x.astype(np.float32) for k, x in halves.items()}
    assert_same(problem.with_(**halves), problem.with_(**singles), half)


@for_each(ONE_OF_EACH, lambda case: without_products(case) and not case.of_sequences)
@each_half
def test_no_temporaries_that_grow(case, half):
    fl.set_num_threads(1)

    def peaks(n):
        problem, _ = in_halves(case.problem((n, 5), -1, np.float32), half)
        out, weight = like(problem.differentiated), problem.weight(1)
        yield peak_of(lambda: problem.value())
        yield peak_of(lambda: problem.value_and_grad(out=out))
        yield peak_of(lambda: problem.value_and_grad(out=out, sample_weight=weight))

    for small, big in zip(peaks(2**15), peaks(2**16), strict=True):
        assert big <= small + 4096 <= 256 * 1024


@for_each(ONE_OF_EACH, lambda case: case.domains.get("target") == Domain.UNIT_INTERVAL)
@each_half
def test_an_element_that_half_precision_would_round_into_its_domain_is_named(case, half):
    problem, _ = in_halves(case.small(np.float32), half)
    target = problem.target.astype(np.float32)
    target.flat[3] = 1.0001
    where = ", ".join(map(str, np.unravel_index(3, target.shape)))
    with raises(ValueError, f"target[{where}] = {target.flat[3].item()} is not in [0, 1]"):
        problem.with_(target=target).value()
