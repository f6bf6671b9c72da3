"""numexpr: a few losses, with one expression for the loss and one for its gradient."""

from typing import Any

import numexpr
import numpy as np

from ..case import Case
from ..shared_types import Arrays, Call

VERSION = numexpr.__version__

#: The loss of an element and its slope. Numbers with a decimal point would turn float32 into float64.
LOSSES = {
    "mse": ("(p - t)**2", "2 * (p - t)"),
    "huber": (
        "where(abs(p - t) < 1, (p - t)**2 / 2, abs(p - t) - half)",
        "where(p - t > 1, 1, where(p - t < -1, -1, p - t))",
    ),
    "log_cosh": ("abs(p - t) + log1p(exp(-2 * abs(p - t))) - ln2", "tanh(p - t)"),
    "poisson_nll": ("exp(p) - t * p", "exp(p) - t"),
    "binary_cross_entropy_with_logits": (
        "where(p > 0, p, 0) - p * t + log1p(exp(-abs(p)))",
        "1 / (1 + exp(-p)) - t",
    ),
}


def bind(case: Case, inputs: Arrays, threads: int) -> Call | None:
    if case.loss not in LOSSES:
        return None
    numexpr.set_num_threads(threads)
    dtype = inputs[0].dtype.type
    constants = {"half": dtype(0.5), "ln2": dtype(np.log(2)), "scale": dtype(1 / case.size)}
    names = dict(zip("pt", inputs, strict=True)) | constants
    loss, slope = LOSSES[case.loss]
    gradient = f"({slope}) * scale"
    losses, grad = np.zeros_like(inputs[0]), case.outputs(inputs)

    def call() -> tuple[Any, Any]:
        numexpr.evaluate(loss, names, {}, out=losses)  # numexpr's own sum() adds one by one in float32
        numexpr.evaluate(gradient, names, {}, out=grad)
        return losses.mean(), grad

    return call
