"""optax."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_close
from tests.losses.support import random
from tests.peers.comparing import assert_agree, batch_of_pairs

bce = fl.binary_cross_entropy_with_logits


@pytest.fixture(scope="module")
def optax():
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield optax
    jax.config.update("jax_enable_x64", before)


def jax_value_and_grad(function, pred, *others, **options):
    import jax

    def total(z):
        losses = function(z, *others, **options)
        return losses.sum(), losses

    (_, losses), grad = jax.value_and_grad(total, has_aux=True)(pred)
    return np.asarray(losses), np.asarray(grad)


def test_like_optax(optax):
    z, t = 2 * random(2, 40, 7)
    labels, y = (t > 0).astype(float), np.sign(t)
    for ours, theirs, target, ours_options, options in [
        (fl.mse, optax.squared_error, t, {}, {}),
        (fl.huber, optax.huber_loss, t, {"delta": 0.4}, {"delta": 0.4}),
        (fl.log_cosh, optax.log_cosh, t, {}, {}),
        (bce, optax.sigmoid_binary_cross_entropy, labels, {}, {}),
        (fl.sigmoid_focal, optax.losses.sigmoid_focal_loss, labels, {"gamma": 2.0}, {"gamma": 2.0}),
        (fl.sigmoid_focal, optax.losses.sigmoid_focal_loss, labels, *[{"alpha": 0.25, "gamma": 0.5}] * 2),
        (fl.hinge, optax.losses.hinge_loss, y, {}, {}),
        (fl.perceptron, optax.losses.perceptron_loss, y, {}, {}),
    ]:
        expected = jax_value_and_grad(theirs, z, target, **options)
        assert_agree(ours.value_and_grad(z, target, reduction="none", **ours_options), expected, 40)
    assert_close(fl.l2(z), float(np.sum(optax.l2_loss(z))), 20)


def test_vectors_like_optax(optax):
    a, p, n = random(3, 20, 7)
    ours = fl.cosine_distance.value_and_grad(a, p, reduction="none")
    assert_agree(ours, jax_value_and_grad(optax.cosine_distance, a, p), 100)
    triplet = optax.losses.triplet_margin_loss
    ours = fl.triplet.value_and_grad(a, p, n, eps=0.0, reduction="none")  # optax adds eps to the sum of squares
    value, grad = jax_value_and_grad(triplet, a, p, n, eps=0.0)
    assert_agree((ours[0], ours[1][0]), (value, grad), 100)


def test_poly1_like_optax(optax):
    z, t = 3 * random(40, 7), np.random.default_rng(1).random((40, 7))
    t /= t.sum(axis=1, keepdims=True)
    for epsilon in (-0.5, 1.0, 2.0):
        for target in (t, np.eye(7)[np.arange(40) % 7]):
            theirs = jax_value_and_grad(optax.losses.poly_loss_cross_entropy, z, target, epsilon=epsilon)
            ours = fl.poly1_cross_entropy.value_and_grad(z, target, epsilon=epsilon, reduction="none")
            assert_agree(ours, theirs, 40)


def test_classes_like_optax(optax):
    losses, axis = optax.losses, {"axis": 1}
    z, log_t = (x - np.log(np.exp(x).sum(1, keepdims=True)) for x in 2 * random(2, 12, 7, 3))
    t, labels = np.exp(log_t), np.arange(36).reshape(12, 3) % 7
    t[:, 0, 1:] = 0
    for ours, theirs, target, own, more in [
        (fl.cross_entropy, losses.softmax_cross_entropy, t, {}, {}),
        (fl.cross_entropy, losses.softmax_cross_entropy_with_integer_labels, labels, {}, {}),
        (fl.kl_divergence, losses.kl_divergence, t, {}, {}),
        (fl.kl_divergence, losses.kl_divergence_with_log_targets, log_t, {"log_target": True}, {}),
    ]:
        expected = jax_value_and_grad(theirs, z, target, **axis, **more)
        assert_agree(ours.value_and_grad(z, target, reduction="none", **axis, **own), expected, 40)
    z, labels = z[..., 0], labels[:, 0]
    hot = np.eye(7)[labels]
    expected = losses.softmax_cross_entropy(z, losses.smooth_labels(hot, 0.2))
    assert_agree(fl.cross_entropy(z, labels, label_smoothing=0.2, reduction="none"), np.asarray(expected), 40)
    expected = losses.sigmoid_binary_cross_entropy(z, hot).mean(-1)
    assert_agree(fl.multilabel_soft_margin(z, hot, reduction="none"), np.asarray(expected), 40)


def test_margins_like_optax(optax):
    """Its multiclass_hinge_loss is that of Crammer and Singer, and multiclass_perceptron_loss the same without margin.

    Among classes that are equally close it shares the gradient; we push the first: both are subgradients.
    """
    z, labels = random(40, 7), np.arange(40) % 7
    for theirs, margin in ((optax.losses.multiclass_hinge_loss, 1.0), (optax.losses.multiclass_perceptron_loss, 0.0)):
        expected = jax_value_and_grad(theirs, z, labels)
        assert_agree(fl.crammer_singer.value_and_grad(z, labels, margin=margin, reduction="none"), expected)
    tie = np.array([[0.0, 2.0, 2.0]]), np.array([0])
    assert jax_value_and_grad(optax.losses.multiclass_hinge_loss, *tie)[1].tolist() == [[-1, 0.5, 0.5]]
    assert fl.crammer_singer.grad(*tie).tolist() == [[-1, 1, 0]]


def test_generalized_kl_divergence_against_optax(optax):
    """Its form for predictions that are not normalised adds sum(exp(pred) - t). Ours is the divergence as it is."""
    pred, t = random(10, 5), np.random.default_rng(1).random((10, 5))
    value, grad = fl.kl_divergence.value_and_grad(pred, t, reduction="none")
    expected = value + (np.exp(pred) - t).sum(-1), grad + np.exp(pred)
    theirs = getattr(optax.losses, "generalized_kl_divergence", None) or optax.losses.convex_kl_divergence
    assert_agree(expected, jax_value_and_grad(theirs, pred, t), 40)


def test_masked_classes_with_probabilities_against_optax(optax):
    """0 log 0 is 0. The safe form of optax agrees; the others give NaN."""
    z, t = np.array([[1.0, 0.0, -np.inf]]), np.array([[1.0, 0.0, 0.0]])
    value, grad = fl.cross_entropy.value_and_grad(z, t, reduction="none")
    assert_close(value, np.log1p(np.exp([-1.0])), 4)
    assert_agree((value, grad), jax_value_and_grad(optax.losses.safe_softmax_cross_entropy, z, t))
    assert grad[0, 2] == 0
    assert np.isnan(optax.losses.softmax_cross_entropy(z, t)).all()
    assert np.isnan(optax.losses.kl_divergence(z, t)).all()
    assert fl.kl_divergence(z, t) == -1


def test_log_cosh_of_small_residuals_against_optax(optax):
    """log(2 cosh r) - log 2 has lost r^2 / 2 where that is below the last place of log 2."""
    r = np.array([1e-4, 1e-6], np.float32)
    assert np.all(np.asarray(optax.log_cosh(r)) == 0)
    assert_close(fl.log_cosh(r, np.zeros(2), reduction="none"), (r.astype(float) ** 2 / 2).astype(np.float32), 2)


def test_focal_of_soft_labels_like_optax(optax):
    z, t = 3 * np.random.default_rng(0).standard_normal(100), np.random.default_rng(1).uniform(0.1, 0.9, 100)
    for gamma in (0.0, 1.0, 2.0, 2.7):
        theirs = np.asarray(optax.losses.sigmoid_focal_loss(z, t, gamma=gamma))
        assert_close(fl.sigmoid_focal(z, t, gamma=gamma, reduction="none"), theirs, 100)


def test_nt_xent_like_optax():
    optax = pytest.importorskip("optax")
    jax = pytest.importorskip("jax")
    x, y, _ = batch_of_pairs()
    labels = np.tile(np.arange(24), 2)
    with jax.enable_x64(True):
        theirs = jax.value_and_grad(lambda z: optax.losses.ntxent(z, labels, temperature=0.5))
        value, grad = theirs(jax.numpy.asarray(np.concatenate([x, y])))
        expected = float(value), np.asarray(grad)
    value, grads = fl.nt_xent.value_and_grad(x, y)
    assert_agree((value, np.concatenate(grads)), expected, 100)


def test_ctc_like_optax(optax):
    """Masks in place of lengths, and batches in front."""
    rng = np.random.default_rng(0)
    logits, labels = 2 * random(12, 5, 6), rng.integers(1, 6, (5, 4))
    frames, lengths = np.array([12, 10, 9, 12, 8]), np.array([4, 3, 0, 2, 4])
    paddings = (np.arange(n) >= x[:, np.newaxis] for n, x in ((12, frames), (4, lengths)))

    def losses(z, of_frames, of_labels):
        return optax.ctc_loss(z, of_frames.astype(float), labels, of_labels.astype(float), log_epsilon=-1e12)

    value, grad = jax_value_and_grad(losses, logits.swapaxes(0, 1), *paddings)
    assert_agree(fl.ctc.value_and_grad(logits, labels, frames, lengths, reduction="none"), (value, grad.swapaxes(0, 1)))
