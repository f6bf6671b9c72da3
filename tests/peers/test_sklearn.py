"""scikit-learn: its metrics, and the losses that it trains with."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_close
from tests.losses.support import random
from tests.peers.comparing import assert_agree

bce = fl.binary_cross_entropy_with_logits


@pytest.mark.parametrize("weighted", [False, True])
def test_like_sklearn_metrics(weighted):
    metrics = pytest.importorskip("sklearn.metrics")
    p, t = random(2, 50)
    weight = np.random.default_rng(1).random(50) if weighted else None
    options = {"sample_weight": weight}
    assert_close(fl.mse(p, t, **options), metrics.mean_squared_error(t, p, **options), 40)
    assert_close(fl.mae(p, t, **options), metrics.mean_absolute_error(t, p, **options), 40)
    y = (t > 0).astype(int)
    assert_close(fl.hinge(p, 2 * y - 1, **options), metrics.hinge_loss(y, p, **options), 40)
    assert_close(bce(p, y, **options), metrics.log_loss(y, 1 / (1 + np.exp(-p)), **options), 200)
    assert_close(fl.quantile(p, t, q=0.8, **options), metrics.mean_pinball_loss(t, p, alpha=0.8, **options), 40)
    assert_close(fl.mape(p, t, **options), metrics.mean_absolute_percentage_error(t, p, **options), 40)
    sigmoid = 1 / (1 + np.exp(-p))
    assert_close(fl.binary_cross_entropy(sigmoid, y, **options), metrics.log_loss(y, sigmoid, **options), 40)
    assert_close(fl.brier(p, y, **options), metrics.brier_score_loss(y, sigmoid, **options), 200)
    p, t = np.abs(p), np.abs(t)
    assert_close(fl.msle(p, t, **options), metrics.mean_squared_log_error(t, p, **options), 200)
    # Deviances are twice the loss, and 0 where p = t.
    log = np.log(p)
    for loss, pred, best, deviance, own in [
        (fl.poisson_nll, p, t, metrics.mean_poisson_deviance(t, p, **options), {"log_input": False, "eps": 0}),
        (fl.poisson_nll, log, np.log(t), metrics.mean_poisson_deviance(t, p, **options), {}),
        (fl.gamma_nll, log, np.log(t), metrics.mean_gamma_deviance(t, p, **options), {}),
        (fl.tweedie, log, np.log(t), metrics.mean_tweedie_deviance(t, p, power=1.3, **options), {"power": 1.3}),
    ]:
        half = loss(pred, t, **own, **options) - loss(best, t, **own, **options)
        assert_close(2 * half, deviance, 1000)
    z, label = random(50, 4), np.arange(50) % 4
    softmax = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert_close(fl.cross_entropy(z, label, **options), metrics.log_loss(label, softmax, **options), 200)
    assert_close(fl.crammer_singer(z, label, **options), metrics.hinge_loss(label, z, **options), 40)


def test_like_sklearn_losses():
    losses = pytest.importorskip("sklearn._loss.loss")
    z, t = random(2, 50)
    y = (t > 0).astype(float)
    amounts, signs = np.abs(t), 2 * y - 1
    for ours, options, theirs, target, factor in [
        (fl.mse, {}, losses.HalfSquaredError(), t, 2),  # half the square
        (fl.mae, {}, losses.AbsoluteError(), t, 1),
        (fl.huber, {}, losses.HuberLoss(delta=1.0), t, 1),
        (fl.quantile, {"q": 0.3}, losses.PinballLoss(quantile=0.3), t, 1),
        (fl.poisson_nll, {}, losses.HalfPoissonLoss(), amounts, 1),  # half the deviance is the loss itself
        (fl.gamma_nll, {}, losses.HalfGammaLoss(), amounts, 1),
        (fl.tweedie, {}, losses.HalfTweedieLoss(power=1.5), amounts, 1),
        (fl.tweedie, {"power": 1.2}, losses.HalfTweedieLoss(power=1.2), amounts, 1),
        (bce, {}, losses.HalfBinomialLoss(), y, 1),
        (fl.logistic, {}, losses.HalfBinomialLoss(), signs, 1),
        (fl.exponential, {}, losses.ExponentialLoss(), signs, 1),
    ]:
        assert_agree(
            ours.value_and_grad(z, target, reduction="none", **options),
            tuple(factor * x for x in theirs.loss_gradient(y if target is signs else target, z)),
        )
    logits, label = random(50, 4), (np.arange(50) % 4).astype(float)
    theirs = losses.HalfMultinomialLoss(n_classes=4).loss_gradient(label, logits)
    assert_agree(fl.cross_entropy.value_and_grad(logits, label.astype(int), reduction="none"), theirs)


def test_like_sklearn_sgd():
    sgd = pytest.importorskip("sklearn.linear_model._sgd_fast")
    z, t = 2 * random(2, 50)
    y = np.sign(t)
    for ours, options, theirs, target in [
        (fl.hinge, {}, sgd.Hinge(1.0), y),
        (fl.perceptron, {}, sgd.Hinge(0.0), y),
        (fl.squared_hinge, {}, sgd.SquaredHinge(1.0), y),
        (fl.modified_huber, {}, sgd.ModifiedHuber(), y),
        (fl.epsilon_insensitive, {"epsilon": 0.2}, sgd.EpsilonInsensitive(0.2), t),
        (fl.squared_epsilon_insensitive, {"epsilon": 0.2}, sgd.SquaredEpsilonInsensitive(0.2), t),
    ]:
        value, grad = ours.value_and_grad(z, target, reduction="none", **options)
        expected = [(theirs.py_loss(*x), theirs.py_dloss(*x)) for x in zip(z, target, strict=True)]
        assert_agree((value, grad), tuple(np.array(expected).T.copy()))


def test_mape_of_float32_against_sklearn():
    """Where the target is 0, scikit-learn divides by the epsilon of float64 whatever the dtype is; we by its own."""
    metrics = pytest.importorskip("sklearn.metrics")
    p, t = np.array([1.0]), np.array([0.0])
    assert_close(fl.mape(p, t), metrics.mean_absolute_percentage_error(t, p), 2)
    assert fl.mape(p.astype(np.float32), t) == 2.0**23
    assert metrics.mean_absolute_percentage_error(t.astype(np.float32), p.astype(np.float32)) == 2.0**52
