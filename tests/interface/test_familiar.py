"""Familiar names of other libraries point the way to ours."""

import inspect

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.request import familiar
from tests.losses.cases import CASES
from tests.losses.support import LOSSES, ONE_OF_EACH, for_each


@pytest.mark.parametrize("name, ours", familiar.NAMES.items())
def test_names(name, ours):
    assert not hasattr(fl, name) and name not in fl.__all__
    assert ours in fl.__all__
    with pytest.raises(AttributeError, match=rf"\b{name}\b.*\b{ours}\b"):
        getattr(fl, name)


def test_an_unknown_name_has_the_usual_error():
    with pytest.raises(AttributeError, match="^module 'fastloss' has no attribute 'no_such_loss'$"):
        _ = fl.no_such_loss


@pytest.mark.parametrize("keyword, ours", familiar.KEYWORDS.items())
def test_keywords(keyword, ours):
    """Every loss with one of our parameters names it, and no loss has the familiar one."""
    parameters = {case.name: inspect.signature(case.loss).parameters for case in CASES}
    assert not any(keyword in names for names in parameters.values())
    for our in ours:
        cases = {case.name: case for case in reversed(CASES) if our in parameters[case.name]}
        assert cases
        for case in cases.values():
            problem = case.small()
            for method in case.ways:
                text = rf"^{case.name}\(\) got an unexpected keyword argument '{keyword}'.*\b{our}\b"
                with pytest.raises(TypeError, match=text):
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
