"""A call of a loss as plain data, and the arrays that it is made with."""

import importlib.util
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fastloss._core.calls import policy
from fastloss._core.calls.kernels import kernels
from fastloss._core.cpu import threads
from tests.losses import generators, layouts
from tests.losses.cases import LIMITS
from tests.losses.problem import Case

from .memory import Fences, remember

HALVES = ("float16", "bfloat16")[: 1 + bool(importlib.util.find_spec("ml_dtypes"))]
if "bfloat16" in HALVES:
    importlib.import_module("ml_dtypes")  # gives NumPy the name of the dtype


@dataclass(frozen=True)
class Call:
    """A call of a loss. Its arrays are made from `seed`.

    A string in `parameters` is the name of a generator. `layouts` and `dtypes` are by the names of arguments.
    """

    loss: str
    inputs: dict[str, str]  # the names of generators, which are in tests/losses/generators.py
    shape: tuple[int, ...]  # of the first input
    axis: int = -1
    dtype: str = "float64"
    seed: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)
    special: tuple[str, float] | None = None  # an input, and what stands here and there in it
    weights: tuple[int, tuple[int, ...], float, float] | None = None  # axes, those of length 1, share of zeros, unit
    reduction: str = "mean"
    normalizer: float | None = None
    method: str = "value_and_grad"
    # What changes no bit:
    layouts: dict[str, str] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)  # where they hold the same numbers
    out: tuple[str, ...] = ()  # for each array of derivatives: "new", or the input that it is
    hidden: bool = False  # whether elements of weight 0 are nonsense
    at_end: bool = True  # whether arrays end where a page ends, or begin where it begins
    level: str = kernels.level
    threads: int = 1
    past_caches: bool = False

    @property
    def case(self):
        parameters = {k: getattr(generators, x) if isinstance(x, str) else x for k, x in self.parameters.items()}
        return Case(self.loss, {k: getattr(generators, x) for k, x in self.inputs.items()}, parameters)

    @property
    def comparable(self):
        """Whether the definition says what comes out.

        It does not at a parameter's limits, which have tests in families/, nor where sums over classes overflow, nor
        where distances of numbers of few bits differ by exactly the margin, nor where the power of a tiny share of a
        distance takes digits.
        """
        limited = [x for k, x in self.parameters.items() if limit_of(self.loss, k) == ">= 0, or inf"]
        if 0 in limited or np.inf in limited or self.loss == "triplet" and self.dtype in HALVES:
            return False
        if self.special is None or self.case.family == "elementwise" and self.dtype not in HALVES:
            return True
        largest = 6e4 if self.dtype in HALVES or "p" in self.parameters else np.finfo(self.dtype).max
        return not self.case.in_batch and not self.case.linear and abs(self.special[1]) < largest

    def problem(self):
        """The inputs and the parameters, in plain arrays. Those of half precision are float32."""
        half = self.dtype in HALVES
        dtype = np.dtype("float32" if half else self.dtype)
        # Generators of labels need a class if there is no sample.
        made = self.shape if self.case.of_sequences else [n or 1 for n in self.shape]
        problem = self.case.problem(made, self.axis, dtype, self.seed)
        whole = tuple(map(slice, self.shape))
        batch = np.delete(np.array(whole), self.axis) if self.case.has_axis else whole
        whole = batch if self.case.linear else whole
        inputs = problem.inputs
        if self.case.of_chains:
            inputs = problem.each(lambda x: x[tuple(batch)]).inputs
        elif not self.case.of_sequences:
            inputs = problem.each(lambda x: x[tuple((batch if x.dtype.kind == "i" else whole)[: x.ndim])]).inputs
        last = {} if self.case.has_axis else {k: x[: self.shape[-1]] for k, x in problem.options.items() if np.ndim(x)}
        if self.special:
            name, value = self.special
            here = np.random.default_rng(self.seed + 1).random(inputs[name].shape) < 0.2
            inputs[name] = np.where(here, dtype.type(value), inputs[name])
        for name, x in inputs.items():
            x = layouts.repeated(x) if x.ndim and self.layouts.get(name) == "repeated" else x
            with np.errstate(over="ignore"):
                x = x.astype(self.dtype).astype(dtype) if half and x.dtype.kind == "f" else x
            inputs[name] = np.array(x, order="C")
        return problem.with_(problem.options | last, **inputs)

    def common(self, problem):
        """The arguments that every loss takes, without `out`."""
        common = {"reduction": self.reduction, "normalizer": self.normalizer, "sample_weight": None}
        if self.weights:
            ndim, ones, zeros, unit = self.weights
            rng = np.random.default_rng(self.seed)
            shape = [1 if k in ones else n for k, n in enumerate(problem.batch[:ndim])]
            common["sample_weight"] = unit * rng.uniform(0.1, 3, shape) * (rng.random(shape) >= zeros)
        return common

    def arguments(self, problem):
        """The same arguments by name, as the call has them; and the memory that they lie in."""
        fences = Fences(self.at_end)
        arguments = problem.inputs | problem.options | self.common(problem)
        if self.hidden and self.weights:
            hide(problem, arguments)
        for name, x in arguments.items():
            if isinstance(x, np.ndarray):
                half = self.dtype in HALVES and name in problem.inputs and x.dtype.kind == "f"
                x = x.astype(self.dtype) if half else x.astype(same_numbers(x, self.dtypes.get(name, x.dtype)))
                layout = self.layouts.get(name)
                unfit = {"as_list": x.dtype.char not in "?ld", "swapped": half, "as_memoryview": half}
                unfit["repeated"] = x.ndim > 0 and np.any(x != x[:1])
                plain = not x.size or not x.ndim or unfit.get(layout, layout is None)
                arguments[name] = fences.copy(x) if plain else getattr(layouts, layout)(x)
        if self.out:
            names = problem.case.differentiable * len(self.out)  # once more for the second derivatives
            new = (fences.copy(np.full(problem.inputs[k].shape, np.nan, self.dtype)) for k in names)
            pairs = ((x, arguments.get(where, x)) for where, x in zip(self.out, new, strict=False))
            arrays = [given if np.shape(given) == x.shape else x for x, given in pairs]  # a target may lack an axis
            arguments["out"] = structured(arrays, self.method, len(problem.case.differentiable))
        return arguments, fences

    def run(self, arguments):
        """Run on several threads from the first element on, at a CPU level that stays selected."""
        remember(self)
        if self.level != kernels.level:
            kernels.select(self.level)
        loss = self.case.loss
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threads, "_requested", self.threads)
            patch.setattr(policy, "SERIAL", 0 if self.threads > 1 else policy.SERIAL)
            patch.setattr(policy, "STREAM_BYTES", 0 if self.past_caches else policy.STREAM_BYTES)
            return (loss if self.method == "value" else getattr(loss, self.method))(**arguments)


def limit_of(loss, parameter):
    """What a parameter has to be; None if that has tests of its own."""
    return LIMITS.get((loss, parameter), LIMITS.get(parameter))


def structured(arrays, method, gradients):
    """Arrays as `out` takes them."""
    parts = [tuple(arrays[k : k + gradients]) for k in range(0, len(arrays), gradients)]
    parts = tuple(x if gradients > 1 else x[0] for x in parts)
    return parts if method == "grad_and_hess" else parts[0]


def same_numbers(x, dtype):
    """dtype, if it holds the elements of x exactly, and class indices as integers; else that of x."""
    kind = np.dtype(dtype).kind
    with np.errstate(all="ignore"):
        same = x.astype(dtype).astype(x.dtype).tobytes() == x.tobytes()
    return dtype if same and (x.dtype.kind == "f" or kind == "i" or kind == "u" and np.all(x >= 0)) else x.dtype


def counting(problem, weight):
    """Which elements of the unreduced loss have a weight."""
    return np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(problem.batch) - weight.ndim)) != 0, problem.batch)


def hide(problem, arguments):
    """Write nonsense into what has weight 0."""
    counts = counting(problem, arguments["sample_weight"])
    for name in (k for k in problem.inputs if k in problem.case.of_samples):
        x, here = problem.inputs[name], counts
        if problem.case.of_sequences and x.ndim > counts.ndim:
            here = np.broadcast_to(np.expand_dims(counts, -1), x.shape)
        elif problem.case.of_chains:
            here = counts.reshape(counts.shape + (1,) * max(0, x.ndim - counts.ndim))
        elif x.ndim > counts.ndim:
            here = np.broadcast_to(np.expand_dims(counts, problem.axis), x.shape)
        elif x.ndim < counts.ndim:  # an element for several losses
            here = counts.any(axis=tuple(range(x.ndim, counts.ndim)))
        nonsense = [np.nan, np.inf, -7.0] if x.dtype.kind == "f" else [-(2**40), 2**40, -1]
        arguments[name] = np.where(here, x, np.resize(nonsense, x.shape).astype(x.dtype))
