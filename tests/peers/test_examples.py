"""The examples run. They give what other libraries give, or do what they say."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run():
    """Run the function `main` of an example."""
    if not EXAMPLES.exists():
        pytest.skip("the examples are not here")
    return lambda name: runpy.run_path(str(EXAMPLES / name))["main"]()


def test_the_linear_classifier_has_the_coefficients_of_sklearn(run):
    pytest.importorskip("scipy")
    pytest.importorskip("sklearn")
    assert run("linear_classifier.py") < 1e-4


def test_rows_of_digits_are_read(run, capsys):
    pytest.importorskip("sklearn")
    right, right_length = run("ctc_digits.py")
    assert right > 0.6 and right_length > 0.8
    assert "of unseen rows are read without an error" in capsys.readouterr().out
