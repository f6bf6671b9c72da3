"""CPU levels, the floating-point state, and what the import loads."""

import platform

import pytest

import fastloss as fl
from fastloss._core.calls.kernels import kernels, supported_levels
from fastloss._core.cpu import machine
from tests.machine.processes import run_python

MODULES = [
    "batches",
    "dropout",
    "elementwise",
    "margins",
    "max_norm",
    "softmax",
    "terms",
    "vecmath",
    "vectors",
    "weights",
]


def test_level_changes_every_kernel(level):
    assert kernels.level == level
    for name in MODULES:
        assert getattr(kernels, name).__name__.endswith(level.replace("-", "_"))


def test_environment_level():
    code = "import fastloss as fl; from fastloss._core.calls.kernels import kernels"
    code += "; print(kernels.level, fl.mse([1.0], [3.0]))"
    levels = supported_levels()
    for level in levels:
        assert run_python(code, FASTLOSS_CPU_LEVEL=level) == f"{level} 4.0"
    for default in ({}, {"FASTLOSS_CPU_LEVEL": ""}):
        assert run_python(code, **default) == f"{levels[-1]} 4.0"
    for unknown in ("x86-64-v1", "avx2", "X86-64-V2", "x86_64_v2"):
        assert run_python(code, FASTLOSS_CPU_LEVEL=unknown) == (
            f"ValueError: FASTLOSS_CPU_LEVEL: CPU level {unknown!r} is not one that this machine supports: "
            f"{', '.join(levels)}"
        )


def test_a_level_that_the_cpu_lacks(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine, "x86_levels", lambda: 2)
    assert supported_levels() == ("x86-64-v2", "x86-64-v3")
    before = kernels.level
    text = "^CPU level 'x86-64-v4' is not one that this machine supports: x86-64-v2, x86-64-v3$"
    with pytest.raises(ValueError, match=text):
        kernels.select("x86-64-v4")
    assert kernels.level == before
    monkeypatch.setattr(machine, "x86_levels", lambda: 0)
    with pytest.raises(ImportError, match=r"^fastloss needs a CPU of level x86-64-v2 \(SSE4.2\) or higher$"):
        supported_levels()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert supported_levels() == ("generic",)


def test_show_config(capsys, level):
    fl.set_num_threads(2)
    fl.show_config()
    version, cpu, openmp, threads, adapt = capsys.readouterr().out.splitlines()
    assert version == f"fastloss {fl.__version__}"
    assert cpu == f"CPU level: {level} (supported: {', '.join(supported_levels())})"
    assert openmp.startswith("OpenMP: ")
    assert threads == f"threads: {fl.get_num_threads()}"
    assert adapt == "adapt: False, every call on a large input has all threads"


# ---------------------------------------------------------------------------------------------------------------------
# The floating-point state


SUBNORMAL = """
import threading, warnings
warnings.simplefilter("error")
import numpy as np

def subnormals_live():
    a, b = np.full(64, 1e-40, np.float32), np.full(64, 1e-310)
    with np.errstate(under="ignore"):
        return bool(np.all(a * np.float32(0.5) > 0) and np.all(b * 0.5 > 0) and float(b[0]) * 0.5 > 0)

before = subnormals_live()
import fastloss as fl
np.seterr(all="raise")
fl.set_num_threads(4)
n = 300_000
tiny = np.full(n, 1e-40, np.float32)
wide = np.array([0.0, np.inf, -np.inf, np.nan, 1e30, -1e30] * 20_000, np.float32).reshape(-1, 3)
for _ in range(3):
    value, grad = fl.mae.value_and_grad(tiny, np.zeros_like(tiny), normalizer=1.0, reduction="mean")
    assert value > 0
    # Every chunk of every thread keeps its subnormals.
    losses = fl.mae(tiny, np.zeros_like(tiny), reduction="none")
    assert np.all(losses == tiny)
    fl.cross_entropy.value_and_grad(wide, np.zeros(len(wide), int))
    fl.binary_cross_entropy_with_logits.grad_and_hess(wide, np.ones_like(wide))
    fl.mse.value_and_grad(wide, np.zeros_like(wide))
result = []
other = threading.Thread(target=lambda: result.append(subnormals_live()))
other.start()
other.join()
print(before, subnormals_live(), *result, np.geterr()["over"])
"""


def test_floating_point_state_is_untouched():
    """Subnormals survive the import and the calls, in all threads. Nothing warns when NumPy is told to raise."""
    for level in supported_levels():
        assert run_python(SUBNORMAL, FASTLOSS_CPU_LEVEL=level) == "True True True raise"


def test_import_is_silent_and_light():
    code = """
import sys, warnings
warnings.simplefilter("error")
import numpy
before = set(sys.modules)
import fastloss
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new & {"scipy", "torch", "jax", "sklearn", "typing_extensions", "Cython", "threadpoolctl"}))
"""
    assert run_python(code) == "[]"


def test_a_level_that_was_not_built(monkeypatch):
    before = kernels.level
    monkeypatch.setattr("pkgutil.walk_packages", lambda *folder: [])
    with pytest.raises(ImportError, match=f"^the kernels for CPU level '{before}' were not built$"):
        kernels.select(before)
    assert kernels.level == before
