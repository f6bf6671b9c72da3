"""Losses of vectors, and ranking: values worked out by hand, and what is special about each."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_close, assert_same_bits, like
from tests.losses.support import each_dtype, raises

pytestmark = pytest.mark.filterwarnings("error")


#: Two vectors at a distance of 5, or of 7 or 4 for p = 1 and inf.
ORIGIN, FAR = np.zeros((1, 2)), np.array([[3.0, 4.0]])


#: Two vectors at a distance of 5, or of 7 or 4 for p = 1 and inf.
ORIGIN, FAR = np.zeros((1, 2)), np.array([[3.0, 4.0]])


@each_dtype
def test_contrastive(dtype, level):
    x1, x2 = FAR.astype(dtype), ORIGIN.astype(dtype)
    for same, margin, value, grad in [
        (1, 1.0, 12.5, [3.0, 4.0]),
        (0, 1.0, 0.0, [0.0, 0.0]),
        (0, 5.0, 0.0, [0.0, 0.0]),
        (0, 15.0, 50.0, [-6.0, -8.0]),
    ]:
        actual, (by_x1, by_x2) = fl.contrastive.value_and_grad(x1, x2, [same], margin=margin)
        assert actual == pytest.approx(value, rel=1e-6)
        assert by_x1.ravel() == pytest.approx(grad, rel=1e-6) and np.all(by_x2 == -by_x1)


@each_dtype
@pytest.mark.parametrize("p, near, far", [(1.0, 7, 3), (2.0, 5, 2.5), (np.inf, 4, 2), (3.0, 91 ** (1 / 3), 2.08008382)])
def test_triplet(dtype, p, near, far, level):
    negative = np.array([[1.0, 2.0]]) if p != 2 else np.array([[1.5, 2.0]])
    inputs = (x.astype(dtype) for x in (ORIGIN, FAR, negative))
    assert fl.triplet(*inputs, p=p, eps=0.0, margin=0.5) == pytest.approx(near - far + 0.5, rel=1e-6)


def test_where_eps_is_added():
    """To each element of x - y, with its sign: it makes a distance to a larger vector shorter."""
    a, p, n = np.array([[0.0]]), np.array([[1.0]]), np.array([[-1.0]])
    assert fl.triplet(a, p, n, eps=0.25, margin=2.0) == 0.75 - 1.25 + 2
    assert fl.triplet(a, p, n, eps=0.25, margin=2.0, swap=True) == 0.75 - 1.25 + 2  # d(p, n) = 2.25


def test_swap_takes_the_nearer_of_both():
    a, p, n = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), np.array([[3.0, 5.0]])
    value, grads = fl.triplet.value_and_grad(a, p, n, eps=0.0, swap=True)
    assert value == 5 - 1 + 1
    for grad, wanted in zip(grads, ([-0.6, -0.8], [0.6, 1.8], [0.0, -1.0]), strict=True):
        assert grad.ravel() == pytest.approx(wanted, rel=1e-15)


@each_dtype
def test_cosines(dtype, level):
    x1, x2 = np.array([[3, 4], [3, 4], [1, 0], [1, 0]], dtype), np.array([[4, 3], [4, 3], [0, 5], [-2, 0]], dtype)
    losses = fl.cosine_embedding(x1, x2, [1, -1, -1, 1], margin=0.5, reduction="none")
    assert losses == pytest.approx([0.04, 0.46, 0, 2], rel=1e-6)
    assert fl.cosine_distance(x1, x2, reduction="none") == pytest.approx([0.04, 0.04, 1, 2], rel=1e-6)
    assert fl.cosine_distance.grad(x1[:1], x2[:1]).ravel() == pytest.approx([-0.0448, 0.0336], rel=1e-5)


def test_one_sample_without_batch_axes():
    value, (grad, _) = fl.contrastive.value_and_grad(FAR[0], ORIGIN[0], 1)
    assert type(value) is float and value == 12.5 and grad == pytest.approx([3, 4], rel=1e-15)
    losses = fl.cosine_distance(FAR[0], FAR[0], reduction="none")
    assert losses.shape == () and losses == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, np.inf])
def test_a_distance_of_zero_has_no_gradient(p):
    x = np.array([[1.0, 2.0]])
    value, grads = fl.triplet.value_and_grad(x, x, x, p=p, eps=0.0, swap=True)
    assert value == 1 and all(np.all(g == 0) for g in grads)
    for same in (0, 1):
        value, grads = fl.contrastive.value_and_grad(x, x, [same])
        assert value == (1 - same) / 2 and all(np.all(g == 0) for g in grads)


@each_dtype
def test_a_vector_of_zeros_has_a_cosine_of_zero(dtype):
    zero, x = np.zeros((2, 3), dtype), np.ones((2, 3), dtype)
    for a, b in ((zero, x), (x, zero), (zero, zero)):
        value, grads = fl.cosine_embedding.value_and_grad(a, b, [1, -1], margin=-0.5, reduction="none")
        assert value.tolist() == [1, 0.5] and all(np.all(g == 0) for g in grads)


@each_dtype
@pytest.mark.parametrize("exponent", [-300, -150, -40, -22, 0, 18, 37, 150, 300])
def test_cosine_of_vectors_of_any_length(dtype, exponent):
    if not float(np.finfo(dtype).tiny) < 10.0**exponent < float(np.finfo(dtype).max) / 10:
        pytest.skip("beyond the dtype")
    x, y = np.array([[3, 4]], dtype) * dtype(10.0**exponent), np.array([[4, 3]], dtype)
    value, grad = fl.cosine_distance.value_and_grad(x, y)
    assert value == pytest.approx(0.04, rel=1e-6)
    assert grad.ravel() * 10.0**exponent == pytest.approx([-0.0448, 0.0336], rel=1e-5)


@pytest.mark.parametrize("exponent", [-300, -135, -118, -100, 0, 150])
def test_cosine_of_vectors_of_very_different_lengths(exponent, level):
    x, direction = np.array([[3e200, 1e200]]), np.array([[3.0, 1.0], [3.0, 1.1], [-3.0, -1.1]])
    for y, expected in zip(direction, (0, 0.00044084153889761, 2 - 0.00044084153889761), strict=True):
        value, grad = fl.cosine_distance.value_and_grad(x, y[None] * 10.0**exponent)
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-30)
        assert np.all(np.abs(grad) <= 1e-200)


@each_dtype
@pytest.mark.parametrize("x", [np.nan, np.inf])
@pytest.mark.parametrize("label", [1, -1])
def test_cosine_of_no_number_with_a_vector_of_zeros(dtype, x, label):
    value, grads = fl.cosine_embedding.value_and_grad(np.array([[x, 1]], dtype), np.zeros((1, 2), dtype), [label])
    assert np.isnan(value) and np.all(np.isnan(grads))


@pytest.mark.parametrize("x", [[1e10, 7e-38], [1e3, 3e-37], [1e290, 6.6e-262], [1e-300, 1e-308]])
def test_gradients_of_elements_that_are_tiny_beside_others(x, level):
    x = np.array([x], np.float32 if 1 < x[0] < 1e20 else np.float64)
    assert_same_bits(fl.contrastive.grad(x, np.zeros_like(x), [1])[0], x)


@each_dtype
@pytest.mark.parametrize("exponent", [-300, -150, -40, -22, 0, 18, 37, 150, 300])
@pytest.mark.parametrize("p", [1.0, 2.0, 2.5, np.inf])
def test_distances_of_any_size(dtype, exponent, p):
    if not float(np.finfo(dtype).tiny) < 10.0**exponent < float(np.finfo(dtype).max) / 10:
        pytest.skip("beyond the dtype")
    unit = dtype(10.0**exponent)
    a, b, c = FAR.astype(dtype) * unit, ORIGIN.astype(dtype), np.array([[0, 1]], dtype) * unit
    distance = {1.0: 7.0, 2.0: 5.0, 2.5: (3**2.5 + 4**2.5) ** 0.4, np.inf: 4.0}[p]
    other = {1.0: 6.0, 2.0: 18**0.5, 2.5: 3 * 2**0.4, np.inf: 3.0}[p]
    value, grads = fl.triplet.value_and_grad(a, b, c, p=p, eps=0.0, margin=0.0)
    assert value / float(unit) == pytest.approx(distance - other, rel=1e-5)
    wanted = fl.triplet.grad(FAR, ORIGIN, np.array([[0.0, 1.0]]), p=p, eps=0.0, margin=0.0)
    for grad, expected in zip(grads, wanted, strict=True):
        assert grad.ravel() == pytest.approx(expected.ravel(), rel=1e-5, abs=1e-6)


def test_what_does_not_count_may_be_infinite():
    inf = np.array([[np.inf, 0.0]])
    value, grads = fl.triplet.value_and_grad(ORIGIN, FAR, inf)
    assert value == 0 and all(np.all(g == 0) for g in grads)
    value, grads = fl.contrastive.value_and_grad(inf, FAR, [0])
    assert value == 0 and all(np.all(g == 0) for g in grads)


@each_dtype
def test_nearly_parallel_vectors(dtype):
    """1 - cosine is about half of the squared angle, far below the spacing of numbers close to 1."""
    angle = np.array([1e-3, 1e-6, 1e-10 if dtype is np.float64 else 1e-9])
    x = np.stack([np.ones(3), np.zeros(3)], axis=1).astype(dtype)
    y = np.stack([np.ones(3), angle], axis=1).astype(dtype)
    exact = y[:, 1].astype(float) ** 2 / 2 * (1 - 0.75 * angle**2)
    assert_close(
        fl.cosine_distance(x, y, reduction="none"),
        exact.astype(dtype),
        1e6 * np.finfo(float).eps / np.finfo(dtype).eps + 4,
    )
    value, grad = fl.cosine_distance.value_and_grad(x, -y, reduction="none")
    assert value == pytest.approx([2, 2, 2])
    assert np.abs(grad) == pytest.approx(np.abs(fl.cosine_distance.grad(x, y, reduction="none")), abs=1e-15)


@pytest.mark.parametrize("lengths", [(1, 1), (1e-18, 1e18), (1e-30, 1e-20), (1e20, 1e30)])
@pytest.mark.parametrize("dimension", [3, 32, 45, 1500])
def test_cosines_of_float32_at_any_angle(dimension, lengths, level):
    """As close to float64 as float32 can be: how gradients are found depends on angles and lengths."""
    rng = np.random.default_rng(dimension)
    x, y = rng.standard_normal((2, 200, dimension))
    y = np.cos(angle := np.geomspace(1e-6, 3, 200)[:, None]) * x + np.sin(angle) * y
    x, y = ((v * scale).astype(np.float32) for v, scale in zip((x, y), lengths, strict=True))
    label = np.where(np.arange(200) % 3 == 0, -1, 1)
    values, grads = fl.cosine_embedding.value_and_grad(x, y, label, reduction="none")
    wanted, slopes = fl.cosine_embedding.value_and_grad(x.astype(float), y.astype(float), label, reduction="none")
    assert values == pytest.approx(wanted, rel=1e-7, abs=1e-15)
    for grad, slope in zip(grads, slopes, strict=True):
        largest = np.max(np.abs(slope), axis=1, keepdims=True)
        kept = (largest < 1e37) & (largest > 1e-30)
        error = np.abs(grad.astype(float) - slope) - 3e-7 * np.abs(slope) - 1e-9 * largest
        assert np.all(error[kept[:, 0]] <= 1e-44)


def test_margin_ranking(level):
    x1, x2, label = np.array([1.0, 1.0, 2.0, 2.0]), np.array([2.0, 2.0, 2.0, 1.0]), [1, -1, 1, 1]
    value, grads = fl.margin_ranking.value_and_grad(x1, x2, label, reduction="none")
    assert value.tolist() == [1, 0, 0, 0]  # and 0 at the kink
    assert [g.tolist() for g in grads] == [[-1, 0, 0, 0], [1, 0, 0, 0]]
    assert fl.margin_ranking(x1, x2, label, margin=1.5, reduction="none").tolist() == [2.5, 0.5, 1.5, 0.5]


def test_hinge_embedding(level):
    x = np.array([-1.0, 2.0, 0.5, 1.0, 3.0])
    value, grad = fl.hinge_embedding.value_and_grad(x, [1, 1, -1, -1, -1], reduction="none")
    assert value.tolist() == [-1, 2, 0.5, 0, 0]
    assert grad.tolist() == [1, 1, -1, 0, 0]


def test_shapes():
    x, y = np.zeros((3, 4)), np.zeros((3, 5))
    with raises(ValueError, "positive must have the shape of anchor, (3, 4), not (3, 5)"):
        fl.triplet(x, y, x)
    with raises(ValueError, "negative must have the shape of anchor, (3, 4), not (3, 5)"):
        fl.triplet(x, x, y)
    with raises(ValueError, "same must have the shape of x1 without the last axis, (3,), not (3, 1)"):
        fl.contrastive(x, x, np.ones((3, 1)))
    with raises(ValueError, "pred must hold vectors along its last axis, and is 0-dimensional"):
        fl.cosine_distance(1.0, 1.0)
    with raises(ValueError, "x1 must hold vectors of at least one element, and has shape (3, 0)"):
        fl.cosine_embedding(x[:, :0], x[:, :0], np.ones(3))
    with raises(ValueError, "x2 must have the shape of x1, (3, 4), not (3,)"):
        fl.margin_ranking(x, x[:, 0], np.ones((3, 4)))
    with raises(ValueError, "label must have the shape of x, (3, 4), not (3,)"):
        fl.hinge_embedding(x, np.ones(3))


@pytest.mark.parametrize("p", [0.5, -1.0, -np.inf, np.nan])
def test_order_of_a_norm(p):
    with pytest.raises(ValueError, match="^p must be "):
        fl.triplet(FAR, FAR, FAR, p=p)


@pytest.mark.parametrize("p", [1024.0, 1100.0, 1e4, 1e9])
def test_norms_of_a_high_order_come_close_to_that_of_infinite_order(p):
    anchor, positive, negative = np.random.default_rng(0).standard_normal((3, 50, 40))
    assert_close(fl.triplet(anchor, positive, negative, p=p), fl.triplet(anchor, positive, negative, p=np.inf), 3e11)
    far = np.eye(3) * 1e-5
    for grad in fl.triplet.grad(far, -far, 2 * far, p=p):
        assert np.all(np.isfinite(grad)) and np.any(grad)


def test_any_type_of_order():
    for p in (np.inf, np.float32(np.inf), float("inf")):
        assert fl.triplet(FAR, ORIGIN, FAR, p=p) == fl.triplet(FAR, ORIGIN, FAR, p=np.inf)
    assert fl.triplet(FAR, ORIGIN, FAR, p=1) == fl.triplet(FAR, ORIGIN, FAR, p=1.0)
    with pytest.raises(TypeError, match="^p must be a real number, not str$"):
        fl.triplet(FAR, FAR, FAR, p="fro")


def test_like_of_gradients():
    """All gradients have the dtype of the first input, whatever that of the others is."""
    grads = fl.triplet.grad(FAR.astype(np.float32), FAR, ORIGIN.astype(int))
    assert all(g.dtype == np.float32 for g in grads)
    assert_close(grads, tuple(like(g, 0) + w for g, w in zip(grads, fl.triplet.grad(FAR, FAR, ORIGIN), strict=True)), 4)
