"""The value and the derivatives are those of the definition, whatever method computes them."""

import numpy as np
import pytest

from tests.losses.cases import CASES
from tests.losses.comparing import as_tuple, assert_close, assert_same_bits, largest, leaves
from tests.losses.generators import moves_far_apart
from tests.losses.support import (
    LOSSES,
    REDUCTIONS,
    differences,
    each_case,
    each_dtype,
    for_each,
    with_reductions_and_weights,
)

pytestmark = pytest.mark.filterwarnings("error")


@each_case
@each_dtype
def test_value_and_derivatives_are_those_of_the_definition(case, dtype):
    for problem in case.problems(dtype):
        for common in ({}, {"sample_weight": problem.weight()}):
            for reduction in REDUCTIONS:
                problem.assert_as_expected(each_level=True, reduction=reduction, **common)


# Differences of scores far apart round too much.
@for_each(CASES, lambda case: moves_far_apart not in case.inputs.values())
def test_gradient_is_the_slope_of_the_value(case):
    problem = case.small()
    common = {"reduction": "sum", "sample_weight": problem.weight()}
    grad = dict(zip(case.differentiable, as_tuple(problem.grad(**common)), strict=True))
    for name, i, slope in differences(problem, lambda x: x.value(**common)):
        assert abs(slope - grad[name][i]) < 2e-7 * (1 + abs(slope))


@for_each(CASES, lambda case: case.hessian)
def test_hessian_is_the_slope_of_the_gradient(case):
    problem = case.small()
    hess = dict(zip(case.differentiable, as_tuple(problem.grad_and_hess(reduction="sum")[1]), strict=True))
    for name, i, slope in differences(problem, lambda x: as_tuple(x.grad(reduction="sum"))):
        assert abs(slope[i] - hess[name][i]) < 2e-7 * (1 + abs(slope[i]))


@each_case
@each_dtype
def test_methods_give_the_same_bits(case, dtype):
    for problem, common in with_reductions_and_weights(case, dtype):
        value, grad = problem.value_and_grad(**common)
        assert_same_bits(problem.value(**common), value)
        assert_same_bits(problem.grad(**common), grad)
        assert_same_bits(problem.everything(**common)[1], grad)


@each_case
def test_a_call_changes_no_input(case):
    problem = case.small()
    weight = problem.weight()
    inputs = [x for x in (*problem.inputs.values(), *problem.options.values(), weight) if isinstance(x, np.ndarray)]
    before = [x.copy() for x in inputs]
    for method in case.methods:
        getattr(problem, method)(sample_weight=weight)
    for x, copy in zip(inputs, before, strict=True):
        assert_same_bits(x, copy)


@for_each(CASES, lambda case: case.has_axis and not case.in_batch)
def test_the_loss_of_a_sample_depends_on_no_other_sample(case):
    """But for the rounding of where it lies in a vector register."""
    problem = case.problem((7, 21), 1)
    value, *grads = leaves(problem.everything(reduction="none")[:2])
    for i in range(7):
        one = problem.each(lambda x, i=i: x[i : i + 1])
        alone, *grads_alone = leaves(one.everything(reduction="none")[:2])
        assert_close(alone, value[i : i + 1], 8)
        for name, a, b in zip(case.differentiable, grads_alone, grads, strict=True):
            if name not in case.for_all_samples:
                assert_close(a, b[problem.in_batch(slice(i, i + 1))], 8, largest(b))


#: Batches before and behind the class axis, and of one class.
AXES = [((6,), 0), ((7, 6), 1), ((6, 7), 0), ((3, 6, 5), 1), ((3, 5, 6), 2), ((2, 6, 3, 4), 1), ((2, 3, 4, 6), -1)]
AXES += [((6, 1), 0), ((1, 6, 1), 1), ((2, 3, 6, 1), -2), ((2, 1, 3), 1)]


@for_each(CASES, lambda case: case.takes_axis)
@each_dtype
def test_the_class_axis_may_be_any(case, dtype):
    for shape, axis in AXES:
        problem = case.problem(shape, axis, dtype)
        problem.assert_as_expected(reduction="none")
        other_end = problem.with_(options=problem.options | {"axis": problem.axis - len(shape)})
        assert_same_bits(other_end.everything(), problem.everything())


def test_every_loss_has_cases():
    assert LOSSES.keys() == {case.name for case in CASES}
