"""Part two: one call of every loss, against NumPy and the installed peers: time, accuracy, bandwidth."""

import math
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from statistics import geometric_mean
from typing import Any

import numpy as np
from rich.console import Console

from . import baselines, charts
from .cases import ELEMENTWISE, REGULARIZATION, Case, all_cases
from .peers import FEW, Contender, load_installed
from .tables import Report, Table, progress, seconds
from .timing import Timing, interleave
from .types import Arrays, Call

OURS, PLAIN = "fastloss", "NumPy"
LOOP, LOOP_ONE = "plain loop", "plain loop, 1 thread"
WIDER = {"float32": np.float64, "float64": np.longdouble}


@dataclass(frozen=True)
class Result:
    case: Case
    timings: dict[str, Timing]
    ulp: dict[str, tuple[float, ...]]  # of the value, and of the gradient of rows; empty where no dtype is wider
    bytes: int
    loops: dict[str, Timing]  # of the plain loop, in the same rounds; empty in cache

    @property
    def best_peer(self) -> str:
        return min((name for name in self.timings if name != OURS), key=lambda name: self.timings[name].best)

    @property
    def ratio(self) -> float:
        return self.timings[self.best_peer].best / self.timings[OURS].best

    @property
    def name(self) -> str:
        return f"{self.case.loss} {self.case.label}"

    @property
    def scale(self) -> str:
        return "small" if self.case.size <= 1000 else "large" if self.case.large else "medium"

    @property
    def loop_rate(self) -> float:
        """Bytes per second of the plain loop."""
        return PlainLoop.bytes / self.loops[LOOP].best

    @property
    def bandwidth(self) -> float | None:
        """The share of the plain loop's bytes per second that fastloss reaches: medians of the same rounds."""
        if not self.loops:
            return None
        return (self.bytes / self.timings[OURS].median) / (PlainLoop.bytes / self.loops[LOOP].median)


class PlainLoop:
    """c = a - b over 16 M float32: the limit of any loss that reads two arrays and writes one.

    NumPy runs it on one thread, so here the arrays are divided among as many Python threads as fastloss uses.
    """

    size = 16_000_000
    bytes = 3 * 4 * size

    def __init__(self, threads: int) -> None:
        rng = np.random.default_rng(0)
        a, b = (rng.random(self.size, dtype=np.float32) for _ in range(2))
        self.pool = ThreadPoolExecutor(threads)
        self.whole = (a, b, np.zeros_like(a))
        self.parts = list(zip(*(np.array_split(x, threads) for x in self.whole), strict=True))

    def one_thread(self) -> Any:
        return np.subtract(self.whole[0], self.whole[1], out=self.whole[2])

    def all_threads(self) -> Any:
        return wait([self.pool.submit(np.subtract, a, b, out=c) for a, b, c in self.parts])

    def calls(self) -> dict[str, Any]:
        return {LOOP: self.all_threads, LOOP_ONE: self.one_thread}


class Reference:
    """Value and gradients from the NumPy baseline in the next wider dtype.

    The data of a large elementwise case are a block, many times, and so are its gradients: this needs no more than the
    block, and checks the first and the last one.
    """

    def __init__(self, case: Case, inputs: Arrays) -> None:
        wide: Any = WIDER[case.dtype]
        self.dtype = np.dtype(case.dtype)
        self.block = case.period if case.loss in ELEMENTWISE else None
        self.repeats = case.size // case.period if case.loss in ELEMENTWISE else 1
        block = [x[: self.block] if self.block else x for x in inputs]
        widened = [x.astype(wide) if np.issubdtype(x.dtype, np.floating) else x for x in block]
        value, grads = baselines.find(case.loss)(*widened, **case.options)
        is_sum = case.loss in REGULARIZATION
        self.value = value * self.repeats if is_sum else value
        self.grads = [g if is_sum else g / self.repeats for g in (grads if isinstance(grads, tuple) else (grads,))]
        self.exact = bool(np.finfo(wide).eps < np.finfo(case.dtype).eps)  # long double may be no wider than double

    def errors(self, name: str, value: Any, grads: Any) -> tuple[float, float]:
        """Largest errors in ulp of the case's dtype; no comparison counts before both compute the same thing."""
        # wide, for plain sums of 16 M terms: this tells another function from this one, the ulps tell the rest
        tolerance = 1e-3 if self.dtype == np.float32 else 1e-8
        value_error = abs(float(value) - self.value)
        right = value_error <= tolerance * abs(self.value)
        worst = 0.0
        for grad, expected in zip(grads if isinstance(grads, tuple) else (grads,), self.grads, strict=True):
            grad = np.asarray(grad)
            ulp = np.spacing(np.abs(expected).astype(self.dtype))
            for part in (grad[: self.block], grad[-self.block :]) if self.block else (grad,):
                difference = np.abs(part - expected)
                right = right and difference.max() <= tolerance * np.abs(expected).max()
                worst = max(worst, float((difference / ulp).max()))
        if not right:
            raise SystemExit(f"{name} is wrong: value {value!r} (expected {self.value!r}), or its gradient")
        return value_error / float(np.spacing(self.dtype.type(abs(self.value)))), worst


def measure(case: Case, contenders: Sequence[Contender], loop: PlainLoop | None, budget: float) -> Result:
    inputs = case.data()
    calls: dict[str, Call] = {}
    ulp: dict[str, tuple[float, ...]] = {}
    reference = Reference(case, inputs)
    for contender in contenders:
        call = contender.bind(case, inputs)
        if call is None:
            continue
        calls[contender.name] = call
        errors = reference.errors(f"{contender.name}: {case.loss} {case.label}", *call())
        if reference.exact:
            ulp[contender.name] = errors[:1] if case.loss in ELEMENTWISE else errors
    del reference  # up to 1 GB that the timing does not need
    loops = loop.calls() if loop and case.large else {}
    timings = interleave(calls | loops, budget=budget)
    return Result(
        case,
        {name: timings[name] for name in calls},
        ulp,
        sum(x.nbytes for x in inputs) + sum(inputs[k].nbytes for k in case.differentiable),
        {name: timings[name] for name in loops},
    )


def budget(case: Case, quick: bool) -> float:
    """Seconds to measure a case in: large ones need more for the same number of rounds."""
    if case.loss == "cross_entropy":
        return 0.3 if quick else 1.0
    if case.loss not in ELEMENTWISE:
        return 0.1 if quick else 0.3
    return 0.05 if quick else 0.8 if case.large else 0.2 if case.size > 1000 else 0.1


def measure_all(
    console: Console, cases: Sequence[Case], contenders: Sequence[Contender], quick: bool, loop: PlainLoop | None = None
) -> list[Result]:
    results = []
    with progress(console) as bars:
        bar = bars.add_task("", total=len(cases))
        for case in cases:
            bars.update(bar, description=f"{case.loss} {case.label}", refresh=True)
            results.append(measure(case, contenders, loop, budget(case, quick)))
            bars.advance(bar)
        bars.update(bar, description="done", refresh=True)
    return results


def loop_rate(results: Sequence[Result], name: str) -> float:
    """Bytes per second of a plain loop: the median over the rows that were timed beside it."""
    return statistics.median(PlainLoop.bytes / r.loops[name].median for r in results if r.loops)


def tabulate(results: Sequence[Result], names: Sequence[str]) -> Table:
    table = Table(
        "Value and gradient in one call: best time of each, and the error of the mean",
        ("shape, dtype", *names, "vs best", "spread", "bandwidth", "ulp", "ulp NumPy"),
    )
    for r in results:
        times = [seconds(r.timings[name].best) if name in r.timings else "-" for name in names]
        table.add(
            (
                r.case.label,
                *times,
                f"{r.ratio:.3g}x {r.best_peer}",
                f"{r.timings[OURS].spread:.2f} {r.timings[r.best_peer].spread:.2f}",
                "-" if r.bandwidth is None else f"{r.bandwidth:.0%}",
                _errors(r.ulp.get(OURS)),
                _errors(r.ulp.get(PLAIN)),
            ),
            r.case.loss,
        )
    return table


def tabulate_few(results: Sequence[Result]) -> Table | None:
    """The contenders that have a few losses only, in a table of their own; None where none of them is installed."""
    names = [name for name in FEW if any(name in r.timings for r in results)]
    if not names:
        return None
    table = Table("The same calls, compiled for the purpose: best time of each", ("shape, dtype", OURS, *names))
    for r in results:
        if any(name in r.timings for name in names):
            times = [seconds(r.timings[name].best) if name in r.timings else "-" for name in (OURS, *names)]
            table.add((r.case.label, *times), r.case.loss)
    return table


def _errors(ulp: tuple[float, ...] | None) -> str:
    return "-" if ulp is None else " ".join(f"{e:.1f}" if e < 1000 else f"{e:.0e}" for e in ulp)


def summary(results: Sequence[Result], threads: int) -> list[str]:
    small = [r for r in results if math.prod(r.case.shape) == 100]
    slowest = max(small, key=lambda r: r.timings[OURS].best)
    calls = [r.timings[OURS].best * 1e6 for r in small]
    lines = [
        f"A call on 100 elements: {min(calls):.2f} to {max(calls):.2f} us ({slowest.name}), "
        f"median {statistics.median(calls):.2f} us."
    ]
    if any(r.loops for r in results):
        rates = [loop_rate(results, name) / 1e9 for name in (LOOP, LOOP_ONE)]
        lines.append(f"Plain c = a - b loop: {rates[0]:.1f} GB/s with {threads} threads, {rates[1]:.1f} GB/s with one.")
    means = []
    for name in sorted({name for r in results for name in r.timings if name != OURS}):
        ratios = [r.timings[name].best / r.timings[OURS].best for r in results if name in r.timings]
        means.append(f"{name} {geometric_mean(ratios):.3g}x")
    lines.append(f"Geometric mean of the time of each over fastloss's: {', '.join(means)}.")
    mean = geometric_mean([r.ratio for r in results])
    worst = min(results, key=lambda r: r.ratio)
    lines.append(
        f"Geometric mean over {len(results)} cells against the fastest other of each: {mean:.3g}x. "
        f"Worst cell: {worst.name}, {worst.ratio:.3g}x ({worst.best_peer})."
    )
    lost = [f"{r.name} ({r.best_peer}, {r.ratio:.3g}x)" for r in results if r.ratio < 1]
    lines.append(f"Cells where another is faster: {'; '.join(lost) or 'none'}.")
    return lines


def run(report: Report) -> None:
    report.console.rule("Kernels")
    contenders, missing = load_installed(report.threads, report.quick)
    loop = None if report.quick else PlainLoop(report.threads)
    results = measure_all(report.console, all_cases(report.quick), contenders, report.quick, loop)
    table = tabulate(results, [c.name for c in contenders if c.name not in FEW])
    table.notes += [
        f"Compared: {', '.join(f'{c.name} {c.version}' for c in contenders)}.",
        f"Left out: {', '.join(missing) or 'none'}.",
        "vs best: the fastest other's time over fastloss's. spread: median over best, of fastloss and of that other.",
        "bandwidth: share of the plain loop's bytes per second in the same rounds (medians; each array counts once).",
        "ulp: error of the mean against the next wider dtype; with a class axis the gradient's largest as well.",
        *summary(results, report.threads),
    ]
    data = [asdict(r) | {"best_peer": r.best_peer, "ratio": r.ratio, "bandwidth": r.bandwidth} for r in results]
    report.publish("kernels", table, {"versions": {c.name: c.version for c in contenders}, "results": data})
    if few := tabulate_few(results):
        report.publish("few", few, None)
    report.picture("speedups", "fastloss against the fastest other", charts.speedups(results))
    if not report.quick:
        report.picture("roofline", "Bytes per second of large calls, and of a plain loop", charts.roofline(results))
