"""Results do not depend on the number of threads, nor on what runs at the same time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import fastloss as fl
from fastloss._core.calls import policy
from tests.losses.cases import CASES
from tests.losses.comparing import assert_close, assert_same_bits, like
from tests.losses.support import ONE_OF_EACH, each_dtype, each_half, for_each, not_in_batch, one_of_each

SERIAL, LIGHT = policy.SERIAL, policy.LIGHT * policy.SERIAL  # elements from which threads are used


def large(case, dtype):
    """Inputs above the serial threshold, one for each way through the kernels."""
    if case.in_batch:
        yield case.problem((1500, 16), -1, dtype)
    elif case.of_chains:
        for shape in ((22_001, 3), (701, 70), (7401, 9)):
            yield case.problem(shape, 1, dtype)
    elif case.has_axis:
        for shape in ((22_001, 3), (701, 100), (30, 7, 433), (60, 1100), (3701, 9, 2)):
            yield case.problem(shape, 1, dtype)
    else:
        if case.takes_any_shape:  # one weight for each element is tested with two axes
            yield case.problem((140_001,), -1, dtype)
        yield case.problem((611, 257), -1, dtype)


@one_of_each
@each_dtype
def test_same_bits_for_any_number_of_threads(case, dtype):
    for problem in large(case, dtype):
        assert case.in_batch or case.linear or problem.pred.size > (SERIAL if case.has_axis else LIGHT)
        weight = problem.weight(1)
        results = []
        for threads in (1, 2, 5) if case.in_batch else (1, 3):
            fl.set_num_threads(threads)
            results.append(
                (
                    problem.value_and_grad(),
                    problem.value_and_grad(sample_weight=weight),
                    problem.value(reduction="none"),
                    problem.everything(reduction="sum"),
                )
            )
        for other in results[1:]:
            assert_same_bits(other, results[0])


@for_each(ONE_OF_EACH, not_in_batch)
@each_half
def test_same_bits_of_half_precision(case, half):
    for problem in large(case, half):
        results = []
        for threads in (1, 3):
            fl.set_num_threads(threads)
            results.append((problem.value_and_grad(), problem.everything(reduction="none")))
        assert_same_bits(results[1], results[0])


@for_each(ONE_OF_EACH, not_in_batch)
def test_same_bits_in_every_run(case):
    fl.set_num_threads(4)
    problem = next(iter(large(case, np.float32)))
    first = problem.value_and_grad(sample_weight=problem.weight())
    for _ in range(20):
        assert_same_bits(problem.value_and_grad(sample_weight=problem.weight()), first)


@for_each(CASES, not_in_batch)
def test_large_inputs_are_right(case):
    fl.set_num_threads(3)
    *_, problem = large(case, np.float32)
    problem.assert_as_expected(sample_weight=problem.weight(1))


def test_inputs_of_more_tiles_than_partial_sums():
    """The number of partial sums is bounded: beyond 2048 tiles a chunk is several tiles."""
    n = 2048 * 1024 + 5
    rng = np.random.default_rng(0)
    p, t = rng.standard_normal((2, n), np.float32)
    expected = np.sum((p - t).astype(np.float64) ** 2)
    for threads in (1, 4):
        fl.set_num_threads(threads)
        assert_close(fl.mse(p, t, reduction="sum"), expected, 2**28)
        assert_close(fl.mse(p, t, sample_weight=np.full(n, 2.0)), expected / n, 2**28)
    z = rng.standard_normal((2048 * 256 + 3, 2), np.float32)
    losses = fl.cross_entropy(z, np.zeros(len(z), np.int8), reduction="none")
    assert_close(fl.cross_entropy(z, np.zeros(len(z), np.int8)), losses.mean(dtype=float), 100)


@one_of_each
def test_concurrent_calls(case):
    fl.set_num_threads(2)
    sizes = (10, 70, 300, 1100) if case.in_batch else (10, 1000, 7000, 20_000)
    problems = [case.problem((n, 7), -1, np.float32, seed=n) for n in sizes]
    expected = [p.value_and_grad() for p in problems]

    def work(k):
        for i in range(12):
            j = (k + i) % len(problems)
            assert_same_bits(problems[j].value_and_grad(out=like(problems[j].differentiated)), expected[j])
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(12)))
