"""A call of a loss as plain data, whose repr is the call again, and how the arrays of it are made."""

import contextlib
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from fastloss._core.calls import policy
from fastloss._core.calls.kernels import kernels
from fastloss._core.cpu import threads as cpu_threads
from tests.losses import generators, layouts
from tests.losses.comparing import leaves, like
from tests.losses.generators import shape_of
from tests.losses.problem import Case, Problem

from .memory import Fences

HIDDEN_LABELS = False
COMMON = ("sample_weight", "reduction", "normalizer", "out")


@dataclass(frozen=True)
class Weights:
    """Random sample weights: for the first `ndim` axes of the loss, of which those in `ones` have length 1."""

    ndim: int
    ones: tuple[int, ...] = ()
    zeros: float = 0.3  # the share of weights that are 0
    unit: float = 1.0

    def array(self, batch, seed):
        rng = np.random.default_rng(seed)
        shape = [1 if k in self.ones else n for k, n in enumerate(batch[: self.ndim])]
        return self.unit * rng.uniform(0.1, 3, shape) * (rng.random(shape) >= self.zeros)


@dataclass(frozen=True, repr=False)
class Call:
    """A call of a loss. All that is left out is the default.

    Arrays are made from `seed`. A string in `parameters` is the name of a generator.
    """

    loss: str
    inputs: dict[str, str]  # the names of the generators, see tests/losses/generators.py
    shape: tuple[int, ...]  # of the first input
    axis: int = -1
    dtype: str = "float64"
    seed: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)
    special: tuple[str, float] | None = None  # an input, and what stands here and there in it
    weights: Weights | None = None
    reduction: str = "mean"
    normalizer: float | None = None
    # What must not matter:
    method: str = "value_and_grad"
    layouts: dict[str, str] = field(default_factory=dict)  # of arguments, see tests/losses/layouts.py
    dtypes: dict[str, str] = field(default_factory=dict)  # of arguments, where they hold the same numbers
    out: tuple[str, ...] | None = None  # for each array of results: "new", or the input that it lies in
    hidden: bool = False  # whether elements of weight 0 are nonsense
    at_end: bool = True  # whether arrays end where a page ends, or begin where it begins
    level: str = ""  # of the CPU; "" for the one in use
    threads: int = 1
    streams: bool = False  # whether gradients go past the caches

    def __repr__(self):
        given = ((x.name, getattr(self, x.name)) for x in fields(self))
        named = (f"{k}={v!r}" for k, v in given if k in ("loss", "inputs", "shape") or v != Call.default(k))
        return f"Call({', '.join(named)})"

    @staticmethod
    def default(name):
        declared = Call.__dataclass_fields__[name]
        return declared.default if not callable(declared.default_factory) else declared.default_factory()

    @property
    def case(self):
        def generator(x):
            return getattr(generators, x) if isinstance(x, str) else x

        inputs, parameters = ({k: generator(v) for k, v in x.items()} for x in (self.inputs, self.parameters))
        return Case(self.loss, inputs, parameters)

    @property
    def comparable(self):
        """Whether the definition says what comes out. It does not where sums over classes or vectors overflow."""
        if not self.special or self.case.family == "elementwise":
            return True
        return not self.case.in_batch and abs(self.special[1]) < np.finfo(self.dtype).max

    ulp = 24

    def problem(self):
        """The inputs and the parameters, in plain arrays."""
        case = self.case
        full = case.problem([max(n, 1) for n in self.shape], self.axis, np.dtype(self.dtype), self.seed)
        inputs, options = {}, dict(full.options)
        batch = shape_of_batch(case, self.shape, self.axis)
        for declared in case.declaration.inputs:  # generators of labels need a class, even if there is no sample
            x = full.inputs[declared.name]
            wanted = batch if declared.shape == "classes" and x.ndim == len(batch) else self.shape
            wanted = shape_of(declared, wanted, self.axis)
            inputs[declared.name] = np.ascontiguousarray(x[tuple(map(slice, wanted[: x.ndim]))]).reshape(
                wanted[: x.ndim]
            )
        for name, x in options.items():
            if np.ndim(x) and not case.has_axis:
                options[name] = x[: self.shape[-1]]
        if self.special:
            name, value = self.special
            here = np.random.default_rng(self.seed + 1).random(inputs[name].shape) < 0.2
            inputs[name] = np.where(here, inputs[name].dtype.type(value), inputs[name])
        return Problem(case, inputs, options)

    def common(self, problem):
        """The arguments that every loss takes, without `out`."""
        common = {"reduction": self.reduction}
        if self.weights:
            common["sample_weight"] = self.weights.array(problem.batch, self.seed)
        if self.normalizer is not None:
            common["normalizer"] = self.normalizer
        return common

    @contextlib.contextmanager
    def machine(self, threads=None):
        """Run at the CPU level of the call, in parallel from the first tile on, and in small tiles of a batch."""
        before = cpu_threads._requested, kernels.level, policy.SERIAL, policy.STREAM_BYTES
        if self.level and self.level != kernels.level:
            kernels.select(self.level)
        cpu_threads._requested = threads or self.threads
        policy.SERIAL = 0 if cpu_threads._requested > 1 else before[2]
        policy.STREAM_BYTES = 0 if self.streams and not threads else before[3]
        try:
            yield
        finally:
            cpu_threads._requested, level, policy.SERIAL, policy.STREAM_BYTES = before
            if kernels.level != level:
                kernels.select(level)

    def arguments(self, problem, common):
        """The same arguments by name, in other layouts, other dtypes and fenced memory; and the memory."""
        fences = Fences(self.at_end)
        arguments = problem.inputs | problem.options | common
        if self.hidden and "sample_weight" in common:
            hide(problem, arguments)
        for name, x in arguments.items():
            if name in problem.inputs or isinstance(x, np.ndarray):
                x = np.asarray(x)
                x = x.astype(same_numbers(x, self.dtypes.get(name, x.dtype)))
                layout = self.layouts.get(name)
                if not x.ndim or not x.size or layout == "as_list" and x.dtype.char not in "?ld":
                    layout = None
                arguments[name] = getattr(layouts, layout)(x) if layout else fences.copy(x)
        if self.out:
            grad = problem.differentiated
            structure = (grad, grad) if self.method == "grad_and_hess" else grad
            new = (fences.copy(x) for x in leaves(like(structure)))
            arrays = (x if where == "new" else arguments[where] for x, where in zip(new, self.out, strict=True))
            arguments["out"] = nested(structure, arrays)
        return arguments, fences


def nested(structure, arrays):
    """Arrays from an iterator, in tuples like those of a structure."""
    return tuple(nested(x, arrays) for x in structure) if isinstance(structure, tuple) else next(arrays)


def shape_of_batch(case, shape, axis):
    return tuple(np.delete(shape, axis).tolist()) if case.has_axis else tuple(shape)


def same_numbers(x, dtype):
    """dtype, if it holds the elements of x exactly; else that of x, and of class indices if they were no integers."""
    with np.errstate(all="ignore"):
        same = x.astype(dtype).astype(x.dtype).tobytes() == x.tobytes()
    kind = np.dtype(dtype).kind
    return dtype if same and (x.dtype.kind == "f" or kind == "i" or kind == "u" and np.all(x >= 0)) else x.dtype


def hide(problem, arguments):
    """Write nonsense into what has weight 0."""
    weight = arguments["sample_weight"]
    ignored = np.broadcast_to(
        weight.reshape(weight.shape + (1,) * (len(problem.batch) - weight.ndim)) == 0, problem.batch
    )
    for declared in problem.case.declaration.inputs:
        x = arguments[declared.name]
        if declared.shape == "number":
            continue
        where = ignored
        if x.shape == problem.pred.shape and problem.axis is not None:
            where = np.broadcast_to(np.expand_dims(ignored, problem.axis), x.shape)
        elif x.ndim < ignored.ndim:  # an element for several losses
            where = ignored.all(axis=tuple(range(x.ndim, ignored.ndim)))
        if x.dtype.kind == "i" and not HIDDEN_LABELS:
            continue
        nonsense = [np.nan, np.inf, -7.0] if x.dtype.kind == "f" else [-(2**40), 2**40, -1]
        arguments[declared.name] = np.where(where, np.resize(nonsense, x.shape).astype(x.dtype), x)
