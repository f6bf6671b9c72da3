"""Apart from its results, a call needs a fixed amount of memory."""

import tracemalloc

import numpy as np
import pytest

import fastloss as fl
from tests.losses.cases import IN_BATCH
from tests.losses.comparing import like
from tests.losses.support import ONE_OF_EACH, for_each, peak_of, without_products
from tests.machine.processes import python


@for_each(ONE_OF_EACH, lambda case: without_products(case) and not case.of_sequences)
def test_no_temporaries_that_grow(case):
    fl.set_num_threads(2)

    def peaks(n):
        problem = case.problem((n, 5), -1, np.float32)
        weight = problem.weight(1)
        out, out_2 = like((problem.differentiated, problem.differentiated))
        yield peak_of(lambda: problem.value())
        yield peak_of(lambda: problem.value_and_grad(out=out))
        yield peak_of(lambda: problem.value_and_grad(out=out, sample_weight=weight))
        yield peak_of(lambda: problem.value_and_grad(out=out, sample_weight=problem.weight(whole=(0,))))
        if case.hessian:
            yield peak_of(lambda: problem.grad_and_hess(out=(out, out_2), sample_weight=weight))

    # Both are so large that each thread has its memory.
    for small, big in zip(peaks(2**17), peaks(2**18), strict=True):
        assert big < 2 * 256 * 1024
        assert big <= small + 4096


@for_each(ONE_OF_EACH, lambda case: "target" in case.inputs and without_products(case))
def test_targets_of_other_dtypes_are_not_copied_as_a_whole(case):
    fl.set_num_threads(1)
    n = 2**15
    problem = case.problem((n, 4), -1, np.float32)
    out = like(problem.differentiated)
    for dtype in "bHiq" if case.class_indices else "?bHiqfd":
        other = problem.with_(target=np.ones(problem.target.shape, dtype))
        weight = np.ones(n, dtype)
        assert peak_of(lambda x=other, w=weight: x.value_and_grad(out=out, sample_weight=w)) < 256 * 1024


@for_each({case.name: case for case in IN_BATCH}.values())
def test_a_batch_needs_far_less_memory_than_all_similarities(case):
    n = 4096
    problem = case.problem((n, 8), dtype=np.float32)
    tracemalloc.start()
    try:
        problem.value_and_grad()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * n * n / 8


NO_MEMORY = """
import _testcapi
import numpy as np
import fastloss as fl

fl.set_num_threads(30)  # so many that their memory is not kept for the next call
x, wide = np.ones(200_000), np.ones((2000, 100))
label = np.zeros(2000, int)
calls = [lambda: fl.mse(x, x), lambda: fl.cosine_distance(wide, wide), lambda: fl.cross_entropy(wide, label)]
calls += [lambda: fl.crammer_singer(wide, label), lambda: fl.nll(-wide, label)]
refused = 0
for call in calls:
    call()
    for k in range(60):
        _testcapi.set_nomemory(k, k + 1)
        try:
            call()
        except MemoryError:
            refused += 1
        finally:
            _testcapi.remove_mem_hooks()
print(refused > len(calls))
"""


def test_a_failed_allocation_is_a_memory_error():
    pytest.importorskip("_testcapi")
    done = python(NO_MEMORY)
    assert done.stdout == "True\n", (done.returncode, done.stderr)
