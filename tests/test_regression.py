"""Details of single regression losses."""

import numpy as np
import pytest
from losses import assert_same_bits

import fastloss as fl

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def at(loss, residual, dtype, **parameters):
    """Value, slope and curvature at a residual."""
    pred, target = np.array([residual], dtype), np.zeros(1, dtype)
    grad, hess = loss.grad_and_hess(pred, target, **parameters)
    return loss(pred, target, **parameters), grad[0], hess[0]


@each_dtype
def test_mse(dtype):
    assert at(fl.mse, 3, dtype) == (9, 6, 2)
    assert at(fl.mse, -0.5, dtype) == (0.25, -1, 2)
    assert at(fl.mse, np.inf, dtype)[:2] == (np.inf, np.inf)
    assert at(fl.mse, -np.inf, dtype)[:2] == (np.inf, -np.inf)


@each_dtype
def test_mae_and_its_kink(dtype):
    assert at(fl.mae, 3, dtype) == (3, 1, 0)
    assert at(fl.mae, -3, dtype) == (3, -1, 0)
    assert at(fl.mae, 0.0, dtype) == (0, 0, 0)
    assert at(fl.mae, -0.0, dtype) == (0, 0, 0)
    assert at(fl.mae, -np.inf, dtype) == (np.inf, -1, 0)
    tiny = np.finfo(dtype).smallest_subnormal
    assert at(fl.mae, tiny, dtype) == (tiny, 1, 0)


@each_dtype
def test_huber_and_its_knees(dtype):
    assert at(fl.huber, 0.5, dtype) == (0.125, 0.5, 1)
    assert at(fl.huber, -3, dtype) == (2.5, -1, 0)
    assert at(fl.huber, -3, dtype, delta=2) == (4, -2, 0)
    assert at(fl.huber, np.inf, dtype) == (np.inf, 1, 0)
    for delta in (0.25, 1, 8):  # on the knee both branches meet; it belongs to the square
        assert at(fl.huber, delta, dtype, delta=delta) == (delta**2 / 2, delta, 1)
        assert at(fl.huber, -delta, dtype, delta=delta) == (delta**2 / 2, -delta, 1)
        beyond = np.nextafter(dtype(delta), dtype(np.inf))
        assert at(fl.huber, beyond, dtype, delta=delta)[1:] == (delta, 0)


@each_dtype
@pytest.mark.parametrize("loss", [fl.mse, fl.mae, fl.huber])
def test_the_same_infinity_on_both_sides_has_no_difference(loss, dtype):
    both = np.array([np.inf, 1], dtype)
    value, grad = loss.value_and_grad(both, both, reduction="none")
    assert np.isnan(value[0]) and np.isnan(grad[0])
    assert value[1] == 0 and grad[1] == 0


@each_dtype
@pytest.mark.parametrize("loss", [fl.mse, fl.mae, fl.huber])
def test_nan_in_the_target_propagates(loss, dtype):
    value, grad = loss.value_and_grad(np.ones(3, dtype), np.array([1, np.nan, 1], dtype), reduction="none")
    assert np.isnan(value).tolist() == np.isnan(grad).tolist() == [False, True, False]


def test_huge_delta_is_half_mse():
    p, t = np.random.default_rng(0).standard_normal((2, 50))
    assert_same_bits(fl.huber.grad(p, t, delta=1e300), fl.mse.grad(p, t) / 2)


def test_integer_targets_beyond_float32_are_rounded_once():
    """A target is rounded to the dtype of pred, as a conversion in NumPy would do."""
    big = np.array([2**24 + 1, 2**53 + 1, -(2**63), 2**63 - 1])
    for dtype in (np.float32, np.float64):
        pred = np.zeros(4, dtype)
        assert_same_bits(fl.mae(pred, big, reduction="none"), np.abs(big.astype(dtype)))
