"""Any call of any loss is right, or it is refused. `just fuzz MINUTES` looks for calls that are neither.

A failing example is printed as `Call(...)`: give it to `check` in a test.
"""

import contextlib
import os
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.losses.comparing import assert_same_bits, leaves
from tests.losses.support import LOSSES

from .faults import FAULTS
from .strategies import calls

pytestmark = pytest.mark.filterwarnings("error")

#: `just fuzz` sets the number of examples, and a random seed. Without it, every short run takes the same examples.
EXAMPLES = int(os.environ.get("FASTLOSS_FUZZ_EXAMPLES", 0))
FUZZING = settings(
    max_examples=EXAMPLES or 100,
    derandomize=not EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
FAMILIES = sorted({loss.declaration.family for loss in LOSSES.values()})


def expected_of(call):
    """The results of the call in its plainest form, after a comparison with the definition."""
    names = call.method.split("_and_")
    with call.machine(threads=1):
        problem = call.problem()
        common = call.common(problem)
        if call.comparable:
            # Whether something overflows depends on weights and on the dtype of the sum.
            of_losses = {"reduction": "none"} if call.special else common
            results = getattr(problem, call.method)(**of_losses)
            results = dict(zip(names, results if len(names) > 1 else [results], strict=True))
            problem.assert_results(results, problem.expected(**of_losses), call.ulp)
        return problem, common, getattr(problem, call.method)(**common)


def run(call, arguments):
    loss = LOSSES[call.loss]
    with call.machine():
        return (loss if call.method == "value" else getattr(loss, call.method))(**arguments)


def copies(arguments, but=()):
    """What inputs and weights hold; without results and the inputs that these were written over."""
    return tuple(np.array(x) for k, x in arguments.items() if isinstance(x, np.ndarray) and k not in ("out", *but))


def assert_same(actual, expected, signs=True):
    """Assert that results have the same bits, but for NaN, and for signs of zeros if `signs` is false."""
    for x, y in zip(leaves(actual), leaves(expected), strict=True):
        assert type(x) is type(y)
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype and x.shape == y.shape
        different = (x != y) & ~(np.isnan(x) & np.isnan(y))
        if signs:
            different |= np.signbit(x) != np.signbit(y)
            different &= ~np.isnan(x)
        assert not different.any(), f"at {np.argwhere(different)[0]}: {x[different][0]!r} is not {y[different][0]!r}"


def check(call):
    """Assert that the call is right, whatever its layout, its threads, its memory."""
    problem, common, expected = expected_of(call)
    arguments, fences = call.arguments(problem, common)
    before = copies(arguments, call.out or ())
    result = run(call, arguments)
    assert_same(result, expected, signs=not call.hidden)
    if call.out:
        received = result[1] if call.method == "value_and_grad" else result
        assert all(a is b for a, b in zip(leaves(received), leaves(arguments["out"]), strict=True))
    assert_same_bits(copies(arguments, call.out or ()), before)
    fences.assert_untouched()


def check_refused(call, fault):
    """Assert that the spoiled call raises an error that names the argument, and has changed nothing."""
    plain = replace(call, layouts={}, dtypes={}, hidden=False)
    problem = plain.problem()
    arguments, fences = plain.arguments(problem, plain.common(problem))
    name = FAULTS[fault](np.random.default_rng(call.seed), problem, arguments)
    if name is None:
        return
    before = copies(arguments)
    with pytest.raises((TypeError, ValueError)) as error:
        run(call, arguments)
    assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(error.value)), str(error.value)
    assert_same_bits(copies(arguments), before)
    fences.assert_untouched()


@pytest.mark.parametrize("family", FAMILIES)
@FUZZING
@given(data=st.data())
def test_any_call_is_right(family, data):
    check(data.draw(calls([k for k, x in LOSSES.items() if x.declaration.family == family])))


@pytest.mark.parametrize("fault", FAULTS)
@FUZZING
@given(call=calls())
def test_any_spoiled_call_is_refused(fault, call):
    check_refused(call, fault)


def check_raced(call):
    """Assert that a call stays inside its arrays while another thread writes nonsense into them."""
    problem = call.problem()
    arguments, fences = replace(call, layouts={}).arguments(problem, call.common(problem))
    arrays = [x for k, x in arguments.items() if isinstance(x, np.ndarray) and k != "out"]
    good = [x.copy() for x in arrays]
    stop = threading.Event()

    def scribble():
        rng = np.random.default_rng(call.seed)
        while not stop.is_set():
            for x, before in zip(arrays, good, strict=True):
                x[...] = before if rng.random() < 0.5 else rng.integers(-(2**7), 2**7 - 1, x.shape).astype(x.dtype)

    other = threading.Thread(target=scribble)
    other.start()
    try:
        for _ in range(10):
            with contextlib.suppress(ValueError):
                run(call, arguments)
    finally:
        stop.set()
        other.join()
    fences.assert_untouched()


@FUZZING
@given(call=calls().filter(lambda call: call.threads > 1))
def test_any_call_stays_in_its_memory_while_its_arrays_change(call):
    check_raced(call)
