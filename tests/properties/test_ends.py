"""Parameters at the ends of their domains: a loss is its limit there, also where an input is infinite."""

import inspect
import re

import numpy as np
import pytest

import fastloss as fl
from tests.losses.cases import CASES, limits
from tests.losses.comparing import assert_same_bits, leaves
from tests.losses.support import INF, LOSSES, NAN, at, each_dtype

#: Numbers next to an end. Differences from the limit are about as large.
NEAR = 1e-11
FAR = {"delta": 1e9, "c": 1e9, "beta": 1e12, "p": 1e9}


def ends():
    """The loss, the parameter, each closed end of its domain, and a number next to it."""
    for name, loss in LOSSES.items():
        for parameter in inspect.signature(loss).parameters.values():
            text = limits(name, parameter.name) if isinstance(parameter.default, float) else None
            numbers = [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", text or "")]
            if not numbers or text.startswith(("in (", "finite and > ")):
                continue
            yield name, parameter.name, numbers[0], numbers[0] + NEAR
            if len(numbers) == 2:
                yield name, parameter.name, numbers[1], numbers[1] - NEAR
            elif text.endswith("or inf"):
                yield name, parameter.name, INF, FAR[parameter.name]


each_end = pytest.mark.parametrize("name, parameter, end, near", list(ends()))


def problem_of(name):
    """The case without parameters that stand in the way: two parameters may exclude each other."""
    return next(case for case in CASES if case.name == name and not case.parameters.keys() & {"alpha"})


@each_end
@each_dtype
def test_the_end_is_the_limit(name, parameter, end, near, dtype, level):
    problem = problem_of(name).small(dtype)
    limit, neighbour = (problem.with_(problem.options | {parameter: x}) for x in (end, near))
    tolerance = 1e-8 if dtype is np.float64 else 1e-5
    for a, b in zip(leaves(limit.everything()), leaves(neighbour.everything()), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@each_end
@each_dtype
def test_the_end_makes_no_nan(name, parameter, end, near, dtype, level):
    case = problem_of(name)
    for special in case.specials(dtype):
        problem = case.small(dtype).copied()
        problem.pred.reshape(-1)[::7] = special
        limit, neighbour = (problem.with_(problem.options | {parameter: x}) for x in (end, near))
        for a, b in zip(leaves(limit.everything()), leaves(neighbour.everything()), strict=True):
            assert not np.any(np.isnan(a) & ~np.isnan(b)), special


#: Losses of a residual, and the parameter at which they bend.
BENT = {"huber": "delta", "pseudo_huber": "delta"}
BENT |= dict.fromkeys(("cauchy", "fair", "geman_mcclure", "tukey", "welsch"), "c")


@pytest.mark.parametrize("name", BENT)
@each_dtype
def test_losses_of_a_residual_bent_at_0_or_never(name, dtype, level):
    loss = LOSSES[name]
    for residual in (0, -0.0, 1.5, -3, INF, -INF):
        assert at(loss, residual, dtype, **{BENT[name]: 0}) == (0, 0, 0)
        x = dtype(residual)
        assert at(loss, residual, dtype, **{BENT[name]: INF}) == (x * x / 2, x, 1)
    for end in (0, INF):
        assert np.isnan(at(loss, NAN, dtype, **{BENT[name]: end})[:2]).all()


@each_dtype
def test_smooth_l1_that_never_becomes_linear(dtype):
    for residual in (0, 1.5, -INF):
        assert at(fl.smooth_l1, residual, dtype, beta=INF) == (0, 0, 0)


@pytest.mark.parametrize("penalty", [fl.l1, fl.l2, fl.elastic_net], ids=repr)
@each_dtype
def test_penalties_of_strength_0(penalty, dtype, level):
    w = np.array([1, -INF, INF, 0, NAN], dtype)
    value, grad = penalty.value_and_grad(w, 0, reduction="none")
    assert value[:4].tolist() == grad[:4].tolist() == [0] * 4
    assert np.isnan(value[4]) and np.isnan(grad[4])
    assert penalty(w[:4], 0) == 0


@each_dtype
def test_max_norm_without_a_limit(dtype):
    w = np.array([[3, -4], [INF, NAN], [-0.0, 1e-40]], dtype)
    for axis in (0, 1):
        assert_same_bits(fl.max_norm(w, INF, axis), w)
        out = w.copy()
        assert fl.max_norm(out, INF, axis, out) is out
        assert_same_bits(out, w)
