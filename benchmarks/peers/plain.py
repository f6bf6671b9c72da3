"""NumPy: the baselines."""

import numpy as np

from .. import baselines
from ..cases import Case
from ..types import Arrays, Call
from .ours import outputs

VERSION = np.__version__


def bind(case: Case, inputs: Arrays, threads: int) -> Call:
    function = baselines.find(case.loss)
    out = outputs(case, inputs) if case.reuse else None
    return lambda: function(*inputs, out=out, **case.options)
