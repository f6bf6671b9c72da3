"""The memory that one call needs beyond its inputs and `out`. Each library runs in a process of its own."""

import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

from ..case import Case
from ..libraries import load, load_installed
from ..output.report import Report
from ..output.tables import Table

CASES = (
    Case("mse", (4_000_000,)),
    Case("mse", (16_000_000,)),
    Case("binary_cross_entropy_with_logits", (16_000_000,)),
    Case("cross_entropy", (4096, 1000)),
    Case("cross_entropy", (16384, 1000)),
    Case("clip", (4096, 256)),
)
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure(name: str, threads: int) -> list[dict[str, float] | None]:
    """Return, for every case, how far resident and traced memory rise during a call, in MB."""
    library = load(name, threads)
    results: list[dict[str, float] | None] = []
    for case in CASES:
        call = library.bind(case, case.data())
        if call is None:
            results.append(None)
            continue
        call()  # compiles, starts threads, touches `out`
        time.sleep(0.3)  # JAX frees its results a little later, in a thread of its own
        CLEAR_REFS.write_text("5")  # resets the peak: see proc(5)
        before = _resident("VmRSS")
        call()
        resident = _resident("VmHWM") - before
        tracemalloc.start()
        call()
        _, traced = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        results.append({"resident": resident, "traced": traced / 1e6})
    return results


def _resident(field: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def run(report: Report) -> None:
    report.console.rule("Memory")
    if not CLEAR_REFS.exists():
        report.console.print("Not measured: only Linux tells the peak of a single call.")
        return
    names = [x.name for x in load_installed(report.threads, quick=True)[0]]
    measured = {}
    # By default, glibc keeps freed blocks below 32 MB. A call that reuses one would seem to need no memory.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    for name in names:
        command = [sys.executable, "-m", __name__, name, str(report.threads)]
        measured[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)
    table = Table(
        "Extra memory of a call in MB: peak resident, and in brackets what Python and NumPy allocated",
        ("shape, dtype", "input", *names),
        notes=[
            "PyTorch and JAX allocate the gradient, and their allocators are not traced. The others write to arrays "
            "that exist before the call. Those of scikit-learn and numexpr hold the losses of all elements too.",
        ],
    )
    for i, case in enumerate(CASES):
        size = sum(x.nbytes for x in case.data())
        cells = []
        for name in names:
            extra = measured[name][i]
            cells.append("-" if extra is None else f"{extra['resident']:.1f} ({extra['traced']:.3f})")
        table.add((case.label, f"{size / 1e6:.0f}", *cells), case.loss)
    cases = [case.name for case in CASES]
    data = {name: dict(zip(cases, results, strict=True)) for name, results in measured.items()}
    report.publish("memory", table, data)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
