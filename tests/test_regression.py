"""Details of single regression losses."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from losses import REGRESSION, assert_close, assert_same_bits

import fastloss as fl

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
INF, NAN = np.inf, np.nan


def at(loss, residual, dtype, target=0, **parameters):
    """Value, slope and curvature at a residual, or at a prediction for this target."""
    pred, target = np.array([residual], dtype), np.array([target], dtype)
    grad, hess = loss.grad_and_hess(pred, target, reduction="none", **parameters)
    return loss(pred, target, reduction="none", **parameters)[0], grad[0], hess[0]


def up(x, dtype):
    return np.nextafter(dtype(x), dtype(INF))


def down(x, dtype):
    return np.nextafter(dtype(x), dtype(-INF))


# ---------------------------------------------------------------------------------------------------------------------
# Losses of the residual, at their kinks and knees


@each_dtype
def test_mse(dtype):
    assert at(fl.mse, 3, dtype) == (9, 6, 2)
    assert at(fl.mse, -0.5, dtype) == (0.25, -1, 2)
    assert at(fl.mse, INF, dtype)[:2] == (INF, INF)
    assert at(fl.mse, -INF, dtype)[:2] == (INF, -INF)


@each_dtype
def test_mae_and_its_kink(dtype):
    assert at(fl.mae, 3, dtype) == (3, 1, 0)
    assert at(fl.mae, -3, dtype) == (3, -1, 0)
    assert at(fl.mae, 0.0, dtype) == (0, 0, 0)
    assert at(fl.mae, -0.0, dtype) == (0, 0, 0)
    assert at(fl.mae, -INF, dtype) == (INF, -1, 0)
    tiny = np.finfo(dtype).smallest_subnormal
    assert at(fl.mae, tiny, dtype) == (tiny, 1, 0)


@each_dtype
def test_huber_and_its_knees(dtype):
    assert at(fl.huber, 0.5, dtype) == (0.125, 0.5, 1)
    assert at(fl.huber, -3, dtype) == (2.5, -1, 0)
    assert at(fl.huber, -3, dtype, delta=2) == (4, -2, 0)
    assert at(fl.huber, INF, dtype) == (INF, 1, 0)
    for delta in (0.25, 1, 8):  # on the knee both branches meet; it belongs to the square
        assert at(fl.huber, delta, dtype, delta=delta) == (delta**2 / 2, delta, 1)
        assert at(fl.huber, -delta, dtype, delta=delta) == (delta**2 / 2, -delta, 1)
        assert at(fl.huber, up(delta, dtype), dtype, delta=delta)[1:] == (delta, 0)


@each_dtype
def test_smooth_l1_and_its_knees(dtype):
    assert at(fl.smooth_l1, 0.5, dtype) == (0.125, 0.5, 1)
    assert at(fl.smooth_l1, -3, dtype) == (2.5, -1, 0)
    assert at(fl.smooth_l1, -INF, dtype) == (INF, -1, 0)
    for beta in (0.25, 1, 8):  # the knee belongs to the line
        assert at(fl.smooth_l1, beta, dtype, beta=beta) == (beta / 2, 1, 0)
        assert at(fl.smooth_l1, -beta, dtype, beta=beta) == (beta / 2, -1, 0)
        inside = down(beta, dtype)
        assert at(fl.smooth_l1, inside, dtype, beta=beta)[1:] == (inside / beta, 1 / beta)


@each_dtype
def test_smooth_l1_without_a_knee_is_mae(dtype):
    z = np.array([3, -2, 0, -0.0, 1e-30, INF, -INF, NAN, *np.random.default_rng(0).standard_normal(50)], dtype)
    t = np.zeros_like(z)
    for method in ("__call__", "grad", "grad_and_hess"):
        options = {"reduction": "none"}
        assert_same_bits(
            getattr(fl.smooth_l1, method)(z, t, beta=0, **options), getattr(fl.mae, method)(z, t, **options)
        )


@each_dtype
def test_pseudo_huber_of_tiny_and_huge_residuals(dtype):
    tiny = 1e-15 if dtype is np.float32 else 1e-150
    assert_close(at(fl.pseudo_huber, tiny, dtype), (dtype(tiny) ** 2 / 2, dtype(tiny), dtype(1)), 4)
    huge = dtype(1e30 if dtype is np.float32 else 1e300)
    for delta in (1, 0.25, 1e-9, 1e9):
        value, grad, hess = at(fl.pseudo_huber, -huge, dtype, delta=delta)
        assert_close((value, grad), (delta * float(huge), -dtype(delta)), 4)
        assert hess == 0 or hess > 0 and delta == 1e9
        assert at(fl.pseudo_huber, INF, dtype, delta=delta) == (INF, dtype(delta), 0)
        assert at(fl.pseudo_huber, -INF, dtype, delta=delta) == (INF, -dtype(delta), 0)


@each_dtype
def test_log_cosh_of_tiny_and_large_residuals(dtype):
    for r in (1e-15, 1e-6, -1e-6, 1e-4, -1e-3):
        x = float(dtype(r))
        value = x**2 / 2 - x**4 / 12 + x**6 / 45
        assert_close(at(fl.log_cosh, r, dtype), (dtype(value), dtype(math.tanh(x)), dtype(1 - math.tanh(x) ** 2)), 4)
    for r in (100, -100):
        value, grad, hess = at(fl.log_cosh, r, dtype)
        assert_close(value, dtype(100 - math.log(2)), 2)
        assert grad == np.sign(r)
        # In float32 this is subnormal or 0 below 2^-149.
        assert_close(hess, dtype(4 * math.exp(-200)), 200)
    assert at(fl.log_cosh, 1e30, dtype) == (dtype(1e30), 1, 0)
    assert at(fl.log_cosh, -INF, dtype) == (INF, -1, 0)


@each_dtype
def test_quantile_and_its_kink(dtype):
    assert at(fl.quantile, -2, dtype, q=0.75) == (1.5, -0.75, 0)  # too low: costs q
    assert at(fl.quantile, 2, dtype, q=0.75) == (0.5, 0.25, 0)
    for q in (0, 0.25, 0.5, 1):
        for zero in (0.0, -0.0):
            assert at(fl.quantile, zero, dtype, q=q) == (0, 0, 0)
    assert at(fl.quantile, -3, dtype, q=0) == (0, 0, 0)
    assert at(fl.quantile, 3, dtype, q=0) == (3, 1, 0)
    assert at(fl.quantile, -3, dtype, q=1) == (3, -1, 0)
    assert at(fl.quantile, 3, dtype, q=1) == (0, 0, 0)
    assert at(fl.quantile, -INF, dtype, q=0) == (0, 0, 0)  # what costs nothing, costs nothing at infinity
    assert at(fl.quantile, INF, dtype, q=1) == (0, 0, 0)
    assert at(fl.quantile, INF, dtype, q=0.75) == (INF, 0.25, 0)


def test_quantile_minimiser():
    y = np.random.default_rng(0).standard_normal(999)
    for q in (0.1, 0.5, 0.9):
        grid = np.linspace(-3, 3, 2001)
        best = min(grid, key=lambda x, q=q: fl.quantile(np.full_like(y, x), y, q=q))
        assert abs(best - np.quantile(y, q)) < 0.02


@each_dtype
def test_half_a_quantile_loss_is_half_mae(dtype):
    p, t = np.random.default_rng(0).standard_normal((2, 50)).astype(dtype)
    assert_close(fl.quantile.grad(p, t), fl.mae.grad(p, t) / 2, 1)
    assert_close(fl.expectile.grad(p, t), fl.mse.grad(p, t) / 2, 1)


@each_dtype
def test_expectile(dtype):
    assert at(fl.expectile, -2, dtype, q=0.75) == (3, -3, 1.5)
    assert at(fl.expectile, 2, dtype, q=0.75) == (1, 1, 0.5)
    for q in (0, 0.25, 1):  # a residual of 0 counts as too low
        assert at(fl.expectile, 0, dtype, q=q) == (0, 0, 2 * q)
    assert at(fl.expectile, -3, dtype, q=0) == (0, 0, 0)
    assert at(fl.expectile, 3, dtype, q=1) == (0, 0, 0)
    assert at(fl.expectile, -INF, dtype, q=0) == (0, 0, 0)
    assert at(fl.expectile, INF, dtype, q=0) == (INF, INF, 2)


@each_dtype
def test_epsilon_insensitive_and_its_knees(dtype):
    loss, square = fl.epsilon_insensitive, fl.squared_epsilon_insensitive
    for sign in (1, -1):
        assert at(loss, sign * 2, dtype, epsilon=0.5) == (1.5, sign, 0)
        assert at(square, sign * 2, dtype, epsilon=0.5) == (2.25, sign * 3, 2)
        assert at(loss, sign * 0.25, dtype, epsilon=0.5) == (0, 0, 0)
        assert at(square, sign * 0.25, dtype, epsilon=0.5) == (0, 0, 0)
        assert at(loss, sign * 0.5, dtype, epsilon=0.5) == (0, 0, 0)  # on the knee
        assert at(square, sign * 0.5, dtype, epsilon=0.5) == (0, 0, 0)
        beyond = up(0.5, dtype)
        assert at(loss, sign * beyond, dtype, epsilon=0.5) == (beyond - dtype(0.5), sign, 0)
        assert at(loss, sign * INF, dtype) == (INF, sign, 0)
        assert at(square, sign * INF, dtype) == (INF, sign * INF, 2)
    z = np.array([3, -2, 0, -0.0, INF, -INF], dtype)
    assert_close(loss.grad(z, np.zeros_like(z), epsilon=0), fl.mae.grad(z, np.zeros_like(z)), 0)


@each_dtype
def test_robust_losses_at_infinity(dtype):
    for c in (0.5, 1, 4):
        for sign in (1, -1):
            r, half = sign * INF, c**2 / 2
            assert at(fl.cauchy, r, dtype, c=c)[:2] == (INF, 0)
            assert at(fl.welsch, r, dtype, c=c) == (half, 0, 0)
            assert at(fl.geman_mcclure, r, dtype, c=c) == (half, 0, 0)
            assert at(fl.fair, r, dtype, c=c) == (INF, sign * c, 0)
            assert at(fl.tukey, r, dtype, c=c) == (dtype(c**2 / 6), 0, 0)


@each_dtype
@pytest.mark.parametrize("loss", [fl.cauchy, fl.welsch, fl.geman_mcclure, fl.fair, fl.tukey], ids=lambda x: x.__name__)
def test_robust_losses_are_half_the_square_near_zero(loss, dtype):
    r = 1e-9 if dtype is np.float32 else 1e-18
    value, grad, hess = at(loss, -r, dtype)
    # fair has a term r^3 / 3, the others r^4 and more
    assert_close((value, grad, hess), (dtype(r) ** 2 / 2, -dtype(r), dtype(1)), 4)
    assert at(loss, 0.0, dtype) == (0, 0, 1)


@each_dtype
def test_robust_losses_of_residuals_whose_square_overflows(dtype):
    huge = 1e30 if dtype is np.float32 else 1e200
    for c in (1, 1e-5):
        value, grad, _ = at(fl.cauchy, huge, dtype, c=c)
        assert_close(value, dtype(c**2 * math.log(huge / c)), 4)
        assert_close(grad, dtype(c**2 / huge), 4)
        assert at(fl.welsch, huge, dtype, c=c) == (dtype(c**2 / 2), 0, 0)
        assert_close(at(fl.geman_mcclure, huge, dtype, c=c), (dtype(c**2 / 2), dtype(0), dtype(0)), 4)
        assert_close(at(fl.fair, huge, dtype, c=c)[:2], (dtype(c * huge), dtype(c)), 4)
        assert_close(at(fl.tukey, -huge, dtype, c=c), (dtype(c**2 / 6), dtype(0), dtype(0)), 4)


@each_dtype
def test_tukey_and_its_knees(dtype):
    for c in (0.5, 1, 4):
        for sign in (1, -1):
            value, grad, hess = at(fl.tukey, sign * c, dtype, c=c)
            assert_close(value, dtype(c**2 / 6), 1)
            assert grad == hess == 0
            assert at(fl.tukey, sign * up(c, dtype), dtype, c=c) == (dtype(c**2 / 6), 0, 0)
            assert_close(at(fl.tukey, sign * c / 2, dtype, c=c)[1:], (dtype(sign * c * 9 / 32), dtype(-3 / 16)), 2)


@each_dtype
@pytest.mark.parametrize("case", {case.name: case for case in REGRESSION}.values(), ids=str)
def test_the_same_infinity_on_both_sides_has_no_difference(case, dtype):
    if case.name in ("poisson_nll", "gamma_nll", "tweedie"):
        pytest.skip("is no function of the difference")
    problem = case.problem((2,), dtype=dtype).copied()
    problem.pred[:] = problem.target[:] = [INF, 1]
    value, grad = problem.value_and_grad(reduction="none")
    grad = grad[0] if isinstance(grad, tuple) else grad
    assert np.isnan(value[0]) and np.isnan(grad[0])
    assert np.isfinite(value[1]) and grad[1] == 0


@each_dtype
@pytest.mark.parametrize("case", {case.name: case for case in REGRESSION}.values(), ids=str)
def test_nan_in_the_target_propagates(case, dtype):
    problem = case.problem((3,), dtype=dtype).copied()
    problem.target[1] = NAN
    value, grad = problem.value_and_grad(reduction="none")
    grad = grad[0] if isinstance(grad, tuple) else grad
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


# ---------------------------------------------------------------------------------------------------------------------
# Relative errors


@each_dtype
def test_msle_near_its_target(dtype):
    """log((1 + p) / (1 + t)) has a few correct digits only, where it is a difference of two logarithms."""
    for t in (0, 1, 1000, 1e6, -0.5):
        p = up(t, dtype)
        d = math.log1p((float(p) - t) / (1 + t))
        assert_close(at(fl.msle, p, dtype, target=t)[:2], (dtype(d * d), dtype(2 * d / (1 + float(p)))), 6)
        assert at(fl.msle, t, dtype, target=t)[:2] == (0, 0)


@each_dtype
def test_msle_at_the_edges_of_its_domain(dtype):
    assert at(fl.msle, -1, dtype)[:2] == (INF, -INF)
    assert at(fl.msle, 0, dtype, target=-1)[:2] == (INF, INF)
    assert at(fl.msle, INF, dtype)[0] == INF
    for p, t in [(-1.5, 0), (0, -1.5), (-2, -2), (-2, -3), (-INF, 0), (down(-1, dtype), 0)]:
        assert np.isnan(at(fl.msle, p, dtype, target=t)).all()


@each_dtype
def test_mape(dtype):
    assert at(fl.mape, 3, dtype, target=2) == (0.5, 0.5, 0)
    assert at(fl.mape, -3, dtype, target=-2) == (0.5, -0.5, 0)
    assert at(fl.mape, 2, dtype, target=2) == (0, 0, 0)
    eps = float(np.finfo(dtype).eps)  # of the dtype of pred
    assert at(fl.mape, 1, dtype) == (1 / eps, 1 / eps, 0)
    assert at(fl.mape, 0.0, dtype) == (0, 0, 0)
    assert at(fl.mape, eps, dtype, target=eps / 2) == (0.5, 1 / eps, 0)
    assert at(fl.mape, INF, dtype, target=2) == (INF, 0.5, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Likelihoods


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
def test_gradient_by_a_shared_var_is_the_sum(ndim, weighted, reduction):
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
