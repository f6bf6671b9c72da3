"""Half precision is loaded and rounded as by NumPy and ml_dtypes, to the bit, at every CPU level.

The slope of `mse` at 0 is -2 target. So the target is loaded, or the gradient rounded.
"""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.support import each_half

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in cast")


def assert_same_numbers(x, y):
    """Assert that x and y are the same to the bit, except that any NaN is the same as any other."""
    assert x.dtype == y.dtype
    bits = f"u{x.dtype.itemsize}"
    assert np.all((x.view(bits) == y.view(bits)) | ((x != x) & (y != y)))


def assert_rounded(x, half):
    """Assert that numbers of float32 are rounded to half precision as they should be."""
    actual = fl.mse.grad(np.zeros(x.shape, half), x, reduction="sum")
    with np.errstate(over="ignore", invalid="ignore"):
        expected = (2 * (np.float32(0) - x)).astype(half)
    assert_same_numbers(actual, expected)


@each_half
def test_every_half_is_loaded(half, level):
    numbers = np.arange(2**16, dtype=np.uint16).view(half)
    with np.errstate(over="ignore", invalid="ignore"):
        for floating in (np.float32, np.float64):
            slope = fl.mse.grad(np.zeros(numbers.shape, floating), numbers, reduction="sum")
            assert_same_numbers(slope, 2 * (floating(0) - numbers.astype(floating)))
        assert_same_numbers(fl.l1(numbers, reduction="none"), np.abs(numbers.astype(np.float32)).astype(half))


@each_half
def test_numbers_are_rounded(half, level):
    rng = np.random.default_rng(0)
    halves = np.arange(2**16, dtype=np.uint16).view(half).astype(np.float32).view(np.uint32)
    near = halves[:, None] + np.arange(-2, 3).astype(np.uint32)
    # Half of the way to the next number, which is a tie: for float16 13 bits are cut off, for bfloat16 16.
    ties = halves[:, None] + np.array([2**12 - 1, 2**12, 2**12 + 1, 2**15 - 1, 2**15, 2**15 + 1], np.uint32)
    anything = rng.integers(0, 2**32, 10**6, np.uint32)
    for bits in (near.ravel(), ties.ravel(), anything):
        assert_rounded(bits.view(np.float32), half)


@pytest.mark.exhaustive
@each_half
def test_every_float32_is_rounded(half, level):
    for start in range(0, 2**32, 2**24):
        assert_rounded(np.arange(start, start + 2**24, dtype=np.uint32).view(np.float32), half)
