"""Negative log-likelihoods: values worked out by hand, edges of their domains, the variance."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from tests.losses.comparing import assert_close, assert_same_bits
from tests.losses.support import INF, at, each_dtype, raises


@each_dtype
def test_poisson_nll_at_its_edges(dtype):
    one = dtype(1)
    for full in (False, True):
        log = {"full": full}
        assert at(fl.poisson_nll, 0, dtype, target=0, **log) == (1, 1, 1)
        assert at(fl.poisson_nll, -INF, dtype, target=0, **log) == (0, 0, 0)  # t p is 0 where t is
        assert at(fl.poisson_nll, -INF, dtype, target=2, **log) == (INF, -2, 0)
        assert at(fl.poisson_nll, INF, dtype, target=0, **log) == (INF, INF, INF)
        assert at(fl.poisson_nll, INF, dtype, target=2, **log) == (INF, INF, INF)
        plain = {"log_input": False, "full": full}
        for eps in (0, 1e-8):
            assert at(fl.poisson_nll, 0, dtype, target=0, eps=eps, **plain) == (0, 1, 0)  # 0 log 0 is 0
            assert at(fl.poisson_nll, 3, dtype, target=0, eps=eps, **plain) == (3, 1, 0)
        assert at(fl.poisson_nll, 0, dtype, target=2, eps=0, **plain) == (INF, -INF, INF)
        assert at(fl.poisson_nll, INF, dtype, target=2, **plain) == (INF, 1, 0)
    assert_close(at(fl.poisson_nll, 0, dtype, target=2, log_input=False, eps=0.25)[1], -7 * one, 0)
    value, grad, hess = at(fl.poisson_nll, 2, dtype, target=4, log_input=False, eps=0)
    assert_close(value, dtype(2 - 4 * math.log(2)), 4)
    assert (grad, hess) == (-1, 1)


@each_dtype
@pytest.mark.parametrize("t", [0, 0.5, 1, 1e-10, 2, 3.25, 10, 170.5, 1e6, 1e15])
def test_full_poisson_nll_is_that_of_the_distribution(dtype, t):
    """exp(p) - t p + log(t!), for every t: no approximation, and none left out for small t."""
    x = float(dtype(t))
    alone = at(fl.poisson_nll, -INF if t == 0 else 0, dtype, target=t, full=True)[0]
    assert_close(alone, dtype(0 if t == 0 else 1 + math.lgamma(x + 1)), 4)


@each_dtype
def test_full_changes_no_derivative(dtype):
    p, t = np.random.default_rng(0).uniform(0.1, 5, (2, 50)).astype(dtype)
    for log_input in (True, False):
        options = {"log_input": log_input, "reduction": "none"}
        assert_same_bits(
            fl.poisson_nll.grad_and_hess(p, t, full=True, **options), fl.poisson_nll.grad_and_hess(p, t, **options)
        )


@each_dtype
def test_gamma_nll_at_its_edges(dtype):
    assert at(fl.gamma_nll, 0, dtype, target=3) == (3, -2, 3)
    for p in (5, -1000, 1000):  # t = 0 leaves p
        assert at(fl.gamma_nll, p, dtype, target=0) == (p, 1, 0)
    assert at(fl.gamma_nll, -INF, dtype, target=2) == (INF, -INF, INF)
    assert at(fl.gamma_nll, INF, dtype, target=2) == (INF, 1, 0)
    assert at(fl.gamma_nll, INF, dtype, target=0) == (INF, 1, 0)
    assert at(fl.gamma_nll, -INF, dtype, target=0) == (-INF, 1, 0)


@each_dtype
def test_tweedie_at_its_edges(dtype):
    assert at(fl.tweedie, 0, dtype, target=3) == (8, -2, 2)
    assert at(fl.tweedie, 0, dtype, target=0) == (2, 1, 0.5)
    assert at(fl.tweedie, -INF, dtype, target=0) == (0, 0, 0)
    assert at(fl.tweedie, -INF, dtype, target=2) == (INF, -INF, INF)
    for t in (0, 2):
        assert at(fl.tweedie, INF, dtype, target=t) == (INF, INF, INF)


gaussian = fl.gaussian_nll


@each_dtype
def test_gaussian_nll_by_hand(dtype):
    p, t = np.array([3, 1], dtype), np.array([1, 1], dtype)
    var = np.array([4, 1], dtype)
    value, (by_p, by_var) = gaussian.value_and_grad(p, t, var, reduction="none")
    assert_close(value, np.array([(math.log(4) + 1) / 2, 0], dtype), 2)
    assert by_p.tolist() == [0.5, 0]
    assert by_var.tolist() == [0, 0.5]
    (by_p, by_var), (p_hess, var_hess) = gaussian.grad_and_hess(p, t, var, reduction="none")
    assert p_hess.tolist() == [0.25, 1]
    assert var_hess.tolist() == [1 / 32, -0.5]
    constant = gaussian(p, t, var, full=True) - gaussian(p, t, var)
    assert abs(constant - math.log(2 * math.pi) / 2) < 1e-6


@each_dtype
def test_gaussian_nll_below_eps(dtype):
    """The variance is eps there, whatever var is, so nothing depends on it."""
    p, t = np.full(4, 2, dtype), np.zeros(4, dtype)
    var = np.array([0, 0.25, 0.5, 1], dtype)
    value, (by_p, by_var) = gaussian.value_and_grad(p, t, var, eps=0.5, reduction="none")
    assert_same_bits(value[:2], np.repeat(value[2], 2))
    assert by_p.tolist() == [4, 4, 4, 2]
    assert by_var.tolist() == [0, 0, -7, -1.5]  # at eps itself var counts
    _, (_, var_hess) = gaussian.grad_and_hess(p, t, var, eps=0.5, reduction="none")
    assert var_hess.tolist() == [0, 0, 30, 3.5]


@each_dtype
def test_gaussian_nll_at_infinity(dtype):
    r, one = np.array([INF, -INF, 1], dtype), np.array([1, 1, INF], dtype)
    value, (by_p, by_var) = gaussian.value_and_grad(r, np.zeros(3, dtype), one, reduction="none")
    assert value.tolist() == [INF, INF, INF]
    assert by_p.tolist() == [INF, -INF, 0]
    assert by_var.tolist() == [-INF, -INF, 0]


@pytest.mark.parametrize("dtype", ["?", "b", "i", "u8", "f2", "f4", "f8", "g", ">f8"])
def test_var_of_any_real_dtype(dtype):
    """Its gradient has the dtype of pred."""
    for own in (np.float32, np.float64):
        p, t = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(own)
        for var in (np.ones((4, 3)), np.ones(4), np.ones(())):
            grads, hesses = gaussian.grad_and_hess(p, t, var.astype(dtype))
            assert [x.dtype for x in (*grads, *hesses)] == [own] * 4
            assert grads[1].shape == hesses[1].shape == var.shape
            assert_same_bits((grads, hesses), gaussian.grad_and_hess(p, t, var.astype(own)))


@given(ndim=st.integers(0, 3), weighted=st.integers(0, 3), reduction=st.sampled_from(["mean", "sum", "none"]))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_gradient_with_respect_to_a_shared_var_is_the_sum(ndim, weighted, reduction):
    rng = np.random.default_rng(0)
    shape = (4, 3, 50)
    p, t = rng.standard_normal((2, *shape))
    var = rng.uniform(0.5, 3, shape[:ndim])
    weight = rng.uniform(0, 2, shape[:weighted]) if weighted else None
    full = np.broadcast_to(var.reshape(var.shape + (1,) * (3 - ndim)), shape)
    options = {"sample_weight": weight, "reduction": reduction}
    shared, everywhere = (gaussian.grad_and_hess(p, t, v, **options) for v in (var, full))
    assert_same_bits(gaussian(p, t, var, **options), gaussian(p, t, full, **options))
    for a, b in zip(shared, everywhere, strict=True):
        assert_same_bits(a[0], b[0])
        behind = tuple(range(ndim, 3))
        assert_close(a[1], b[1].sum(axis=behind), 8, np.abs(b[1]).sum(axis=behind))


def test_var():
    p = np.ones((3, 4, 5))
    for shape in [(1,), (4,), (5,), (4, 5), (3, 1), (3, 4, 1), (3, 4, 5, 1), (3, 5)]:
        with raises(ValueError, f"var must have the shape of pred, (3, 4, 5), or of leading axes of it, not {shape}"):
            fl.gaussian_nll(p, p, np.ones(shape))
    var = np.ones(4)
    var[3] = -1
    with raises(ValueError, "var[3] = -1.0 is not >= 0"):
        fl.gaussian_nll(np.ones(4), np.ones(4), var)
    with raises(ValueError, "var = -3 is not >= 0"):
        fl.gaussian_nll(np.ones(4), np.ones(4), -3)
    assert np.isnan(fl.gaussian_nll(np.ones(4), np.ones(4), [1, 1, np.nan, 1]))


@each_dtype
def test_an_exponential_may_overflow_before_it_meets_its_factor(dtype, level):
    """exp(-pred) and exp((1 - power) pred) are beyond the dtype. Their products with the target are not."""
    x, tiny = (99.0, 1e-30) if dtype == np.float32 else (760.0, 1e-280)
    tiny = float(dtype(tiny))
    ratio = math.exp(x / 2) * tiny * math.exp(x / 2)
    value, grad, hess = at(fl.gamma_nll, -x, dtype, target=tiny)
    assert_close((value, grad, hess), (dtype(ratio), dtype(-ratio), dtype(ratio)), 64)
    assert_close(at(fl.gamma_nll, x, dtype, target=1 / tiny)[2], dtype(1 / ratio), 64)  # and underflow
    assert at(fl.gamma_nll, -INF, dtype, target=0)[1:] == (1, 0)
    assert at(fl.gamma_nll, -INF, dtype, target=tiny) == (INF, -INF, INF)


def test_tweedie_by_hand_where_its_exponential_overflows(level):
    value, grad, hess = at(fl.tweedie, -99, np.float32, target=0.005, power=1.9)
    a = float(np.float32(0.005)) * math.exp(0.9 * 99)
    assert value == pytest.approx(a / 0.9, rel=1e-5) and 2.7e36 < value < 2.9e36
    assert grad == pytest.approx(-a, rel=1e-5) and hess == pytest.approx(0.9 * a, rel=1e-5)


@each_dtype
def test_second_derivative_by_a_large_variance(dtype):
    """(r / var)^2 overflows, (r / var)^2 / var does not."""
    r, var = (1e38, 1e15) if dtype == np.float32 else (1e300, 1e130)
    one = np.ones(1, dtype)
    _, (_, hess) = fl.gaussian_nll.grad_and_hess(one * dtype(r), 0 * one, one * dtype(var), reduction="sum")
    assert hess[0] == pytest.approx(r / var * (r / var / var), rel=1e-5)
