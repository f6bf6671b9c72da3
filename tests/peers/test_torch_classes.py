"""PyTorch: losses of several classes, and divergences."""

import math

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_close
from tests.losses.support import each_reduction, random
from tests.peers.comparing import assert_agree, torch_value_and_grad

CLASS_SHAPES = pytest.mark.parametrize("shape", [(30, 7), (30, 100), (4, 7, 30), (3, 5, 4, 6)], ids=str)


@each_reduction
@CLASS_SHAPES
def test_cross_entropy_like_torch(torch, reduction, shape):
    theirs = torch.nn.functional.cross_entropy
    rng = np.random.default_rng(0)
    z = 4 * random(*shape)
    classes = shape[1]
    label = rng.integers(0, classes, shape[:1] + shape[2:])
    holes = np.where(rng.random(label.shape) < 0.3, -100, label)
    weight = rng.uniform(0.5, 3, classes)
    for target in (label, holes):
        for options in (
            {},
            {"label_smoothing": 0.2},
            {"class_weight": weight},
            {"class_weight": weight, "label_smoothing": 0.2},
            {"ignore_index": 3, "class_weight": weight},
        ):
            if "ignore_index" in options and target is holes:
                continue
            ours = fl.cross_entropy.value_and_grad(z, target, axis=1, reduction=reduction, **options)
            options = {("weight" if k == "class_weight" else k): v for k, v in options.items()}
            assert_agree(ours, torch_value_and_grad(torch, theirs, z, target, reduction=reduction, **options), 40)


def focal_in_torch(torch, z, target, gamma, weight):
    """The focal loss of several classes, written from its formula."""
    log_p = torch.log_softmax(z, 1)
    if target.ndim < z.ndim:
        target = torch.movedim(torch.nn.functional.one_hot(target, z.shape[1]), -1, 1).to(z.dtype)
    return -torch.tensordot(target * (1 - log_p.exp()) ** gamma * log_p, weight, ([1], [0]))


@CLASS_SHAPES
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 2.7])
def test_softmax_focal_like_torch(torch, shape, gamma):
    rng = np.random.default_rng(0)
    z, t = random(*shape), rng.uniform(0.01, 1, shape)
    t /= t.sum(axis=1, keepdims=True)
    weight = rng.uniform(0.5, 3, shape[1])

    def theirs(z, target):
        return focal_in_torch(torch, z, target, gamma, torch.tensor(weight))

    for target in (t, rng.integers(0, shape[1], shape[:1] + shape[2:])):
        ours = fl.softmax_focal.value_and_grad(z, target, axis=1, gamma=gamma, class_weight=weight, reduction="none")
        assert_agree(ours, torch_value_and_grad(torch, theirs, z, target), 100)


@each_reduction
@CLASS_SHAPES
def test_cross_entropy_of_probabilities_like_torch(torch, reduction, shape):
    theirs = torch.nn.functional.cross_entropy
    rng = np.random.default_rng(0)
    z, t = 4 * random(*shape), rng.random(shape)
    t /= t.sum(axis=1, keepdims=True)
    if reduction == "mean":
        # PyTorch divides by the number of samples whatever the class weights are. The same one-hot target as indices
        # is divided by their weights: we do so for both, so that both give the same number.
        weights = [None]
    else:
        weights = [None, rng.uniform(0.5, 3, shape[1])]
    for weight in weights:
        for smoothing in (0.0, 0.2):
            ours = fl.cross_entropy.value_and_grad(
                z, t, axis=1, reduction=reduction, class_weight=weight, label_smoothing=smoothing
            )
            options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
            assert_agree(ours, torch_value_and_grad(torch, theirs, z, t, **options), 40)


def test_mean_of_one_hot_targets_against_torch(torch):
    functional = torch.nn.functional
    z, label, weight = random(20, 3), np.arange(20) % 3, np.array([1.0, 5.0, 0.5])
    hot = np.eye(3)[label]
    by_index = fl.cross_entropy(z, label, class_weight=weight)
    by_hot = fl.cross_entropy(z, hot, class_weight=weight)
    assert_close(by_hot, by_index, 8)
    z, weight = torch.tensor(z), torch.tensor(weight)
    assert_close(functional.cross_entropy(z, torch.tensor(label), weight=weight).item(), by_index, 20)
    assert abs(functional.cross_entropy(z, torch.tensor(hot), weight=weight).item() - by_index) > 0.1


@each_reduction
@CLASS_SHAPES
def test_nll_like_torch(torch, reduction, shape):
    theirs = torch.nn.functional.nll_loss
    rng = np.random.default_rng(0)
    log_p = np.log(rng.uniform(0.01, 1, shape))
    label = rng.integers(0, shape[1], shape[:1] + shape[2:])
    holes = np.where(rng.random(label.shape) < 0.3, -100, label)
    weights = rng.uniform(0.5, 3, shape[1])
    for target, weight, ignored in [
        (label, None, -100),
        (holes, None, -100),
        (holes, weights, -100),
        (label, weights, 3),
    ]:
        ours = fl.nll.value_and_grad(
            log_p, target, axis=1, reduction=reduction, class_weight=weight, ignore_index=ignored
        )
        options = {"weight": weight, "ignore_index": ignored, "reduction": reduction}
        assert_agree(ours, torch_value_and_grad(torch, theirs, log_p, target, **options))
        p = np.exp(log_p)
        options = {"reduction": reduction, "class_weight": weight, "ignore_index": ignored}
        value, grad = fl.categorical_cross_entropy.value_and_grad(p, target, axis=1, **options)
        assert_agree((value, grad * p), ours)


@each_reduction
@CLASS_SHAPES
def test_divergences_like_torch(torch, reduction, shape):
    functional = torch.nn.functional
    log_p, log_t = (z - np.log(np.exp(z).sum(1, keepdims=True)) for z in 2 * random(2, *shape))
    t = np.exp(log_t)
    t[:, 1] = 0

    def kl(pred, target, log_target):
        terms = functional.kl_div(pred, target, reduction="none", log_target=log_target).sum(1)
        return terms if reduction == "none" else getattr(terms, reduction)()

    for target, log_target in ((t, False), (log_t, True)):
        ours = fl.kl_divergence.value_and_grad(log_p, target, axis=1, reduction=reduction, log_target=log_target)
        assert_agree(ours, torch_value_and_grad(torch, kl, log_p, target, log_target=log_target), 200)

    def js(pred, target):
        m = torch.logaddexp(pred, target) - math.log(2)
        terms = ((target.exp() * (target - m) + pred.exp() * (pred - m)) / 2).sum(1)
        return terms if reduction == "none" else getattr(terms, reduction)()

    theirs = torch_value_and_grad(torch, js, log_p, log_t, by=(0,))
    assert_agree(fl.js_divergence.value_and_grad(log_p, log_t, axis=1, reduction=reduction), theirs, 200)

    def gaussian_kl(mu, log_var):
        normal = torch.distributions.Normal
        terms = torch.distributions.kl_divergence(normal(mu, (log_var / 2).exp()), normal(0, 1)).sum(-1)
        return terms if reduction == "none" else getattr(terms, reduction)()

    theirs = torch_value_and_grad(torch, gaussian_kl, log_p, log_t, by=(0,))
    assert_agree(fl.gaussian_kl.value_and_grad(log_p, log_t, reduction=reduction), theirs, 200)


@each_reduction
def test_multilabel_soft_margin_like_torch(torch, reduction):
    theirs = torch.nn.functional.multilabel_soft_margin_loss
    z, t = 4 * random(40, 7), np.random.default_rng(1).integers(0, 2, (40, 7)).astype(float)
    weight = np.linspace(0.5, 3, 7)
    # Under "mean" PyTorch divides by the number of samples, whatever the class weights are; we divide by the weights.
    for class_weight in (None, weight):
        ours = fl.multilabel_soft_margin.value_and_grad(z, t, class_weight=class_weight, reduction=reduction)
        value, grad = torch_value_and_grad(torch, theirs, z, t, weight=class_weight, reduction=reduction)
        factor = weight.mean() if class_weight is not None and reduction == "mean" else 1
        assert_agree(ours, (value / factor, grad / factor))


def test_kl_divergence_ruled_out_against_torch(torch):
    """0 log 0 is 0. PyTorch gives 0 (-inf) = NaN for a class that neither distribution has."""
    log_q, t = np.array([0.0, -np.inf]), np.array([1.0, 0.0])
    assert np.isnan(torch.nn.functional.kl_div(torch.tensor(log_q), torch.tensor(t), reduction="sum").item())
    assert fl.kl_divergence(log_q, t) == 0


def test_close_distributions_against_torch(torch):
    """The usual formula of the JS divergence rounds to 0, or below, where distributions are close. It is 1.25e-19."""
    log_p = np.log(np.array([0.5, 0.5]))
    log_t = log_p + [1e-9, -1e-9]
    p, t = torch.tensor(log_p), torch.tensor(log_t)
    m = torch.logaddexp(p, t) - math.log(2)
    theirs = ((t.exp() * (t - m) + p.exp() * (p - m)) / 2).sum().item()
    assert not 1e-19 < theirs < 1.5e-19
    assert fl.js_divergence(log_p, log_t) == pytest.approx(1.25e-19, rel=1e-6)


def test_everything_ignored_against_torch(torch):
    """PyTorch divides 0 by 0. Nothing to learn from is a loss of 0, so that one empty batch does not end a training."""
    z, label = random(4, 3), np.full(4, -100)
    assert np.isnan(torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(label)).item())
    assert fl.cross_entropy(z, label) == 0.0


def test_confident_rows_against_torch(torch):
    """PyTorch's log-softmax rounds a loss of 2e-22 to 0."""
    z, label = np.array([[50.0, 0.0]]), np.array([0])
    assert torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(label)).item() == 0
    assert_close(fl.cross_entropy(z, label), np.log1p(np.exp(-50.0)), 4)


def test_masked_classes_with_probabilities_against_torch(torch):
    """0 log 0 is 0: a masked class of probability 0 costs nothing. PyTorch gives 0 * inf = NaN."""
    z, t = np.array([[0.0, -np.inf]]), np.array([[1.0, 0.0]])
    assert np.isnan(torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(t)).item())
    assert fl.cross_entropy(z, t) == 0


@each_reduction
@pytest.mark.parametrize("power", [1, 2])
def test_multiclass_hinge_like_torch(torch, reduction, power):
    """PyTorch divides by the number of classes, and not by the class weights under "mean"."""
    theirs = torch.nn.functional.multi_margin_loss
    for classes in (1, 2, 7, 100, 1500):
        z, label = random(30, classes), np.arange(30) % classes
        weight = None if reduction == "mean" else np.random.default_rng(0).uniform(0.5, 3, classes)
        options = {"margin": 0.75, "reduction": reduction}
        ours = fl.multiclass_hinge.value_and_grad(z, label, power=power, class_weight=weight, **options)
        value, grad = torch_value_and_grad(torch, theirs, z, label, p=power, weight=weight, **options)
        assert_agree(ours, (classes * value, classes * grad), 100)


def test_nan_in_a_margin_loss_against_torch(torch):
    """PyTorch passes over NaN, and calls a model that has diverged perfect."""
    z = np.array([[np.nan, 0.0]])
    assert torch.nn.functional.multi_margin_loss(torch.tensor(z), torch.tensor([1])).item() == 0
    value, grad = fl.multiclass_hinge.value_and_grad(z, [1])
    assert np.isnan(value) and np.isnan(grad).all()


@each_reduction
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.filterwarnings("ignore:.*linear_cross_entropy")  # where the chunked way lacks an option, it says so
def test_linear_cross_entropy_like_torch(torch, reduction, chunked):
    """Both ways of PyTorch: all scores at once, and chunks of them."""
    theirs = torch.nn.functional.linear_cross_entropy
    n, d, c = 50, 6, 9
    x, weight, bias = random(n, d), random(c, d, seed=1), random(c, seed=2)
    rng = np.random.default_rng(0)
    label, of_class = rng.integers(0, c, n), rng.uniform(0.5, 3, c)
    holes = np.where(rng.random(n) < 0.3, -100, label)
    probabilities = rng.dirichlet(np.ones(c), n)
    for target in (label, holes, probabilities):
        for options in ({}, {"label_smoothing": 0.2}, {"class_weight": of_class}):
            if target is probabilities and "class_weight" in options and reduction == "mean":
                continue  # PyTorch divides by the number of samples: see above
            common = {"bias": bias, "reduction": reduction} | options
            if reduction == "none":  # PyTorch's gradients are those of the sum
                grads = fl.linear_cross_entropy.grad(x, weight, target, **common | {"reduction": "sum"})
                ours = fl.linear_cross_entropy(x, weight, target, **common), grads
            else:
                ours = fl.linear_cross_entropy.value_and_grad(x, weight, target, **common)

            def layer(x, w, b, t, reduction=reduction, options=options):
                more = {"label_smoothing": options.get("label_smoothing", 0.0)}
                if "class_weight" in options:
                    more["weight"] = torch.tensor(of_class)
                chunks = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=16) if chunked else None
                return theirs(x, w, t, linear_bias=b, reduction=reduction, options=chunks, **more)

            assert_agree(ours, torch_value_and_grad(torch, layer, x, weight, bias, target, by=(0, 1)), 200)
