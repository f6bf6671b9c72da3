"""The number of threads, the cgroup quota, forks, and threads of Python."""

import math
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.cpu import machine, threads
from tests.losses.comparing import assert_same_bits
from tests.losses.support import type_name
from tests.machine.processes import python, run_python

#: pred and target above the serial threshold
LARGE = np.random.default_rng(0).standard_normal((2, 200_000), np.float32)
LOGITS = np.random.default_rng(1).standard_normal((20_000, 10), np.float32)
LABELS = np.arange(20_000) % 10


needs_openmp = pytest.mark.skipif(not machine.OPENMP_VERSION, reason="built without OpenMP")


# ---------------------------------------------------------------------------------------------------------------------
# The number of threads


def test_set_and_get():
    for n in (1, 2, 7, 1024, np.int64(3)):
        fl.set_num_threads(n)
        assert fl.get_num_threads() == (n if machine.OPENMP_VERSION else 1)
    fl.set_num_threads(5)
    for bad in (0, -1, 1025, 10**30):
        with pytest.raises(ValueError, match=rf"^n must be in \[1, 1024\], not {bad}$"):
            fl.set_num_threads(bad)
    for bad in (1.0, "2", None, [1]):
        with pytest.raises(TypeError, match=f"^n must be an integer, not {type_name(bad)}$"):
            fl.set_num_threads(bad)
    assert threads._requested == 5


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
    if threads._openmp_at_import > 1:
        with threadpoolctl.threadpool_limits(1, user_api="openmp"):
            assert fl.get_num_threads() == 1


# ---------------------------------------------------------------------------------------------------------------------
# The cgroup quota


def quota(tmp_path, membership, files):
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "membership").write_text(membership)
    return threads._cgroup_quota(tmp_path / "cgroup", tmp_path / "membership")


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
    assert threads._cgroup_quota(tmp_path, tmp_path / "missing") == math.inf


@pytest.mark.parametrize("allowed, expected", [(math.inf, 8), (100, 8), (2.5, 3), (2, 2), (0.3, 1)])
def test_a_quota_caps_the_affinity(monkeypatch, allowed, expected):
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: allowed)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert threads._available_cpus() == expected


# ---------------------------------------------------------------------------------------------------------------------
# Processes, and threads of Python


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


def test_small_thread_stacks():
    """A thread of 256 KiB is enough: what a kernel keeps on the stack is part of the contract on memory."""
    before = threading.stack_size(256 * 1024)
    try:
        results = []
        for shape in [(1000, 10), (20, 1000), (2, 21, 300)]:
            z = np.zeros(shape)
            y = np.zeros((shape[0], *shape[2:]), int)
            for loss in (fl.cross_entropy, fl.multiclass_hinge, fl.crammer_singer):
                t = threading.Thread(target=lambda a=(z, y), f=loss: results.append(f.grad_and_hess(*a, axis=1)))
                t.start()
                t.join()
        assert len(results) == 9
    finally:
        threading.stack_size(before)
