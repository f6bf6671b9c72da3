"""What the tests share: parametrisations, random arrays, and arrays with guards around them."""

import re
import tracemalloc

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.request.domains import Domain

from .cases import CASES
from .comparing import leaves

FLOATS = [np.float32, np.float64]
#: The dtypes of half precision, by their names: bfloat16 comes from the package ml_dtypes, where that is installed.
HALVES = {"float16": np.float16}
try:
    from ml_dtypes import bfloat16
except ImportError:
    pass
else:
    HALVES["bfloat16"] = bfloat16
REDUCTIONS = ["mean", "sum", "none"]
INF, NAN = np.inf, np.nan

#: One case for each loss and kind of inputs, the last one, which has the most parameters.
ONE_OF_EACH = list({(case.name, *case.inputs.values()): case for case in CASES}.values())
#: Every loss by its own name. `clip` has another name in `__all__`.
LOSSES = {x.__name__: x for x in (getattr(fl, name) for name in fl.__all__) if isinstance(x, fl.Loss)}

#: What an error says that an element must be.
EXPECTED = {
    Domain.UNIT_INTERVAL: "in [0, 1]",
    Domain.PROBABILITY: "in [0, 1]",
    Domain.NOT_NEGATIVE: ">= 0",
    Domain.SIGN: "a label -1 or +1 (of 0/1 labels y, make np.where(y, 1, -1))",
    Domain.ZERO_OR_ONE: "0 or 1",
}


#: What an error says of a masked array, behind the name of the argument.
MASKED_WEIGHT = "must not be a masked array"
MASKED = MASKED_WEIGHT + ": fill it, and give ~mask as sample_weight"


def masked_text(name):
    """What an error says of an argument that is a masked array. The hint is for those that hold samples."""
    return f"{name} {MASKED_WEIGHT if name.endswith(('weight', 'bias', 'transitions', 'start', 'end')) else MASKED}"


def for_each(cases, condition=lambda case: True):
    """Run a test once for each case that meets a condition."""
    return pytest.mark.parametrize("case", [case for case in cases if condition(case)], ids=str)


def not_in_batch(case):
    """Whether the loss of a sample depends on no other sample."""
    return not case.in_batch


def without_products(case):
    """Whether the loss needs no matrix products: these round, and need memory."""
    return not case.in_batch and not case.linear


each_case = for_each(CASES)
each_independent_case = for_each(CASES, not_in_batch)
one_of_each = for_each(ONE_OF_EACH)
each_loss = pytest.mark.parametrize("name", LOSSES)
each_dtype = pytest.mark.parametrize("dtype", FLOATS, ids=["float32", "float64"])
each_half = pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
#: Of tests that compare bits alone.
each_precision = pytest.mark.parametrize("dtype", [*HALVES.values(), *FLOATS], ids=[*HALVES, "float32", "float64"])
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
#: Places of a bad element: at both ends, and among many.
each_place = pytest.mark.parametrize("place", [0, 1, 500, -2, -1])
#: One for each way through the kernels: across samples by a transposed tile, along rows, across samples in place.
each_layout = pytest.mark.parametrize("shape", [(40, 5), (9, 100), (3, 5, 30), (3, 600, 3)])


def methods_of(loss):
    """The names of the methods that return derivatives."""
    return ["grad", "value_and_grad"] + ["grad_and_hess"] * loss.declaration.hessian


def ways_of(loss):
    """The names of all methods."""
    return [*methods_of(loss), "normalizer"]


def raises(error, text):
    """Expect an error with exactly this text."""
    return pytest.raises(error, match=f"^{re.escape(text)}$")


def type_name(x):
    """The type of an argument, as errors show it."""
    return "None" if x is None else type(x).__name__


def random(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def random_logits(shape, dtype=np.float64, seed=0):
    """Logits with the classes along axis 1, and class indices."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, shape[1], shape[:1] + shape[2:])
    return 3 * rng.standard_normal(shape).astype(dtype), label


def one_hot(label, classes, dtype=np.float64, axis=1):
    """Class indices as probabilities, with the classes along `axis`."""
    return np.moveaxis(np.eye(classes, dtype=dtype)[label], -1, axis)


def everything(loss, *arguments, **options):
    """Value, gradient and second derivative."""
    return loss(*arguments, **options), *loss.grad_and_hess(*arguments, **options)


def element(loss, pred, target, dtype, **parameters):
    """Value, slope and curvature of one element."""
    pred, target = np.array([pred], dtype), np.array([target], dtype)
    grad, hess = loss.grad_and_hess(pred, target, reduction="none", **parameters)
    return loss(pred, target, reduction="none", **parameters)[0], grad[0], hess[0]


def at(loss, residual, dtype, target=0, **parameters):
    """Value, slope and curvature at a residual, or at a prediction for this target."""
    return element(loss, residual, target, dtype, **parameters)


def up(x, dtype):
    return np.nextafter(dtype(x), dtype(INF))


def down(x, dtype):
    return np.nextafter(dtype(x), dtype(-INF))


class Guarded:
    """Arrays to write results of this structure to, each between guards that nothing may touch."""

    def __init__(self, result, shift=0, guard=32):
        self.memory = []
        self.arrays = self._like(result, guard, shift)
        self.guards = guard + shift, guard - shift

    def _like(self, result, guard, shift):
        if isinstance(result, tuple):
            return tuple(self._like(part, guard, shift) for part in result)
        x = np.asarray(result)
        self.memory.append(np.full(x.size + 2 * guard, 7, x.dtype))
        return self.memory[-1][guard + shift : guard + shift + x.size].reshape(x.shape)

    def assert_untouched(self):
        before, behind = self.guards
        for x in self.memory:
            assert np.all(x[:before] == 7) and np.all(x[len(x) - behind :] == 7)


def peak_of(call):
    """The largest amount of memory that a second call holds, in bytes."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def differences(problem, function, h=1e-6):
    """The slope of each result of `function` of a problem with respect to its own input, by central differences."""
    for k, name in enumerate(problem.case.differentiable):
        x = problem.inputs[name]
        for i in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[i] = h
            up, down = (leaves(function(problem.with_(**{name: x + s}))) for s in (step, -step))
            up, down = (y[0] if len(y) == 1 else y[k] for y in (up, down))
            yield name, i, (up - down) / (2 * h)


def with_reductions_and_weights(case, dtype):
    """Small problems, each with every reduction that has derivatives, and with weights and without."""
    for problem in case.problems(dtype):
        for weight in (None, problem.weight()):
            for reduction in case.reductions:
                yield problem, {"reduction": reduction, "sample_weight": weight}
