"""How many threads a call may use: the user's setting, the CPU affinity, container limits, and forks."""

from __future__ import annotations

import math
import os
from pathlib import Path

from fastloss._core.cpu import machine, team
from fastloss._core.request.checks import flag, index, shown

MAX_THREADS = 1024


def _thread_count(n: object, name: str) -> int:
    count = index(n, name)
    if not 1 <= count <= MAX_THREADS:
        raise ValueError(f"{name} must be in [1, {MAX_THREADS}], not {shown(count)}")
    return count


def _environment_threads() -> int | None:
    text = os.environ.get("FASTLOSS_NUM_THREADS")
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError(f"FASTLOSS_NUM_THREADS must be a positive integer, not {text!r}")
    return _thread_count(int(text), "FASTLOSS_NUM_THREADS")


def _environment_adapt() -> bool:
    text = os.environ.get("FASTLOSS_ADAPT") or "1"
    if text not in ("0", "1"):
        raise ValueError(f"FASTLOSS_ADAPT must be 0 or 1, not {text!r}")
    return text == "1"


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """The number of CPUs that the control groups of this process allow; inf if nothing limits it."""
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
        # Version 2 has one unnamed hierarchy. Version 1 has a folder per controller. A limit on any ancestor counts.
        # Inside a container the path may be the host's: missing folders are skipped, and the root is always tried.
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
team.set_adaptive(_environment_adapt())


def _after_fork_in_child() -> None:
    # The child has no worker threads of libgomp. A parallel region there would wait for them for ever.
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork_in_child)


def set_num_threads(n: int, *, adapt: bool | None = None) -> None:
    """Set how many threads the kernels use at most, for the whole process.

    Parameters
    ----------
    n : int
        From 1 to 1024. It may exceed the number of CPUs. Small inputs always run on one thread, and so does a forked
        child. ``threadpoolctl.threadpool_limits`` lowers the number temporarily.
    adapt : bool, optional
        True: calls with threads are timed. Where threads do not pay, because others hold the cores, calls run on one
        thread, and rarely try threads again. False: every call on a large input uses `n` threads. The results are the
        same bits. None leaves this as it is: True, unless the environment variable ``FASTLOSS_ADAPT`` is 0.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer, or outside [1, 1024], or `adapt` is not a bool.

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
    n = _thread_count(n, "n")
    if adapt is not None:
        team.set_adaptive(flag(adapt, "adapt"))
    _requested = n


def get_num_threads() -> int:
    """Return how many threads a call on a large input would use now.

    This is the number that was given to `set_num_threads`. Without one, it is the environment variable
    ``FASTLOSS_NUM_THREADS``. Without that, it is OpenMP's own setting, capped by the CPU affinity and the cgroup quota
    of the process. ``threadpoolctl`` lowers it.

    Returns
    -------
    int
        At least 1.

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
    # OpenMP's limit was lowered after import, for example by threadpoolctl: respect it.
    return _requested if openmp >= _openmp_at_import else min(_requested, openmp)
