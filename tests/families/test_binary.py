"""Binary losses: values worked out by hand, infinite logits, saturated probabilities, bad targets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from tests.losses.cases import BINARY
from tests.losses.comparing import assert_close, assert_same_bits
from tests.losses.problem import Problem
from tests.losses.support import (
    INF,
    MASKED_WEIGHT,
    NAN,
    each_dtype,
    each_place,
    element,
    everything,
    raises,
    type_name,
)

bce = fl.binary_cross_entropy_with_logits
Z = np.zeros((3, 4))


# ---------------------------------------------------------------------------------------------------------------------
# binary_cross_entropy_with_logits


@each_dtype
def test_infinite_logits_cost_nothing_where_the_label_agrees(dtype):
    z = np.array([INF, INF, -INF, -INF, INF, -INF], dtype)
    t = np.array([1, 0, 1, 0, 0.5, 0.5], dtype)
    value, grad = bce.value_and_grad(z, t, reduction="none")
    assert value.tolist() == [0, INF, INF, 0, INF, INF]
    assert grad.tolist() == [0, 1, -1, 0, 0.5, -0.5]
    value, grad = bce.value_and_grad(z[:4], t[:4], reduction="none", pos_weight=3, alpha=0.25)
    assert value.tolist() == [0, INF, INF, 0]
    assert grad.tolist() == [0, 0.75, -0.75, 0]
    assert np.all(bce.grad_and_hess(z, t)[1] == 0)
    # A smoothed label agrees with no infinity, but its gradient is finite.
    value, grad = bce.value_and_grad(z[:4], t[:4], reduction="none", label_smoothing=0.5)
    assert np.all(value == INF)
    assert grad.tolist() == [0.25, 0.75, -0.75, -0.25]


@each_dtype
def test_a_label_without_weight_costs_nothing(dtype):
    z, t = np.array([-INF, INF, 5], dtype), np.array([1, 0, 1], dtype)
    assert bce(z[:1], t[:1], pos_weight=0) == 0
    assert bce(z[1:2], t[1:2], alpha=1) == 0
    assert bce.grad(z, t, pos_weight=0, alpha=1).tolist() == [0, 0, 0]


@each_dtype
def test_huge_logits(dtype):
    z = np.array([1e30, -1e30, 1e30, -1e30], dtype)
    value, grad = bce.value_and_grad(z, np.array([1, 0, 0, 1]), reduction="none")
    assert value.tolist() == [0, 0, z[0], z[0]]
    assert grad.tolist() == [0, 0, 1, -1]


def test_pos_weight_forms():
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((40, 30, 5)), rng.integers(0, 2, (40, 30, 5))
    per_class = rng.uniform(0.5, 3, 5)
    expected = bce.value_and_grad(z, t, pos_weight=per_class, reduction="none")
    for k in range(5):
        value, grad = bce.value_and_grad(z[..., k], t[..., k], pos_weight=per_class[k], reduction="none")
        assert_same_bits((value, grad), (expected[0][..., k].copy(), expected[1][..., k].copy()))
    for same in (list(per_class), per_class.astype(">f8"), np.repeat(per_class, 2)[::2]):
        assert_same_bits(bce.value_and_grad(z, t, pos_weight=same, reduction="none"), expected)
    assert_same_bits(bce.grad(z, t, pos_weight=2), bce.grad(z, t, pos_weight=np.full(5, 2)))
    assert_same_bits(bce.grad(z, t, pos_weight=np.float16(1)), bce.grad(z, t))


@each_dtype
def test_pos_weight_along_any_axis(dtype):
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((9, 4, 7, 40)).astype(dtype), rng.integers(0, 2, (9, 4, 7, 40))
    for axis in (0, 1, 2, 3, -1, -2, -4):
        weight = rng.uniform(0.5, 3, z.shape[axis])
        moved = (np.moveaxis(x, axis, -1) for x in (z, t))
        expected = bce.value_and_grad(*moved, pos_weight=weight, reduction="none")
        actual = bce.value_and_grad(z, t, pos_weight=weight, pos_weight_axis=axis, reduction="none")
        for a, b in zip(actual, expected, strict=True):
            assert np.array_equal(np.moveaxis(a, axis, -1), b)
        out = z.copy()
        in_place = bce.value_and_grad(out, t, pos_weight=weight, pos_weight_axis=axis, reduction="none", out=out)
        assert_same_bits(in_place, actual)
    assert bce(z, t, pos_weight=2, pos_weight_axis=1) == bce(z, t, pos_weight=2)


def test_pos_weight_axis():
    with raises(ValueError, "pos_weight must be a number or have the shape of axis 0, (3,), not (5,)"):
        bce(Z, Z, pos_weight=np.ones(5), pos_weight_axis=0)
    hint = "(4,), not (3,): it would fit pos_weight_axis=0"
    for axis, where in ((-1, "the last axis"), (1, "axis 1")):
        with raises(ValueError, f"pos_weight must be a number or have the shape of {where}, {hint}"):
            bce(Z, Z, pos_weight=np.ones(3), pos_weight_axis=axis)
    for weight in (None, 2.0, np.ones(3)):
        for axis in (2, -3):
            with raises(ValueError, f"pos_weight_axis must be in [-2, 2), not {axis}"):
                bce(Z, Z, pos_weight=weight, pos_weight_axis=axis)
        for axis in ("1", None, 1.0, True, [1], np.ones(2)):
            with raises(TypeError, f"pos_weight_axis must be an integer, not {type_name(axis)}"):
                bce(Z, Z, pos_weight=weight, pos_weight_axis=axis)
    with raises(ValueError, "pred must have an axis for pos_weight, and is 0-dimensional"):
        bce(0.5, 1, pos_weight=2.0, pos_weight_axis=0)


def test_smoothing_goes_first():
    """Alpha and pos_weight see the smoothed target."""
    z, t = np.array([0.7, -0.2]), np.array([1.0, 0.0])
    smoothed = t * 0.8 + 0.1
    options = {"alpha": 0.3, "pos_weight": 2.5, "reduction": "none"}
    actual = bce.value_and_grad(z, t, label_smoothing=0.2, **options)
    for a, b in zip(actual, bce.value_and_grad(z, smoothed, **options), strict=True):
        assert_close(a, b, 4)


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 0.01, 0.99, 1 - 1e-6])
@each_dtype
def test_small_and_large_alpha_keep_their_accuracy(alpha, dtype):
    logits = np.array([1.5, -0.5], dtype)
    loss = fl.binary_cross_entropy_with_logits(logits, [1, 0], alpha=alpha, reduction="none")
    expected = np.logaddexp(0, np.float64([-1.5, -0.5])) * [alpha, 1 - alpha]
    assert np.abs(loss / expected - 1).max() <= 4 * np.finfo(dtype).eps


def test_pos_weight():
    for shape in [(1,), (5,), (3, 4), (4, 1), (0,)]:
        with raises(ValueError, f"pos_weight must be a number or have the shape of the last axis, (4,), not {shape}"):
            bce.grad(Z, Z, pos_weight=np.ones(shape))
    with raises(ValueError, "pos_weight must be a number or have the shape of the last axis, (), not (1,)"):
        bce(0.5, 1, pos_weight=[1.0])
    for bad in (-1.0, np.nan, np.inf):
        with raises(ValueError, f"pos_weight = {bad!r} is not a finite weight >= 0"):
            bce(Z, Z, pos_weight=bad)
        with raises(ValueError, f"pos_weight[2] = {bad!r} is not a finite weight >= 0"):
            bce(Z, Z, pos_weight=[1, 1, bad, bad])
    with raises(TypeError, "pos_weight must be real (bool, integer or float), not complex"):
        bce(Z, Z, pos_weight=1j)
    with raises(TypeError, f"pos_weight {MASKED_WEIGHT}"):
        bce(Z, Z, pos_weight=np.ma.ones(4))


# ---------------------------------------------------------------------------------------------------------------------
# ignore_index


@each_dtype
def test_ignored_elements_by_hand(dtype):
    z, mask = np.array([[0, 3, NAN], [0, INF, 0]], dtype), np.array([[1, 255, 255], [0, 255, 0]], np.uint8)
    assert fl.brier(z, mask, ignore_index=255) == 0.25
    value, grad = fl.brier.value_and_grad(z, mask, ignore_index=255)
    assert value == 0.25
    assert grad.tolist() == (np.array([[-0.25, 0, 0], [0.25, 0, 0.25]]) / 3).astype(dtype).tolist()
    assert fl.brier(z, mask, ignore_index=255, reduction="sum") == 0.75
    assert fl.brier(z, mask, ignore_index=255, reduction="none").tolist() == [[0.25, 0, 0], [0.25, 0, 0.25]]
    assert fl.brier(z, mask, ignore_index=255, sample_weight=[[1.0, 5, 3]]) == 0.25
    assert fl.brier(z, mask, ignore_index=255, normalizer=2) == 0.375
    assert fl.brier(z, mask == 0, ignore_index=0, sample_weight=[0, 1.0]) == 0.25  # True counts, and False does not


def test_ignored_targets_alone_may_be_outside_their_domain():
    z, t = np.zeros((2, 3)), np.array([[255, 1, 0], [1, 7, 255]])
    for call in (fl.brier, fl.brier.grad, fl.binary_cross_entropy.value_and_grad):
        with raises(ValueError, "target[1, 1] = 7 is not in [0, 1] nor ignore_index (255)"):
            call(z, t, ignore_index=255)
        call(z, t, ignore_index=255, sample_weight=[[1, 0, 1]])
        out = z.copy()
        with raises(ValueError, "target[0, 0] = 255 is not in [0, 1] nor ignore_index (7)"):
            fl.brier.grad(out, t, ignore_index=7, out=out)
        assert np.all(out == 0)
    with raises(ValueError, "pred[0, 1] = 2.0 is not in [0, 1]"):
        fl.binary_focal(np.array([[9.0, 2, 3]]), [[-1, 0, 3]], ignore_index=-1)
    for bad in (0.5, "1", True, [1]):
        with raises(TypeError, f"ignore_index must be an integer, not {type(bad).__name__}"):
            fl.brier(z, t, ignore_index=bad)
    with raises(ValueError, f"ignore_index must fit 64 bits, not {2**63}"):
        fl.brier(z, t, ignore_index=2**63)


# ---------------------------------------------------------------------------------------------------------------------
# Losses of a probability


@each_dtype
def test_binary_cross_entropy_at_its_edges(dtype):
    loss, steepest = fl.binary_cross_entropy, float(1 / np.finfo(dtype).smallest_normal)
    assert element(loss, 0, 0, dtype) == element(loss, -0.0, 0, dtype) == (0, 1, 1)
    assert element(loss, 1, 1, dtype) == (0, -1, 1)
    assert element(loss, 0, 1, dtype) == (100, -steepest, INF)
    assert element(loss, 1, 0, dtype) == (100, steepest, INF)
    assert element(loss, 0, 0.5, dtype) == (50, 0.5 - steepest / 2, INF)
    # Unlike the loss, the gradient is not clamped at exp(-100), and right down to the smallest normal number.
    for p in (1e-10, 1e-30, 1e-37) if dtype is np.float32 else (1e-10, 1e-30, 1e-50, 1e-300):
        p = dtype(p)
        value, grad, _ = element(loss, p, 1, dtype)
        assert_close((value, grad), (dtype(min(-np.log(float(p)), 100)), dtype(-1 / float(p))), 2)
        value, grad, _ = element(loss, p, 0, dtype)
        assert_close((value, grad), (dtype(-np.log1p(-float(p))), dtype(1 / (1 - float(p)))), 2)
    assert element(loss, np.finfo(dtype).smallest_subnormal, 1, dtype)[1] == -steepest


@each_dtype
def test_binary_cross_entropy_is_that_of_logits(dtype):
    z, t = np.random.default_rng(0).standard_normal((2, 100)).astype(dtype)
    p, t = 1 / (1 + np.exp(-z)), (t > 0).astype(dtype)
    for options in ({}, {"alpha": 0.25}, {"label_smoothing": 0.2}, {"alpha": 0.7, "label_smoothing": 0.1}):
        options = options | {"reduction": "none"}
        value, grad = fl.binary_cross_entropy.value_and_grad(p, t, **options)
        expected, expected_grad = bce.value_and_grad(z, t, **options)
        assert_close(value, expected, 100)
        assert_close(grad * p * (1 - p), expected_grad, 100)


@each_dtype
def test_binary_focal_of_saturated_probabilities(dtype):
    loss, steepest = fl.binary_focal, float(1 / np.finfo(dtype).smallest_normal)
    of_perfect = {0: (1, 1), 0.5: (0, INF), 1: (0, 2), 1.5: (0, 0), 2: (0, 0), 5: (0, 0)}
    for gamma, (slope, curvature) in of_perfect.items():
        for p, side in ((1, -1), (0, 1)):
            assert element(loss, p, p, dtype, gamma=gamma) == (0, side * slope, curvature)
            value, grad, hess = element(loss, p, 1 - p, dtype, gamma=gamma)
            assert (value, hess) == (100, INF)
            assert_close(grad, dtype(-side * (steepest + 100 * gamma)), 2)
            value, grad, hess = element(loss, p, 0.5, dtype, gamma=gamma)
            assert_close((value, grad), (dtype(0.5**gamma * 50), dtype(-side * 0.5**gamma * steepest / 2)), 2)
            assert hess == INF


@each_dtype
def test_binary_focal_without_focus_is_binary_cross_entropy(dtype):
    p, soft = np.random.default_rng(0).uniform(0.01, 0.99, (2, 100)).astype(dtype)
    for t in (soft, np.round(soft)):
        for alpha in (None, 0.25):
            options = {"alpha": alpha, "reduction": "none"}
            actual = fl.binary_focal.grad_and_hess(p, t, gamma=0, **options)
            size = 1 if alpha is None else 1 / p + 1 / (1 - p)
            assert_close(fl.binary_focal(p, t, gamma=0, **options), fl.binary_cross_entropy(p, t, **options), 8)
            assert_close(actual, fl.binary_cross_entropy.grad_and_hess(p, t, **options), 8, size)


@each_dtype
def test_focal_losses_of_soft_labels(dtype):
    """Values of torchvision, optax and Keras."""
    p = dtype(1 / (1 + np.exp(-2)))
    for gamma, expected in ((0, 1.5269280110429723), (2, 0.6497381897123681)):
        assert_close(fl.sigmoid_focal(np.array([2], dtype), [0.3], gamma=gamma), expected, 8 * 2**29)
        assert_close(fl.binary_focal(np.array([p]), [0.3], gamma=gamma), expected, 8 * 2**29)


@each_dtype
def test_a_label_costs_the_same_beside_soft_ones(dtype):
    """A tile whose labels are all 0 or 1 has loops of its own."""
    p = np.random.default_rng(0).uniform(0, 1, 100).astype(dtype)
    p[:4] = 0, 1, 0, 1
    t = np.arange(100) % 4 // 2
    beside = np.append(t, 0.5)
    for gamma in (0, 0.5, 2, 2.7, 100):
        alone = everything(fl.binary_focal, p, t, gamma=gamma, reduction="none")
        mixed = everything(fl.binary_focal, np.append(p, dtype(0.5)), beside, gamma=gamma, reduction="none")
        for a, b in zip(alone, mixed, strict=True):
            assert np.array_equal(a, b[:-1])


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_without_focus_the_minimum_is_at_the_target(t):
    p = np.linspace(0.01, 0.99, 99)
    z = np.log(p / (1 - p))
    for grad in (fl.binary_focal.grad(p, np.full(99, t), gamma=0), fl.sigmoid_focal.grad(z, np.full(99, t), gamma=0)):
        assert np.all((grad * (p - t))[np.abs(p - t) > 1e-9] > 0)
        assert np.all(np.abs(grad[np.abs(p - t) < 1e-9]) < 1e-15)


# ---------------------------------------------------------------------------------------------------------------------
# sigmoid_focal, sigmoid_poly1, brier


@each_dtype
@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 2.7, 5])
def test_sigmoid_focal_of_infinite_logits(dtype, gamma):
    loss = fl.sigmoid_focal
    for z, t in ((INF, 1), (-INF, 0)):
        assert element(loss, z, t, dtype, gamma=gamma) == (0, 0, 0)
        assert element(loss, -z, t, dtype, gamma=gamma) == (INF, -np.sign(z), 0)
        assert element(loss, -z, t, dtype, gamma=gamma, alpha=0.25)[1] == (-0.25 if t else 0.75)
        for soft in (0.25, 0.5, 0.875):
            wrong = 1 - soft if z > 0 else soft
            value, grad, hess = element(loss, z, soft, dtype, gamma=gamma)
            assert_close(grad, dtype(np.sign(z) * wrong ** (gamma + 1)), 4)
            assert (value, hess) == (INF, 0)


@each_dtype
@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 2.7, 5])
def test_sigmoid_focal_of_huge_logits(dtype, gamma):
    for z in (1e4, 1e30):
        for side, t in ((1, 1), (-1, 0)):
            assert element(fl.sigmoid_focal, side * z, t, dtype, gamma=gamma) == (0, 0, 0)
            assert element(fl.sigmoid_focal, -side * z, t, dtype, gamma=gamma) == (dtype(z), -side, 0)


@each_dtype
def test_sigmoid_focal_without_focus_is_binary_cross_entropy(dtype):
    z, x = np.random.default_rng(0).standard_normal((2, 100)).astype(dtype)
    for t in ((x > 0).astype(dtype), 1 / (1 + np.exp(-x))):
        for alpha in (None, 0.25):
            options = {"alpha": alpha, "reduction": "none"}
            actual = everything(fl.sigmoid_focal, 5 * z, t, gamma=0, **options)
            assert_close(actual, everything(bce, 5 * z, t, **options), 8, 1 if np.any(t % 1) else None)


@each_dtype
def test_a_label_without_weight_has_no_curvature(dtype):
    """Not 0 * inf, where a probability is 0 or so small that its inverse square is inf."""
    p = np.array([0, 1, np.finfo(dtype).smallest_normal], dtype)
    for alpha, t in ((0, [1, 1, 1]), (1, [0, 0, 0])):
        grad, hess = fl.binary_cross_entropy.grad_and_hess(p, t, alpha=alpha)
        assert grad.tolist() == hess.tolist() == [0, 0, 0]


@each_dtype
def test_curvature_of_poly1_in_the_tail_of_confident_mistakes(dtype):
    """p q (1 - epsilon (q - p)) = 2 p^2 q for epsilon = 1: nothing cancels."""
    z = np.array([-10, -20, -40], dtype)
    hess = fl.sigmoid_poly1.grad_and_hess(z, np.ones(3), reduction="none")[1]
    e = np.exp(z.astype(np.longdouble))
    assert_close(hess, 2 * e**2 / (1 + e) ** 3, 8)


@given(
    gamma=st.floats(0, 10, width=16),
    alpha=st.none() | st.floats(0, 1, width=16),
    dtype=st.sampled_from([np.float32, np.float64]),
    z=st.lists(st.floats(width=16, allow_nan=False) | st.floats(-85, 85, width=32), min_size=1, max_size=20).filter(
        lambda z: not any(85 < abs(x) < 105 or 700 < abs(x) < 750 for x in z)  # where exp(-abs(z)) is subnormal
    ),
    t=st.sampled_from([0, 1, 0.5, 0.125, 2**-14, 1 - 2**-11]),
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_sigmoid_focal_with_any_parameters(gamma, alpha, dtype, z, t):
    case = next(case for case in BINARY if case.name == "sigmoid_focal")
    z = np.array(z, dtype)
    inputs = {"pred": z, "target": np.full_like(z, t)}
    Problem(case, inputs, {"gamma": gamma, "alpha": alpha}).assert_as_expected(8, reduction="none")


@given(
    gamma=st.floats(0, 10, width=16),
    alpha=st.none() | st.floats(0, 1, width=16),
    dtype=st.sampled_from([np.float32, np.float64]),
    p=st.lists(st.floats(0, 1, width=32) | st.floats(2**-14, 1, width=16), min_size=1, max_size=20),
    t=st.sampled_from([0, 1, 0.5, 0.125]),
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_binary_focal_with_any_parameters(gamma, alpha, dtype, p, t):
    case = next(case for case in BINARY if case.name == "binary_focal")
    p = np.array(p, dtype)
    inputs = {"pred": p, "target": np.full_like(p, t)}
    Problem(case, inputs, {"gamma": gamma, "alpha": alpha}).assert_as_expected(16, reduction="none")


@each_dtype
def test_sigmoid_poly1_at_infinity(dtype):
    for epsilon in (1, -0.5, 3):
        for z, t in ((INF, 1), (-INF, 0)):
            assert element(fl.sigmoid_poly1, z, t, dtype, epsilon=epsilon) == (0, 0, 0)
            assert element(fl.sigmoid_poly1, -z, t, dtype, epsilon=epsilon) == (INF, -np.sign(z), 0)
        assert element(fl.sigmoid_poly1, INF, 0.5, dtype, epsilon=epsilon) == (INF, 0.5, 0)
    assert_close(element(fl.sigmoid_poly1, 0, 1, dtype), (dtype(np.log(2) + 0.5), dtype(-0.75), dtype(0.25)), 2)


@each_dtype
def test_sigmoid_poly1_without_its_term_is_binary_cross_entropy(dtype):
    z, t = np.random.default_rng(0).standard_normal((2, 100)).astype(dtype)
    t = np.clip(t, 0, 1)
    actual = fl.sigmoid_poly1.grad_and_hess(5 * z, t, epsilon=0, reduction="none")
    assert_close(actual, bce.grad_and_hess(5 * z, t, reduction="none"), 4, 1)


@each_dtype
def test_brier(dtype):
    assert element(fl.brier, 0, 1, dtype) == (0.25, -0.25, 0.125)
    assert element(fl.brier, 0, 0.5, dtype) == (0, 0, 0.125)
    for z, t in ((INF, 1), (-INF, 0)):
        assert element(fl.brier, z, t, dtype) == (0, 0, 0)
        assert element(fl.brier, -z, t, dtype) == (1, 0, 0)
    # In the tail of a right answer it is about exp(-2 z), not 0.
    assert_close(element(fl.brier, 20, 1, dtype)[0], dtype((1 / (1 + np.exp(20.0))) ** 2), 8)


# ---------------------------------------------------------------------------------------------------------------------
# Elements of the target


def test_bad_targets_are_found_by_every_thread():
    fl.set_num_threads(4)
    n = 300_000
    for place in (0, 1023, 1024, 70_000, 150_001, n - 1):
        target = np.zeros(n, np.int8)
        target[place] = 2
        with pytest.raises(ValueError, match=rf"^target\[{place}\] = 2 is not in"):
            fl.binary_cross_entropy_with_logits(np.zeros(n, np.float32), target)


@each_dtype
@each_place
@pytest.mark.parametrize("n", [1000, 100_000])
def test_targets_outside_the_unit_interval(dtype, place, n):
    for bad in (-1e-6, 1 + 1e-6, np.nan, np.inf, -np.inf, 2):
        target = np.ones(n, dtype)
        target[place] = bad
        shown = target[place].item()
        with raises(ValueError, f"target[{place % n}] = {shown!r} is not in [0, 1]"):
            fl.binary_cross_entropy_with_logits.value_and_grad(np.zeros(n, dtype), target)


def test_the_first_bad_element_is_named():
    target = np.zeros((30, 40, 50))
    target[7, 3, 2] = target[7, 3, 9] = target[20, 0, 0] = 1.5
    with raises(ValueError, "target[7, 3, 2] = 1.5 is not in [0, 1]"):
        fl.binary_cross_entropy_with_logits(np.zeros_like(target), target)
    weight = np.ones((30, 40))
    weight[7, 3] = 0
    with raises(ValueError, "target[20, 0, 0] = 1.5 is not in [0, 1]"):
        fl.binary_cross_entropy_with_logits(np.zeros_like(target), target, sample_weight=weight)


def test_the_first_bad_element_is_that_of_the_converted_input():
    """1 + 1e-12 is 1 in float32, and what the kernel sees decides."""
    pred = np.zeros(2, np.float32)
    assert fl.brier(pred, [1 + 1e-12, 1]) == 0.25
    with raises(ValueError, "target[1] = 2.0 is not in [0, 1]"):
        fl.brier(pred, [1 + 1e-12, 2])
