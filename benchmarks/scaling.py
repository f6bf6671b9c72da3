"""Part six: one thread, two, four, up to all. Each number in a process of its own that has as many CPUs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from . import charts
from .cases import REPRESENTATIVE, Case, all_cases
from .kernels import OURS, measure_all
from .peers import load_installed
from .tables import Report, Table, seconds


def cases(quick: bool) -> list[Case]:
    medium = [case for case in all_cases(quick=True) if case.dtype == "float32" and case.size > 1000]
    if quick:
        return [case for case in medium if case.loss in REPRESENTATIVE]
    large = [Case(loss, (16384, 1000) if loss == "cross_entropy" else (16_000_000,)) for loss in REPRESENTATIVE]
    return medium + large


def counts(threads: int) -> list[int]:
    powers = [2**k for k in range(threads.bit_length()) if 2**k < threads]
    return [*powers, threads]


@contextmanager
def pinned(cpus: int) -> Iterator[None]:
    """JAX and BLAS take their threads from the CPUs that they may use when they are loaded; children inherit these."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cpus])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(threads: int, quick: bool) -> list[dict[str, float]]:
    """Of every case, the best seconds of each contender."""
    results = measure_all(Console(stderr=True), cases(quick), load_installed(threads, quick)[0], quick)
    return [{name: timing.best for name, timing in r.timings.items()} for r in results]


def run(report: Report) -> None:
    report.console.rule("Threads")
    numbers = counts(report.threads)
    best: dict[int, list[dict[str, float]]] = {}
    for n in numbers:
        report.console.print(f"{n} of {report.threads} threads")
        command = [sys.executable, "-m", "benchmarks.scaling", str(n), str(int(report.quick))]
        with pinned(n):
            best[n] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    publish(report, numbers, best)


def publish(report: Report, numbers: list[int], best: dict[int, list[dict[str, float]]]) -> None:
    rows = cases(report.quick)
    names = list(dict.fromkeys(name for of in best[1] for name in of))
    title = f"Best time of a call on one thread, and what {report.threads} make of it"
    table = Table(
        title,
        ("shape, dtype", *names, "vs best", f"fastloss, {report.threads}", "gain", "vs best"),
        notes=["vs best: the fastest other's time over fastloss's, on as many threads. gain: one thread over all."],
    )
    for i, case in enumerate(rows):
        one, all_ = best[1][i], best[report.threads][i]
        table.add(
            (
                case.label,
                *(seconds(one[name]) if name in one else "-" for name in names),
                _against_best(one),
                seconds(all_[OURS]),
                f"{one[OURS] / all_[OURS]:.2f}x",
                _against_best(all_),
            ),
            case.loss,
        )
    data: list[dict[str, Any]] = [
        {"loss": case.loss, "shape": case.shape, "seconds": {n: best[n][i] for n in numbers}}
        for i, case in enumerate(rows)
    ]
    report.publish("scaling", table, data)
    panels = {
        f"{case.loss}\n{case.label}": {
            name: (numbers, [best[1][i][name] / best[n][i][name] for n in numbers]) for name in best[1][i]
        }
        for i, case in enumerate(rows)
        if case.loss in REPRESENTATIVE
    }
    figure = charts.lines(panels, "threads", "speed-up over one thread", columns=6, log=False, ideal=True)
    report.picture("scaling", "Speed-up by threads, each over itself on one", figure)


def _against_best(best: dict[str, float]) -> str:
    other = min((name for name in best if name != OURS), key=best.__getitem__)
    return f"{best[other] / best[OURS]:.3g}x {other}"


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), quick=bool(int(sys.argv[2])))))
