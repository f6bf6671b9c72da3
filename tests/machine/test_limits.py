"""More elements and more classes than 32 bits can count."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.support import ONE_OF_EACH, for_each, raises

N = 2**31 + 2**26  # above 2^31 with some room
GIB = 2**30


def zeros(shape, dtype=np.float16):
    """Zeros. The system gives memory only to those that are written."""
    try:
        return np.zeros(shape, dtype)
    except MemoryError:
        pytest.skip("the system does not promise that much memory")


def available_memory():
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except OSError:
        return 0


big = pytest.mark.skipif(available_memory() < 16 * GIB, reason="less than 16 GiB of memory are free")


@big
def test_more_than_2_to_the_31_elements():
    pred, target, weight = zeros(N), zeros(N, np.uint8), zeros(N, np.uint8)
    places = [0, 2**31 - 1, 2**31, N - 1]
    pred[places], target[places], weight[places] = [1, 2, 3, 4], [3, 3, 3, 8], [1, 0, 2, 1]
    assert fl.mse(pred, target, sample_weight=weight) == (4 + 0 + 0 + 16) / 4
    value, grad = fl.mse.value_and_grad(pred, target, reduction="sum", out=pred)
    assert value == 4 + 1 + 0 + 16
    np.testing.assert_array_equal(grad[places], [-4, -2, 0, -8])
    assert not grad[2**31 + 1 : N - 1].any() and not grad[2**31 - 1000 : 2**31 - 1].any()


@big
def test_classes_of_more_than_2_to_the_31_elements():
    """The last sample and the last class are at the end of memory."""
    pred, target = zeros((2, N // 2)), np.array([0, N // 2 - 1])
    pred[1, -1] = 2
    assert fl.crammer_singer(pred, target, reduction="none").tolist() == [1, 0]


def test_as_many_classes_as_an_int_counts():
    with raises(ValueError, "pred must have at most 2147483647 classes, not 2147483648"):
        fl.crammer_singer(zeros((2**31, 2)), np.zeros(2, int), axis=0)


@for_each(ONE_OF_EACH, lambda case: case.of_classes)
@pytest.mark.parametrize("shape, axis", [((70_001, 17), 0), ((1, 10**6 + 3), 1)])
def test_many_classes(case, shape, axis):
    problem = case.problem(shape, axis, np.float32)
    problem.assert_as_expected(64)
    problem.assert_as_expected(64, reduction="none", sample_weight=problem.weight())
