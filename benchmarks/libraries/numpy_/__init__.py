"""NumPy: every loss as a good NumPy user writes it. It is vectorised, stable in the tails, and in place where possible.

There is one file for each public module of fastloss. A function takes the inputs, the parameters and `out`. It returns
the mean loss (the sum, for a penalty) and its gradient or gradients. It may assume ordinary finite input.

The functions have three uses. fastloss is compared with them. They are the NumPy half of the training runs. Called with
a wider dtype, they are the reference that every timed call is checked against.
"""

from collections.abc import Callable
from importlib import import_module

import numpy as np

from ...case import LOSSES, Case
from ...shared_types import Arrays, Call, Result

VERSION = np.__version__


def find(loss: str) -> Callable[..., Result]:
    """Return the function of this name. Its module is named like the public module of the loss."""
    module = LOSSES[loss].__module__.rpartition(".")[2]
    function: Callable[..., Result] = getattr(import_module(f".{module}", __name__), loss)
    return function


def bind(case: Case, inputs: Arrays, threads: int) -> Call:
    function = find(case.loss)
    out = case.outputs(inputs) if case.reuse else None
    return lambda: function(*inputs, out=out, **case.options)
