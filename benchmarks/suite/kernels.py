"""One call of every loss with every library: time, error and bandwidth."""

import statistics
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from statistics import geometric_mean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from ..case import Case
from ..libraries import BASELINE, FEW, OURS, Library, load_installed, numpy_
from ..output import charts
from ..output.report import Report, progress
from ..output.tables import Table, against_best, times
from ..shared_types import Arrays, Call
from .cases import all_cases
from .timing import Timing, interleave

LOOP, LOOP_ONE = "plain loop", "plain loop, 1 thread"
WIDER = {"float32": np.float64, "float64": np.longdouble}


@dataclass(frozen=True)
class Measurement:
    case: Case
    timings: dict[str, Timing]
    #: The errors of the value and, except for elementwise losses, of the gradient. Empty if no wider dtype exists.
    ulp: dict[str, tuple[float, ...]]
    bytes: int
    #: The timings of the plain loop in the same rounds. Empty for cases that fit into the caches.
    loops: dict[str, Timing]

    @property
    def best(self) -> dict[str, float]:
        """The best seconds of each library."""
        return {name: timing.best for name, timing in self.timings.items()}

    @property
    def best_other(self) -> str:
        return min((name for name in self.timings if name != OURS), key=self.best.__getitem__)

    @property
    def ratio(self) -> float:
        """The time of the fastest other library over that of fastloss."""
        return self.best[self.best_other] / self.best[OURS]

    @property
    def bandwidth(self) -> float | None:
        """The bytes per second of fastloss over those of the plain loop, from the medians of the same rounds."""
        if not self.loops:
            return None
        return (self.bytes / self.timings[OURS].median) / (PlainLoop.bytes / self.loops[LOOP].median)


class PlainLoop:
    """c = a - b over 16 M float32: the limit of any loss that reads two arrays and writes one.

    NumPy runs it on one thread. Here the arrays are divided among as many Python threads as fastloss uses.
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

    The data of an elementwise case repeat one block, and so does its gradient. Only the block is computed, and the
    first and the last block of a result are compared with it.
    """

    def __init__(self, case: Case, inputs: Arrays) -> None:
        wide: Any = WIDER[case.dtype]
        self.dtype = np.dtype(case.dtype)
        self.block = case.period if case.elementwise else None
        repeats = case.size // case.period if case.elementwise else 1
        block = [x[: self.block] if self.block else x for x in inputs]
        widened = [x.astype(wide) if np.issubdtype(x.dtype, np.floating) else x for x in block]
        value, grads = numpy_.find(case.loss)(*widened, **case.options)
        is_sum = case.declaration.reduction == "sum"
        self.value = value * repeats if is_sum else value
        self.grads = [g if is_sum else g / repeats for g in _as_tuple(grads)]
        self.exact = bool(np.finfo(wide).eps < np.finfo(case.dtype).eps)  # long double may be no wider than double

    def errors(self, name: str, value: Any, grads: Any) -> tuple[float, float]:
        """Return the largest errors of value and gradient in ulp of the case's dtype. Stop if a result is wrong."""
        # Wide enough for plain float32 sums of 16 M terms. It only tells a wrong function from the right one.
        tolerance = 1e-3 if self.dtype == np.float32 else 1e-8
        value_error = abs(float(value) - self.value)
        right = value_error <= tolerance * abs(self.value)
        worst = 0.0
        for grad, expected in zip(_as_tuple(grads), self.grads, strict=True):
            grad = np.asarray(grad)
            ulp = np.spacing(np.abs(expected).astype(self.dtype))
            for part in (grad[: self.block], grad[-self.block :]) if self.block else (grad,):
                difference = np.abs(part - expected)
                right = right and difference.max() <= tolerance * np.abs(expected).max()
                worst = max(worst, float((difference / ulp).max()))
        if not right:
            raise SystemExit(f"{name} is wrong: value {value!r} (expected {self.value!r}), or its gradient")
        return value_error / float(np.spacing(self.dtype.type(abs(self.value)))), worst


def _as_tuple(grads: Any) -> tuple[Any, ...]:
    return grads if isinstance(grads, tuple) else (grads,)


def measure(case: Case, libraries: Sequence[Library], loop: PlainLoop | None, budget: float) -> Measurement:
    inputs = case.data()
    calls: dict[str, Call] = {}
    ulp: dict[str, tuple[float, ...]] = {}
    reference = Reference(case, inputs)
    for library in libraries:
        call = library.bind(case, inputs)
        if call is None:
            continue
        calls[library.name] = call
        errors = reference.errors(f"{library.name}: {case.name}", *call())
        if reference.exact:
            ulp[library.name] = errors[:1] if case.elementwise else errors
    del reference  # up to 1 GB that the timing does not need
    loops = loop.calls() if loop and case.scale == "large" else {}
    timings = interleave(calls | loops, budget=budget)
    return Measurement(
        case,
        {name: timings[name] for name in calls},
        ulp,
        sum(x.nbytes for x in inputs) + sum(inputs[k].nbytes for k in case.differentiable),
        {name: timings[name] for name in loops},
    )


def budget(case: Case, quick: bool) -> float:
    """Return the seconds that a case may take. A large one needs more for the same number of rounds."""
    if case.loss == "cross_entropy":
        return 0.3 if quick else 1.0
    if not case.elementwise:
        return 0.1 if quick else 0.3
    return 0.05 if quick else {"small": 0.1, "medium": 0.2, "large": 0.8}[case.scale]


def measure_all(
    console: Console, cases: Sequence[Case], libraries: Sequence[Library], quick: bool, loop: PlainLoop | None = None
) -> list[Measurement]:
    measured = []
    with progress(console) as bars:
        bar = bars.add_task("", total=len(cases))
        for case in cases:
            bars.update(bar, description=case.name, refresh=True)
            measured.append(measure(case, libraries, loop, budget(case, quick)))
            bars.advance(bar)
        bars.update(bar, description="done", refresh=True)
    return measured


def tabulate(measured: Sequence[Measurement], names: Sequence[str]) -> Table:
    table = Table(
        "Value and gradient in one call: best time of each, and the error of the mean",
        ("shape, dtype", *names, "vs best", "spread", "bandwidth", "ulp", "ulp NumPy"),
    )
    for m in measured:
        table.add(
            (
                m.case.label,
                *times(m.best, names),
                against_best(m.best, OURS),
                f"{m.timings[OURS].spread:.2f} {m.timings[m.best_other].spread:.2f}",
                "-" if m.bandwidth is None else f"{m.bandwidth:.0%}",
                _errors(m.ulp.get(OURS)),
                _errors(m.ulp.get(BASELINE)),
            ),
            m.case.loss,
        )
    return table


def tabulate_few(measured: Sequence[Measurement]) -> Table | None:
    """Return a table of the libraries that have only a few losses, or None if none of them is installed."""
    names = [name for name in FEW if any(name in m.timings for m in measured)]
    if not names:
        return None
    table = Table("The same calls, compiled for the purpose: best time of each", ("shape, dtype", OURS, *names))
    for m in measured:
        if any(name in m.timings for name in names):
            table.add((m.case.label, *times(m.best, (OURS, *names))), m.case.loss)
    return table


def _errors(ulp: tuple[float, ...] | None) -> str:
    return "-" if ulp is None else " ".join(f"{e:.1f}" if e < 1000 else f"{e:.0e}" for e in ulp)


def summary(measured: Sequence[Measurement], threads: int) -> list[str]:
    small = [m for m in measured if m.case.shape == (100,)]
    slowest = max(small, key=lambda m: m.best[OURS])
    calls = [m.best[OURS] * 1e6 for m in small]
    lines = [
        f"A call on 100 elements: {min(calls):.2f} to {max(calls):.2f} us ({slowest.case.name}), "
        f"median {statistics.median(calls):.2f} us."
    ]
    if any(m.loops for m in measured):
        rates = [_loop_rate(measured, name) / 1e9 for name in (LOOP, LOOP_ONE)]
        lines.append(f"Plain c = a - b loop: {rates[0]:.1f} GB/s with {threads} threads, {rates[1]:.1f} GB/s with one.")
    means = []
    for name in sorted({name for m in measured for name in m.timings if name != OURS}):
        ratios = [m.best[name] / m.best[OURS] for m in measured if name in m.best]
        means.append(f"{name} {geometric_mean(ratios):.3g}x")
    lines.append(f"Geometric mean of the time of each over fastloss's: {', '.join(means)}.")
    mean = geometric_mean([m.ratio for m in measured])
    worst = min(measured, key=lambda m: m.ratio)
    lines.append(
        f"Geometric mean over {len(measured)} cells against the fastest other of each: {mean:.3g}x. "
        f"Worst cell: {worst.case.name}, {worst.ratio:.3g}x ({worst.best_other})."
    )
    lost = [f"{m.case.name} ({m.best_other}, {m.ratio:.3g}x)" for m in measured if m.ratio < 1]
    lines.append(f"Cells where another is faster: {'; '.join(lost) or 'none'}.")
    return lines


def _loop_rate(measured: Sequence[Measurement], name: str) -> float:
    """Return the bytes per second of a plain loop, the median over the rows that were timed beside it."""
    return statistics.median(PlainLoop.bytes / m.loops[name].median for m in measured if m.loops)


def draw_speedups(measured: Sequence[Measurement]) -> Figure:
    panels = {}
    for scale in ("small", "medium", "large"):
        if chosen := _of_scale(measured, scale):
            sizes = [m.case.size for m in chosen.values()]
            ends = dict.fromkeys(f"{size:,}".replace(",", " ") for size in (min(sizes), max(sizes)))
            panels[f"{scale}: {' to '.join(ends)} float32"] = {
                loss: (m.ratio, m.best_other) for loss, m in chosen.items()
            }
    return charts.bars(panels, list(dict.fromkeys(m.case.loss for m in measured)))


def draw_bandwidth(measured: Sequence[Measurement]) -> Figure:
    chosen = {loss: m for loss, m in _of_scale(measured, "large").items() if m.loops}
    return charts.dots(
        {loss: {name: m.bytes / best / 1e9 for name, best in m.best.items()} for loss, m in chosen.items()},
        {loss: PlainLoop.bytes / m.loops[LOOP].best / 1e9 for loss, m in chosen.items()},
        "GB/s that a call moves at least, best of all rounds",
        "plain loop c = a - b, same rounds",
    )


def _of_scale(measured: Iterable[Measurement], scale: str) -> dict[str, Measurement]:
    """Return one float32 measurement of each loss, the first in the table."""
    chosen: dict[str, Measurement] = {}
    for m in measured:
        if m.case.dtype == "float32" and m.case.scale == scale:
            chosen.setdefault(m.case.loss, m)
    return chosen


def run(report: Report) -> None:
    report.console.rule("Kernels")
    libraries, missing = load_installed(report.threads, report.quick)
    loop = None if report.quick else PlainLoop(report.threads)
    measured = measure_all(report.console, all_cases(report.quick), libraries, report.quick, loop)
    table = tabulate(measured, [x.name for x in libraries if x.name not in FEW])
    table.notes += [
        f"Compared: {', '.join(f'{x.name} {x.version}' for x in libraries)}.",
        f"Left out: {', '.join(missing) or 'none'}.",
        "Bold: the fastest of all libraries, those of the table below included; and `vs best` if that is not fastloss.",
        "vs best: the fastest other's time over fastloss's. spread: median over best, of fastloss and of that other.",
        "bandwidth: share of the plain loop's bytes per second in the same rounds (medians; each array counts once).",
        "ulp: error of the mean against the next wider dtype; if the loss is not elementwise, the gradient's too.",
        *summary(measured, report.threads),
    ]
    data = [asdict(m) | {"best_other": m.best_other, "ratio": m.ratio, "bandwidth": m.bandwidth} for m in measured]
    report.publish("kernels", table, {"versions": {x.name: x.version for x in libraries}, "results": data})
    if few := tabulate_few(measured):
        report.publish("few", few, None)
    report.picture("speedups", "fastloss against the fastest other", draw_speedups(measured))
    if not report.quick:
        report.picture("roofline", "Bytes per second of large calls, and of a plain loop", draw_bandwidth(measured))
