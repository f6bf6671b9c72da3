"""Details of single classification losses."""

import threading
from functools import partial

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from losses import BINARY, CLASSES, Problem, assert_close, assert_same_bits, largest

import fastloss as fl

bce = fl.binary_cross_entropy_with_logits
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
INF, NAN = np.inf, np.nan

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


def test_smoothing_goes_first():
    """Alpha and pos_weight see the smoothed target."""
    z, t = np.array([0.7, -0.2]), np.array([1.0, 0.0])
    smoothed = t * 0.8 + 0.1
    options = {"alpha": 0.3, "pos_weight": 2.5, "reduction": "none"}
    actual = bce.value_and_grad(z, t, label_smoothing=0.2, **options)
    for a, b in zip(actual, bce.value_and_grad(z, smoothed, **options), strict=True):
        assert_close(a, b, 4)


# ---------------------------------------------------------------------------------------------------------------------
# Losses of a probability


def at(loss, z, t, dtype, **parameters):
    """Value, slope and curvature of one element."""
    z, t = np.array([z], dtype), np.array([t], dtype)
    grad, hess = loss.grad_and_hess(z, t, reduction="none", **parameters)
    return loss(z, t, reduction="none", **parameters)[0], grad[0], hess[0]


@each_dtype
def test_binary_cross_entropy_at_its_edges(dtype):
    loss, steepest = fl.binary_cross_entropy, float(1 / np.finfo(dtype).smallest_normal)
    assert at(loss, 0, 0, dtype) == at(loss, -0.0, 0, dtype) == (0, 1, 1)
    assert at(loss, 1, 1, dtype) == (0, -1, 1)
    assert at(loss, 0, 1, dtype) == (100, -steepest, INF)
    assert at(loss, 1, 0, dtype) == (100, steepest, INF)
    assert at(loss, 0, 0.5, dtype) == (50, 0.5 - steepest / 2, INF)
    # Unlike the loss, the gradient is not clamped at exp(-100), and right down to the smallest normal number.
    for p in (1e-10, 1e-30, 1e-37) if dtype is np.float32 else (1e-10, 1e-30, 1e-50, 1e-300):
        p = dtype(p)
        value, grad, _ = at(loss, p, 1, dtype)
        assert_close((value, grad), (dtype(min(-np.log(float(p)), 100)), dtype(-1 / float(p))), 2)
        value, grad, _ = at(loss, p, 0, dtype)
        assert_close((value, grad), (dtype(-np.log1p(-float(p))), dtype(1 / (1 - float(p)))), 2)
    assert at(loss, np.finfo(dtype).smallest_subnormal, 1, dtype)[1] == -steepest


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
            assert at(loss, p, p, dtype, gamma=gamma) == (0, side * slope, curvature)
            value, grad, hess = at(loss, p, 1 - p, dtype, gamma=gamma)
            assert (value, hess) == (100, INF)
            assert_close(grad, dtype(-side * (steepest + 100 * gamma)), 2)
            assert at(loss, p, 0.5, dtype, gamma=gamma)[1:] == (0, 0)


@each_dtype
def test_binary_focal_without_focus_is_binary_cross_entropy(dtype):
    p, t = np.random.default_rng(0).uniform(0.01, 0.99, (2, 100)).astype(dtype)
    t = np.round(t)
    for alpha in (None, 0.25):
        options = {"alpha": alpha, "reduction": "none"}
        actual = fl.binary_focal.grad_and_hess(p, t, gamma=0, **options)
        assert_close(actual, fl.binary_cross_entropy.grad_and_hess(p, t, **options), 8)


# ---------------------------------------------------------------------------------------------------------------------
# sigmoid_focal, sigmoid_poly1, brier


@each_dtype
@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 2.7, 5])
def test_sigmoid_focal_of_infinite_logits(dtype, gamma):
    loss = fl.sigmoid_focal
    for z, t in ((INF, 1), (-INF, 0)):
        assert at(loss, z, t, dtype, gamma=gamma) == (0, 0, 0)
        assert at(loss, -z, t, dtype, gamma=gamma) == (INF, -np.sign(z), 0)
        assert at(loss, -z, t, dtype, gamma=gamma, alpha=0.25)[1] == (-0.25 if t else 0.75)
        # A label in between costs (1 - P)^gamma (-log P) with P = t or 1 - t, and nothing moves it there.
        for soft in (0.25, 0.5, 0.875):
            right = soft if z > 0 else 1 - soft
            value, grad, hess = at(loss, z, soft, dtype, gamma=gamma)
            assert_close(value, dtype(-((1 - right) ** gamma) * np.log(right)), 4)
            assert (grad, hess) == (0, 0)


@each_dtype
@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 2.7, 5])
def test_sigmoid_focal_of_huge_logits(dtype, gamma):
    for z in (1e4, 1e30):
        for side, t in ((1, 1), (-1, 0)):
            assert at(fl.sigmoid_focal, side * z, t, dtype, gamma=gamma) == (0, 0, 0)
            assert at(fl.sigmoid_focal, -side * z, t, dtype, gamma=gamma) == (dtype(z), -side, 0)


@each_dtype
def test_sigmoid_focal_without_focus_is_binary_cross_entropy(dtype):
    z, t = np.random.default_rng(0).standard_normal((2, 100)).astype(dtype)
    t = (t > 0).astype(dtype)
    for alpha in (None, 0.25):
        options = {"alpha": alpha, "reduction": "none"}
        actual = fl.sigmoid_focal.grad_and_hess(5 * z, t, gamma=0, **options)
        assert_close(actual, bce.grad_and_hess(5 * z, t, **options), 8)


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
            assert at(fl.sigmoid_poly1, z, t, dtype, epsilon=epsilon) == (0, 0, 0)
            assert at(fl.sigmoid_poly1, -z, t, dtype, epsilon=epsilon) == (INF, -np.sign(z), 0)
        assert at(fl.sigmoid_poly1, INF, 0.5, dtype, epsilon=epsilon) == (INF, 0.5, 0)
    assert_close(at(fl.sigmoid_poly1, 0, 1, dtype), (dtype(np.log(2) + 0.5), dtype(-0.75), dtype(0.25)), 2)


@each_dtype
def test_sigmoid_poly1_without_its_term_is_binary_cross_entropy(dtype):
    z, t = np.random.default_rng(0).standard_normal((2, 100)).astype(dtype)
    t = np.clip(t, 0, 1)
    actual = fl.sigmoid_poly1.grad_and_hess(5 * z, t, epsilon=0, reduction="none")
    assert_close(actual, bce.grad_and_hess(5 * z, t, reduction="none"), 4, 1)


@each_dtype
def test_brier(dtype):
    assert at(fl.brier, 0, 1, dtype) == (0.25, -0.25, 0.125)
    assert at(fl.brier, 0, 0.5, dtype) == (0, 0, 0.125)
    for z, t in ((INF, 1), (-INF, 0)):
        assert at(fl.brier, z, t, dtype) == (0, 0, 0)
        assert at(fl.brier, -z, t, dtype) == (1, 0, 0)
    # In the tail of a right answer it is about exp(-2 z), not 0.
    assert_close(at(fl.brier, 20, 1, dtype)[0], dtype((1 / (1 + np.exp(20.0))) ** 2), 8)


# ---------------------------------------------------------------------------------------------------------------------
# Losses of a score and a label -1 or +1


@each_dtype
def test_hinge_and_its_kink(dtype):
    z = np.array([1, 1, 0.5, -2, INF, -INF, -1], dtype)
    t = np.array([1, -1, 1, 1, 1, 1, -1], dtype)
    value, grad = fl.hinge.value_and_grad(z, t, reduction="none")
    assert value.tolist() == [0, 2, 0.5, 3, 0, INF, 0]
    assert grad.tolist() == [0, 1, -1, -1, 0, -1, 0]
    assert fl.hinge(z[:1], t[:1], margin=3) == 2
    assert fl.hinge(z[:1], t[:1], margin=-1) == 0
    assert np.all(fl.hinge.grad_and_hess(z, t)[1] == 0)


@each_dtype
@pytest.mark.parametrize("y", [-1, 1])
def test_margin_losses_by_hand(dtype, y):
    below = np.nextafter(dtype(1), dtype(0))  # the largest number below 1
    beyond = np.nextafter(dtype(-1), dtype(-2))
    for loss, of_margin in [
        (fl.squared_hinge, {1: (0, 0, 0), 2: (0, 0, 0), below: (None, None, 2), 0: (1, -2, 2), -3: (16, -8, 2)}),
        (fl.squared_hinge, {INF: (0, 0, 0), -INF: (INF, -INF, 2)}),
        (fl.modified_huber, {1: (0, 0, 0), 2: (0, 0, 0), below: (None, None, 2), 0: (1, -2, 2)}),
        (fl.modified_huber, {-1: (4, -4, 2), beyond: (-4 * beyond, -4, 0), -3: (12, -4, 0)}),  # the knee at -1
        (fl.modified_huber, {INF: (0, 0, 0), -INF: (INF, -4, 0)}),
        (
            fl.logistic,
            {0: (dtype(np.log(2)), -0.5, 0.25), INF: (0, 0, 0), -INF: (INF, -1, 0), -1e30: (dtype(1e30), -1, 0)},
        ),
        (fl.exponential, {0: (1, -1, 1), INF: (0, 0, 0), -INF: (INF, -INF, INF), -1e30: (INF, -INF, INF)}),
        (
            fl.perceptron,
            {0: (0, 0, 0), 2: (0, 0, 0), -2: (2, -1, 0), INF: (0, 0, 0), -INF: (INF, -1, 0)},
        ),
    ]:
        for margin, (value, slope, curvature) in of_margin.items():
            actual = at(loss, y * margin, y, dtype)
            if value is None:
                assert actual[2] == curvature
            else:
                assert actual == (value, y * slope, curvature), (loss, margin)


@each_dtype
def test_tails_of_logistic_and_exponential(dtype):
    for margin in (30, 60, 80):
        e = np.exp(-float(margin))
        q = e / (1 + e)
        assert_close(at(fl.logistic, margin, 1, dtype), (dtype(np.log1p(e)), dtype(-q), dtype(q / (1 + e))), 4)
        assert_close(at(fl.exponential, -margin, -1, dtype), (dtype(e),) * 3, 4)


@each_dtype
def test_logistic_is_binary_cross_entropy(dtype):
    z, y = np.random.default_rng(0).standard_normal((2, 100)).astype(dtype)
    y = np.sign(y)
    actual, expected = fl.logistic.grad_and_hess(9 * z, y), bce.grad_and_hess(9 * z, (y + 1) / 2)
    assert_close(actual, expected, 4)
    assert_close(fl.logistic(z, y), bce(z, (y + 1) / 2), 2**29 * 4)


# ---------------------------------------------------------------------------------------------------------------------
# cross_entropy: the class axis

SHAPES = [((6,), 0), ((7, 6), 1), ((6, 7), 0), ((3, 6, 5), 1), ((3, 5, 6), 2), ((2, 6, 3, 4), 1), ((2, 3, 4, 6), -1)]
SHAPES += [((6, 1), 0), ((1, 6, 1), 1), ((2, 3, 6, 1), -2), ((2, 1, 3), 1)]


@each_dtype
@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_axis(case, dtype):
    for shape, axis in SHAPES:
        problem = case.problem(shape, axis, dtype)
        problem.assert_as_expected(reduction="none")
        other_end = problem.with_(options=problem.options | {"axis": problem.axis - len(shape)})
        assert_same_bits(other_end.everything(), problem.everything())


#: Numbers of classes on both sides of every switch of the drivers in kernels/softmax.pyx.
CLASS_COUNTS = [
    1,
    2,
    3,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    95,
    96,
    97,
    127,
    128,
    129,
    255,
    256,
    257,
    511,
    512,
    513,
    1023,
    1024,
    1025,
    2049,
    5000,
]
#: One case for each loss and kind of target, the last, which has the most parameters.
KINDS = list({(case.name, case.target): case for case in CLASSES}.values())
SAMPLES = [0, 1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 513]
INNER = [1, 2, 15, 16, 17, 33, 255, 256, 257, 513]


@pytest.mark.parametrize("classes", CLASS_COUNTS)
@each_dtype
def test_awkward_sizes(classes, dtype):
    shapes = {(n, classes, inner) for n in SAMPLES for inner in (1, 2) if n * classes * inner <= 30_000}
    shapes |= {(n, classes, inner) for n in (1, 3) for inner in INNER if n * classes * inner <= 30_000}
    exact = 1 if dtype is np.float32 else 20  # the reference itself adds up a row in float64, one by one
    rng = np.random.default_rng(classes)
    pred = rng.integers(-1024, 1025, 30_000).astype(dtype) / 128
    for shape in shapes:
        z = pred[: int(np.prod(shape))].reshape(shape)
        label = rng.integers(0, classes, (shape[0], shape[2]))
        options = {"axis": 1, "reduction": "none"}
        expected = reference.class_axis(reference.cross_entropy, z, label, **options)
        value, grad = fl.cross_entropy.value_and_grad(z, label, **options)
        assert_close(value, expected.value, 4 * exact)
        assert_close(grad, expected.grad, 5 * exact)
        _, hess = fl.cross_entropy.grad_and_hess(z, label, **options)
        assert_close(hess, expected.hess, 8 * exact)


@pytest.mark.parametrize("classes", [1, 2, 17, 64, 96, 97, 512, 513, 1025])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_awkward_sizes_with_every_option(classes, dtype):
    if dtype is np.float64 and 97 < classes < 1025:
        classes = classes // 2 + classes % 2  # a tile holds half as many
    for samples, inner in [(1, 1), (17, 1), (257, 1), (5, 3), (2, 16), (1, 40)]:
        samples = min(samples, max(3, 20_000 // (classes * inner)))
        for case in KINDS:
            problem = case.problem((samples, classes, inner), 1, dtype, seed=classes)
            problem.assert_as_expected(sample_weight=problem.weight())


# ---------------------------------------------------------------------------------------------------------------------
# cross_entropy: targets, class weights, ignored samples

#: One for each way through the kernel: across samples by a transposed tile, along rows, across samples in place.
LAYOUTS = [((40, 5), 1), ((9, 100), 1), ((3, 5, 30), 1), ((3, 600, 3), 1)]
each_layout = pytest.mark.parametrize("shape, axis", LAYOUTS)


def random_logits(shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, shape[1], shape[:1] + shape[2:])
    return 3 * rng.standard_normal(shape).astype(dtype), label


def one_hot(label, classes, dtype=np.float64):
    return np.moveaxis(np.eye(classes, dtype=dtype)[label], -1, 1)


@each_layout
@each_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_labels_and_one_hot_agree(shape, axis, dtype, reduction):
    z, label = random_logits(shape, dtype)
    rng = np.random.default_rng(1)
    options = {"axis": 1, "reduction": reduction, "sample_weight": rng.uniform(0, 2, label.shape)}
    for more in (
        {},
        {"class_weight": rng.uniform(0.5, 2, shape[1])},
        {"class_weight": rng.uniform(0.5, 2, shape[1]), "label_smoothing": 0.3, "z_loss": 0.1},
    ):
        value, grad = fl.cross_entropy.value_and_grad(z, label, **options, **more)
        for hot_dtype in (dtype, bool, np.int8):
            hot = one_hot(label, shape[1], hot_dtype)
            other_value, other_grad = fl.cross_entropy.value_and_grad(z, hot, **options, **more)
            assert_close(np.asarray(other_value, dtype), np.asarray(value, dtype), 4)
            assert_close(other_grad, grad, 8, largest(grad))


@each_layout
@pytest.mark.parametrize("ignore_index", [-100, -1, 0, 2, 255, 2**62, -(2**63), 2**63 - 1])
def test_ignored_samples_are_not_there(shape, axis, ignore_index):
    z, label = random_logits(shape)
    label[label == ignore_index] = 1
    ignored = np.random.default_rng(2).random(label.shape) < 0.4
    weight = np.random.default_rng(3).uniform(0.5, 2, shape[1])
    holes = np.where(ignored, ignore_index, label)
    dirty = np.where(np.expand_dims(ignored, 1), NAN, z)
    for more in ({}, {"class_weight": weight}, {"class_weight": weight, "label_smoothing": 0.2, "z_loss": 0.1}):
        for reduction in ("mean", "sum", "none"):
            options = {"axis": 1, "reduction": reduction} | more
            expected = fl.cross_entropy.value_and_grad(z, label, sample_weight=~ignored, **options)
            value, grad = fl.cross_entropy.value_and_grad(dirty, holes, ignore_index=ignore_index, **options)
            assert_close(value, expected[0], 4)
            assert_close(grad, expected[1], 4)
            assert np.all(np.moveaxis(grad, 1, -1)[ignored] == 0)


@each_layout
def test_everything_ignored(shape, axis):
    z, label = random_logits(shape)
    z[:] = NAN
    smooth = {"label_smoothing": 0.1, "class_weight": np.ones(shape[1])}
    for options in ({}, smooth, {"reduction": "sum"}, {"normalizer": 2.0}):
        value, grad = fl.cross_entropy.value_and_grad(z, np.full_like(label, -100), axis=1, **options)
        assert value == 0.0 and type(value) is float
        assert np.all(grad == 0)


def test_mean_divides_by_the_weights_of_the_labels():
    z, label = random_logits((50, 4))
    weight = np.array([1.0, 2.0, 0.5, 4.0])
    losses = fl.cross_entropy(z, label, reduction="none")
    assert_close(fl.cross_entropy(z, label, class_weight=weight), np.average(losses, weights=weight[label]), 40)
    samples = np.random.default_rng(0).random(50)
    assert_close(
        fl.cross_entropy(z, label, class_weight=weight, sample_weight=samples),
        np.average(losses, weights=weight[label] * samples),
        40,
    )


@each_layout
def test_a_class_of_weight_zero_is_not_there(shape, axis):
    z, label = random_logits(shape)
    label[:2] = 1
    weight = np.ones(shape[1])
    weight[1] = 0
    gone = label == 1
    dirty = np.where(np.expand_dims(gone, 1), NAN, z)
    value, grad = fl.cross_entropy.value_and_grad(dirty, label, axis=1, class_weight=weight)
    expected = fl.cross_entropy.value_and_grad(z, label, axis=1, ignore_index=1)
    assert_close(value, expected[0], 4)
    assert_close(grad, expected[1], 4)
    dirty_hot = fl.cross_entropy.value_and_grad(dirty, one_hot(label, shape[1]), axis=1, class_weight=weight)
    assert_close(dirty_hot[0], expected[0], 4)
    assert_close(dirty_hot[1], expected[1], 8, largest(grad))


def test_probabilities_need_not_sum_to_one():
    """Without class weights each sample counts as one, whatever its probabilities sum to."""
    z = np.random.default_rng(0).standard_normal((3, 4))
    t = np.array([[0.5, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    value, grad = fl.cross_entropy.value_and_grad(z, t, reduction="none")
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    assert_close(value, -(t * log_p).sum(1), 8)
    assert_close(grad, t.sum(1, keepdims=True) * np.exp(log_p) - t, 8, 1)
    assert_close(fl.cross_entropy(z, t), value.sum() / 3, 8)


# ---------------------------------------------------------------------------------------------------------------------
# cross_entropy: extreme logits


@each_layout
@each_dtype
@pytest.mark.parametrize("hot", [False, True])
def test_masked_classes(shape, axis, dtype, hot):
    """Logits of -inf are classes that cannot be: gradient exactly 0, and the rest as if they were not there."""
    z, label = random_logits(shape, dtype)
    label[...] = label % (shape[1] // 2) * 2  # even
    z[:, 1::2] = -INF
    options = {"axis": 1, "reduction": "none"}
    target = one_hot(label, shape[1]) if hot else label
    value, grad = fl.cross_entropy.value_and_grad(z, target, **options, z_loss=0.01)
    hess = fl.cross_entropy.grad_and_hess(z, target, **options, z_loss=0.01)[1]
    assert np.all(grad[:, 1::2] == 0) and np.all(hess[:, 1::2] == 0)
    kept = reference.class_axis(reference.cross_entropy, z[:, ::2], label // 2, z_loss=0.01, **options)
    assert_close(value, kept.value, 8)
    assert_close(grad[:, ::2], kept.grad, 16, 1)
    assert_close(hess[:, ::2], kept.hess, 16, 1)


@each_layout
@each_dtype
def test_the_right_class_masked(shape, axis, dtype):
    """The loss is inf, and the gradient still finite: it points at the right class."""
    z, label = random_logits(shape, dtype)
    np.put_along_axis(z, np.expand_dims(label, 1), -INF, 1)
    value, grad = fl.cross_entropy.value_and_grad(z, label, axis=1, reduction="none")
    assert np.all(value == INF)
    assert_close(np.take_along_axis(grad, np.expand_dims(label, 1), 1), np.full_like(z[:, :1], -1), 2)
    assert_close(grad.sum(axis=1), np.zeros(label.shape), 40, 1)


@each_layout
@each_dtype
@pytest.mark.parametrize("special", [NAN, INF])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_nan_and_inf_propagate(shape, axis, dtype, special, place):
    z, label = random_logits(shape, dtype)
    label[:] = 1
    expected = fl.cross_entropy.value_and_grad(z, label, axis=1, reduction="none")
    z[1, place] = special
    for target in (label, one_hot(label, shape[1])):
        value, grad = fl.cross_entropy.value_and_grad(z, target, axis=1, reduction="none")
        assert not np.any(np.isfinite(value[1]))
        assert np.all(np.isnan(grad[1]))
        assert np.all(np.isfinite(value[2:])) and np.all(np.isfinite(grad[2:]))
        assert not np.isfinite(fl.cross_entropy(z, target, axis=1))
    assert_same_bits(fl.cross_entropy(z, label, axis=1, reduction="none")[2:].copy(), expected[0][2:].copy())


@each_layout
@each_dtype
def test_all_classes_masked_is_nan(shape, axis, dtype):
    z, label = random_logits(shape, dtype)
    z[1] = -INF
    value, grad = fl.cross_entropy.value_and_grad(z, label, axis=1, reduction="none")
    assert np.all(np.isnan(value[1])) and np.all(np.isnan(grad[1]))
    assert np.all(np.isfinite(value[2:])) and np.all(np.isfinite(grad[2:]))


@each_layout
@each_dtype
@pytest.mark.parametrize("shift", [1e8, -1e8, 1e30, -1e30])
def test_huge_logits_cancel(shape, axis, dtype, shift):
    rng = np.random.default_rng(0)
    step = float(np.spacing(dtype(abs(shift))))
    near = rng.integers(-3, 4, shape) * step
    z = (near + shift).astype(dtype)
    _, label = random_logits(shape)
    expected = reference.class_axis(reference.cross_entropy, z - dtype(shift), label, axis=1, reduction="none")
    value, grad = fl.cross_entropy.value_and_grad(z, label, axis=1, reduction="none")
    assert_close(value, expected.value, 8)
    assert_close(grad, expected.grad, 8)


@each_dtype
@pytest.mark.parametrize("classes", [1, 2, 7, 96, 97, 1000])
@pytest.mark.parametrize("level", [0.0, -3.25, 1e8, -1e8])
def test_constant_rows(dtype, classes, level):
    z = np.full((3, classes), level, dtype)
    value, grad = fl.cross_entropy.value_and_grad(z, [0, classes - 1, classes // 2], reduction="none")
    assert_close(value, np.full(3, np.log(classes)), 2)
    expected = np.full((3, classes), 1 / classes)
    expected[[0, 1, 2], [0, classes - 1, classes // 2]] -= 1
    assert_close(grad, expected, 2)


@each_dtype
def test_one_class_costs_nothing(dtype):
    z = np.array([[3.0], [-1e30], [1e30], [0]], dtype)
    for target in (np.zeros(4, int), np.ones((4, 1))):
        value, grad = fl.cross_entropy.value_and_grad(z, target, reduction="none")
        assert np.all(value == 0) and np.all(grad == 0)
    value, grad = fl.cross_entropy.value_and_grad(z[:1], [0], z_loss=0.5)
    assert value == 4.5 and grad == 3


@each_layout
def test_a_wide_spread_underflows_to_zero(shape, axis):
    z, label = random_logits(shape, np.float32)
    z *= 1e6
    value, grad = fl.cross_entropy.value_and_grad(z, label, axis=1, reduction="none")
    expected = reference.class_axis(reference.cross_entropy, z, label, axis=1, reduction="none")
    assert_close(value, expected.value, 4)
    assert_close(grad, expected.grad, 4, 1)
    assert np.all(np.isfinite(grad))


# ---------------------------------------------------------------------------------------------------------------------
# softmax_focal, poly1_cross_entropy

GAMMAS = [0, 0.5, 1, 2, 2.7, 5]
SOFTMAX = [(fl.softmax_focal, {"gamma": gamma}) for gamma in GAMMAS]
SOFTMAX += [(fl.poly1_cross_entropy, {"epsilon": epsilon}) for epsilon in (-0.5, 1)]
SOFTMAX += [(fl.poly1_cross_entropy, {"label_smoothing": 0.3})]
each_softmax = pytest.mark.parametrize("loss, options", SOFTMAX, ids=lambda x: x.__name__ if callable(x) else str(x))


def everything(loss, *arguments, **options):
    return loss(*arguments, **options), *loss.grad_and_hess(*arguments, **options)


@each_dtype
def test_softmax_focal_by_hand(dtype):
    z = np.log(np.array([[1, 2, 1], [6, 1, 1]], dtype))
    p = np.array([[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]])
    value, grad, hess = everything(fl.softmax_focal, z, np.array([1, 0]), reduction="none")
    n, m = -np.log([0.5, 0.75]), np.array([0.5, 0.25])
    slope = m**2 + 2 * m * n * (1 - m)  # by n
    bend = (1 - m) * (4 * m + 2 * n * (1 - m) - 2 * m * n)
    d = p - np.eye(3)[[1, 0]]
    assert_close(value, m**2 * n, 6)
    assert_close(grad, slope[:, np.newaxis] * d, 6)
    assert_close(hess, bend[:, np.newaxis] * d**2 + slope[:, np.newaxis] * p * (1 - p), 8, 1)
    # Half of the first class, half of the second: p_t = 3/8, and the classes have the shares 1/3 and 2/3 in it.
    value, grad = fl.softmax_focal.value_and_grad(z[:1], np.array([[0.5, 0.5, 0]], dtype), gamma=1)
    n, m = -np.log(3 / 8), 5 / 8
    assert_close(dtype(value), m * n, 6)
    assert_close(grad[0], (m + n * (1 - m)) * (p[0] - [1 / 3, 2 / 3, 0]), 6)


@each_dtype
def test_poly1_by_hand(dtype):
    z, p = np.log(np.array([[1, 2, 1]], dtype)), np.array([[0.25, 0.5, 0.25]])
    value, grad, hess = everything(fl.poly1_cross_entropy, z, [0], epsilon=2)
    assert_close(dtype(value), np.log(4) + 1.5, 4)
    assert_close(grad, 1.5 * (p - [[1, 0, 0]]), 4)
    assert_close(hess, p * (1 - p) - 2 * p * ([1, 0, 0] - p[0, 0]) * (1 - 2 * p), 4, 1)


@each_layout
@each_dtype
@each_softmax
def test_softmax_losses_of_labels_and_one_hot_agree(shape, axis, dtype, loss, options):
    z, label = random_logits(shape, dtype)
    z[0] *= 100  # far beyond what exp can do
    hot = one_hot(label, shape[1], dtype)
    ulp = 40 if dtype is np.float32 else max(40, shape[1])  # the sum over the classes rounds as well
    for weight in (None, np.random.default_rng(1).uniform(0.5, 2, shape[1])):
        for reduction in ("mean", "none"):
            more = {"axis": 1, "class_weight": weight, "reduction": reduction} | options
            expected = everything(loss, z, label, **more)
            for a, b in zip(everything(loss, z, hot, **more), expected, strict=True):
                assert_close(
                    np.asarray(a, dtype), np.asarray(b, dtype), ulp, largest(b) if np.ndim(a) > label.ndim else 0
                )


@each_layout
@each_dtype
@pytest.mark.parametrize("loss", [fl.cross_entropy, fl.poly1_cross_entropy, fl.softmax_focal])
def test_sure_one_hot_targets_agree_with_labels(shape, axis, dtype, loss):
    """Where p_y is close to 1, p_y - t_y would cancel."""
    z, label = random_logits(shape, dtype)
    hot = one_hot(label, shape[1], dtype)
    z += hot * np.linspace(0, 40, shape[0], dtype=dtype).reshape((-1,) + (1,) * (z.ndim - 1))
    assert_close(loss.grad(z, hot, axis=1), loss.grad(z, label, axis=1), 32)
    if loss is not fl.poly1_cross_entropy:  # whose second derivative is a difference
        assert_close(loss.grad_and_hess(z, hot, axis=1)[1], loss.grad_and_hess(z, label, axis=1)[1], 32)


@each_layout
@each_softmax
def test_softmax_losses_without_their_term_are_cross_entropy(shape, axis, loss, options):
    z, label = random_logits(shape)
    plain = {"gamma": 0} if loss is fl.softmax_focal else options | {"epsilon": 0}
    smooth = {k: v for k, v in plain.items() if k == "label_smoothing"}
    expected = everything(fl.cross_entropy, z, label, axis=1, **smooth)
    for a, b in zip(everything(loss, z, label, axis=1, **plain), expected, strict=True):
        assert_close(a, b, 8, largest(b))


@each_layout
@each_dtype
@each_softmax
def test_softmax_losses_of_masked_classes(shape, axis, dtype, loss, options):
    z, label = random_logits(shape, dtype)
    z[:, 1] = -INF
    label[label == 1] = 0
    for target in (label, one_hot(label, shape[1])):
        value, grad, hess = everything(loss, z, target, axis=1, reduction="none", **options)
        smoothed = "label_smoothing" in options  # which puts a part of the target there
        assert np.all(np.isinf(value) if smoothed else np.isfinite(value))
        assert np.all(np.isfinite(grad)) and np.all(np.isfinite(hess))
        assert smoothed or np.all(grad[:, 1] == 0) and np.all(hess[:, 1] == 0)
    # The only class of the target is masked: the loss is inf, but the gradient leads back.
    label[:] = 1
    for target in (label, one_hot(label, shape[1])):
        value, grad = loss.value_and_grad(z, target, axis=1, reduction="none", **options)
        assert np.all(value == INF)
        assert np.all(np.isfinite(grad)) and np.all(grad[:, 1] <= -0.69)


@each_dtype
@pytest.mark.parametrize("gamma", GAMMAS)
def test_softmax_focal_in_both_tails(dtype, gamma):
    """The label is certain, or out of reach."""
    for shape in ((3, 3), (3, 200), (3, 3, 20)):
        z = np.zeros(shape, dtype)
        z[:, 1:] = -INF
        z[:, 1] = np.reshape([-40, -60, -80], (3,) + (1,) * (z.ndim - 2))
        label = np.zeros(shape[:1] + shape[2:], int)
        m = np.exp(z[:, 1].astype(float))
        value, grad = fl.softmax_focal.value_and_grad(z, label, axis=1, gamma=gamma, reduction="none")
        assert_close(value, m ** (gamma + 1), 16 * (1 + gamma))
        assert_close(grad[:, 1], (1 + gamma) * m ** (gamma + 1), 16 * (1 + gamma))
        assert_close(grad[:, 0], -(1 + gamma) * m ** (gamma + 1), 16 * (1 + gamma))
        for far in (-100, -1e4, -1e30):
            z[:, 1] = far
            for target in (label + 1, one_hot(label + 1, shape[1])):
                value, grad = fl.softmax_focal.value_and_grad(z, target, axis=1, gamma=gamma, reduction="none")
                assert_close(value, np.full(label.shape, -dtype(far)), 4)
                assert_close(grad[:, 1], np.full(label.shape, -1), 4)
                assert_close(grad[:, 0], np.full(label.shape, 1), 4)


@each_dtype
def test_softmax_focal_of_a_target_out_of_reach(dtype):
    """The classes of a target far below the others share the pull as they would among themselves."""
    for shape in ((1, 4), (1, 200), (1, 4, 20)):
        for distance in (50, 70, 300, 1e4):
            z = np.full(shape, -INF, dtype)
            z[:, :2] = 0
            z[:, 2] = -distance
            z[:, 3] = -distance - 1
            t = np.zeros(shape)
            t[:, 2:4] = 0.5
            value, grad = fl.softmax_focal.value_and_grad(z, t, axis=1, reduction="none")
            share = 1 / (1 + np.exp(-1))
            assert_close(value.ravel()[0], distance + np.log(4) - np.log(1 + np.exp(-1)), 8)
            for c, expected in enumerate((0.5, 0.5, -share, share - 1)):
                assert_close(grad[:, c].ravel()[0], expected, 8)


def test_softmax_focal_of_an_empty_target_is_not_there():
    z = np.array([[1.0, 2.0], [NAN, 0.0]])
    value, grad, hess = everything(fl.softmax_focal, z, np.zeros((2, 2)), reduction="none")
    assert np.all(value == 0) and np.all(grad == 0) and np.all(hess == 0)
    # The target's sum multiplies the loss, with class weights or without.
    t = np.array([[0.25, 0.5]])
    by_ones = fl.softmax_focal(z[:1], t, class_weight=np.ones(2), reduction="none")
    assert_close(fl.softmax_focal(z[:1], t, reduction="none"), by_ones, 2)


# ---------------------------------------------------------------------------------------------------------------------
# multiclass_hinge, crammer_singer

each_margin_loss = pytest.mark.parametrize(
    "loss", [fl.multiclass_hinge, partial(fl.multiclass_hinge, power=2), fl.crammer_singer], ids=["1", "2", "largest"]
)


def of_sample(loss, z, label, dtype, **options):
    """Value, gradient and Hessian of one sample, the same through every layout of the drivers."""
    z, results = np.asarray(z, dtype), []
    for classes in (len(z), 97, 1100):  # across samples, along a row, along a row of several blocks
        padded = np.append(z, np.full(max(0, classes - len(z)), -INF, dtype))
        value = loss(padded, label, **options)
        grad, hess = loss.grad_and_hess(padded, label, **options)
        assert np.all(np.isnan(grad[len(z) :]) if np.isnan(value) else grad[len(z) :] == 0)
        assert np.all(hess[len(z) :] == 0)
        results.append((value, grad[: len(z)].tolist(), hess[: len(z)].tolist()))
    side_by_side = np.repeat(z[:, np.newaxis], 20, axis=1)
    value = loss(side_by_side, np.full(20, label), axis=0, reduction="none", **options)
    grad, hess = loss.grad_and_hess(side_by_side, np.full(20, label), axis=0, reduction="none", **options)
    results.append((float(value[7]), grad[:, 7].tolist(), hess[:, 7].tolist()))
    for other in results[1:]:
        np.testing.assert_equal(other, results[0])
    return results[0]


@each_dtype
def test_multiclass_hinge_by_hand(dtype):
    z, none = [2, 1.5, 0, 3, 1], [0] * 5  # 1 is at the kink
    assert of_sample(fl.multiclass_hinge, z, 0, dtype) == (2.5, [-2, 1, 0, 1, 0], none)
    assert of_sample(fl.multiclass_hinge, z, 0, dtype, power=2) == (4.25, [-5, 1, 0, 4, 0], [4, 2, 0, 2, 0])
    assert of_sample(fl.multiclass_hinge, z, 3, dtype) == (0, none, none)
    assert of_sample(fl.multiclass_hinge, z, 3, dtype, margin=3) == (4.5, [1, 1, 0, -3, 1], none)
    assert of_sample(fl.multiclass_hinge, z, 0, dtype, margin=-0.5) == (0.5, [-1, 0, 0, 1, 0], none)
    weighted = {"sample_weight": 0.5, "class_weight": [1, 2, 1, 1, 1], "power": 2, "reduction": "sum"}
    grad, hess = fl.multiclass_hinge.grad_and_hess(np.array(z, dtype), 1, **weighted)
    assert grad.tolist() == [3, -9, 0, 5, 1] and hess.tolist() == [2, 6, 0, 2, 2]


@each_dtype
def test_crammer_singer_by_hand(dtype):
    z, none = [2, 1.5, 0, 3, 1], [0] * 5
    assert of_sample(fl.crammer_singer, z, 0, dtype) == (2, [-1, 0, 0, 1, 0], none)
    assert of_sample(fl.crammer_singer, z, 3, dtype) == (0, none, none)  # at the kink
    assert of_sample(fl.crammer_singer, z, 3, dtype, margin=1.5) == (0.5, [1, 0, 0, -1, 0], none)
    assert of_sample(fl.crammer_singer, [1, 2, 2, 2], 1, dtype) == (1, [0, -1, 1, 0], [0] * 4)  # the first of equals
    assert of_sample(fl.crammer_singer, [1, 2, 2, 2], 0, dtype) == (2, [-1, 1, 0, 0], [0] * 4)


@each_dtype
def test_margin_losses_of_infinite_scores(dtype):
    hinge, largest, none = fl.multiclass_hinge, fl.crammer_singer, [0] * 3
    squared = {"power": 2}
    # A wrong class at -inf is none; the right one at -inf is infinitely far behind the others, but not behind those.
    assert of_sample(hinge, [0, -INF, 1], 0, dtype) == (2, [-1, 0, 1], none)
    assert of_sample(hinge, [-INF, 0, 1], 0, dtype) == (INF, [-2, 1, 1], none)
    assert of_sample(hinge, [-INF, -INF, 1], 0, dtype) == (INF, [-1, 0, 1], none)
    assert of_sample(hinge, [-INF, -INF, 1], 0, dtype, **squared) == (INF, [-INF, 0, INF], [2, 0, 2])
    assert of_sample(hinge, [-INF, -INF, -INF], 0, dtype) == (0, none, none)
    assert of_sample(largest, [-INF, -INF, 1], 0, dtype) == (INF, [-1, 0, 1], none)
    assert of_sample(largest, [-INF, -INF, -INF], 0, dtype) == (0, none, none)
    # +inf at the right class wins, at a wrong one loses, and at both has no answer.
    for loss in (hinge, largest):
        assert of_sample(loss, [INF, 0, 1], 0, dtype) == (0, none, none)
        assert of_sample(loss, [INF, -INF, 1], 0, dtype) == (0, none, none)
        assert of_sample(loss, [0, -5, INF], 0, dtype) == (INF, [-1, 0, 1], none)
        assert of_sample(loss, [-INF, -5, INF], 0, dtype)[0] == INF
        np.testing.assert_equal(of_sample(loss, [INF, 0, INF], 0, dtype), (NAN, [NAN] * 3, none))
    # Where the weight underflows, so does the gradient of an infinite loss.
    tiny = {"sample_weight": 1e-320, "reduction": "sum"}
    assert hinge.grad(np.float32([0, INF]), 0, **squared, **tiny).tolist() == [0, 0]


@each_dtype
@each_margin_loss
@pytest.mark.parametrize("shape", [(40, 5), (9, 100), (3, 1500), (3, 5, 30), (3, 600, 3)], ids=str)
def test_nan_spoils_its_sample_and_no_other(loss, dtype, shape):
    function = loss if isinstance(loss, fl.Loss) else loss.func
    options = {"axis": 1, "reduction": "none"} | (loss.keywords if isinstance(loss, partial) else {})
    z, label = random_logits(shape, dtype)
    expected = function.value_and_grad(z, label, **options)
    for place in (0, -1, label[1].flat[0]):
        bad = z.copy()
        bad[(1, place, *([0] * (z.ndim - 2)))] = NAN
        spoiled = (1, *([0] * (z.ndim - 2)))
        value, grad = function.value_and_grad(bad, label, **options)
        assert np.isnan(value[spoiled]) and np.isnan(grad[(1, slice(None), *spoiled[1:])]).all()
        assert np.isnan(value).sum() == 1 and np.isnan(grad).sum() == shape[1]
        for actual, wanted in zip((value, grad), expected, strict=True):
            assert np.array_equal(actual[~np.isnan(actual)], wanted[~np.isnan(actual)])
        hole = np.where(np.isnan(value), -100, label)  # and where it is ignored, nothing
        value, grad = function.value_and_grad(bad, hole, **options)
        assert value[spoiled] == 0 and np.isfinite(grad).all()


@each_dtype
@each_margin_loss
def test_one_class_has_no_margin(loss, dtype):
    z = np.array([[3.0], [-1e30], [INF], [-INF]], dtype)
    assert loss(z, np.zeros(4, int), reduction="none").tolist() == [0] * 4
    assert loss(z, np.zeros(4, int), margin=7) == 0
    assert np.isnan(loss(z * NAN, np.zeros(4, int)))


@pytest.mark.parametrize(
    "classes", [1, 2, 3, 16, 63, 64, 65, 95, 96, 97, 256, 257, 511, 513, 1023, 1024, 1025, 2049, 5000]
)
@each_dtype
def test_awkward_sizes_of_margin_losses(classes, dtype):
    """Differences of these scores are exact, and so are the derivatives: to one rounding in float32."""
    rng = np.random.default_rng(classes)
    pred = rng.integers(-512, 513, 30_000).astype(dtype) / 128
    sizes = [(n, inner) for n in (1, 2, 15, 16, 17, 64, 255, 257) for inner in (1, 2)]
    sizes += [(n, inner) for n in (1, 3) for inner in (15, 16, 17, 255, 256, 257)]
    for samples, inner in sizes:
        if samples * classes * inner > pred.size:
            continue
        z = pred[: samples * classes * inner].reshape(samples, classes, inner)
        label = rng.integers(0, classes, (samples, inner))
        options = {"axis": 1, "reduction": "none"}
        for loss, definition, more in (
            (fl.multiclass_hinge, reference.multiclass_hinge, {}),
            (fl.multiclass_hinge, reference.multiclass_hinge, {"power": 2}),
            (fl.crammer_singer, reference.crammer_singer, {}),
        ):
            expected = reference.class_axis(definition, z, label, **options, **more)
            value, grad = loss.value_and_grad(z, label, out=z.copy(), **options, **more)
            grad_again, hess = loss.grad_and_hess(z, label, out=(np.empty_like(z), z.copy()), **options, **more)
            assert_close(value, expected.value, 1)
            assert_close(grad, expected.grad, 1)
            assert_close(hess, expected.hess, 1)
            assert_same_bits(grad_again, grad)


@each_layout
@each_dtype
def test_margin_losses_near_the_kink(shape, axis, dtype):
    """An excess that is the small difference of large scores: in float32 it is formed in float64, and rounded once."""
    z, label = random_logits(shape, dtype)
    right = np.take_along_axis(z, np.expand_dims(label, 1), 1)
    z = (right - dtype(0.3) + z * dtype(1e-6)).astype(dtype)
    for loss, definition in (
        (fl.multiclass_hinge, reference.multiclass_hinge),
        (fl.crammer_singer, reference.crammer_singer),
    ):
        options = {"axis": 1, "reduction": "none", "margin": 0.3}
        expected = reference.class_axis(definition, z, label, **options)
        value, grad = loss.value_and_grad(z, label, **options)
        assert_close(value, expected.value, *((2,) if dtype is np.float32 else (16, expected.sizes[0])))
        if dtype is np.float32:
            assert_close(grad, expected.grad, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Parameters and weights at the ends of the range


@pytest.mark.parametrize("size", [1e300, 1e39, 1e-50, 1e-300])
def test_parameters_beyond_float32(size):
    """They count as its largest and smallest numbers, not as inf and 0: these would make NaN."""
    for classes in (2, 100):
        z = np.full((2, classes), -INF, np.float32)
        z[:, :2] = [[1000, 0], [0, -1]]
        for loss, options in [
            (fl.poly1_cross_entropy, {"epsilon": size}),
            (fl.softmax_focal, {"gamma": size}),
            (fl.multiclass_hinge, {"margin": size}),
            (fl.multiclass_hinge, {"margin": -size, "power": 2}),
            (fl.crammer_singer, {"margin": size}),
            (fl.cross_entropy, {"z_loss": size}),
        ]:
            value, grad = loss.value_and_grad(z, [0, 0], reduction="none", **options)
            assert not np.isnan(value).any()
            assert loss is fl.cross_entropy or not np.isnan(grad).any() and np.all(grad[:, 2:] == 0)
    # A class of equal score is within any margin.
    assert fl.multiclass_hinge.grad(np.zeros(2, np.float32), 0, margin=size).tolist() == [-1, 1]


@pytest.mark.parametrize("classes", [4, 100])
@pytest.mark.parametrize("loss", [fl.cross_entropy, fl.multiclass_hinge, fl.crammer_singer])
def test_a_gradient_beyond_float32_is_not_nan(loss, classes):
    """It overflows where it is not 0, and there alone."""
    z = np.full((2, classes), -INF, np.float32)
    z[:, :3] = [[0, 1, 2], [500, 0, -500]]
    expected = np.sign(loss.grad(z, [1, 0]))
    for options in ({"normalizer": 1e-45}, {"sample_weight": [1e60, 1e60], "reduction": "sum"}):
        assert np.array_equal(np.sign(loss.grad(z, [1, 0], **options)), expected)


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 0.01, 0.99, 1 - 1e-6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_and_large_alpha_keep_their_accuracy(alpha, dtype):
    logits = np.array([1.5, -0.5], dtype)
    loss = fl.binary_cross_entropy_with_logits(logits, [1, 0], alpha=alpha, reduction="none")
    expected = np.logaddexp(0, np.float64([-1.5, -0.5])) * [alpha, 1 - alpha]
    assert np.abs(loss / expected - 1).max() <= 4 * np.finfo(dtype).eps


def test_empty_lists_are_class_indices():
    assert fl.cross_entropy(np.zeros((0, 3)), []) == 0.0


def test_small_thread_stacks():
    """A thread of 256 KiB is enough: what a kernel keeps on the stack is part of the contract on memory."""
    before = threading.stack_size(256 * 1024)
    try:
        results = []
        for shape in [(1000, 10), (20, 1000), (2, 21, 300)]:
            z = np.zeros(shape)
            y = np.zeros((shape[0], *shape[2:]), int)
            for loss in (fl.cross_entropy, fl.multiclass_hinge, fl.crammer_singer):
                t = threading.Thread(target=lambda a=(z, y), f=loss: results.append(f.grad_and_hess(*a, axis=1)))
                t.start()
                t.join()
        assert len(results) == 9
    finally:
        threading.stack_size(before)
