"""Value and gradient of every elementwise loss against exact.py: on typical inputs, and at the ends of the range."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

import fastloss as fl

exact = pytest.importorskip("exact", reason="needs mpmath", exc_type=ImportError)


@dataclass(frozen=True)
class Case:
    """A loss with parameters.

    `rounded` are the quantities that no formula in working precision has without a rounding error: indices of inputs,
    and "r" for the difference of the first two. The parameters are always among them.
    """

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    rounded: tuple[Any, ...] = ()
    soft: bool = False  # labels between 0 and 1

    def __str__(self):
        return f"{self.name}({', '.join([f'{k}={v}' for k, v in self.parameters.items()] + ['soft'] * self.soft)})"

    def inputs(self, dtype, extreme):
        x = exact.inputs(self.name, 40, dtype, extreme)
        if not self.parameters.get("log_input", True):
            x = exact.positive_pairs(np.random.default_rng(0), 40, dtype, extreme)
            x = tuple(np.asarray(a, dtype) for a in x)
        if self.soft:
            x = x[0], np.asarray(x[1] * 0.875 + 0.0625, dtype)
        return x


R, SOFT = ("r",), {"rounded": (1,), "soft": True}
CASES = [
    Case("mse"),
    Case("mae"),
    *(Case("huber", p, R) for p in ({}, {"delta": 0.3})),
    *(Case("smooth_l1", p, R) for p in ({}, {"beta": 0.3}, {"beta": 0.0})),
    *(Case("pseudo_huber", p, R) for p in ({}, {"delta": 0.3})),
    Case("log_cosh", rounded=R),
    *(Case("quantile", p) for p in ({}, {"q": 0.9})),
    *(Case("expectile", p) for p in ({}, {"q": 0.9})),
    *(Case("epsilon_insensitive", p, R) for p in ({}, {"epsilon": 0.5})),
    *(Case("squared_epsilon_insensitive", p, R) for p in ({}, {"epsilon": 0.5})),
    Case("msle"),
    Case("mape"),
    *(Case("poisson_nll", p) for p in ({}, {"full": True})),
    *(Case("poisson_nll", p | {"log_input": False}, (0,)) for p in ({}, {"full": True})),
    Case("gamma_nll"),
    *(Case("tweedie", p, (0,)) for p in ({}, {"power": 1.3})),
    *(Case("gaussian_nll", p, ("r", 2)) for p in ({}, {"full": True, "eps": 0.01})),
    *(
        Case(name, p, R)
        for name in ("cauchy", "welsch", "geman_mcclure", "fair", "tukey")
        for p in ({}, {"c": 3.0}, {"c": 0.3})
    ),
    *(Case("binary_cross_entropy", p) for p in ({}, {"alpha": 0.25})),
    Case("binary_cross_entropy", {"label_smoothing": 0.1}, (1,)),
    Case("binary_cross_entropy", **SOFT),
    *(Case("binary_focal", p) for p in ({}, {"gamma": 0.5}, {"gamma": 2.5, "alpha": 0.25}, {"gamma": 0.0})),
    Case("binary_focal", **SOFT),
    *(Case("binary_cross_entropy_with_logits", p) for p in ({}, {"alpha": 0.25}, {"pos_weight": 2.5})),
    Case("binary_cross_entropy_with_logits", {"label_smoothing": 0.1}, (1,)),
    Case("binary_cross_entropy_with_logits", **SOFT),
    *(Case("sigmoid_focal", p, (0,)) for p in ({}, {"gamma": 0.5}, {"gamma": 2.5, "alpha": 0.25}, {"gamma": 0.0})),
    Case("sigmoid_focal", **SOFT),
    *(Case("sigmoid_poly1", p) for p in ({}, {"epsilon": -0.5})),
    Case("sigmoid_poly1", **SOFT),
    Case("brier"),
    Case("brier", **SOFT),
    *(Case(name, p, (0,)) for name in ("hinge", "squared_hinge") for p in ({}, {"margin": 0.3})),
    Case("modified_huber", rounded=(0,)),
    Case("logistic"),
    Case("exponential"),
    Case("perceptron"),
    *(Case(name, p) for name in ("l1", "l2", "elastic_net") for p in ({}, {"strength": 0.3})),
    Case("elastic_net", {"l1_ratio": 0.9}),
]
CASES = [case for case in CASES if hasattr(fl, case.name)]


def slack(case, result, size, point, options, dtype):
    """How far an ill-conditioned result moves, by rounding errors that no formula avoids.

    That is: by half an ulp of each term, where it is a sum, and of each quantity that is rounded on the way.
    """
    half_ulp = exact.mpf(float(np.finfo(dtype).eps)) / 2
    expected = result(*point, **options)
    moved = half_ulp * (size(*point, **options) - abs(expected))
    for quantity in case.rounded:
        index = 0 if quantity == "r" else quantity
        x = list(map(exact.mpf, point))
        x[index] += half_ulp * (x[0] - x[1] if quantity == "r" else x[index])
        moved += abs(result(*x, **options) - expected)
    for name, parameter in options.items():
        if type(parameter) is float:
            moved += abs(result(*point, **options | {name: parameter * (1 + half_ulp)}) - expected)
    return moved


def check(case, actual, result, size, inputs, dtype):
    limit = 4 if len(case.parameters) <= 1 else 6  # every option adds a rounding or two
    options = exact.parameters(case.name, dtype) | case.parameters
    largest = float(np.finfo(dtype).max)
    for i, point in enumerate(zip(*(x.tolist() for x in inputs), strict=True)):
        expected = result(*point, **options)
        if abs(expected) > largest:
            assert np.sign(expected) * actual[i] == np.inf, f"{point}: {actual[i]!r} is not infinite"
            continue
        ulp = np.spacing(abs(dtype(expected)))
        error = abs(exact.mpf(float(actual[i])) - expected) / float(ulp)
        if not error <= limit:
            allowed = limit + slack(case, result, size, point, options, dtype) / float(ulp)
            text = f"{point}: {actual[i]!r}, expected {dtype(expected)!r}"
            assert error <= allowed, f"{text}: {float(error):.3g} ulp, allowed {float(allowed):.3g}"


@pytest.mark.parametrize("extreme", [False, True], ids=["typical", "extreme"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradient(case, dtype, extreme):
    inputs = case.inputs(dtype, extreme)
    loss = getattr(fl, case.name)
    value, grads = loss.value_and_grad(*inputs, reduction="none", **case.parameters)
    check(case, value, partial(exact.value, case.name), partial(exact.size, case.name), inputs, dtype)
    by = (0, 2) if case.name == "gaussian_nll" else (0,)
    for k, grad in zip(by, grads if isinstance(grads, tuple) else (grads,), strict=True):
        result, size = partial(exact.slope, case.name, k), partial(exact.size_of_slope, case.name, k)
        check(case, grad, result, size, inputs, dtype)
