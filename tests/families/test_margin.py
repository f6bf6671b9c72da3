"""Losses of scores and margins: values worked out by hand, kinks, infinite scores, sizes, bad labels."""

from functools import partial

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.request.domains import Domain
from tests.losses import reference
from tests.losses.comparing import assert_close, assert_same_bits
from tests.losses.support import (
    EXPECTED,
    INF,
    NAN,
    each_dtype,
    each_layout,
    each_place,
    element,
    raises,
    random_logits,
)

# ---------------------------------------------------------------------------------------------------------------------
# Labels -1 and +1


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
            actual = element(loss, y * margin, y, dtype)
            if value is None:
                assert actual[2] == curvature
            else:
                assert actual == (value, y * slope, curvature), (loss, margin)


@each_dtype
def test_tails_of_logistic_and_exponential(dtype):
    for margin in (30, 60, 80):
        e = np.exp(-float(margin))
        q = e / (1 + e)
        assert_close(element(fl.logistic, margin, 1, dtype), (dtype(np.log1p(e)), dtype(-q), dtype(q / (1 + e))), 4)
        assert_close(element(fl.exponential, -margin, -1, dtype), (dtype(e),) * 3, 4)


@each_dtype
def test_logistic_is_binary_cross_entropy(dtype):
    bce = fl.binary_cross_entropy_with_logits
    z, y = np.random.default_rng(0).standard_normal((2, 100)).astype(dtype)
    y = np.sign(y)
    actual, expected = fl.logistic.grad_and_hess(9 * z, y), bce.grad_and_hess(9 * z, (y + 1) / 2)
    assert_close(actual, expected, 4)
    assert_close(fl.logistic(z, y), bce(z, (y + 1) / 2), 2**29 * 4)


@each_place
def test_margin_labels(place):
    for bad in (0, -2, 127):
        target = np.ones((1000, 2), np.int8)
        target[place, 1] = bad
        with raises(ValueError, f"target[{place % 1000}, 1] = {bad} is not {EXPECTED[Domain.SIGN]}"):
            fl.hinge(np.zeros((1000, 2)), target)
    for bad in (0.0, 0.999, np.nan, np.inf):
        target = np.ones(1000)
        target[place] = bad
        with raises(ValueError, f"target[{place % 1000}] = {bad!r} is not {EXPECTED[Domain.SIGN]}"):
            fl.hinge(np.zeros(1000), target)
    with raises(ValueError, f"target[0] = 255 is not {EXPECTED[Domain.SIGN]}"):
        fl.hinge([0.5], np.array([255], np.uint8))
    with raises(ValueError, f"target = False is not {EXPECTED[Domain.SIGN]}"):
        fl.hinge(0.5, False)


# ---------------------------------------------------------------------------------------------------------------------
# Several classes: multiclass_hinge, crammer_singer


Z, Y = np.zeros((3, 4)), np.array([0, 1, 2])


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
def test_sizes_of_margin_losses(classes, dtype):
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
def test_margin_losses_near_the_kink(shape, dtype):
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


def test_margin_losses():
    for loss in (fl.multiclass_hinge, fl.crammer_singer):
        with raises(ValueError, "target must have shape (3,) (class indices), not (3, 4)"):
            loss(Z, Z)
        with raises(TypeError, "target must hold class indices of an integer dtype in shape (3,), not float64"):
            loss(Z, Y.astype(float))
        with raises(ValueError, "target[1] = 4 is not a class index in [0, 4) nor ignore_index (-100)"):
            loss(Z, [0, 4, 1])
        with raises(ValueError, "pred must have at least one class, and has shape (3, 0)"):
            loss(np.zeros((3, 0)), Y)
    for bad in (0, 3, 1.5, -1):
        with raises(ValueError, f"power must be 1 or 2, not {bad}"):
            fl.multiclass_hinge(Z, Y, power=bad)
    with raises(TypeError, "power must be a real number, not str"):
        fl.multiclass_hinge(Z, Y, power="2")
