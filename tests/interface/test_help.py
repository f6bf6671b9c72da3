"""What help() and a prompt show."""

import inspect
import pydoc
import re

import pytest

import fastloss as fl
from tests.losses.support import LOSSES, each_loss, ways_of
from tests.machine.processes import run_python

COMMON = ["sample_weight", "reduction", "normalizer", "out"]
SECTIONS = ["Parameters", "Returns", "Notes", "References", "Examples"]


def shown(thing):
    """What help() prints."""
    return pydoc.plain(pydoc.render_doc(thing))


def sections(doc):
    """The headings of a docstring, each of which is underlined."""
    return re.findall(r"^(\w+)\n-+$", doc, re.M)


@each_loss
def test_help_starts_with_the_usage_and_names_every_parameter(name):
    loss = LOSSES[name]
    first = next(iter(inspect.signature(loss).parameters))
    for thing, title in [(loss, name), *((getattr(loss, method), method) for method in ways_of(loss))]:
        text = shown(thing)
        usage = "".join(text.split("\n\n")[1].split())  # since Python 3.13, long ones take a line for each parameter
        assert usage.startswith(f"{title}({first}")
        for parameter in inspect.signature(loss).parameters:
            assert re.search(rf"\b{parameter}\b", usage)
            assert re.search(rf"^ *{parameter} : ", text, re.M)
    assert loss.__doc__.splitlines()[0] in shown(loss)


@each_loss
def test_a_loss_is_a_routine(name):
    """So that help() and documentation tools show its signature and its docstring, and not those of the class."""
    assert inspect.isroutine(LOSSES[name])
    assert all(inspect.isroutine(getattr(LOSSES[name], method)) for method in ways_of(LOSSES[name]))


def test_help_of_the_class():
    text = shown(fl.Loss)
    for method in ("grad", "value_and_grad", "grad_and_hess", "normalizer"):
        assert re.search(rf"^ \|  {method}\(\.\.\.\)$", text, re.M)
    for machinery in ("typing", "Generic", "P.args", "ParamSpec", "cached_property", "help(type(self))"):
        assert machinery not in text


@each_loss
def test_docstring(name):
    doc = inspect.cleandoc(LOSSES[name].__doc__)
    found = sections(doc)
    assert [x for x in found if x in SECTIONS] == SECTIONS
    parameters = doc[doc.index("\nParameters\n---") : doc.index("\nReturns\n---")]
    assert re.findall(r"^(\w+) : ", parameters, re.M) == list(inspect.signature(LOSSES[name]).parameters)
    assert ">>> " in doc[doc.index("\nExamples\n---") :]


def test_the_package_names_every_loss():
    for name in LOSSES:
        assert re.search(rf"\b{name}\b", fl.__doc__), name


@pytest.mark.parametrize("name", [n for n in fl.__all__ if n not in LOSSES])
def test_other_public_names_have_a_docstring(name):
    assert getattr(fl, name).__doc__


def test_losses_work_without_docstrings():
    """As under python -OO."""
    code = "import fastloss as fl; print(fl.mse.__doc__, [getattr(fl.mse, name)([1.0], [3.0]) for name in METHODS])"
    code = code.replace("METHODS", str(ways_of(fl.mse)))
    expected = "None [array([-4.]), (4.0, array([-4.])), (array([-4.]), array([2.])), 1.0]"
    assert run_python(code, PYTHONOPTIMIZE="2") == expected
