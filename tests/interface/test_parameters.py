"""Errors of parameters, for every number and every flag of every loss."""

import inspect

import numpy as np
import pytest

from tests.losses.cases import CASES, NUMBERS, limits
from tests.losses.comparing import assert_same_bits
from tests.losses.support import raises

#: Arguments that are neither numbers nor flags have their own tests, in test_errors.py and in families/.
OTHERS = {"sample_weight", "reduction", "normalizer", "out", "axis", "class_weight", "ignore_index"}
OTHERS |= {"pos_weight", "pos_weight_axis", "chunk_bytes"}


def parameters(condition):
    """The case and the name of each parameter whose default meets a condition."""
    for case in {case.name: case for case in reversed(CASES)}.values():
        others = OTHERS | {x.name for x in case.declaration.inputs}
        for name, parameter in inspect.signature(case.loss).parameters.items():
            if parameter.default is not parameter.empty and name not in others and condition(parameter.default):
                yield pytest.param(case, name, id=f"{case.name}-{name}")


def numbers():
    """The numbers with a range. Those without have other rules, and their own tests in families/."""
    for parameter in parameters(lambda default: type(default) is not bool):
        case, name = parameter.values
        if limits(case.name, name) is not None:
            yield parameter


@pytest.mark.parametrize("case, name", list(numbers()))
def test_numbers(case, name):
    problem, limit = case.small(), limits(case.name, name)

    def call(x):
        return problem.with_(problem.options | {name: x}).value()

    for x in NUMBERS[limit]:
        with raises(ValueError, f"{name} must be {limit}, not {x!r}"):
            call(x)
    if np.inf in NUMBERS[limit]:
        with raises(ValueError, f"{name} must be {limit}, not an integer of 1329 bits"):  # beyond the floats
            call(10**400)
    for x in ("1", b"1", True, np.True_, 1j, [1.0], np.ones(2), object()):
        with raises(TypeError, f"{name} must be a real number, not {type(x).__name__}"):
            call(x)
    if inspect.signature(case.loss).parameters[name].default is not None:
        with raises(TypeError, f"{name} must be a real number, not None"):
            call(None)
    good = 1.5 if limit in ("in (1, 2)", ">= 1, or inf") else 0.5
    expected = call(good)
    for same in (np.float64(good), np.float32(good), np.array(good), np.longdouble(good)):
        assert call(same) == expected


@pytest.mark.parametrize("case, name", list(parameters(lambda default: type(default) is bool)))
def test_flags(case, name):
    problem = case.small()
    for bad in ("yes", 1, 0, None, 1.0, np.array([True])):
        with raises(TypeError, f"{name} must be True or False, not {bad!r}"):
            problem.with_(problem.options | {name: bad}).value()
    for good in (True, False):
        same = [problem.with_(problem.options | {name: flag}).grad() for flag in (good, np.bool_(good))]
        assert_same_bits(*same)
