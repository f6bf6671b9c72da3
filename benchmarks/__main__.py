"""`python -m benchmarks`: trains real models, times the kernels, measures errors and memory. See README.md."""

import argparse
import contextlib
import io
import os
import platform
import time
from pathlib import Path

PARTS = ("training", "kernels", "accuracy", "memory")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="about 30 seconds: one round of training, one size of most losses, nothing large, no memory part",
    )
    parser.add_argument("--only", choices=PARTS, help="one part instead of all four")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for every library (default: fastloss's own)")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", default=Path("benchmarks/results"), help="default: %(default)s"
    )
    args = parser.parse_args()
    if args.threads is not None:
        cpus = os.cpu_count() or 1
        if not 1 <= args.threads <= cpus:
            parser.error(f"--threads must be in 1 .. {cpus}, the CPUs of this machine")
    return args


def main() -> None:
    args = arguments()
    if args.threads and hasattr(os, "sched_setaffinity"):
        # JAX and BLAS take their threads from this alone, and only when they are loaded: hence the imports below
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])

    from rich.console import Console

    import fastloss

    from . import accuracy, kernels, memory, training
    from .tables import Report

    if args.threads:
        fastloss.set_num_threads(args.threads)
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)  # a log has no width of its own, and 80 columns do not hold the tables
    args.output.mkdir(parents=True, exist_ok=True)
    report = Report(console, args.output, machine(), fastloss.get_num_threads(), args.quick)
    console.print(report.machine)
    start = time.perf_counter()
    if args.only in (None, "training"):
        training.run(report)
    if args.only in (None, "kernels"):
        kernels.run(report)
    if args.only in (None, "accuracy"):
        accuracy.run(report)
    if args.only == "memory" or args.only is None and not args.quick:
        memory.run(report)
    console.print(f"\n{time.perf_counter() - start:.0f} s altogether. Tables and pictures: {args.output}")


def machine() -> str:
    """What the figures were measured on, and with which fastloss."""
    import fastloss

    config = io.StringIO()
    with contextlib.redirect_stdout(config):
        fastloss.show_config()
    lines = [f"{cpu_model()}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}"]
    if hasattr(os, "getloadavg"):
        lines.append(f"load average before the run: {os.getloadavg()[0]:.1f} (idle is best)")
    return "\n".join([*lines, config.getvalue().strip()])


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
