"""Regression losses: values worked out by hand, kinks, knees and edges of their domains."""

import math

import numpy as np
import pytest

import fastloss as fl
from tests.losses.cases import REGRESSION
from tests.losses.comparing import assert_close, assert_same_bits
from tests.losses.support import INF, NAN, at, down, each_dtype, raises, type_name, up


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


@each_dtype
@pytest.mark.parametrize("loss", [fl.quantile, fl.expectile])
def test_a_vector_of_levels(loss, dtype):
    """It is the same as a number for each index of the last axis, to a rounding of q and 1 - q."""
    rng = np.random.default_rng(0)
    levels = np.array([0.0, 1e-6, 0.1, 0.25, 0.5, 0.75, 0.999, 1 - 1e-6, 1.0])
    for shape in ((9,), (5, 9), (300, 9), (3, 2, 1100, 9)):
        pred, target = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape[:-1])
        for q in (levels, levels[::-1], list(levels)):
            value, (grad, hess) = loss(pred, target, q=q, reduction="none"), loss.grad_and_hess(pred, target, q=q)
            for k, level in enumerate(q):
                column = pred[..., k].copy()
                assert_close(value[..., k], loss(column, target, q=level, reduction="none"), 2)
                expected = loss.grad_and_hess(column, target, q=level, normalizer=pred.size)
                assert_close((grad[..., k], hess[..., k]), expected, 2)
            out = pred.copy()
            assert_same_bits(loss.value_and_grad(out, target, q=q, out=out), loss.value_and_grad(pred, target, q=q))
    assert_same_bits(loss(pred[..., :1], target, q=[0.3]), loss(pred[..., 0], target, q=0.3))


def test_levels_by_hand():
    pred, target = np.array([[0.0, 3.0], [1.0, 1.0]]), [1, 1]
    assert fl.quantile(pred, target, q=[0.25, 0.75], reduction="none").tolist() == [[0.25, 0.5], [0, 0]]
    assert fl.quantile.grad(pred, target, q=[0.25, 0.75], reduction="sum").tolist() == [[-0.25, 0.25], [0, 0]]
    assert fl.expectile(pred, target, q=[0.25, 0.75]) == (0.25 + 0.25 * 4) / 4
    assert fl.quantile(pred, target, q=[0.25, 0.75], sample_weight=[[0, 2.0]]) == 0.25
    assert fl.quantile(np.array([0.0, 3.0]), 1.0, q=(0.25, 0.75), reduction="sum") == 0.75


@pytest.mark.parametrize("loss", [fl.quantile, fl.expectile])
def test_levels(loss):
    pred, target = np.zeros((4, 3)), np.zeros(4)
    for bad in (-0.1, 1.5, np.nan, np.inf):
        with raises(ValueError, f"q must be in [0, 1], not {bad!r}"):
            loss(pred, pred, q=bad)
        with raises(ValueError, f"q[1] = {bad!r} is not in [0, 1]"):
            loss(pred, target, q=[0.5, bad, bad])
    for bad in ("1", b"1", True, np.True_, 1j, object(), None):
        with raises(TypeError, f"q must be a real number, not {type_name(bad)}"):
            loss(pred, pred, q=bad)
    with raises(TypeError, "q must be real (bool, integer or float), not <U3"):
        loss(pred, target, q=["0.5"] * 3)
    with raises(ValueError, "q must be a number or a vector, not an array of shape (1, 3)"):
        loss(pred, target, q=np.full((1, 3), 0.5))
    with raises(ValueError, "q must be a number or have the shape of the last axis, (3,), not (2,)"):
        loss(pred, target, q=[0.1, 0.9])
    wanted = "target must have the shape of pred without its last axis, {}, as q has one element for each index of it, "
    for x, shape, other in ((pred, (4,), (4, 3)), (pred, (4,), (3,)), (pred[0], (), (3,))):
        with raises(ValueError, f"{wanted.format(shape)}not {other}"):
            loss(x, np.zeros(other), q=[0.1, 0.5, 0.9])
    for same in (np.float64(0.5), np.float32(0.5), np.array(0.5), np.longdouble(0.5)):
        assert loss(pred, pred + 1, q=same) == loss(pred, pred + 1, q=0.5)


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


def test_parameters_beyond_float32_count_as_its_largest_and_smallest():
    assert at(fl.huber, np.inf, np.float32, delta=1e-300)[0] == np.inf
    assert at(fl.pseudo_huber, np.inf, np.float32, delta=1e300)[0] == np.inf
    assert at(fl.smooth_l1, 0.0, np.float32, beta=1e-50)[:2] == (0, 0)
    zero = np.zeros(2, np.float32)
    value, grads = fl.gaussian_nll.value_and_grad(np.float32([0, 1e-30]), zero, zero, eps=1e-50)
    assert np.isfinite(value) and np.isfinite(grads).all()


def test_huge_delta_is_half_mse():
    p, t = np.random.default_rng(0).standard_normal((2, 50))
    assert_same_bits(fl.huber.grad(p, t, delta=1e300), fl.mse.grad(p, t) / 2)


def test_integer_targets_beyond_float32_are_rounded_once():
    """A target is rounded to the dtype of pred, as a conversion in NumPy would do."""
    big = np.array([2**24 + 1, 2**53 + 1, -(2**63), 2**63 - 1])
    for dtype in (np.float32, np.float64):
        pred = np.zeros(4, dtype)
        assert_same_bits(fl.mae(pred, big, reduction="none"), np.abs(big.astype(dtype)))


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
# Every loss of a prediction and a target, the robust ones and the likelihoods too


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
