"""A type checker passes right calls of the public API, and finds each wrong one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import fastloss as fl

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
total: float = fl.cross_entropy.normalizer(pred, target, class_weight=[1, 2, 3, 4])
fl.clip_loss.grad(pred, pred, 1.0)


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
