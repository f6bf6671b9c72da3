"""fastloss."""

from typing import Any

import numpy as np

import fastloss

from ..cases import Case
from ..types import Array, Arrays, Call

VERSION = fastloss.__version__


def bind(case: Case, inputs: Arrays, threads: int) -> Call:
    fastloss.set_num_threads(threads)
    value_and_grad = getattr(fastloss, case.loss).value_and_grad
    options: dict[str, Any] = dict(case.options)
    if case.reuse:
        options["out"] = outputs(case, inputs)
    return lambda: value_and_grad(*inputs, **options)


def outputs(case: Case, inputs: Arrays) -> Array | Arrays:
    """Memory for the gradients, touched once."""
    out = tuple(np.zeros_like(inputs[k]) for k in case.differentiable)
    return out if len(out) > 1 else out[0]
