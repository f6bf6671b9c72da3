"""Values and gradients against the formulas in exact.py: on typical inputs, and at the ends of the range."""

from functools import partial

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import as_tuple
from tests.losses.problem import levels
from tests.losses.support import LOSSES, each_dtype

exact = pytest.importorskip("tests.losses.exact", reason="needs mpmath", exc_type=ImportError)

POINTS, ROWS = 50, 8


class Expected:
    """Values or derivatives of an example, exactly, and how far from them a result may be."""

    def __init__(self, example, inputs, dtype, result, size):
        self.example, self.dtype, self.result, self.size = example, dtype, result, size
        self.options = exact.parameters(example.name, dtype) | example.parameters
        roundings = len(example.parameters) + 2 * example.soft + example.roundings
        self.limit = 4 if roundings <= 1 else 6  # ulp: every option adds a rounding or two
        self.points = exact.points(*inputs)
        self.expected = [result(*point, **self.options) for point in self.points]

    def check(self, actual):
        info = np.finfo(self.dtype)
        for point, a, expected in zip(self.points, actual, self.expected, strict=True):
            text = f"{point}: {a!r}, expected {float(expected)!r}"
            if abs(expected) > float(info.max):
                assert a == np.inf * np.sign(float(expected)), text
                continue
            ulp = float(np.spacing(abs(self.dtype(expected))))
            error = abs(exact.mpf(float(a)) - expected) / ulp
            if not error <= self.limit:
                allowed = self.limit + self.slack(point, expected) / ulp
                assert error <= allowed, f"{text}: {float(error):.3g} ulp, allowed {float(allowed):.3g}"

    def slack(self, point, expected):
        """How far an ill-conditioned result moves by rounding errors that no formula avoids.

        These are: an ulp of each term of a sum, and an ulp of each quantity that is rounded on the way, parameters
        included. A result so small that its factors underflow may be off by a few of the smallest numbers.
        """
        ulp = exact.mpf(float(np.finfo(self.dtype).eps))
        moved = ulp * (self.size(*point, **self.options) - abs(expected))
        for quantity in self.example.rounded:
            index = 0 if quantity == "r" else quantity
            rows = isinstance(point[index], tuple)
            for k, x in [((index, c), x) for c, x in enumerate(point[index])] if rows else [(index, point[index])]:
                step = exact.mpf(point[0]) - point[1] if quantity == "r" else x
                other = exact.replaced(point, k, x + ulp * step)
                moved += abs(self.result(*other, **self.options) - expected)
        for name, parameter in self.options.items():
            if type(parameter) is float:
                moved += abs(self.result(*point, **self.options | {name: parameter * (1 + ulp)}) - expected)
        return moved + 4 * float(np.finfo(self.dtype).smallest_subnormal)


RUNS = [pytest.param(x, False, id=f"{x}-typical") for x in exact.EXAMPLES]
RUNS += [pytest.param(x, True, id=f"{x}-extreme") for x in exact.EXAMPLES if x.extreme]


@pytest.mark.parametrize("example, extreme", RUNS)
@each_dtype
def test_value_and_gradient(example, extreme, dtype):
    name, rows = example.name, exact.has_rows(example.name)
    inputs = example.arrays(ROWS if rows else POINTS, dtype, extreme)
    results = [Expected(example, inputs, dtype, partial(exact.value, name), partial(exact.size, name))]
    places = exact.differentiable(name)
    for k in [(k, c) for k in places for c in range(exact.CLASSES)] if rows else places:
        slope, size = partial(exact.slope, name, k), partial(exact.size_of_slope, name, k)
        results.append(Expected(example, inputs, dtype, slope, size))
    for _ in levels():
        value, grad = getattr(fl, name).value_and_grad(*inputs, reduction="none", **example.parameters)
        by_place = [column for g in as_tuple(grad) for column in (g.T if rows else (g,))]
        for actual, result in zip((value, *by_place), results, strict=True):
            result.check(actual)


def test_every_loss_of_few_numbers_has_a_formula():
    few = ("elementwise", "classes", "terms")
    assert exact.FORMULAS.keys() == {n for n, loss in LOSSES.items() if loss.declaration.family in few}
