"""Any call of any loss is right, or it is refused. `just fuzz MINUTES` looks for calls that are neither.

A failing call is printed as `Call(...)`: paste it into a test, as the argument of `check`. The names inf and nan are
those of the module math. If a signal ended the process, the call stands in .hypothesis/last-call-main.
"""

import contextlib
import math
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastloss._core.calls import policy
from fastloss._core.cpu import threads
from tests.losses.comparing import assert_same_bits, leaves
from tests.losses.support import LOSSES

from .calls import HALVES
from .faults import spoil
from .strategies import calls

pytestmark = pytest.mark.filterwarnings("error")

#: `just fuzz` sets the number of examples, and a random seed. Without it, every short run takes the same examples.
EXAMPLES = int(os.environ.get("FASTLOSS_FUZZ_EXAMPLES", 0))
FAMILIES = sorted({loss.declaration.family for loss in LOSSES.values()})


SETTINGS = settings(derandomize=not EXAMPLES, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))


def fuzzing(share):
    """The settings of a test that needs this share of the examples."""
    return settings(SETTINGS, max_examples=math.ceil(share * (EXAMPLES or 60)))


def copies(arguments, without=()):
    """Copies of the given arrays, but of those that results are written to."""
    return tuple(np.array(x) for k, x in arguments.items() if isinstance(x, np.ndarray) and k not in ("out", *without))


def assert_same(actual, expected, signs=True, sums=True):
    """Assert that results have the same bits, but for NaN, and for signs of zeros if `signs` is false.

    If `sums` is false, doubles may differ by the order in which they were added.
    """
    for x, y in zip(leaves(actual), leaves(expected), strict=True):
        assert type(x) is type(y)
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype and x.shape == y.shape
        differ = (x != y) | signs & (np.signbit(x) != np.signbit(y))
        differ &= ~(np.isnan(x) & np.isnan(y))
        if not sums and x.dtype == float:
            differ &= ~np.isclose(x, y, rtol=1e-14, atol=0)
        assert not differ.any(), f"at {np.argwhere(differ)[0]}: {x[differ][0]!r} is not {y[differ][0]!r}"


def expected_of(call, problem):
    """The results of the call in its plainest form, after a comparison with the definition."""
    common, names = call.common(problem), call.method.split("_and_")
    if call.method == "normalizer":
        common |= {"reduction": "mean", "normalizer": None}
        weights = problem.normalizer(**common)
        assert_same(problem.value(**common | {"normalizer": weights or None}), problem.value(**common))
    elif call.comparable:
        # Whether special numbers overflow depends on weights and on the dtype of the sum.
        of_losses = common if not call.special else {"reduction": "none"}
        results = getattr(problem, call.method)(**of_losses)
        results = dict(zip(names, results if len(names) > 1 else [results], strict=True))
        if call.special and math.isnan(call.special[1]):
            results.pop("hess", None)  # value and gradient have to be NaN, but not the second derivative
        terms = 0 if problem.axis is None or call.dtype != "float64" else problem.pred.shape[problem.axis]
        problem.assert_results(results, problem.expected(**of_losses), ulp=max(24, terms / 20))  # of a sum in float64
    return rounded(getattr(problem, call.method)(**common), call.dtype)


def rounded(result, dtype):
    """Results in half precision are those of float32, rounded."""
    if isinstance(result, tuple):
        return tuple(rounded(x, dtype) for x in result)
    with np.errstate(over="ignore"):
        return result.astype(dtype) if dtype in HALVES and isinstance(result, np.ndarray) else result


def check(call):
    """Assert that the call is right, whatever its layout, its threads, its memory."""
    problem = call.problem()
    arguments, fences = call.arguments(problem)
    before = copies(arguments, call.out)
    result = call.run(arguments)
    fences.assert_untouched()
    # Half precision is computed in smaller tiles than float32.
    assert_same(result, expected_of(call, problem), signs=not call.hidden, sums=call.dtype not in HALVES)
    if call.out:
        received = result[1] if call.method == "value_and_grad" else result
        assert all(a is b for a, b in zip(leaves(received), leaves(arguments["out"]), strict=True))
    assert_same_bits(copies(arguments, call.out), before)


def check_refused(call):
    """Assert that the spoilt call raises an error that names the argument, and has changed nothing."""
    call = replace(call, layouts={}, dtypes={}, hidden=False)
    problem = call.problem()
    arguments, fences = call.arguments(problem)
    name = spoil(np.random.default_rng(call.seed), problem, arguments, call.method)
    if name is None:
        return
    before = copies(arguments)
    with pytest.raises((TypeError, ValueError)) as error:
        call.run(arguments)
    assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(error.value)), f"{name}: {error.value}"
    assert_same_bits(copies(arguments), before)
    fences.assert_untouched()


@pytest.mark.parametrize("family", FAMILIES)
@fuzzing(1)
@given(data=st.data())
def test_any_call_is_right(family, data):
    check(data.draw(calls([k for k, x in LOSSES.items() if x.declaration.family == family])))


@fuzzing(3)
@given(call=calls())
def test_any_spoilt_call_is_refused(call):
    check_refused(call)


@fuzzing(0.3)
@given(call=calls().filter(lambda call: call.threads > 1))
def test_any_call_stays_in_its_memory_while_another_thread_changes_its_arrays(call):
    arguments, fences = replace(call, layouts={}).arguments(call.problem())
    arrays = [x for k, x in arguments.items() if isinstance(x, np.ndarray) and k != "out"]
    good, stop, rng = copies(arguments), threading.Event(), np.random.default_rng(call.seed)

    def scribble():
        while not stop.is_set():
            for x, before in zip(arrays, good, strict=True):
                x[...] = before if rng.random() < 0.5 else rng.integers(-(2**7), 2**7 - 1, x.shape).astype(x.dtype)

    other = threading.Thread(target=scribble)
    other.start()
    try:
        for _ in range(10):
            with contextlib.suppress(ValueError):
                call.run(arguments)
    finally:
        stop.set()
        other.join()
    fences.assert_untouched()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork while threads run
@fuzzing(0.3)
@given(some=st.lists(calls(), min_size=1, max_size=4))
def test_calls_at_the_same_time_and_in_a_forked_child_change_no_bit(some):
    problems = [call.problem() for call in some]

    def result(k):
        return getattr(problems[k], some[k].method)(**some[k].common(problems[k]))

    expected = list(map(result, range(len(some))))

    def again(k):
        assert_same(result(k % len(some)), expected[k % len(some)])
        return True

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as pool:
        patch.setattr(threads, "_requested", some[0].threads)
        patch.setattr(policy, "SERIAL", 0)
        assert all(pool.map(again, range(40)))
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                os._exit(0 if all(map(again, range(len(some)))) else 1)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "wrong in a forked child"
