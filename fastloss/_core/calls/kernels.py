"""The kernel modules of one CPU level, found by their folders."""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
from typing import Any

from fastloss._core import kernels as folder
from fastloss._core.cpu import machine, team
from fastloss._core.cpu.threads import get_num_threads
from fastloss._version import __version__

X86_LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")


def supported_levels() -> tuple[str, ...]:
    """The CPU levels that this machine can run, lowest first."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ("generic",)
    levels = X86_LEVELS[: machine.x86_levels()]
    if not levels:
        raise ImportError("fastloss needs a CPU of level x86-64-v2 (SSE4.2) or higher")
    return levels


class Kernels:
    """The kernel modules in use. `select` switches all of them to another CPU level.

    Each is an attribute: the name of its family for a module `driver`, else its own name.
    """

    level: str

    def select(self, level: str) -> None:
        supported = supported_levels()
        if level not in supported:
            raise ValueError(f"CPU level {level!r} is not one that this machine supports: {', '.join(supported)}")
        suffix = "_" + level.replace("-", "_")
        found = pkgutil.walk_packages(folder.__path__, folder.__name__ + ".")
        names = [module.name for module in found if module.name.endswith(suffix)]
        if not names:
            raise ImportError(f"the kernels for CPU level {level!r} were not built")
        for full_name in names:
            *_, family, name = full_name.removesuffix(suffix).split(".")
            setattr(self, family if name == "driver" else name, importlib.import_module(full_name))
        self.level = level

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no kernel module {name!r} was built: run `pip install -e .` in the source folder")


kernels = Kernels()
try:
    kernels.select(os.environ.get("FASTLOSS_CPU_LEVEL") or supported_levels()[-1])
except ValueError as error:
    raise ValueError(f"FASTLOSS_CPU_LEVEL: {error}") from None


def show_config() -> None:
    """Print the version, the CPU level, OpenMP, the number of threads, and whether they pay.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.show_config()  # doctest: +ELLIPSIS
    fastloss ...
    CPU level: ... (supported: ...)
    OpenMP: ...
    threads: ...
    adapt: ...
    """
    print(f"fastloss {__version__}")
    print(f"CPU level: {kernels.level} (supported: {', '.join(supported_levels())})")
    print(f"OpenMP: {machine.OPENMP_VERSION or 'none, kernels run on one thread'}")
    print(f"threads: {get_num_threads()}")
    print(f"adapt: {team.state()}")
