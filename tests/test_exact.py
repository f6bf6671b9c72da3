"""Value and gradient of every loss against exact.py: on typical inputs, and at the ends of the range."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

import fastloss as fl
from fastloss import _cpu

exact = pytest.importorskip("exact", reason="needs mpmath", exc_type=ImportError)

POINTS, ROWS = 50, 8


@dataclass(frozen=True)
class Case:
    """A loss with parameters.

    `rounded` are the quantities that no formula in working precision has without a rounding error: indices of inputs,
    and "r" for the difference of the first two. The parameters are always among them.
    """

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    rounded: tuple[Any, ...] = ()
    soft: bool = False  # labels between 0 and 1, which take two roundings as well

    def __str__(self):
        return f"{self.name}({', '.join([f'{k}={v}' for k, v in self.parameters.items()] + ['soft'] * self.soft)})"

    @property
    def by(self):
        """The inputs that have a derivative."""
        of_two = ("js_divergence", "gaussian_kl", "margin_ranking")
        return (0, 2) if self.name == "gaussian_nll" else (0, 1) if self.name in of_two else (0,)

    def inputs(self, dtype, extreme):
        x = exact.inputs(self.name, ROWS if self.name in exact.OF_ROWS else POINTS, dtype, extreme)
        if not self.parameters.get("log_input", True):
            x = exact.positive_pairs(np.random.default_rng(0), POINTS, dtype, extreme)
            x = tuple(np.asarray(a, dtype) for a in x)
        if self.soft and self.name in exact.OF_ROWS:
            x = x[0], (np.eye(exact.CLASSES)[x[1]] * 0.875 + 0.125 / exact.CLASSES).astype(dtype)
        elif self.soft:
            x = x[0], np.asarray(x[1] * 0.875 + 0.0625, dtype)
        return x


R, SOFT = ("r",), {"rounded": (1,), "soft": True}
WEIGHTS = {"class_weight": (0.5, 2.0, 1.25, 3.0)}
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
    Case("brier", rounded=(0,)),
    Case("brier", **SOFT),
    *(Case(name, p, (0,)) for name in ("hinge", "squared_hinge") for p in ({}, {"margin": 0.3})),
    *(Case("margin_ranking", p, R) for p in ({}, {"margin": 0.3})),
    *(Case("hinge_embedding", p, (0,)) for p in ({}, {"margin": 0.3})),
    Case("modified_huber", rounded=(0,)),
    Case("logistic"),
    Case("exponential"),
    Case("perceptron"),
    *(Case(name, p) for name in ("l1", "l2", "elastic_net") for p in ({}, {"strength": 0.3})),
    Case("elastic_net", {"l1_ratio": 0.9}),
    *(Case("cross_entropy", p) for p in ({}, WEIGHTS)),
    *(Case("cross_entropy", p, (1,)) for p in ({"label_smoothing": 0.1}, WEIGHTS | {"label_smoothing": 0.1})),
    Case("cross_entropy", {"z_loss": 0.01}, (0, 1)),
    *(Case("cross_entropy", p, **SOFT) for p in ({}, WEIGHTS)),
    *(Case("softmax_focal", p) for p in ({}, {"gamma": 0.5}, {"gamma": 2.7} | WEIGHTS, {"gamma": 0.0})),
    Case("softmax_focal", rounded=(0, 1), soft=True),
    *(Case("poly1_cross_entropy", p) for p in ({}, {"epsilon": -0.5} | WEIGHTS)),
    Case("poly1_cross_entropy", {"label_smoothing": 0.1}, (1,)),
    Case("poly1_cross_entropy", rounded=(1, 1), soft=True),  # two differences of target and probability
    *(Case("multiclass_hinge", p, (0,)) for p in ({}, {"margin": 0.3}, {"power": 2}, WEIGHTS)),
    *(Case("crammer_singer", p, (0,)) for p in ({}, {"margin": 0.3}, WEIGHTS)),
    *(Case("categorical_cross_entropy", p) for p in ({}, WEIGHTS)),
    Case("categorical_cross_entropy", {"label_smoothing": 0.1}, (1,)),
    Case("categorical_cross_entropy", **SOFT),
    *(Case("nll", p) for p in ({}, WEIGHTS)),
    Case("nll", **SOFT),
    *(Case("multilabel_soft_margin", p) for p in ({}, WEIGHTS)),
    *(Case("kl_divergence", p) for p in ({}, {"log_target": True})),
    *(Case("js_divergence", p) for p in ({}, {"beta": 0.1})),
    Case("gaussian_kl"),
]


class Exact:
    """Values or derivatives of a case, exactly, and how far from them a result may be."""

    def __init__(self, case, inputs, dtype, result, size):
        self.case, self.dtype, self.result, self.size = case, dtype, result, size
        self.options = exact.parameters(case.name, dtype) | case.parameters
        options = len(case.parameters) + 2 * case.soft + 2 * (case.name == "softmax_focal")  # it has a power, always
        self.limit = 4 if options <= 1 else 6  # ulp: every option adds a rounding or two
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
        """How far an ill-conditioned result moves, by rounding errors that no formula avoids.

        That is: by an ulp of each term, where it is a sum, and of each quantity that is rounded on the way, parameters
        included. A result so small that its factors underflow may be off by a few of the smallest numbers.
        """
        ulp = exact.mpf(float(np.finfo(self.dtype).eps))
        moved = ulp * (self.size(*point, **self.options) - abs(expected))
        for quantity in self.case.rounded:
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


@pytest.mark.parametrize("extreme", [False, True], ids=["typical", "extreme"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradient(case, dtype, extreme):
    if extreme and case.soft and case.name == "softmax_focal":
        pytest.skip("where p_c is 1, the other classes of the target are lost in p_t, and the gradient by z_c is 0")
    inputs = case.inputs(dtype, extreme)
    results = [Exact(case, inputs, dtype, partial(exact.value, case.name), partial(exact.size, case.name))]
    rows = case.name in exact.OF_ROWS
    for k in [(k, c) for k in case.by for c in range(exact.CLASSES)] if rows else case.by:
        slope, size = partial(exact.slope, case.name, k), partial(exact.size_of_slope, case.name, k)
        results.append(Exact(case, inputs, dtype, slope, size))
    for level in _cpu.supported_levels():
        _cpu.kernels.select(level)
        value, grad = getattr(fl, case.name).value_and_grad(*inputs, reduction="none", **case.parameters)
        grads = grad if isinstance(grad, tuple) else (grad,)
        by_place = [column for g in grads for column in (g.T if rows else (g,))]
        for actual, result in zip((value, *by_place), results, strict=True):
            result.check(actual)
