"""The CPU level whose kernels run, and how many threads they use."""

from __future__ import annotations

import importlib
import math
import os
import platform
from pathlib import Path
from types import ModuleType
from typing import Any

import fastloss.kernels.machine as machine
from fastloss import _checks

X86_LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
MAX_THREADS = 1024


def supported_levels() -> tuple[str, ...]:
    """The CPU levels that this machine can run, lowest first."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ("generic",)
    levels = X86_LEVELS[: machine.x86_levels()]
    if not levels:
        raise ImportError("fastloss needs a CPU of level x86-64-v2 (SSE4.2) or higher")
    return levels


def kernel(name: str, level: str) -> ModuleType:
    """The kernel module ``name`` (that of the file ``kernels/<name>.pyx``) compiled for a CPU level."""
    return importlib.import_module(f"fastloss.kernels.{name}_{level.replace('-', '_')}")


class Kernels:
    """The kernel modules in use. `select` switches all of them to another CPU level."""

    level: str
    elementwise: Any
    margins: Any
    pairs: Any
    regularization: Any
    rows: Any
    softmax: Any
    summed: Any

    def select(self, level: str) -> None:
        supported = supported_levels()
        if level not in supported:
            raise ValueError(f"CPU level {level!r} is not one that this machine supports: {', '.join(supported)}")
        self.elementwise = kernel("elementwise", level)
        self.margins = kernel("margins", level)
        self.pairs = kernel("pairs", level)
        self.regularization = kernel("regularization", level)
        self.rows = kernel("rows", level)
        self.softmax = kernel("softmax", level)
        self.summed = kernel("summed", level)
        self.level = level


kernels = Kernels()
try:
    kernels.select(os.environ.get("FASTLOSS_CPU_LEVEL") or supported_levels()[-1])
except ValueError as error:
    raise ValueError(f"FASTLOSS_CPU_LEVEL: {error}") from None


def _thread_count(n: object, name: str) -> int:
    count = _checks.index(n, name)
    if not 1 <= count <= MAX_THREADS:
        raise ValueError(f"{name} must be in [1, {MAX_THREADS}], not {count}")
    return count


def _environment_threads() -> int | None:
    text = os.environ.get("FASTLOSS_NUM_THREADS")
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError(f"FASTLOSS_NUM_THREADS must be a positive integer, not {text!r}")
    return _thread_count(int(text), "FASTLOSS_NUM_THREADS")


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """CPUs that the control groups of this process allow; inf where nothing limits it."""
    quotas = [math.inf]
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has one unnamed hierarchy, version 1 a folder per controller. A limit on any ancestor counts.
        # Inside a container the path may be the host's: what is not there is passed over, the root is always tried.
        base = root if not controllers else root / "cpu"
        here = base / path.strip("/")
        for folder in (here, *here.parents):
            try:
                if controllers:
                    quota = int((folder / "cpu.cfs_quota_us").read_text())
                    period = int((folder / "cpu.cfs_period_us").read_text())
                else:
                    first, second = (folder / "cpu.max").read_text().split()
                    quota, period = (-1 if first == "max" else int(first)), int(second)
                if quota > 0 and period > 0:
                    quotas.append(quota / period)
            except (OSError, ValueError):
                pass
            if folder == base:
                break
    return min(quotas)


def _available_cpus() -> int:
    try:
        affinity = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        affinity = os.cpu_count() or 1
    return max(1, min(affinity, math.ceil(min(_cgroup_quota(), affinity))))


_openmp_at_import: int = machine.max_threads()
_available = _available_cpus()
_requested = _environment_threads()
_forked = False


def _after_fork_in_child() -> None:
    # libgomp's worker threads do not exist in the child, and a parallel region there would wait for them for ever.
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork_in_child)


def set_num_threads(n: int) -> None:
    """Set how many threads the kernels use, for the whole process.

    Parameters
    ----------
    n : int
        From 1 to 1024. May exceed the number of CPUs. Small inputs run on one thread whatever it is, and so does a
        forked child. ``threadpoolctl.threadpool_limits`` lowers it temporarily.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer, or outside [1, 1024].

    Examples
    --------
    >>> import fastloss as fl
    >>> before = fl.get_num_threads()
    >>> fl.set_num_threads(1)
    >>> fl.get_num_threads()
    1
    >>> fl.set_num_threads(before)
    """
    global _requested
    _requested = _thread_count(n, "n")


def get_num_threads() -> int:
    """How many threads a call on a large input would use now.

    It is the number given to `set_num_threads`, else the environment variable ``FASTLOSS_NUM_THREADS``, else OpenMP's
    own setting capped by the CPU affinity and the cgroup quota of the process; ``threadpoolctl`` lowers it.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.get_num_threads() >= 1
    True
    """
    if _forked or not machine.OPENMP_VERSION:
        return 1
    openmp: int = machine.max_threads()
    if _requested is None:
        return min(openmp, _available)
    # OpenMP's number below its first value: somebody lowered it on purpose (threadpoolctl does), and that holds for us.
    return _requested if openmp >= _openmp_at_import else min(_requested, openmp)


def show_config() -> None:
    """Print the version, the CPU level, OpenMP and the number of threads.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.show_config()  # doctest: +ELLIPSIS
    fastloss ...
    CPU level: ... (supported: ...)
    OpenMP: ...
    threads: ...
    """
    from fastloss import __version__

    print(f"fastloss {__version__}")
    print(f"CPU level: {kernels.level} (supported: {', '.join(supported_levels())})")
    print(f"OpenMP: {machine.OPENMP_VERSION or 'none, kernels run on one thread'}")
    print(f"threads: {get_num_threads()}")
