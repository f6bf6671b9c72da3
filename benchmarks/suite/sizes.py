"""Time against size, from 10 to 10^8 elements."""

import math
import os
from collections.abc import Sequence

from ..case import Case
from ..libraries import Library, load_installed
from ..output import charts
from ..output.report import Report, progress
from ..output.tables import Table, times
from .cases import THOROUGH
from .timing import interleave

CLASSES = 10
COPIES = 16  # of the inputs: what all libraries together may need for a moment


def cases(quick: bool) -> list[Case]:
    sizes = [n * 10**k for k in range(1, 8) for n in (1, 3)] + [10**8]
    sizes = [size for size in sizes if size <= 10**6] if quick else sizes
    shapes = {loss: [(n // CLASSES, CLASSES) if loss == "cross_entropy" else (n,) for n in sizes] for loss in THOROUGH}
    return [Case(loss, shape) for loss, of_loss in shapes.items() for shape in of_loss if _fits(math.prod(shape))]


def _fits(size: int) -> bool:
    if not hasattr(os, "sysconf"):
        return size <= 10**7
    return 2 * 4 * size * COPIES <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def measure(case: Case, libraries: Sequence[Library], quick: bool) -> dict[str, float]:
    """Return the best seconds of each library. The results of these losses are checked by `kernels`."""
    inputs = case.data()
    calls = {x.name: call for x in libraries if (call := x.bind(case, inputs))}
    for call in calls.values():
        call()  # compiles, starts threads
    timings = interleave(calls, budget=0.05 if quick else 0.2 if case.size < 10**6 else 1.0)
    return {name: timing.best for name, timing in timings.items()}


def run(report: Report) -> None:
    report.console.rule("Time against size")
    libraries = load_installed(report.threads, report.quick)[0]
    names = [x.name for x in libraries]
    table = Table("Best time of a call by size", ("shape, dtype", *names))
    results = []
    with progress(report.console) as bars:
        bar = bars.add_task("", total=len(cases(report.quick)))
        for case in cases(report.quick):
            bars.update(bar, description=case.name, refresh=True)
            best = measure(case, libraries, report.quick)
            table.add((case.label, *times(best, names)), case.loss)
            results.append((case, best))
            bars.advance(bar)
        bars.update(bar, description="done", refresh=True)
    data = [{"loss": case.loss, "shape": case.shape, "seconds": best} for case, best in results]
    report.publish("sizes", table, data)
    panels = {
        loss: {name: _line([(case.size, best) for case, best in results if case.loss == loss], name) for name in names}
        for loss in THOROUGH
    }
    figure = charts.lines(panels, "elements", "ns per element", columns=3, log=True, ideal=False)
    report.picture("sizes", "Time of an element against the size of the call", figure)


def _line(results: Sequence[tuple[int, dict[str, float]]], name: str) -> tuple[list[float], list[float]]:
    """Return the sizes, and the nanoseconds of an element."""
    known = [(size, best[name] / size * 1e9) for size, best in results if name in best]
    return [size for size, _ in known], [time for _, time in known]
