"""vecmath.h on every float32, and on 10^8 doubles, at every CPU level: `just exhaustive`, minutes a function."""

from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import numpy as np
import pytest

from fastloss._core.calls.kernels import kernels
from tests.machine.vecmath import FUNCTIONS, LEVELS, D, F, arguments, bound, evaluate, reference, restrict, ulp_errors

BLOCK = 2**13  # temporaries small enough to stay in cache and out of mmap


@cache
def module_at(level):
    kernels.select(level)  # which takes longer than a block
    return kernels.vecmath


def worst_per_level(name, blocks):
    """The largest error at each level, and its arguments."""
    worst = [(0.0,)] * len(LEVELS)
    for x in blocks:
        args = arguments(name, restrict(name, x))
        exact, last = reference(name, *args), None
        for i, level in enumerate(LEVELS if exact.size else ()):
            got = evaluate(name, *args, module=module_at(level))
            if last is None or got.tobytes() != last.tobytes():  # v4 has the bits of v3
                errors = ulp_errors(got, exact)
                at = errors.argmax()
            worst[i] = max(worst[i], (float(errors[at]), *(float(y[at]) for y in args)))
            last = got
    return worst


def floats(start):
    return (np.arange(i, i + BLOCK, dtype=np.uint32).view(F) for i in range(start, start + 2**24, BLOCK))


def doubles(name, seed):
    rng = np.random.default_rng(seed)
    for _ in range(0, 10**6, 2 * BLOCK):
        bits = rng.integers(0, 2**64, BLOCK, dtype=np.uint64).view(D)
        if name == "exp":
            interesting = rng.uniform(-750, 712, BLOCK)
        else:
            interesting = rng.uniform(0.5, 2, BLOCK) * np.exp2(rng.integers(-3, 4, BLOCK))
        yield np.concatenate([bits, interesting])


def worst_of_floats(name, start):
    return worst_per_level(name, floats(start))


def worst_of_doubles(name, seed):
    return worst_per_level(name, doubles(name, seed))


def assert_bounds(name, dtype, worst_of, parts):
    with ProcessPoolExecutor() as pool:
        worst = map(max, zip(*pool.map(partial(worst_of, name), parts), strict=True))
    for level, (error, *args) in zip(LEVELS, worst, strict=True):
        print(f"{name} {dtype.__name__} {level}: {error:.4f} ulp at {', '.join(map(float.hex, args))}", flush=True)
        assert error <= bound(name, dtype, level)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy_on_every_float32(name):
    assert_bounds(name, F, worst_of_floats, range(0, 2**32, 2**24))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["exp", "log"])
def test_accuracy_on_10_to_the_8_random_float64(name):
    assert_bounds(name, D, worst_of_doubles, range(100))
