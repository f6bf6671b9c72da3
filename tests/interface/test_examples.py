"""The examples run, and do what they say."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

pytest.importorskip("sklearn", reason="the examples need scikit-learn")
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="needs the repository's folder of examples")


def example(name):
    """What an example defines."""
    return runpy.run_path(str(EXAMPLES / name))


def test_rows_of_digits_are_read(capsys):
    right, right_length = example("ctc_digits.py")["train"]()
    assert right > 0.6 and right_length > 0.8
    assert "of unseen rows are read without an error" in capsys.readouterr().out
