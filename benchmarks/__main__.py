"""`python -m benchmarks`: trains real models with a NumPy loss and with fastloss, and times the kernels.

`report` measures everything and writes a page with pictures. `curves` draws the losses. `vectorisation` lists the loops
that GCC does not vectorise. See README.md.
"""

import argparse
import contextlib
import io
import os
import platform
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

PARTS = ("training", "kernels", "accuracy", "memory", "sizes", "scaling")

#: How the names of environment variables begin that change the speed of a library.
TUNING = ("BLIS_", "FASTLOSS_", "GOMP_", "MKL_", "NUMBA_", "OMP_", "OPENBLAS_", "XLA_")


def arguments() -> argparse.Namespace:
    # The parsers have no defaults: those of a command would overwrite the options before it.
    given = argparse.Namespace(quick=False, threads=None, output=None)
    measuring = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    measuring.add_argument(
        "--quick", action="store_true", help="half a minute, the report two: less training, fewer rows, nothing large"
    )
    measuring.add_argument("--threads", type=int, metavar="N", help="of every library (default: fastloss's own)")
    measuring.add_argument("--output", type=Path, metavar="DIR", help="default: benchmarks/results")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        parents=[measuring],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="report | curves | vectorisation")
    report = commands.add_parser("report", parents=[measuring], help="all losses with all installed libraries")
    what = report.add_mutually_exclusive_group()
    what.add_argument("--only", choices=PARTS, help="one part instead of all")
    what.add_argument("--update-readme", action="store_true", help="write benchmarks/report/README.md too")
    curves = commands.add_parser(
        "curves", help="pictures of the losses, from fastloss itself", argument_default=argparse.SUPPRESS
    )
    curves.add_argument("--output", type=Path, metavar="DIR", help="default: docs/curves")
    commands.add_parser("vectorisation", help="loops that GCC does not vectorise; builds everything: minutes")
    args = parser.parse_args(namespace=given)
    args.output = args.output or Path("docs/curves" if args.command == "curves" else "benchmarks/results")
    cpus = os.cpu_count() or 1
    if args.command != "curves" and args.threads is not None and not 1 <= args.threads <= cpus:
        parser.error(f"--threads must be in 1 .. {cpus}, the CPUs of this machine")
    return args


def main() -> None:
    args = arguments()
    if args.threads and args.command != "curves" and hasattr(os, "sched_setaffinity"):
        # JAX and BLAS start as many threads as they have CPUs when they are loaded, so this is done before the imports.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])

    from rich.console import Console

    if args.command == "curves":
        from .suite import curves

        curves.run(Console(), args.output)
    elif args.command == "vectorisation":
        from .suite import vectorisation

        vectorisation.run(Console())
    else:
        measure(args)


def measure(args: argparse.Namespace) -> None:
    from rich.console import Console

    import fastloss

    from .output.report import Report

    if args.threads:
        fastloss.set_num_threads(args.threads)
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)  # a log has no width of its own, and 80 columns are too narrow for the tables
    args.output.mkdir(parents=True, exist_ok=True)
    report = Report(console, args.output, machine(), fastloss.get_num_threads(), args.quick)
    console.print(report.machine)
    start = time.perf_counter()
    for name, quick in parts(args).items():
        import_module(f".suite.{name}", __package__).run(replace(report, quick=quick))
    report.page()
    if args.command and args.update_readme:
        report.keep()
    console.print(f"\n{time.perf_counter() - start:.0f} s altogether. Tables and pictures: {args.output}")


def parts(args: argparse.Namespace) -> dict[str, bool]:
    """Return the names of the parts to run, and whether each is to be quick."""
    if args.command is None:
        return {"training": args.quick, "kernels": True}
    if args.only:
        return {args.only: args.quick}
    return {name: args.quick for name in PARTS if not (args.quick and name == "memory")}


def machine() -> str:
    """Return when and on what the figures were measured, and with which fastloss."""
    import fastloss

    config = io.StringIO()
    with contextlib.redirect_stdout(config):
        fastloss.show_config()
    lines = [
        time.strftime("%Y-%m-%d"),
        f"{cpu_model()}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}",
    ]
    if hasattr(os, "getloadavg"):
        lines.append(f"load average before the run: {os.getloadavg()[0]:.1f} (idle is best)")
    tuned = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(TUNING)]
    if tuned:
        lines.append(f"set in the environment: {' '.join(tuned)}")
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
