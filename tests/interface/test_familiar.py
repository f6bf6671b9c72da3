"""Familiar names of other libraries point the way to ours."""

import inspect
import re

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.request import familiar
from tests.losses.cases import CASES
from tests.losses.support import LOSSES, ONE_OF_EACH, for_each, masked_text, one_of_each, raises


@pytest.mark.parametrize("name, ours", familiar.NAMES.items())
def test_names(name, ours):
    assert not hasattr(fl, name) and name not in fl.__all__
    assert ours in fl.__all__
    with pytest.raises(AttributeError, match=rf"\b{name}\b.*\b{ours}\b"):
        getattr(fl, name)


def test_an_unknown_name_has_the_usual_error():
    with pytest.raises(AttributeError, match="^module 'fastloss' has no attribute 'no_such_loss'$"):
        _ = fl.no_such_loss


#: Names of classes, and names that have no entry of their own.
OTHERS = {
    "AbsoluteError": "mae",
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "BinaryCrossentropy": "binary_cross_entropy",
    "BinaryFocalCrossentropy": "binary_focal",
    "CategoricalCrossentropy": "categorical_cross_entropy",
    "CLIPLoss": "clip_loss",
    "CosineEmbeddingLoss": "cosine_embedding",
    "CosineSimilarity": "cosine_distance",
    "CrossEntropyLoss": "cross_entropy",
    "GaussianNLLLoss": "gaussian_nll",
    "HalfSquaredError": "mse",
    "HingeEmbeddingLoss": "hinge_embedding",
    "Huber": "huber",
    "HuberLoss": "huber",
    "KLDivLoss": "kl_divergence",
    "KLDivergence": "kl_divergence",
    "L1Loss": "mae",
    "LogCosh": "log_cosh",
    "MSELoss": "mse",
    "MarginRankingLoss": "margin_ranking",
    "MeanSquaredError": "mse",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin",
    "MultiMarginLoss": "multiclass_hinge",
    "NLLLoss": "nll",
    "PinballLoss": "quantile",
    "PoissonNLLLoss": "poisson_nll",
    "SmoothL1Loss": "smooth_l1",
    "SoftMarginLoss": "logistic",
    "SparseCategoricalCrossentropy": "categorical_cross_entropy",
    "SquaredHinge": "squared_hinge",
    "SupConLoss": "supcon",
    "TripletMarginLoss": "triplet",
    "binary_cross_entropy_with_logits_loss": "binary_cross_entropy_with_logits",
    "focal_loss": "sigmoid_focal",
    "huber_loss": "huber",
    "triplet_margin_loss": "triplet",
}


@pytest.mark.parametrize("name, ours", OTHERS.items())
def test_names_of_classes_and_endings(name, ours):
    with pytest.raises(AttributeError, match=rf"^module 'fastloss' has no attribute '{name}': see fastloss\.{ours}$"):
        getattr(fl, name)
    assert isinstance(getattr(fl, ours), fl.Loss)


@pytest.mark.parametrize("keyword, ours", familiar.KEYWORDS.items())
def test_keywords(keyword, ours):
    """An error names those of our parameters that the loss has. A loss that has none of them gets no hint."""
    assert any(x in inspect.signature(loss).parameters for x in ours for loss in LOSSES.values())
    for case in {case.name: case for case in reversed(CASES)}.values():
        parameters = inspect.signature(case.loss).parameters
        if keyword in parameters:
            continue
        known = [x for x in ours if x in parameters]
        hint = f": {case.name} has {' and '.join(known)}" if known else ""
        problem = case.small()
        for method in case.ways:
            with raises(TypeError, f"{case.name}() got an unexpected keyword argument '{keyword}'{hint}"):
                getattr(problem, method)(**{keyword: 1})


def test_some_entries():
    assert familiar.NAMES["kl_div"] == "kl_divergence"
    assert "class_weight" in familiar.KEYWORDS["weight"]
    with pytest.raises(AttributeError, match=r"\bkl_divergence\b"):
        _ = fl.kl_div
    with pytest.raises(TypeError, match=r"\bclass_weight\b"):
        fl.cross_entropy(np.zeros((2, 3)), [0, 1], weight=np.ones(3))


@for_each(ONE_OF_EACH, lambda case: case.takes_axis and case.inputs["target"].__name__ == "labels")
def test_class_indices_for_another_class_axis(case):
    """Classes along axis 1, as in PyTorch, without saying so."""
    problem = case.problem((2, 5, 3, 4), 1)
    options = {k: v for k, v in problem.options.items() if k not in ("axis", "class_weight")}
    with pytest.raises(ValueError, match=r"^target must have shape \(2, 5, 3\).*, not \(2, 3, 4\).*\baxis=1\b"):
        problem.with_(options).value()


def test_every_loss_is_its_own_name():
    assert not familiar.NAMES.keys() & LOSSES.keys()


def test_names_need_no_second_entry():
    for name in familiar.NAMES:
        assert name == "l2_loss" or not name.endswith("_loss") or name.removesuffix("_loss") not in familiar.NAMES
        assert name.removesuffix("_loss") not in LOSSES or name in ("l1_loss", "l2_loss")


# ---------------------------------------------------------------------------------------------------------------------
# Every hint, followed to the letter


def error_of(call):
    with pytest.raises((TypeError, ValueError, AttributeError)) as error:
        call()
    return str(error.value)


@pytest.mark.parametrize("labels", [[0, 1, 1], np.array([0, 1, 1], np.uint8), np.array([False, True, True])], ids=repr)
def test_hint_for_labels_0_and_1(labels):
    y, scores = labels, np.array([0.5, 0.25, -2.0])
    text = error_of(lambda: fl.hinge(scores, y))
    assert text == f"target[0] = {np.asarray(y)[0]} is not a label -1 or +1 (of 0/1 labels y, make np.where(y, 1, -1))"
    made = eval(re.search(r"make (.*)\)$", text)[1], {"np": np, "y": y})
    assert fl.hinge(scores, made, reduction="none").tolist() == [1.5, 0.75, 3.0]


@one_of_each
def test_hint_for_masked_arrays(case):
    """The mask of the first sample. A sample with several elements is masked if one of them is."""
    problem = case.small()
    for name, x in problem.inputs.items():
        if np.ndim(x) == 0:
            continue
        masked = np.ma.masked_array(x, np.zeros(x.shape, bool))
        masked[problem.in_batch(0) if name == case.first else 0] = np.ma.masked
        text = error_of(problem.with_(**{name: masked}).value)
        assert text == masked_text(name)
        if not text.endswith("as sample_weight"):
            continue
        mask = masked.mask
        if case.of_sequences:
            mask = (problem.samples_first(mask) if name == case.first else mask).reshape(*problem.batch, -1).any(1)
        elif case.of_chains:
            mask = mask.any(tuple(range(len(problem.batch), mask.ndim)))
        elif case.has_axis and x.shape != problem.batch:
            mask = mask.any(problem.axis)
        if problem.batch[: mask.ndim] == mask.shape:
            followed = problem.with_(**{name: masked.filled(1)}).value(sample_weight=~mask)
            assert followed == problem.value(sample_weight=~mask)


def test_hint_for_class_weights():
    z, y = np.array([[0.5, -1.0], [2.0, 0.0]]), [0, 1]
    weight = {0: 1.0, 1: 3.0}
    text = error_of(lambda: fl.cross_entropy(z, y, class_weight=weight))
    assert text == "class_weight must be an array of 2 weights in class order, not dict"
    assert fl.cross_entropy(z, y, class_weight=[weight[c] for c in sorted(weight)]) > 0


def test_hint_for_an_axis():
    z, y = np.zeros((2, 5, 3, 4), np.float32), np.zeros((2, 3, 4), int)
    text = error_of(lambda: fl.cross_entropy(z, y))
    axis = int(re.search(r": it would fit axis=(\d)$", text)[1])
    assert fl.cross_entropy(z, y, axis=axis) == pytest.approx(np.log(5))
    # Other dtypes are no class indices, so no axis would help.
    assert "axis" not in error_of(lambda: fl.cross_entropy(z, y.astype(float)))


def test_hints_that_two_arguments_go_together():
    x = np.zeros(3)
    assert error_of(lambda: fl.mse(x, x, out=x)).startswith("out goes with grad, value_and_grad and grad_and_hess")
    for method in (fl.mse.grad, fl.mse.value_and_grad):
        method(x, x, out=np.empty(3))
    fl.mse.grad_and_hess(x, x, out=(np.empty(3), np.empty(3)))
    assert error_of(lambda: fl.mse(x, x, reduction="sum", normalizer=2)).startswith(
        "normalizer goes with reduction='mean'"
    )
    assert fl.mse(x, x, reduction="mean", normalizer=2) == 0
    z = np.zeros((3, 2))
    assert error_of(lambda: fl.nll(z, z, ignore_index=1)).startswith("ignore_index goes with class indices")
    assert fl.nll(z, [0, 1, 1], ignore_index=1) == 0


@one_of_each
def test_hint_for_the_shape_of_weights(case):
    problem = case.small()
    text = error_of(lambda: problem.value(sample_weight=np.ones((7, 7))))
    shape = eval(re.search(r"the shape of the loss, (\(.*?\))", text)[1])
    for k in range(1, len(shape) + 1):
        assert problem.value(sample_weight=np.ones(shape[:k])) == pytest.approx(problem.value())


@one_of_each
def test_hint_for_out(case):
    problem = case.small()
    for method in case.methods[1:]:
        call = getattr(problem, method)
        text = error_of(lambda call=call: call(out=3))
        found = re.match(r"out must be a tuple of (\d) (arrays|tuples of arrays)$", text)
        one = np.empty_like(problem.pred)
        if not found:
            assert text == "out must be a NumPy array, not int"
            assert call(out=one) is not None
        elif found[2] == "arrays" and method != "grad_and_hess":
            likes = problem.differentiated
            assert len(likes) == int(found[1])
            call(out=tuple(np.empty(x.shape, problem.pred.dtype) for x in likes))


def test_hint_for_a_missing_method():
    assert error_of(lambda: fl.clip.grad_and_hess) == "clip has no grad_and_hess: its Hessian is far from diagonal"
