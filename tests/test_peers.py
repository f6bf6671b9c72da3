"""Agreement with PyTorch and scikit-learn, where these are installed. Comments say who is right where they differ."""

import numpy as np
import pytest
from losses import assert_close

import fastloss as fl

bce = fl.binary_cross_entropy_with_logits


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape)


# ---------------------------------------------------------------------------------------------------------------------
# PyTorch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def torch_value_and_grad(torch, function, pred, *others, **options):
    """Value and gradient (of the sum, for unreduced losses) by autograd."""
    z = torch.tensor(pred, requires_grad=True)
    tensors = [torch.tensor(x) for x in others]
    options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    value = function(z, *tensors, **options)
    value.sum().backward()
    result = value.detach().numpy()
    return result if result.ndim else float(result), z.grad.numpy()


def assert_agree(ours, theirs, ulp=20):
    for a, b in zip(ours, theirs, strict=True):
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
    ]:
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
    z, label = random(50, 4), np.arange(50) % 4
    softmax = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert_close(fl.cross_entropy(z, label, **options), metrics.log_loss(label, softmax, **options), 200)


def test_like_sklearn_losses():
    losses = pytest.importorskip("sklearn._loss.loss")
    z, t = random(2, 50)
    y = (t > 0).astype(float)
    for ours, theirs, target, factor in [
        (fl.mse, losses.HalfSquaredError(), t, 2),  # half the square
        (fl.mae, losses.AbsoluteError(), t, 1),
        (fl.huber, losses.HuberLoss(delta=1.0), t, 1),
        (bce, losses.HalfBinomialLoss(), y, 1),  # half the deviance is the loss itself
    ]:
        assert_agree(
            ours.value_and_grad(z, target, reduction="none"),
            tuple(factor * x for x in theirs.loss_gradient(target, z)),
        )
    logits, label = random(50, 4), (np.arange(50) % 4).astype(float)
    theirs = losses.HalfMultinomialLoss(n_classes=4).loss_gradient(label, logits)
    assert_agree(fl.cross_entropy.value_and_grad(logits, label.astype(int), reduction="none"), theirs)
