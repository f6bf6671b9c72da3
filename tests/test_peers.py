"""Agreement with PyTorch, optax and scikit-learn, where installed. Comments say who is right where they differ."""

import math

import numpy as np
import pytest
from losses import assert_close, leaves

import fastloss as fl

bce = fl.binary_cross_entropy_with_logits


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape)


# ---------------------------------------------------------------------------------------------------------------------
# PyTorch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def torch_value_and_grad(torch, function, pred, *others, by=(), **options):
    """Value and gradient (of the sum, for unreduced losses) by autograd; `by` are others to differentiate by."""
    z = torch.tensor(pred, requires_grad=True)
    tensors = [torch.tensor(x, requires_grad=k in by) for k, x in enumerate(others)]
    options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    value = function(z, *tensors, **options)
    value.sum().backward()
    result = value.detach().numpy()
    grads = [x.grad.numpy() for x in (z, *(tensors[k] for k in by))]
    return result if result.ndim else float(result), tuple(grads) if by else grads[0]


def assert_agree(ours, theirs, ulp=20):
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        assert_close(a, b, ulp, np.max(np.abs(b), initial=0))


REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


@REDUCTIONS
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


@REDUCTIONS
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


@REDUCTIONS
def test_probabilities_like_torch(torch, reduction):
    rng = np.random.default_rng(0)
    p, t = rng.uniform(0.01, 0.99, (2, 40, 7))
    for target in (t, np.round(t)):
        theirs = torch_value_and_grad(torch, torch.nn.functional.binary_cross_entropy, p, target, reduction=reduction)
        assert_agree(fl.binary_cross_entropy.value_and_grad(p, target, reduction=reduction), theirs)


@REDUCTIONS
def test_gaussian_nll_like_torch(torch, reduction):
    p, t = random(2, 40, 7)
    var = np.exp(random(40, 7))
    for full in (False, True):
        options = {"full": full, "reduction": reduction}
        theirs = torch_value_and_grad(torch, torch.nn.functional.gaussian_nll_loss, p, t, var, by=(1,), **options)
        assert_agree(fl.gaussian_nll.value_and_grad(p, t, var, **options), theirs)


@REDUCTIONS
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


CLASS_SHAPES = pytest.mark.parametrize("shape", [(30, 7), (30, 100), (4, 7, 30), (3, 5, 4, 6)], ids=str)


@REDUCTIONS
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
    log_hit = torch.logsumexp(log_p + torch.log(target), 1)
    return -torch.tensordot(target, weight, ([1], [0])) * (1 - log_hit.exp()) ** gamma * log_hit


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


@REDUCTIONS
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


@REDUCTIONS
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


@REDUCTIONS
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


@REDUCTIONS
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


# ---------------------------------------------------------------------------------------------------------------------
# optax


@REDUCTIONS
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


@REDUCTIONS
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


def test_focal_of_soft_labels_against_optax(optax):
    """Both agree for hard labels. For a label in between, optax weighs the cross-entropy -t log p - (1 - t) log(1 - p);
    the formula of the paper, (1 - p_t)^gamma (-log p_t), has the probability p_t that the label is right."""
    z, t = np.array([0.7]), np.array([0.3])
    p = 1 / (1 + np.exp(-z))
    right = p * t + (1 - p) * (1 - t)
    ours = fl.sigmoid_focal(z, t, reduction="none")
    assert_close(ours, -((1 - right) ** 2) * np.log(right), 8)
    theirs = np.asarray(optax.losses.sigmoid_focal_loss(z, t))
    assert_close(theirs, (1 - right) ** 2 * bce(z, t, reduction="none"), 8)
    assert abs(ours - theirs) > 0.005


@REDUCTIONS
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


# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn


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


# ---------------------------------------------------------------------------------------------------------------------
# A batch against a batch


def batch_of_pairs():
    x, y = random(2, 24, 5)
    return x, y, np.arange(24) // 5


@REDUCTIONS
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


def test_batch_losses_like_pytorch_metric_learning(torch):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    x, y, labels = batch_of_pairs()

    def theirs(loss, labels, pred):
        return torch_value_and_grad(torch, lambda z: loss(z, torch.tensor(labels)), pred)

    value, grads = fl.nt_xent.value_and_grad(x, y, temperature=0.2)
    expected = theirs(losses.NTXentLoss(temperature=0.2), np.arange(48) % 24, np.concatenate([x, y]))
    assert_agree((value, np.concatenate(grads)), expected, 100)

    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    value, grad = fl.supcon.value_and_grad(unit, labels, temperature=0.2)
    grad -= np.sum(grad * unit, axis=1, keepdims=True) * unit  # theirs goes through a normalisation
    assert_agree((value, grad), theirs(losses.SupConLoss(temperature=0.2), labels, unit), 100)

    # Theirs averages over triplets that cost something, unless told to average over all that were mined.
    distance = LpDistance(normalize_embeddings=False)
    hinge, miner = (
        losses.TripletMarginLoss(margin=1.0, distance=distance, reducer=MeanReducer()),
        BatchHardMiner(distance=distance),
    )
    expected = theirs(lambda z, y: hinge(z, y, miner(z, y)), labels, 3 * x)
    assert_agree(fl.batch_hard_triplet.value_and_grad(3 * x, labels), expected, 100)


def test_supcon_of_samples_without_positives(torch):
    """They are not counted, and are negatives of the others, in pytorch-metric-learning too."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    x = random(6, 3)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = np.array([0, 0, 1, 1, 2, 3])
    theirs = losses.SupConLoss(temperature=0.5)(torch.tensor(x), torch.tensor(labels)).item()
    assert fl.supcon(x, labels, temperature=0.5) == pytest.approx(theirs, rel=1e-13)


def test_small_losses_of_a_batch(torch):
    """logsumexp - s_ii is right to an ulp of s_ii alone: 0 for what is 6e-18. We keep the positives apart."""
    eye = np.eye(4)
    s = torch.tensor(40 * eye)
    assert torch.nn.functional.cross_entropy(s, torch.arange(4)).item() == 0
    assert fl.clip(eye, eye, 40.0) == pytest.approx(3 * math.exp(-40), rel=1e-14)


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
