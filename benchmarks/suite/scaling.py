"""One thread, two, four, up to all. Each number of threads has a process of its own with as many CPUs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from ..case import Case
from ..libraries import OURS, REPRESENTATIVE, load_installed
from ..output import charts
from ..output.report import Report
from ..output.tables import Table, against_best, seconds, times
from .cases import SHAPES, all_cases
from .kernels import measure_all


def cases(quick: bool) -> list[Case]:
    medium = [case for case in all_cases(quick=True) if case.dtype == "float32" and case.size > 1000]
    if quick:
        return [case for case in medium if case.loss in REPRESENTATIVE]
    large = [case for case in all_cases() if case.loss in REPRESENTATIVE and _is_large(case)]
    return medium + large


def _is_large(case: Case) -> bool:
    return case.shape == SHAPES[case.declaration.family][-1] and case.dtype == "float32" and case.reuse


def counts(threads: int) -> list[int]:
    powers = [2**k for k in range(threads.bit_length()) if 2**k < threads]
    return [*powers, threads]


@contextmanager
def pinned(cpus: int) -> Iterator[None]:
    """Limit the CPUs of child processes. JAX and BLAS start as many threads as they have CPUs when they are loaded."""
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
    """Return, for every case, the best seconds of each library."""
    return [m.best for m in measure_all(Console(stderr=True), cases(quick), load_installed(threads, quick)[0], quick)]


def run(report: Report) -> None:
    report.console.rule("Threads")
    numbers = counts(report.threads)
    best: dict[int, list[dict[str, float]]] = {}
    for n in numbers:
        report.console.print(f"{n} of {report.threads} threads")
        command = [sys.executable, "-m", __name__, str(n), str(int(report.quick))]
        with pinned(n):
            best[n] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    publish(report, numbers, best)


def publish(report: Report, numbers: list[int], best: dict[int, list[dict[str, float]]]) -> None:
    rows = cases(report.quick)
    names = list(dict.fromkeys(name for of_case in best[1] for name in of_case))
    table = Table(
        f"Best time of a call on one thread, and the gain with {report.threads}",
        ("shape, dtype", *names, "vs best", f"fastloss, {report.threads}", "gain", "vs best"),
        notes=[
            "vs best: the fastest other's time over fastloss's, on as many threads. gain: time on one thread over that "
            "on all. Bold: the fastest on one thread."
        ],
    )
    for i, case in enumerate(rows):
        one, all_ = best[1][i], best[report.threads][i]
        table.add(
            (
                case.label,
                *times(one, names),
                against_best(one, OURS),
                seconds(all_[OURS]),
                f"{one[OURS] / all_[OURS]:.2f}x",
                against_best(all_, OURS),
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


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), quick=bool(int(sys.argv[2])))))
