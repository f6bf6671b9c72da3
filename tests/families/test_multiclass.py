"""Losses of several classes: values worked out by hand, sizes, extreme logits, masked classes."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses import reference
from tests.losses.comparing import assert_close, assert_same_bits, largest, like
from tests.losses.support import INF, NAN, each_dtype, each_layout, everything, one_hot, raises, random_logits

# ---------------------------------------------------------------------------------------------------------------------
# cross_entropy


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


def test_probabilities_need_not_sum_to_one():
    """Without class weights each sample counts as one, whatever its probabilities sum to."""
    z = np.random.default_rng(0).standard_normal((3, 4))
    t = np.array([[0.5, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    value, grad = fl.cross_entropy.value_and_grad(z, t, reduction="none")
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    assert_close(value, -(t * log_p).sum(1), 8)
    assert_close(grad, t.sum(1, keepdims=True) * np.exp(log_p) - t, 8, 1)
    assert_close(fl.cross_entropy(z, t), value.sum() / 3, 8)


#: Numbers of classes on both sides of every switch of the softmax driver.
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


SAMPLES = [0, 1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 513]


INNER = [1, 2, 15, 16, 17, 33, 255, 256, 257, 513]


@pytest.mark.parametrize("classes", CLASS_COUNTS)
@each_dtype
def test_sizes_of_cross_entropy(classes, dtype):
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


# ---------------------------------------------------------------------------------------------------------------------
# cross_entropy: extreme logits


@each_layout
@each_dtype
@pytest.mark.parametrize("hot", [False, True])
def test_masked_classes(shape, dtype, hot):
    """A logit of -inf rules its class out: its gradient is exactly 0, and the other results are those without it."""
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
def test_the_right_class_masked(shape, dtype):
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
def test_nan_and_inf_propagate(shape, dtype, special, place):
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
def test_all_classes_masked_is_nan(shape, dtype):
    z, label = random_logits(shape, dtype)
    z[1] = -INF
    value, grad = fl.cross_entropy.value_and_grad(z, label, axis=1, reduction="none")
    assert np.all(np.isnan(value[1])) and np.all(np.isnan(grad[1]))
    assert np.all(np.isfinite(value[2:])) and np.all(np.isfinite(grad[2:]))


@each_layout
@each_dtype
@pytest.mark.parametrize("shift", [1e8, -1e8, 1e30, -1e30])
def test_huge_logits_cancel(shape, dtype, shift):
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
def test_a_wide_spread_underflows_to_zero(shape):
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
    value, grad, hess = everything(fl.softmax_focal, z[:1], np.array([[0.5, 0.5, 0]], dtype), gamma=1)
    p = p[0]
    n, m = -np.log(p), 1 - p
    slope, bend = ([0.5, 0.5, 0] * x for x in (-(m + p * n), p * (2 - n)))  # by log p
    assert_close(dtype(value), (m[0] * n[0] + m[1] * n[1]) / 2, 6)
    assert_close(grad[0], slope - p * slope.sum(), 6, 1)
    assert_close(hess[0], bend * (1 - 2 * p) + p**2 * bend.sum() - p * m * slope.sum(), 8, 1)
    value = fl.softmax_focal(np.array([[1, 0, -1]], dtype), [[0.7, 0.2, 0.1]], gamma=0)
    assert_close(dtype(value), 0.8076059644443803, 4)


@each_dtype
def test_poly1_by_hand(dtype):
    z, p = np.log(np.array([[1, 2, 1]], dtype)), np.array([[0.25, 0.5, 0.25]])
    value, grad, hess = everything(fl.poly1_cross_entropy, z, [0], epsilon=2)
    assert_close(dtype(value), np.log(4) + 1.5, 4)
    assert_close(grad, 1.5 * (p - [[1, 0, 0]]), 4)
    assert_close(hess, p * (1 - p) - 2 * p * ([1, 0, 0] - p[0, 0]) * (1 - 2 * p), 4, 1)


@each_layout
@each_softmax
def test_softmax_losses_without_their_term_are_cross_entropy(shape, loss, options):
    z, label = random_logits(shape)
    probabilities, weight = np.random.default_rng(0).uniform(0, 1, shape), np.linspace(0, 2, shape[1])
    plain = {"gamma": 0} if loss is fl.softmax_focal else options | {"epsilon": 0}
    smooth = {k: v for k, v in plain.items() if k == "label_smoothing"}
    for target in (label, probabilities):
        for more in ({}, {"class_weight": weight}, {"class_weight": weight, "reduction": "none"}):
            expected = everything(fl.cross_entropy, z, target, axis=1, **smooth, **more)
            for a, b in zip(everything(loss, z, target, axis=1, **plain, **more), expected, strict=True):
                assert_close(a, b, 16, largest(b))


@each_layout
@each_dtype
@each_softmax
def test_softmax_losses_of_masked_classes(shape, dtype, loss, options):
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
    """Classes of the target far below the others are pulled up as strongly as their part in the target says."""
    for shape in ((1, 4), (1, 200), (1, 4, 20)):
        for distance in (50, 70, 300, 1e4):
            z = np.full(shape, -INF, dtype)
            z[:, :2] = 0
            z[:, 2] = -distance
            z[:, 3] = -distance - 1
            t = np.zeros(shape)
            t[:, 2:4] = np.reshape([0.25, 0.75], (2,) + (1,) * (len(shape) - 2))
            value, grad = fl.softmax_focal.value_and_grad(z, t, axis=1, reduction="none")
            assert_close(value.ravel()[0], distance + np.log(2) + 0.75, 8)
            for c, expected in enumerate((0.5, 0.5, -0.25, -0.75)):
                assert_close(grad[:, c].ravel()[0], expected, 8)


@each_layout
def test_softmax_focal_of_an_empty_target(shape):
    z, t = random_logits(shape)[0], np.zeros(shape)
    for x in everything(fl.softmax_focal, z, t, axis=1, reduction="none"):
        assert np.all(x == 0)
    z[0] = NAN
    for x in everything(fl.softmax_focal, z, t, axis=1, reduction="none"):
        assert np.all(np.isnan(x[0])) and np.all(x[1:] == 0)
    for x in everything(fl.softmax_focal, z, t, axis=1, reduction="none", class_weight=np.ones(shape[1])):
        assert np.all(x == 0)


@pytest.mark.parametrize("target", [[0.3, 0.7], [0.5, 0.5], [1.0, 0.0]])
def test_without_focus_the_minimum_of_softmax_focal_is_at_the_target(target):
    p = np.linspace(0.01, 0.99, 99)
    z = np.stack([np.log(p), np.log(1 - p)], axis=1)
    grad = fl.softmax_focal.grad(z, np.broadcast_to(target, z.shape), gamma=0)[:, 0]
    apart = np.abs(p - target[0]) > 1e-9
    assert np.all((grad * (p - target[0]))[apart] > 0) and np.all(np.abs(grad[~apart]) < 1e-15)


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


# ---------------------------------------------------------------------------------------------------------------------
# nll, categorical_cross_entropy, multilabel_soft_margin: sums of terms


#: Those of `each_layout` with rows and columns of several blocks.
each_layout_of_terms = pytest.mark.parametrize(
    "shape", [(40, 5), (9, 1030), (3, 5, 30), (3, 600, 3), (2, 30, 70), (2, 2, 5000)]
)


@each_dtype
def test_nll(dtype):
    pred = np.array([[-1, -2, -3], [-INF, -0.5, -4]], dtype)
    value, grad = fl.nll.value_and_grad(pred, [2, 1], class_weight=[1, 3, 2], reduction="none")
    assert value.tolist() == [6, 1.5]
    assert grad.tolist() == [[0, 0, -2], [0, -3, 0]]
    assert fl.nll(pred, [2, 1], class_weight=[1, 3, 2]) == 7.5 / 5
    assert fl.nll(pred, [0, 0]) == INF
    assert fl.nll(pred, [[0.5, 0.5, 0], [0, 1, 0]], reduction="none").tolist() == [1.5, 0.5]
    assert fl.nll(np.zeros(3, dtype), 1, reduction="none").tobytes() == dtype(0).tobytes()  # not -0


@each_dtype
def test_categorical_cross_entropy(dtype):
    tiny = float(np.finfo(dtype).tiny)
    p = np.array([[0.5, 0.25, 0.25], [0, 1, 0], [1, 0, 0]], dtype)
    value, grad = fl.categorical_cross_entropy.value_and_grad(p, [1, 0, 0], reduction="none")
    assert_close(value, np.array([np.log(4), 100, 0]), 4)
    assert grad.tolist() == [[0, -4, 0], [-1 / tiny, 0, 0], [-1, 0, 0]]
    hess = fl.categorical_cross_entropy.grad_and_hess(p[:1], [1])[1]
    assert hess.tolist() == [[0, 16, 0]]
    smooth = fl.categorical_cross_entropy(p[:1], [1], label_smoothing=0.3)
    assert smooth == pytest.approx(0.8 * np.log(4) + 0.1 * np.log(2) + 0.1 * np.log(4), rel=1e-6)
    # As they are: no sum is divided out.
    assert fl.categorical_cross_entropy(dtype([0.5, 0.5, 0.5]), 0) == pytest.approx(np.log(2), rel=1e-6)


@each_dtype
def test_multilabel_soft_margin(dtype):
    z, t = np.array([[0, 1], [-2, INF]], dtype), np.array([[1, 0], [0.5, 1]])
    by_class = fl.binary_cross_entropy_with_logits(z, t, reduction="none")
    assert_close(fl.multilabel_soft_margin(z, t, reduction="none"), by_class.mean(axis=1), 4)
    weight = np.array([3, 0.5])
    weighted = fl.multilabel_soft_margin(z, t, class_weight=weight, reduction="none")
    assert_close(weighted, (weight * by_class).mean(axis=1), 4)
    # Under "mean", a sample counts as much as its classes do.
    expected = np.average(by_class, weights=np.broadcast_to(weight, (2, 2)))
    assert fl.multilabel_soft_margin(z, t, class_weight=weight) == pytest.approx(expected, rel=1e-6)
    z[:, 1] = NAN
    assert fl.multilabel_soft_margin(z, t, class_weight=[1, 0]) == pytest.approx(by_class[:, 0].mean(), rel=1e-6)


def test_only_what_counts_is_read():
    """Of class indices, the element of the label; of probabilities, those of classes with a part in the target."""
    p = np.array([[NAN, 0.5], [0.5, NAN]])
    for loss, expected in ((fl.nll, -0.5), (fl.categorical_cross_entropy, np.log(2))):
        for target in ([1, 0], [[0, 1], [1, 0]]):
            value, grad = loss.value_and_grad(p, target)
            assert value == pytest.approx(expected, rel=1e-15)
            assert np.isfinite(grad).all()
        assert np.isnan(loss(p, [0, 0]))
    assert np.isnan(fl.categorical_cross_entropy(p, [1, 0], label_smoothing=0.1))
    assert fl.categorical_cross_entropy([[0.5, 9.0]], [0]) == np.log(2)


@each_dtype
def test_scores_of_a_class_with_weight_zero_are_not_read(dtype):
    p = np.random.default_rng(0).uniform(0.1, 1, (30, 4)).astype(dtype)
    label = np.arange(30) % 4
    weight = np.array([1, 0, 2, 1.0])
    dirty = p.copy()
    dirty[:, 1] = NAN
    for loss in (fl.nll, fl.categorical_cross_entropy):
        expected = loss.value_and_grad(p, label, class_weight=weight, ignore_index=1)
        for target in (label, one_hot(label, 4)):
            value, grad = loss.value_and_grad(dirty, target, class_weight=weight)
            assert_close(value, expected[0], 2**30 if dtype is np.float32 else 4)
            assert_close(grad, expected[1], 4)


@each_layout_of_terms
def test_probabilities_out_of_range_in_pred(shape):
    for place in (0, int(np.prod(shape)) // 2, -1):
        at = tuple(int(i) for i in np.unravel_index(place % np.prod(shape), shape))
        where = ", ".join(map(str, at))
        batch = at[:1] + at[2:]
        label = np.zeros(shape[:1] + shape[2:], int)
        label[batch] = at[1]
        for bad in (1.5, -1e-6, INF):
            p = np.full(shape, 0.5)
            p[at] = bad
            for target, more in ((label, {}), (label, {"label_smoothing": 0.1}), (one_hot(label, shape[1]), {})):
                for out in (None, p):
                    before = p.copy()
                    with raises(ValueError, f"pred[{where}] = {bad!r} is not in [0, 1]"):
                        fl.categorical_cross_entropy.grad(p, target, axis=1, out=out, **more)
                    assert_same_bits(p, before)
                weight = np.ones(label.shape)
                weight[batch] = 0
                fl.categorical_cross_entropy(p, target, axis=1, sample_weight=weight, **more)
            if not more:
                weight = np.ones(shape[1])
                weight[at[1]] = 0
                fl.categorical_cross_entropy(p, label, axis=1, class_weight=weight)


@each_layout_of_terms
@pytest.mark.parametrize("dtype", ["b", "B", "h", "i", "q", "Q", ">i4"])
def test_labels_out_of_range(shape, dtype):
    classes, pred = shape[1], np.full(shape, 0.5)
    good = np.zeros(shape[:1] + shape[2:], dtype)
    info = np.iinfo(good.dtype)
    for bad in [x for x in (classes, -1, info.min, info.max) if info.min <= x <= info.max and not 0 <= x < classes]:
        for place in (0, good.size - 1):
            label = good.copy()
            label.flat[place] = bad
            index = ", ".join(str(i) for i in np.unravel_index(place, good.shape))
            text = f"target[{index}] = {bad} is not a class index in [0, {classes}) nor ignore_index (-100)"
            for loss in (fl.nll, fl.categorical_cross_entropy):
                out = np.full(shape, 7.0)
                with raises(ValueError, text):
                    loss.grad(pred, label, axis=1, out=out)
                assert np.all(out == 7)
                with raises(ValueError, text):
                    loss(pred, label, axis=1)


def test_many_threads_find_the_bad_element():
    p, label = np.full((9000, 20), 0.5, np.float32), np.zeros(9000, int)
    for place in (0, 5000, 8999):
        p[place, 0] = 2
        for target in (label, one_hot(label, 20)):
            with raises(ValueError, f"pred[{place}, 0] = 2.0 is not in [0, 1]"):
                fl.categorical_cross_entropy.grad(p, target, out=like(p))
        p[place, 0] = 0.5


def test_out_must_not_overlap_labels():
    memory = np.zeros(8)
    labels = memory.view(np.int64)[:4]
    with raises(ValueError, "out overlaps target"):
        fl.nll.grad(np.zeros((4, 1)), labels, out=memory[:4].reshape(4, 1))
