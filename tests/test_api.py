"""What a user meets first: names, signatures, help, pickling, types."""

import copy
import importlib.util
import inspect
import pickle
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastloss as fl

LOSSES = {name: getattr(fl, name) for name in fl.__all__ if isinstance(getattr(fl, name), fl.Loss)}
REGULARIZERS = ("l1", "l2", "elastic_net")
COMMON = {"sample_weight": None, "reduction": "mean", "normalizer": None, "out": None}
each_loss = pytest.mark.parametrize("name", LOSSES)


def test_public_names():
    assert sorted(fl.__all__) == list(fl.__all__)
    for name in fl.__all__:
        assert getattr(fl, name).__doc__, f"{name} has no docstring"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", fl.__version__)


#: Losses of whole vectors, whose Hessian is far from diagonal.
OF_ROWS = ("contrastive", "cosine_distance", "cosine_embedding", "triplet")
OF_BATCH = ("batch_hard_triplet", "clip", "info_nce", "nt_xent", "siglip", "supcon")
WITHOUT_HESSIAN = OF_ROWS + OF_BATCH


def methods_of(name):
    return ["grad", "value_and_grad"] + ["grad_and_hess"] * (name not in WITHOUT_HESSIAN)


def inputs_of(name):
    parameters = inspect.signature(LOSSES[name]).parameters
    return [k for k, p in parameters.items() if p.default is p.empty]


@each_loss
def test_signature(name):
    signature = inspect.signature(LOSSES[name])
    *own, sample_weight, reduction, normalizer, out = signature.parameters.values()
    common = {p.name: p.default for p in (sample_weight, reduction, normalizer, out)}
    assert common == (COMMON | {"reduction": "sum"} if name in REGULARIZERS else COMMON)
    for parameter in [p for p in own if p.default is not inspect.Parameter.empty]:
        assert name in REGULARIZERS or parameter.kind is inspect.Parameter.KEYWORD_ONLY
    for method in methods_of(name):
        assert inspect.signature(getattr(LOSSES[name], method)) == signature


@each_loss
def test_help_shows_usage_and_every_parameter(name):
    for shown in (LOSSES[name], *(getattr(LOSSES[name], method) for method in methods_of(name))):
        text = pydoc.plain(pydoc.render_doc(shown))
        for parameter in inspect.signature(LOSSES[name]).parameters:
            assert parameter in text
    assert LOSSES[name].__wrapped__.__doc__.strip().splitlines()[0] in pydoc.plain(pydoc.render_doc(LOSSES[name]))


@each_loss
def test_repr(name):
    inputs = ", ".join(inputs_of(name))
    assert repr(LOSSES[name]).startswith(f"<loss {name}({inputs}, ")
    assert f"reduction={'sum' if name in REGULARIZERS else 'mean'!r}" in repr(LOSSES[name])


@each_loss
def test_docstring_has_an_example_and_explains_every_parameter(name):
    doc = LOSSES[name].__wrapped__.__doc__
    assert ">>> " in doc
    for parameter in set(inspect.signature(LOSSES[name]).parameters) - set(COMMON):
        assert f"\n    {parameter} : " in doc


@each_loss
@pytest.mark.parametrize("keyword", ["want", "loss", "shape", "parameters", "domain", "third", "common", "weight"])
def test_no_other_keyword_gets_through(name, keyword):
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument '{keyword}'$"):
        takes_labels = "ignore_index" in inspect.signature(LOSSES[name]).parameters
        scalars = ("same", "label", "logit_scale", "logit_bias")
        if name not in WITHOUT_HESSIAN:
            scalars = inputs_of(name) if takes_labels else ()
        pred = np.zeros((2, 2) if name in OF_BATCH else 2)
        shapes = {"labels": 2} | dict.fromkeys(scalars, ())
        others = [np.zeros(shapes.get(k, pred.shape), int) for k in inputs_of(name)[1:]]
        LOSSES[name](pred, *others, **{keyword: 1})


@pytest.mark.parametrize("name", WITHOUT_HESSIAN)
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


TYPED = """
import numpy as np
from numpy.typing import NDArray

import fastloss as fl

pred: NDArray[np.float32] = np.zeros((3, 4), np.float32)
target = np.array([0, 1, 2])

value: float = fl.cross_entropy(pred, target)
value, grad = fl.huber.value_and_grad(pred, pred, delta=2.0, reduction="sum", sample_weight=[1.0, 2.0, 3.0])
out: NDArray[np.float32] = fl.mse.grad(pred, pred, out=grad)
grad, hess = fl.binary_cross_entropy_with_logits.grad_and_hess(pred, [[0.5] * 4] * 3, pos_weight=2, alpha=0.25)
losses: NDArray[np.float32] = fl.cross_entropy(
    pred, target, axis=-1, class_weight=[1, 2, 3, 4], ignore_index=-1, label_smoothing=0.1, reduction="none"
)
fl.hinge(1.0, 1, margin=0.5)
fl.mae.value_and_grad([1.0, 2.0], (1, 2), normalizer=2.0)
fl.set_num_threads(fl.get_num_threads())
fl.show_config()
version: str = fl.__version__


def step(loss: fl.Loss[...], p: NDArray[np.float32]) -> float:
    result: float = loss(p, p)
    return result
"""

WRONG = """
import fastloss as fl

fl.huber([1.0], [1.0], detla=1.0)
fl.huber([1.0])
fl.mse([1.0], [1.0], reduction="avg")
fl.cross_entropy.grad([[1.0]], [0], axis="last")
fl.set_num_threads("2")
"""


@pytest.mark.skipif(not importlib.util.find_spec("mypy"), reason="mypy is not installed")
def test_types(tmp_path):
    """A checker passes right calls of the public API, and finds each wrong one."""
    assert Path(fl.__file__).with_name("py.typed").exists()
    (tmp_path / "right.py").write_text(TYPED)
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n")
    root = Path(fl.__file__).parents[1]
    # mypy does not look through every kind of editable install.
    path = {} if root.name == "site-packages" else {"MYPYPATH": str(root)}
    options = ["--config-file=mypy.ini", "--follow-imports=silent"]
    command = [sys.executable, "-m", "mypy", *options, "right.py", "wrong.py"]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": "", **path}, capture_output=True, text=True, timeout=300)
    lines = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [int(line.split(":")[1]) for line in lines if line.startswith("wrong.py")] == [4, 5, 6, 7, 8], done.stdout
    assert len(lines) == 5, done.stdout
