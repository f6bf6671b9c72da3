"""Names, declarations, signatures, pickling and results."""

import copy
import inspect
import pickle
import re
import typing

import numpy as np
import pytest

import fastloss as fl
from tests.losses.cases import CASES
from tests.losses.support import LOSSES, each_loss, for_each, ways_of

COMMON = {"sample_weight": None, "reduction": "mean", "normalizer": None, "out": None}


def test_public_names():
    modules = [x for x in vars(fl).values() if inspect.ismodule(x) and hasattr(x, "__all__")]
    assert len(modules) == 12
    assert len(set(fl.__all__)) == len(fl.__all__)
    for module in modules:
        assert sorted(module.__all__) == module.__all__ and set(module.__all__) <= set(fl.__all__)
    assert set(LOSSES.values()) <= {getattr(module, name) for module in modules for name in module.__all__}
    for name in fl.__all__:
        assert getattr(fl, name).__doc__, f"{name} has no docstring"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", fl.__version__)


def test_a_star_import_leaves_the_names_of_numpy():
    names = {}
    exec("from numpy import *\nfrom fastloss import *", names)
    assert names["clip"] is np.clip
    assert names["clip_loss"] is fl.clip_loss is fl.clip
    assert "`clip_loss`" in fl.clip.__doc__


@each_loss
def test_declaration(name):
    loss = LOSSES[name]
    parameters = inspect.signature(loss).parameters
    inputs = [x.name for x in loss.declaration.inputs if not x.optional]
    optional = [x.name for x in loss.declaration.inputs if x.optional]
    assert loss.declaration.name == name
    assert list(parameters)[: len(inputs)] == inputs
    for x in loss.declaration.inputs:
        assert parameters[x.name].default is (None if x.optional else inspect.Parameter.empty)
    assert loss.declaration.inputs[0].differentiable and loss.declaration.inputs[0].shape == "pred"
    assert all(parameters[k].default is None for k in optional)
    assert set(loss.declaration.differentiable) <= {*inputs, *optional}
    assert hasattr(loss, "grad_and_hess") == loss.declaration.hessian
    assert parameters["reduction"].default == loss.declaration.reduction


@each_loss
def test_signature(name):
    loss = LOSSES[name]
    signature = inspect.signature(loss)
    *own, sample_weight, reduction, normalizer, out = signature.parameters.values()
    common = {p.name: p.default for p in (sample_weight, reduction, normalizer, out)}
    assert common == COMMON | {"reduction": loss.declaration.reduction}
    for parameter in [p for p in own if p.default is not inspect.Parameter.empty]:
        # The parameters of a penalty, which has one input, may be given by position too.
        assert len(loss.declaration.inputs) == 1 or parameter.kind is inspect.Parameter.KEYWORD_ONLY
    for method in ways_of(loss):
        assert inspect.signature(getattr(loss, method)) == signature


@each_loss
def test_repr(name):
    assert repr(LOSSES[name]) == f"<loss {name}>"
    for method in ways_of(LOSSES[name]):
        assert repr(getattr(LOSSES[name], method)) == f"<method {name}.{method}>"


@for_each({case.name: case for case in reversed(CASES)}.values())
@pytest.mark.parametrize(
    "keyword", ["outputs", "want", "loss", "shape", "parameters", "domain", "third", "common", "kernel"]
)
def test_no_other_keyword_gets_through(case, keyword):
    problem = case.small()
    with pytest.raises(TypeError, match=rf"^{case.name}\(\) got an unexpected keyword argument '{keyword}'$"):
        problem.value(**{keyword: 1})


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if not loss.declaration.hessian])
def test_a_loss_of_vectors_has_no_hessian(name):
    loss = LOSSES[name]
    assert not hasattr(loss, "grad_and_hess") and "grad_and_hess(" not in loss.__doc__
    with pytest.raises(AttributeError, match=f"^{name} has no grad_and_hess: its Hessian is far from diagonal$"):
        _ = loss.grad_and_hess
    with pytest.raises(AttributeError, match="^'Loss' object has no attribute 'hess'$"):
        _ = loss.hess


@each_loss
def test_a_loss_is_one_object(name):
    loss = LOSSES[name]
    assert loss.__name__ == name
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(loss, protocol)) is loss
    assert copy.copy(loss) is loss and copy.deepcopy(loss) is loss
    assert len({loss, LOSSES[name]}) == 1


@each_loss
def test_a_loss_cannot_be_changed(name):
    loss = LOSSES[name]
    for attribute in (*ways_of(loss), "declaration", "new"):
        with pytest.raises(AttributeError, match=f"^<loss {name}> cannot be changed$"):
            setattr(loss, attribute, 1)


@each_loss
def test_type_hints(name):
    """They can be resolved, and name the own parameters of a loss."""
    hints = typing.get_type_hints(LOSSES[name])
    assert list(hints) == [*list(inspect.signature(LOSSES[name]).parameters)[: -len(COMMON)], "return"]


def test_bound_methods_can_be_pickled():
    """So that a process pool can take one."""
    value_and_grad = pickle.loads(pickle.dumps(fl.huber.value_and_grad))
    assert value_and_grad([3.0], [1.0]) == (1.5, [1.0])


def test_results():
    pred, target = np.array([0.0, 3.0], np.float32), [0.5, 1]
    value = fl.huber(pred, target)
    assert type(value) is float and value == 0.8125
    value, grad = fl.huber.value_and_grad(pred, target)
    assert type(value) is float and type(grad) is np.ndarray and grad.dtype == np.float32
    pair = fl.huber.grad_and_hess(pred, target)
    assert type(pair) is tuple and len(pair) == 2
    assert type(fl.huber(0.5, 1)) is float
