"""Threads, processes, environment variables, CPU levels, and the floating-point state."""

import math
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from losses import ONE_OF_EACH, assert_same_bits, like

import fastloss as fl
from fastloss import _cpu

#: pred and target above the serial threshold
LARGE = np.random.default_rng(0).standard_normal((2, 200_000), np.float32)
LOGITS = np.random.default_rng(1).standard_normal((20_000, 10), np.float32)
LABELS = np.arange(20_000) % 10

needs_openmp = pytest.mark.skipif(not _cpu.machine.OPENMP_VERSION, reason="built without OpenMP")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def python(code, **environment):
    """A process that runs `code`, when it has ended."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FASTLOSS_", "OMP_", "GOMP_"))} | environment
    folder = Path(fl.__file__).parents[1]  # the package under test, not another one in the working directory
    return subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=folder, capture_output=True, text=True, timeout=120
    )


def run_python(code, **environment):
    """What a process prints, or the last line of its error."""
    done = python(code, **environment)
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


# ---------------------------------------------------------------------------------------------------------------------
# The number of threads


def test_set_and_get():
    for n in (1, 2, 7, 1024, np.int64(3)):
        fl.set_num_threads(n)
        assert fl.get_num_threads() == (n if _cpu.machine.OPENMP_VERSION else 1)
    fl.set_num_threads(5)
    for bad in (0, -1, 1025, 10**30):
        with pytest.raises(ValueError, match=rf"^n must be in \[1, 1024\], not {bad}$"):
            fl.set_num_threads(bad)
    for bad in (1.0, "2", None, [1]):
        with pytest.raises(TypeError, match=f"^n must be an integer, not {type(bad).__name__}$"):
            fl.set_num_threads(bad)
    assert _cpu._requested == 5


@needs_openmp
def test_threads_do_not_spin_for_long_unless_told_to():
    code = "import os, fastloss; print(*[name for name in os.environ if 'OMP_' in name])"

    def shown(**environment):
        return python(code, OMP_DISPLAY_ENV="verbose", **environment).stderr.replace(" ", "")

    assert run_python(code) == ""
    assert "OMP_WAIT_POLICY='PASSIVE'" in shown()
    assert "OMP_WAIT_POLICY='ACTIVE'" in shown(OMP_WAIT_POLICY="active")
    if "GOMP_SPINCOUNT" in shown():  # GCC's
        assert "GOMP_SPINCOUNT='1000'" in shown()
        assert "GOMP_SPINCOUNT='7'" in shown(GOMP_SPINCOUNT="7")


@needs_openmp
def test_environment_number_of_threads():
    code = "import fastloss as fl; print(fl.get_num_threads())"
    assert run_python(code, FASTLOSS_NUM_THREADS="3") == "3"
    assert run_python(code, FASTLOSS_NUM_THREADS="1") == "1"
    default = run_python(code)
    assert 1 <= int(default) <= os.cpu_count()
    assert run_python(code, FASTLOSS_NUM_THREADS="") == default
    assert run_python(code, OMP_NUM_THREADS="1") == "1"
    for bad in ("many", "-1", "1.5", " "):
        text = f"ValueError: FASTLOSS_NUM_THREADS must be a positive integer, not {bad!r}"
        assert run_python(code, FASTLOSS_NUM_THREADS=bad) == text
    for bad in ("0", "1025"):
        text = f"ValueError: FASTLOSS_NUM_THREADS must be in [1, 1024], not {bad}"
        assert run_python(code, FASTLOSS_NUM_THREADS=bad) == text


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
def test_affinity_caps_the_default():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    code += "; import fastloss as fl; print(fl.get_num_threads())"
    assert run_python(code, OMP_NUM_THREADS="4") == "1"
    assert run_python(code, FASTLOSS_NUM_THREADS="4") == "4"  # asked for by name


@needs_openmp
def test_threadpoolctl():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    expected = fl.mse.value_and_grad(*LARGE)
    before = fl.get_num_threads()
    with threadpoolctl.threadpool_limits(1):
        assert fl.get_num_threads() == 1
        assert_same_bits(fl.mse.value_and_grad(*LARGE), expected)
    assert fl.get_num_threads() == before
    fl.set_num_threads(8)
    assert fl.get_num_threads() == 8
    if _cpu._openmp_at_import > 1:
        with threadpoolctl.threadpool_limits(1, user_api="openmp"):
            assert fl.get_num_threads() == 1


def test_show_config(capsys, level):
    fl.set_num_threads(2)
    fl.show_config()
    version, cpu, openmp, threads = capsys.readouterr().out.splitlines()
    assert version == f"fastloss {fl.__version__}"
    assert cpu == f"CPU level: {level} (supported: {', '.join(_cpu.supported_levels())})"
    assert openmp.startswith("OpenMP: ")
    assert threads == f"threads: {fl.get_num_threads()}"


# ---------------------------------------------------------------------------------------------------------------------
# The cgroup quota


def quota(tmp_path, membership, files):
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "membership").write_text(membership)
    return _cpu._cgroup_quota(tmp_path / "cgroup", tmp_path / "membership")


@pytest.mark.parametrize(
    "membership, files, expected",
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("", {"cpu.max": "150000 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "200000 100000\n", "a/cpu.max": "max 100000\n"}, 2),
        ("0::/a/b\n", {"cpu.max": "50000 100000\n"}, 0.5),  # the path is the host's: the root still counts
        ("0::/../outside\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "nonsense\n"}, math.inf),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 2.5),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("4:cpu:/gone\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "0\n"}, math.inf),
        ("5:memory:/a\n", {"cpu/a/cpu.cfs_quota_us": "1000\n", "cpu/a/cpu.cfs_period_us": "1000\n"}, math.inf),
        (
            "4:cpu:/\n1:name=systemd:/\n0::/\n",  # both versions at once
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n", "cpu.max": "200000 100000\n"},
            2,
        ),
    ],
)
def test_cgroup_quota(tmp_path, membership, files, expected):
    assert quota(tmp_path, membership, files) == expected


def test_no_cgroups(tmp_path):
    assert _cpu._cgroup_quota(tmp_path, tmp_path / "missing") == math.inf


@pytest.mark.parametrize("allowed, expected", [(math.inf, 8), (100, 8), (2.5, 3), (2, 2), (0.3, 1)])
def test_a_quota_caps_the_affinity(monkeypatch, allowed, expected):
    monkeypatch.setattr(_cpu, "_cgroup_quota", lambda: allowed)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert _cpu._available_cpus() == expected


# ---------------------------------------------------------------------------------------------------------------------
# CPU levels


def test_environment_level():
    code = "import fastloss as fl; from fastloss import _cpu; print(_cpu.kernels.level, fl.mse([1.0], [3.0]))"
    levels = _cpu.supported_levels()
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
    monkeypatch.setattr(_cpu.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(_cpu.machine, "x86_levels", lambda: 2)
    assert _cpu.supported_levels() == ("x86-64-v2", "x86-64-v3")
    before = _cpu.kernels.level
    text = "^CPU level 'x86-64-v4' is not one that this machine supports: x86-64-v2, x86-64-v3$"
    with pytest.raises(ValueError, match=text):
        _cpu.kernels.select("x86-64-v4")
    assert _cpu.kernels.level == before
    monkeypatch.setattr(_cpu.machine, "x86_levels", lambda: 0)
    with pytest.raises(ImportError, match=r"^fastloss needs a CPU of level x86-64-v2 \(SSE4.2\) or higher$"):
        _cpu.supported_levels()
    monkeypatch.setattr(_cpu.platform, "machine", lambda: "aarch64")
    assert _cpu.supported_levels() == ("generic",)


# ---------------------------------------------------------------------------------------------------------------------
# Processes and threads of Python


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork while threads run
def test_fork_after_parallel_use():
    """libgomp's threads do not survive a fork: the child must not wait for them."""
    fl.set_num_threads(2)
    expected = fl.mse(*LARGE), fl.cross_entropy(LOGITS, LABELS)
    child = os.fork()
    if child == 0:
        right = (
            fl.get_num_threads() == 1
            and fl.mse(*LARGE) == expected[0]
            and fl.cross_entropy(LOGITS, LABELS) == expected[1]
        )
        fl.set_num_threads(4)
        os._exit(0 if right and fl.get_num_threads() == 1 and fl.mse(*LARGE) == expected[0] else 1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.01)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0
    assert fl.mse(*LARGE) == expected[0]  # and the parent still works


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_concurrent_calls(case):
    fl.set_num_threads(2)
    sizes = (10, 70, 300, 1100) if case.of_batch else (10, 1000, 7000, 20_000)
    problems = [case.problem((n, 7), -1, np.float32, seed=n) for n in sizes]
    expected = [p.value_and_grad() for p in problems]

    def work(k):
        for i in range(12):
            j = (k + i) % len(problems)
            assert_same_bits(problems[j].value_and_grad(out=like(problems[j].differentiated)), expected[j])
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(12)))


def test_concurrent_errors_and_results():
    target = np.zeros(len(LOGITS), int)
    bad = target.copy()
    bad[-1] = 10
    expected = fl.cross_entropy(LOGITS, target)

    def work(k):
        if k % 2:
            return fl.cross_entropy(LOGITS, target) == expected
        with pytest.raises(ValueError, match=r"^target\[19999\] = 10 is not a class index"):
            fl.cross_entropy(LOGITS, bad)
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(60)))


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL here")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "call", [lambda: fl.mse.value_and_grad(*LARGE), lambda: fl.cross_entropy.grad(LOGITS, LABELS)], ids=["mse", "ce"]
)
def test_the_gil_is_released(call, threads):
    """Another thread counts on while a kernel runs. The interpreter itself is told not to switch for a minute."""
    fl.set_num_threads(threads)
    call()
    count, stop = [0], threading.Event()

    def counting():
        while not stop.is_set():
            count[0] += 1
            time.sleep(0)  # gives the GIL back

    before = sys.getswitchinterval()
    other = threading.Thread(target=counting)
    other.start()
    try:
        sys.setswitchinterval(60)
        for _ in range(2000):
            seen = count[0]
            call()
            if count[0] > seen:
                break
        else:
            pytest.fail("the other thread has never run")
    finally:
        sys.setswitchinterval(before)
        stop.set()
        other.join()


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
    """Subnormals survive the import, the calls, and in all threads; nothing warns, with NumPy told to raise."""
    for level in _cpu.supported_levels():
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
