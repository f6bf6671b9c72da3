"""PyTorch: regression, binary losses and losses of vectors."""

import math

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_close
from tests.losses.support import each_reduction, random
from tests.peers.comparing import assert_agree, batch_of_pairs, torch_value_and_grad

bce = fl.binary_cross_entropy_with_logits


@each_reduction
def test_regression_like_torch(torch, reduction):
    functional = torch.nn.functional
    p, t = random(2, 40, 7)
    for ours, theirs, options in [
        (fl.mse, functional.mse_loss, {}),
        (fl.mae, functional.l1_loss, {}),
        (fl.huber, functional.huber_loss, {}),
        (fl.huber, functional.huber_loss, {"delta": 0.4}),
        (fl.smooth_l1, functional.smooth_l1_loss, {}),
        (fl.smooth_l1, functional.smooth_l1_loss, {"beta": 0.4}),
        (fl.smooth_l1, functional.smooth_l1_loss, {"beta": 0}),
        (fl.poisson_nll, functional.poisson_nll_loss, {}),
        (fl.poisson_nll, functional.poisson_nll_loss, {"log_input": False, "eps": 0.25}),
    ]:
        if "eps" in options:
            p, t = np.abs(p), np.abs(t)
        options = options | {"reduction": reduction}
        assert_agree(ours.value_and_grad(p, t, **options), torch_value_and_grad(torch, theirs, p, t, **options))


@each_reduction
def test_binary_cross_entropy_like_torch(torch, reduction):
    theirs = torch.nn.functional.binary_cross_entropy_with_logits
    z, t = 5 * random(40, 7), np.random.default_rng(1).random((40, 7))
    per_class = np.linspace(0.5, 3, 7)
    for target in (t, np.round(t)):
        for pos_weight in (None, per_class):
            options = {"reduction": reduction, "pos_weight": pos_weight}
            assert_agree(
                bce.value_and_grad(z, target, **options), torch_value_and_grad(torch, theirs, z, target, **options)
            )


@each_reduction
def test_probabilities_like_torch(torch, reduction):
    rng = np.random.default_rng(0)
    p, t = rng.uniform(0.01, 0.99, (2, 40, 7))
    for target in (t, np.round(t)):
        theirs = torch_value_and_grad(torch, torch.nn.functional.binary_cross_entropy, p, target, reduction=reduction)
        assert_agree(fl.binary_cross_entropy.value_and_grad(p, target, reduction=reduction), theirs)


@each_reduction
def test_gaussian_nll_like_torch(torch, reduction):
    p, t = random(2, 40, 7)
    var = np.exp(random(40, 7))
    for full in (False, True):
        options = {"full": full, "reduction": reduction}
        theirs = torch_value_and_grad(torch, torch.nn.functional.gaussian_nll_loss, p, t, var, by=(1,), **options)
        assert_agree(fl.gaussian_nll.value_and_grad(p, t, var, **options), theirs)


@each_reduction
def test_logistic_like_torch(torch, reduction):
    z, y = 5 * random(2, 40, 7)
    y = np.sign(y)
    theirs = torch_value_and_grad(torch, torch.nn.functional.soft_margin_loss, z, y, reduction=reduction)
    assert_agree(fl.logistic.value_and_grad(z, y, reduction=reduction), theirs)


def torch_focal(torch):
    """torchvision.ops.sigmoid_focal_loss, written from its formula."""

    def focal(z, t, alpha, gamma):
        p = torch.sigmoid(z)
        right = p * t + (1 - p) * (1 - t)
        weight = 1 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
        ce = torch.nn.functional.binary_cross_entropy_with_logits(z, t, reduction="none")
        return weight * (1 - right) ** gamma * ce

    return focal


def test_focal_like_torchvision(torch):
    z, t = 3 * random(40, 7), np.random.default_rng(1).integers(0, 2, (40, 7)).astype(float)
    t[::2] = np.random.default_rng(2).random(t[::2].shape)
    for alpha, gamma in [(0.25, 2), (None, 2), (0.75, 1), (None, 0.5), (None, 2.7)]:
        options = {"alpha": alpha, "gamma": gamma}
        theirs = torch_value_and_grad(torch, torch_focal(torch), z, t, **options)
        assert_agree(fl.sigmoid_focal.value_and_grad(z, t, reduction="none", **options), theirs)
        on_probabilities = fl.binary_focal(1 / (1 + np.exp(-z)), t, reduction="none", **options)
        assert_agree(on_probabilities, theirs[0], 4000)  # its probability is rounded


def test_saturated_focal_against_torchvision(torch):
    """The root of a difference that is 0 has no slope: PyTorch gives NaN there, and 0 is right."""
    z, t = np.array([40.0, 800.0]), np.ones(2)
    assert np.isnan(torch_value_and_grad(torch, torch_focal(torch), z, t, alpha=None, gamma=0.5)[1]).all()
    value, grad = fl.sigmoid_focal.value_and_grad(z, t, gamma=0.5, reduction="none")
    assert 0 < value[0] < 1e-25 and -1e-25 < grad[0] < 0
    assert value[1] == grad[1] == 0


def test_saturated_probabilities_against_torch(torch):
    """PyTorch keeps the denominator above 1e-12: it holds the gradient of p = 1e-30 at -1e12. It is -1e30."""
    p, t = np.array([1e-30, 0.0, 1.0]), np.array([1.0, 1.0, 0.0])
    theirs = torch_value_and_grad(torch, torch.nn.functional.binary_cross_entropy, p, t, reduction="none")
    value, grad = fl.binary_cross_entropy.value_and_grad(p, t, reduction="none")
    assert_close(value, theirs[0], 2)
    assert theirs[1] == pytest.approx([-1e12, -1e12, 1e12])
    assert_close(grad[:1], np.array([-1e30]), 2)
    assert np.isfinite(grad).all() and grad[1] == -grad[2] < -1e300


def test_full_poisson_nll_against_torch(torch):
    """PyTorch adds Stirling's approximation, for t > 1 alone. We add the constant itself, for every t."""
    t = np.array([0.5, 1.0, 2.0, 20.0])
    theirs = torch.nn.functional.poisson_nll_loss(torch.zeros(4), torch.tensor(t), full=True, reduction="none").numpy()
    ours = fl.poisson_nll(np.zeros(4), t, full=True, reduction="none")
    exact = np.array([1 + math.lgamma(x + 1) for x in t])
    assert_close(ours, exact, 4)
    assert np.all(np.abs(theirs - exact)[[0, 2, 3]] > [0.1, 0.04, 0.004])


def test_gaussian_nll_below_eps_against_torch(torch):
    """There the loss does not depend on var. PyTorch clamps behind autograd's back, and has a gradient by var."""
    p, t, var = np.array([2.0]), np.array([0.0]), np.array([1e-9])
    value, (by_p, by_var) = torch_value_and_grad(torch, torch.nn.functional.gaussian_nll_loss, p, t, var, by=(1,))
    assert by_var[0] < -1e11
    assert_agree(fl.gaussian_nll.value_and_grad(p, t, var), (value, (by_p, np.zeros(1))))


def test_infinite_logits_against_torch(torch):
    """PyTorch gives NaN where an infinite logit agrees with its label: 0 is right."""
    z, t = np.array([np.inf, -np.inf]), np.array([1.0, 0.0])
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(z), torch.tensor(t), reduction="none")
    assert np.isnan(theirs.numpy()).any()
    assert bce(z, t, reduction="none").tolist() == [0, 0]


# ---------------------------------------------------------------------------------------------------------------------
# Losses of vectors, and in-batch losses


@each_reduction
@pytest.mark.parametrize("p", [1.0, 2.0, 3.5, math.inf])
@pytest.mark.parametrize("swap", [False, True])
def test_triplet_like_torch(torch, reduction, p, swap):
    vectors = random(3, 20, 7)
    options = {"reduction": reduction, "p": p, "swap": swap, "margin": 1.5}
    theirs = torch_value_and_grad(
        torch, torch.nn.functional.triplet_margin_loss, *vectors, by=(0, 1), **options, eps=1e-3
    )
    assert_agree(fl.triplet.value_and_grad(*vectors, **options, eps=1e-3), theirs, 100)


def test_ties_of_triplets_like_torch(torch):
    """The largest elements share the gradient of p = inf, and equal distances that of the swap."""
    a, p, n = np.array([[[1.0, -1.0, 0.5]], [[0.0, 0.0, 0.0]], [[1.0, -1.0, 2.0]]])
    for options in ({"p": math.inf}, {"p": 2.0}, {"p": 1.0, "margin": 5.0}):
        options |= {"swap": True, "eps": 0.0}
        theirs = torch_value_and_grad(torch, torch.nn.functional.triplet_margin_loss, a, p, n, by=(0, 1), **options)
        assert_agree(fl.triplet.value_and_grad(a, p, n, **options), theirs)
    near_and_far = np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]]), np.array([[0.0, 2.0]])  # d(a, n) = d(p, n)
    theirs = torch_value_and_grad(
        torch, torch.nn.functional.triplet_margin_loss, *near_and_far, by=(0, 1), swap=True, eps=0.0
    )
    assert_agree(fl.triplet.value_and_grad(*near_and_far, swap=True, eps=0.0), theirs)


@each_reduction
def test_pairs_like_torch(torch, reduction):
    functional = torch.nn.functional
    x1, x2 = random(2, 40, 7)
    sign = np.where(random(40, 7) > 0, 1.0, -1.0)
    for ours, theirs, inputs, by, options in [
        (fl.cosine_embedding, functional.cosine_embedding_loss, (x1, x2, sign[:, 0]), (0,), {}),
        (fl.cosine_embedding, functional.cosine_embedding_loss, (x1, x2, sign[:, 0]), (0,), {"margin": 0.2}),
        (fl.margin_ranking, functional.margin_ranking_loss, (x1, x2, sign), (0,), {}),
        (fl.margin_ranking, functional.margin_ranking_loss, (x1, x2, sign), (0,), {"margin": 0.4}),
        (fl.hinge_embedding, functional.hinge_embedding_loss, (x1, sign), (), {}),
        (fl.hinge_embedding, functional.hinge_embedding_loss, (x1, sign), (), {"margin": 0.4}),
    ]:
        theirs = torch_value_and_grad(torch, theirs, *inputs, by=by, **options, reduction=reduction)
        ulp = 1e5 if ours is fl.cosine_embedding else 20  # PyTorch adds 1e-12 to squared norms
        assert_agree(ours.value_and_grad(*inputs, **options, reduction=reduction), theirs, ulp)


def test_short_vectors_against_torch(torch):
    """A cosine does not depend on lengths: PyTorch's does, once these are below 1e-6."""
    x1, x2 = np.array([[3e-8, 4e-8]]), np.array([[4e-8, 3e-8]])
    value, (grad, _) = fl.cosine_embedding.value_and_grad(x1, x2, [1])
    assert value == pytest.approx(0.04, rel=1e-12) and grad.ravel() == pytest.approx([-4.48e6, 3.36e6], rel=1e-9)
    theirs = torch.nn.functional.cosine_embedding_loss(*map(torch.tensor, (x1, x2, np.ones(1))))
    assert float(theirs) > 0.99


def test_near_vectors_against_torch(torch):
    """1 - cosine of vectors that are nearly parallel is about half of the squared angle; PyTorch's is rounding."""
    x1, x2 = np.array([[1.0, 1e-5]], np.float32), np.array([[1.0, 0.0]], np.float32)
    assert fl.cosine_distance(x1, x2) == pytest.approx(np.float32(1e-5).astype(float) ** 2 / 2, rel=1e-6)
    theirs = torch.nn.functional.cosine_embedding_loss(*map(torch.tensor, (x1, x2, np.ones(1, np.float32))))
    assert not 4e-11 < float(theirs) < 6e-11


def test_distances_beyond_float32_against_torch(torch):
    """Squares of float32 overflow from 1.8e19 on; the distances do not."""
    a, p, n = np.array([[[3e30, 0.0]], [[0.0, 4e30]], [[3e30, 1.0]]], np.float32)
    assert fl.triplet(a, p, n) == pytest.approx(5e30, rel=1e-6)
    assert math.isinf(float(torch.nn.functional.triplet_margin_loss(*map(torch.tensor, (a, p, n)))))


@each_reduction
def test_batch_losses_like_their_definition_in_torch(torch, reduction):
    """Of the sum of the losses for "none": that is what all gradients are of."""
    functional = torch.nn.functional
    x, y, labels = batch_of_pairs()
    own = torch.arange(24)
    total = {"mean": torch.mean, "sum": torch.sum, "none": lambda x: x}[reduction]

    def rows(s):
        return functional.cross_entropy(s, own, reduction="none")

    def pairs(z1, z2):
        z = torch.cat([functional.normalize(z1), functional.normalize(z2)])
        s = (z @ z.T / 0.5).masked_fill(torch.eye(48, dtype=bool), -torch.inf)
        losses = functional.cross_entropy(s, torch.cat([own + 24, own]), reduction="none")
        return (losses[:24] + losses[24:]) / 2

    def sigmoids(x, y, scale, bias):
        return -functional.logsigmoid((2 * torch.eye(24) - 1) * (scale * x @ y.T + bias)).sum(1)

    numbers = np.float64(1.5), np.float64(-2.0)
    for ours, theirs, inputs in [
        (fl.info_nce, lambda x, y: rows(x @ y.T / 0.07), (x, y)),
        (fl.clip, lambda x, y, k: (rows(k * x @ y.T) + rows(k * y @ x.T)) / 2, (x, y, numbers[0])),
        (fl.siglip, sigmoids, (x, y, *numbers)),
        (fl.nt_xent, pairs, (x, y)),
    ]:
        by = range(len(inputs) - 1)
        expected = torch_value_and_grad(torch, lambda *args, f=theirs: total(f(*args)), *inputs, by=by)
        assert_agree(ours.value_and_grad(*inputs, reduction=reduction), expected, 2000)


def test_small_losses_of_a_batch(torch):
    """logsumexp - s_ii is right to an ulp of s_ii alone: 0 for what is 6e-18. We keep the positives apart."""
    eye = np.eye(4)
    s = torch.tensor(40 * eye)
    assert torch.nn.functional.cross_entropy(s, torch.arange(4)).item() == 0
    assert fl.clip(eye, eye, 40.0) == pytest.approx(3 * math.exp(-40), rel=1e-14)
