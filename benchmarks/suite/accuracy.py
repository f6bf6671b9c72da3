"""The error of single elements or samples of every loss, against arbitrary precision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpmath import mpf

from tests.losses import exact
from tests.losses.exact_inputs import CLASSES

from ..case import LOSSES, Case
from ..libraries import Library, load_installed
from ..output.report import Report, progress
from ..output.tables import Table
from ..shared_types import Arrays

DTYPE = np.float32
NAMES = ("fastloss", "NumPy", "PyTorch", "JAX")
FAMILIES = ("elementwise", "classes", "terms")  # the families whose formulas `exact` has
KINDS = {"typical inputs": False, "extreme inputs": True}


@dataclass(frozen=True)
class Expected:
    """The exact values and slopes of a loss at some points."""

    single: Case  # one of the points
    inputs: Arrays
    values: list[Any]
    slopes: list[list[Any]]  # one list for each differentiable input, or for each of its classes

    def errors(self, library: Library) -> tuple[float, float] | None:
        """Return the largest error of the value and of the gradient in ulp, or None if the library has no such loss."""
        values, grads = [], []
        for i in range(len(self.values)):
            call = library.bind(self.single, tuple(x[i : i + 1] for x in self.inputs))
            if call is None:
                return None
            value, grad = call()
            values.append(float(value))
            grads.append([float(x) for g in (grad if isinstance(grad, tuple) else (grad,)) for x in np.ravel(g)])
        both = zip(zip(*grads, strict=True), self.slopes, strict=True)
        return largest_error(values, self.values), max(largest_error(actual, slopes) for actual, slopes in both)


def expect(loss: str, count: int, extreme: bool) -> Expected:
    inputs = exact.inputs(loss, count, DTYPE, extreme)
    single = Case(loss, (1, *inputs[0].shape[1:]))  # its mean is the loss of the point
    options = exact.parameters(loss, DTYPE)
    points = exact.points(*inputs)
    places: Sequence[Any] = single.differentiable
    if not single.elementwise:
        places = [(k, c) for k in single.differentiable for c in range(CLASSES)]
    values = [exact.value(loss, *point, **options) for point in points]
    slopes = [[exact.slope(loss, k, *point, **options) for point in points] for k in places]
    return Expected(single, inputs, values, slopes)


def largest_error(actual: Sequence[float], expected: Sequence[Any]) -> float:
    """Return the largest error in units in the last place of the expected result.

    It is infinite for a NaN, and if only one of the two results is finite.
    """
    worst = 0.0
    for a, e in zip(actual, expected, strict=True):
        rounded = DTYPE(float(e))
        if a == rounded:
            continue
        if not (np.isfinite(a) and np.isfinite(rounded)):
            return np.inf
        worst = max(worst, float(abs(mpf(a) - e)) / float(np.spacing(abs(rounded))))
    return worst


def measure_all(report: Report, libraries: Sequence[Library]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the errors for each kind of input, loss and library."""
    errors: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
    points = 50 if report.quick else 300
    losses = [name for name, loss in LOSSES.items() if loss.declaration.family in FAMILIES]
    with progress(report.console) as bars, np.errstate(all="ignore"):
        for loss in bars.track(losses, description="accuracy"):
            bars.refresh()
            elementwise = LOSSES[loss].declaration.family == "elementwise"
            for kind, extreme in KINDS.items():
                expected = expect(loss, points if elementwise else points // 3, extreme)
                errors[kind][loss] = {x.name: expected.errors(x) for x in libraries}
    return errors


def run(report: Report) -> None:
    report.console.rule("Accuracy")
    libraries = [x for x in load_installed(report.threads)[0] if x.name in NAMES]
    errors = measure_all(report, libraries)
    table = Table(
        "Error of a single element or sample in float32: the largest of the value, and of the gradient, in ulp",
        ("loss", *(x.name for x in libraries)),
        notes=[
            "Against mpmath. 2e+07: no digit is right. inf: NaN, or wrong about whether the result is finite.",
            "Extreme: magnitudes from 1e-30 to 1e30, nearly equal pred and target, saturated logits, probabilities "
            "near 0 and 1.",
        ],
    )
    for kind, of_losses in errors.items():
        for loss, of_libraries in of_losses.items():
            table.add((loss, *(_cell(of_libraries[x.name]) for x in libraries)), kind)
    report.publish("accuracy", table, {"versions": {x.name: x.version for x in libraries}, "errors": errors})


def _cell(errors: tuple[float, float] | None) -> str:
    return "-" if errors is None else " ".join(f"{e:.1f}" if e < 1000 or e == np.inf else f"{e:.0e}" for e in errors)
