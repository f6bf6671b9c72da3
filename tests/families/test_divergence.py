"""Divergences: values worked out by hand, disjoint and close distributions."""

import math

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_close, assert_same_bits, leaves
from tests.losses.support import INF, NAN, each_dtype, raises


@each_dtype
def test_kl_divergence(dtype):
    pred, target = np.log(np.array([[0.25, 0.75], [0.5, 0.5]])).astype(dtype), np.array([[0.5, 0.5], [1, 0]], dtype)
    expected = [0.5 * np.log(2) + 0.5 * np.log(2 / 3), np.log(2)]
    value, grad = fl.kl_divergence.value_and_grad(pred, target, reduction="none")
    assert_close(value, np.array(expected), 8)
    assert grad.tolist() == (-target).tolist()
    assert fl.kl_divergence(pred, target) == pytest.approx(np.mean(expected), rel=1e-6)  # over the batch
    assert not np.any(fl.kl_divergence.grad_and_hess(pred, target)[1])


@each_dtype
def test_kl_divergence_of_nothing(dtype):
    """0 log 0 is 0, against -inf too; what the prediction rules out and the target does not costs inf."""
    pred = np.array([[0, -INF], [0, -INF], [0, -INF]], dtype)
    target = np.array([[1, 0], [0.5, 0.5], [0, 0]])
    with np.errstate(divide="ignore"):
        logs = np.log(target)
    for options in ({"target": target}, {"target": logs, "log_target": True}):
        value, grad = fl.kl_divergence.value_and_grad(pred, reduction="none", **options)
        assert value[0] == 0 and value[1] == INF and value[2] == 0
        assert_close(grad, -target, 2)
    assert np.isnan(fl.kl_divergence(np.array([NAN, 0.0]), [0.5, 0.5]))


@each_dtype
def test_js_divergence(dtype):
    p, t = np.array([0.5, 0.5], dtype), np.array([1.0, 0.0], dtype)
    with np.errstate(divide="ignore"):
        p, t = np.log(p), np.log(t)
    m = np.log([0.75, 0.25])
    value, (by_p, by_t) = fl.js_divergence.value_and_grad(p, t)
    assert value == pytest.approx(0.5 * (0 - m[0]) + 0.25 * (p - m).sum(), rel=1e-6)
    assert_close(by_p, 0.25 * (p - m), 8)
    assert_close(by_t, np.array([-0.5 * m[0], 0]), 8)
    assert_same_bits(fl.js_divergence(t, p), value)  # symmetric
    beta = 0.25
    m = np.log(beta * np.exp(t) + (1 - beta) * np.exp(p))
    expected = beta * (0 - m[0]) + (1 - beta) * 0.5 * (p - m).sum()
    assert fl.js_divergence(p, t, beta=beta) == pytest.approx(expected, rel=1e-6)
    assert fl.js_divergence(t, p, beta=1 - beta) == pytest.approx(expected, rel=1e-6)


@each_dtype
def test_js_divergence_of_disjoint_distributions_is_log_2(dtype):
    p, t = np.array([0, -INF], dtype), np.array([-INF, 0], dtype)
    value, (by_p, by_t) = fl.js_divergence.value_and_grad(p, t)
    assert value == pytest.approx(np.log(2), rel=1e-6)
    assert_close(by_p, np.log([2, 1]) / 2, 4)
    assert_close(by_t, np.log([1, 2]) / 2, 4)
    assert fl.js_divergence(p, p) == 0
    for x in leaves(fl.js_divergence.grad_and_hess(p, p)[0]):
        assert np.all(x == 0)
    for x in leaves(fl.js_divergence.grad_and_hess(p, t)):
        assert np.isfinite(x).all()


def test_js_divergence_of_a_beta_below_float32():
    """It counts as the smallest number: with a weight of 0 the mixture would be 0 where pred is."""
    p, t = np.float32([0, -INF]), np.float32([-INF, 0])
    for x in leaves((fl.js_divergence(p, t, beta=1e-50), *fl.js_divergence.grad_and_hess(p, t, beta=1e-50))):
        assert np.all(np.isfinite(x)) and np.all(np.abs(x) < 1e-35)


@each_dtype
@pytest.mark.parametrize("where", [0, 1])
def test_js_divergence_of_nan_is_nan(dtype, where):
    inputs = [np.zeros((2, 3), dtype), np.zeros((2, 3), dtype)]
    inputs[where][1, 1] = NAN
    value, grads = fl.js_divergence.value_and_grad(*inputs, reduction="none")
    assert value[0] == 0 and np.isnan(value[1])
    for grad in grads:
        assert np.isnan(grad[1, 1]) and np.isfinite(np.delete(grad.ravel(), 4)).all()


@each_dtype
def test_gaussian_kl(dtype):
    mu, log_var = np.array([[1, -2], [0, 0]], dtype), np.array([[0, np.log(2)], [0, 0]], dtype)
    value, (by_mu, by_log_var) = fl.gaussian_kl.value_and_grad(mu, log_var, reduction="none")
    assert_close(value, np.array([0.5 + (2 - 1 - np.log(2) + 4) / 2, 0]), 4)
    assert_close(by_mu, mu, 0)
    assert_close(by_log_var, np.array([[0, 0.5], [0, 0]]), 4)
    hess_mu, hess_log_var = fl.gaussian_kl.grad_and_hess(mu, log_var, reduction="sum")[1]
    assert_close(hess_mu, np.ones((2, 2)), 0)
    assert_close(hess_log_var, np.array([[0.5, 1], [0.5, 0.5]]), 4)
    assert fl.gaussian_kl(dtype([0]), [-INF]) == INF and fl.gaussian_kl(dtype([0]), [INF]) == INF


@each_dtype
@pytest.mark.parametrize("beta", [0.5, 0.1, 0.9, 1e-3, 1e-7])
@pytest.mark.parametrize("far", [False, True])
def test_distributions_of_any_distance(dtype, beta, far, level):
    """Where t - p is small, JS is about beta (1 - beta) exp(p) (t - p)^2 / 2: all of its terms nearly cancel."""
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(0)
    p = -rng.exponential(2, 60).astype(dtype)
    t = (p * (1 + np.exp2(rng.integers(-21 if dtype is np.float32 else -50, -1, 60)))).astype(dtype)
    if far:
        p, t = p / 8, (p / 8 - np.exp2(rng.uniform(-3, 6, 60))).astype(dtype)
        p, t = np.where(np.arange(60) % 2, (p, t), (t, p))
    value, grads = fl.js_divergence.value_and_grad(p[:, None], t[:, None], beta=beta, reduction="none")
    for i in range(60):
        with mpmath.workdps(100):
            b, x, y = mpmath.mpf(dtype(beta).item()), mpmath.mpf(p[i].item()), mpmath.mpf(t[i].item())
            m = mpmath.log(b * mpmath.exp(y) + (1 - b) * mpmath.exp(x))
            by_p, by_t = (1 - b) * mpmath.exp(x) * (x - m), b * mpmath.exp(y) * (y - m)
            for actual, exact in ((value[i], by_p + by_t), (grads[0][i, 0], by_p), (grads[1][i, 0], by_t)):
                assert abs(mpmath.mpf(actual.item()) / exact - 1) < 8 * float(np.finfo(dtype).eps)


@each_dtype
def test_gaussian_kl_of_tiny_log_var(dtype, level):
    x = np.exp2(-np.arange(1, 60.0)).astype(dtype)
    log_var = np.concatenate([x, -x])
    value = fl.gaussian_kl(np.zeros((118, 1), dtype), log_var[:, None], reduction="none")
    exact = log_var.astype(np.longdouble)
    series = sum(exact**k / math.factorial(k) for k in range(20, 1, -1))
    assert_close(value, series / 2, 4)


def test_errors_of_shapes_and_types():
    z = np.zeros((3, 4))
    for loss in (fl.kl_divergence, fl.js_divergence, fl.multilabel_soft_margin):
        for shape in [(3,), (4,), (4, 3), (3, 1), (3, 4, 1)]:
            with raises(ValueError, f"target must have the shape of pred, (3, 4), not {shape}"):
                loss.value_and_grad(z, np.zeros(shape))
    with raises(ValueError, "log_var must have the shape of mu, (3, 4), not (4,)"):
        fl.gaussian_kl(z, np.zeros(4))
    with raises(TypeError, "log_var must be real (bool, integer or float), not complex128"):
        fl.gaussian_kl(z, z * 1j)
    for loss in (fl.nll, fl.categorical_cross_entropy):
        expected = (
            "target must have shape (3,) (class indices) or (3, 4) (probabilities), not (4,): it would fit axis=0"
        )
        with raises(ValueError, expected):
            loss(z, np.zeros(4, int))
        with raises(TypeError, "target must hold class indices of an integer dtype in shape (3,), not float64"):
            loss(z, np.zeros(3))
        with raises(ValueError, "ignore_index goes with class indices, and target holds probabilities"):
            loss(z, z, ignore_index=1)
        with raises(ValueError, "class_weight must have shape (4,), not (3,)"):
            loss(z, z, class_weight=np.ones(3))
        assert loss(np.zeros((0, 3)), []) == 0.0
    with raises(ValueError, "class_weight[1] = -1 is not a finite weight >= 0"):
        fl.multilabel_soft_margin(z, z, class_weight=[1, -1, 1, 1])
    with raises(ValueError, "pred must have at least one class, and has shape (3, 0)"):
        fl.kl_divergence(np.zeros((3, 0)), np.zeros((3, 0)))
    with raises(ValueError, "axis must be in [-2, 2), not 2"):
        fl.js_divergence(z, z, axis=2)
    for call in (lambda: fl.nll(1.0, 0), lambda: fl.kl_divergence(1.0, 0)):
        with raises(ValueError, "pred must have a class axis, and is 0-dimensional"):
            call()
    with raises(ValueError, "mu must have an axis, and is 0-dimensional"):
        fl.gaussian_kl(1.0, 0.0)
    with raises(TypeError, "gaussian_kl() got an unexpected keyword argument 'axis'"):
        fl.gaussian_kl(z, z, axis=0)
