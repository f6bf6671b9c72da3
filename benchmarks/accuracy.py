"""Part three: the error of single elements, or samples, of every loss against arbitrary precision (tests/exact.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests import exact

from .cases import CLASSES, DIVERGENCES, ELEMENTWISE, Case
from .peers import Contender, load_installed
from .tables import Report, Table, progress
from .types import Arrays

DTYPE = np.float32
NAMES = ("fastloss", "NumPy", "PyTorch", "JAX")
KINDS = {"typical inputs": False, "extreme inputs": True}


@dataclass(frozen=True)
class Expected:
    """The exact values and slopes of a loss at some points."""

    single: Case  # one of them
    inputs: Arrays
    values: list[Any]
    slopes: list[list[Any]]  # by each differentiable input, or each class of it

    def errors(self, contender: Contender) -> tuple[float, float] | None:
        """The largest error of the value and of the gradient, in ulp; None where there is no such loss."""
        values, grads = [], []
        for i in range(len(self.values)):
            call = contender.bind(self.single, tuple(x[i : i + 1] for x in self.inputs))
            if call is None:
                return None
            value, grad = call()
            values.append(float(value))
            grads.append([float(x) for g in (grad if isinstance(grad, tuple) else (grad,)) for x in np.ravel(g)])
        by_input = zip(zip(*grads, strict=True), self.slopes, strict=True)
        return largest_error(values, self.values), max(largest_error(g, s) for g, s in by_input)


def expect(loss: str, count: int, extreme: bool) -> Expected:
    inputs = exact.inputs(loss, count, DTYPE, extreme)
    single = Case(loss, (1, *inputs[0].shape[1:]))  # whose mean is the loss of the point
    options = exact.parameters(loss, DTYPE)
    points = exact.points(*inputs)
    places: Sequence[Any] = single.differentiable
    if loss in exact.OF_ROWS:
        places = [(k, c) for k in single.differentiable for c in range(exact.CLASSES)]
    values = [exact.value(loss, *point, **options) for point in points]
    slopes = [[exact.slope(loss, k, *point, **options) for point in points] for k in places]
    return Expected(single, inputs, values, slopes)


def largest_error(actual: Sequence[float], expected: Sequence[Any]) -> float:
    """In units in the last place of the expected result; infinite for a NaN, or where only one of both is finite."""
    worst = 0.0
    for a, e in zip(actual, expected, strict=True):
        rounded = DTYPE(float(e))
        if a == rounded:
            continue
        if not (np.isfinite(a) and np.isfinite(rounded)):
            return np.inf
        worst = max(worst, float(abs(exact.mpf(a) - e)) / float(np.spacing(abs(rounded))))
    return worst


def measure_all(report: Report, contenders: Sequence[Contender]) -> dict[str, dict[str, dict[str, Any]]]:
    """By kind of input, loss and contender."""
    errors: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
    points = 50 if report.quick else 300
    with progress(report.console) as bars, np.errstate(all="ignore"):
        for loss in bars.track((*ELEMENTWISE, "cross_entropy", *CLASSES, *DIVERGENCES), description="accuracy"):
            bars.refresh()
            for kind, extreme in KINDS.items():
                expected = expect(loss, points // 3 if loss in exact.OF_ROWS else points, extreme)
                errors[kind][loss] = {c.name: expected.errors(c) for c in contenders}
    return errors


def run(report: Report) -> None:
    report.console.rule("Accuracy")
    contenders = [c for c in load_installed(report.threads)[0] if c.name in NAMES]
    errors = measure_all(report, contenders)
    table = Table(
        "Error of a single element or sample in float32: the largest of the value, and of the gradient, in ulp",
        ("loss", *(c.name for c in contenders)),
        notes=[
            "Against mpmath. 2e+07: no digit is right. inf: NaN, or wrong about whether the result is finite.",
            "Extreme: magnitudes from 1e-30 to 1e30, nearly equal pairs, saturated logits, probabilities near 0 and 1.",
        ],
    )
    for kind, of_losses in errors.items():
        for loss, of in of_losses.items():
            table.add((loss, *(_cell(of[c.name]) for c in contenders)), kind)
    report.publish("accuracy", table, {"versions": {c.name: c.version for c in contenders}, "errors": errors})


def _cell(errors: tuple[float, float] | None) -> str:
    return "-" if errors is None else " ".join(f"{e:.1f}" if e < 1000 or e == np.inf else f"{e:.0e}" for e in errors)
