"""A case is a loss with parameters; a problem is a case with inputs, to call the loss on and to compare its results."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import fastloss as fl
from fastloss._core.calls.kernels import kernels, supported_levels
from fastloss._core.request.domains import Domain

from . import generators, reference
from .comparing import as_tuple, assert_close

SHAPES = [(), (1,), (37,), (1, 3), (5, 7), (3, 1, 4), (2, 1100)]
#: The shape of the first input, and its class axis.
CLASS_SHAPES = [
    ((4,), 0),
    ((1, 1), 1),
    ((9, 5), -1),
    ((300, 3), 1),
    ((6, 70), 1),
    ((3, 1030), 1),
    ((3, 4, 6), 1),
    ((2, 3, 20), 1),
    ((2, 70, 3), -2),
    ((3, 4, 2), 0),
    ((2, 5, 3, 4), 1),
]
#: Of sequences whose shape says nothing else.
FRAMES = 7
#: Of a sequence of tags. Tests of many classes would take long with as many tags: each meets each other.
STEPS, MOST_TAGS = 3, 70
BATCH_SHAPES = [((1, 1), -1), ((2, 3), -1), ((9, 5), -1), ((40, 70), -1), ((130, 3), -1)]


def levels():
    """Every CPU level of this machine, selected in turn."""
    before = kernels.level
    for level in supported_levels():
        kernels.select(level)
        yield level
    kernels.select(before)


@dataclass(frozen=True)
class Case:
    """A loss with generators of its inputs, by name, and with parameters. Parameters may be generators too.

    What the loss is stands in its declaration. What follows here is not said there, and decides what tests may expect.
    """

    name: str
    inputs: dict[str, Callable]
    parameters: dict[str, Any]
    #: Whether each derivative is right in its own last place, if differences of scores of a sample are exact.
    exact_derivatives: bool = False
    #: Whether a NaN in a vector of the first input reaches the loss of this sample alone, in a batch of vectors.
    own_loss_alone: bool = False

    def __str__(self):
        others = [g.__name__ for g in list(self.inputs.values())[1:]]
        options = [f"{k}={'...' if callable(v) else v}" for k, v in self.parameters.items()]
        return f"{self.name}({', '.join(others + options)})"

    @property
    def loss(self):
        return getattr(fl, self.name)

    @property
    def declaration(self):
        return self.loss.declaration

    @property
    def family(self):
        return self.declaration.family

    @property
    def hessian(self):
        return self.declaration.hessian

    @property
    def differentiable(self):
        """The names of the inputs that have a gradient."""
        return tuple(name for name in self.declaration.differentiable if name in self.inputs)

    @property
    def has_axis(self):
        """Whether the unreduced loss lacks an axis of the first input: that of classes, or of elements of vectors."""
        return self.family != "elementwise"

    @property
    def takes_axis(self):
        """Whether that axis may be any. It is the last one of a loss without the parameter `axis`."""
        return "axis" in inspect.signature(self.loss).parameters

    @property
    def of_classes(self):
        return self.family in ("classes", "terms")

    @property
    def takes_probabilities(self):
        """Whether targets may be probabilities as well as class indices."""
        target = next((x for x in self.declaration.inputs if x.shape == "classes"), None)
        return target is not None and getattr(self.declaration, "takes_probabilities", True)

    @property
    def class_indices(self):
        """Whether the target of this case is class indices."""
        return self.inputs.get("target") in (generators.labels, generators.labels_some_ignored)

    @property
    def of_vectors(self):
        return self.family in ("vectors", "batches")

    @property
    def of_sequences(self):
        """Whether the first input has an axis of frames before the batch, and other inputs have shapes of their own."""
        return self.family == "alignments"

    @property
    def of_chains(self):
        """Whether the first input has an axis of steps before that of classes."""
        return self.family == "chains"

    @property
    def sample_axis(self):
        """The first axis of the batch in the first input."""
        return int(self.of_sequences)

    @property
    def in_batch(self):
        """Whether a loss or a gradient depends on the whole batch."""
        return self.family in ("batches", "trees")

    @property
    def linear(self):
        """Whether the loss is that of the scores of a linear layer."""
        return self.family == "linear"

    @property
    def for_all_samples(self):
        """The names of the inputs that have no axis of samples."""
        shapes = ("rows of classes", "each class", "nodes", "model", "number")
        return [x.name for x in self.declaration.inputs if x.shape in shapes]

    @property
    def of_samples(self):
        """The names of the inputs that hold something for each sample."""
        return [x.name for x in self.declaration.inputs if x.name not in self.for_all_samples]

    @property
    def reductions(self):
        """The reductions that have derivatives. Some gradients are sums over the samples."""
        return ["mean", "sum"] if self.family in ("linear", "trees", "chains") else ["mean", "sum", "none"]

    @property
    def methods(self):
        """The ways to call it. All but "value" are names of methods."""
        return ["value", "grad", "value_and_grad"] + ["grad_and_hess"] * self.hessian

    @property
    def ways(self):
        """The same, and the method that only sums the weights. All check their arguments."""
        return [*self.methods, "normalizer"]

    @property
    def first(self):
        """The name of the first input, which fixes the dtype of the result."""
        return self.declaration.inputs[0].name

    @property
    def domains(self):
        """The domains that the elements of arrays are checked for, by name. Class indices have none, nor logarithms.

        Where some elements are ignored, it depends on the place whether an element is checked.
        """
        unchecked = (generators.labels, generators.labels_some_ignored, generators.log_probabilities)
        return {
            x.name: x.domain
            for x in self.declaration.inputs
            if x.domain != Domain.ANY
            and x.shape != "number"
            and self.inputs[x.name] not in unchecked
            and self.inputs.get("target") is not generators.unit_some_ignored
        }

    @property
    def takes_any_shape(self):
        """Whether no parameter is an array that depends on the shape of the first input."""
        return not any(map(callable, self.parameters.values()))

    def specials(self, dtype):
        """Values of the first input at which things go wrong, within its domain."""
        info = np.finfo(dtype)
        if self.inputs[self.first] is generators.log_probabilities:
            return [0.0, -0.0, -info.smallest_subnormal, -info.tiny / 3, -80.0, -1e30, -info.max / 8, -np.inf]
        if self.inputs[self.first] is generators.inside_unit:
            return [0.0, -0.0, 1.0, info.smallest_subnormal, info.tiny, 1e-30, info.eps, 1 - info.eps / 2]
        huge = 1e30 if dtype == np.float32 else 1e300
        numbers = [0.0, -0.0, info.smallest_subnormal, -info.tiny / 3, huge, -huge, np.inf, -np.inf]
        if self.of_vectors or self.linear or self.of_chains:  # sums of products, or of scores, would exceed float64
            return numbers
        if self.of_sequences:  # sums of logarithms would swallow all other numbers
            numbers[4:6] = 1e3, -1e3
            return numbers
        return [*numbers[:-2], info.max, -info.max, *numbers[-2:]]

    def shape_for(self, shape, axis):
        """The shape and the axis of the first input, for those of a loss with a class axis anywhere.

        The batch of a loss of sequences becomes one axis, behind that of their frames: the first axis, or a new one.
        """
        if not self.has_axis or self.takes_axis:
            return tuple(shape), axis
        *batch, classes = *np.delete(shape, axis).tolist(), shape[axis]
        if self.of_sequences:
            frames, *rest = batch if len(batch) > 1 else (FRAMES, *batch)
            batch = [frames, math.prod(rest)] if rest else [frames]
        elif self.of_chains:
            batch, classes = [*batch, STEPS], min(classes, MOST_TAGS)
        return (*batch, classes), -1

    def problem(self, shape, axis=-1, dtype=np.float64, seed=0):
        rng = np.random.default_rng(seed)
        shape, axis = self.shape_for(shape, axis)
        inputs = {}
        shape_of = generators.shape_of_layer if self.linear else generators.shape_of
        for declared in (x for x in self.declaration.inputs if x.name in self.inputs):
            x = np.asarray(self.inputs[declared.name](rng, shape_of(declared, shape, axis), axis))
            inputs[declared.name] = x.astype(dtype) if x.dtype.kind == "f" else x
        options = {k: v(rng, shape, axis).astype(dtype) if callable(v) else v for k, v in self.parameters.items()}
        if self.takes_axis:
            options["axis"] = axis
        return Problem(self, inputs, options)

    def problems(self, dtype=np.float64):
        """Small inputs of several shapes."""
        shapes = CLASS_SHAPES if self.has_axis else [(shape, -1) for shape in SHAPES]
        if self.in_batch:
            shapes = BATCH_SHAPES
        if not self.takes_any_shape:
            shapes = [(shape, axis) for shape, axis in shapes if shape]
        for seed, (shape, axis) in enumerate(shapes):
            yield self.problem(shape, axis, dtype, seed)

    def small(self, dtype=np.float64):
        """One input with a batch of the shape (6, 5), and the axis of classes or vectors between.

        In-batch losses get (6, 5), and losses of sequences 6 sequences of 5 classes.
        """
        between = self.has_axis and not self.in_batch and not self.of_sequences
        return self.problem((6, 4, 5), 1, dtype) if between else self.problem((6, 5), -1, dtype)


@dataclass(frozen=True)
class Problem:
    """A case with its inputs. `pred` stands for the first of them, whatever its name is."""

    case: Case
    inputs: dict[str, np.ndarray]
    options: dict[str, Any]

    @property
    def pred(self):
        return self.inputs[self.case.first]

    @property
    def target(self):
        return self.inputs.get("target")

    @property
    def differentiated(self):
        """The differentiable inputs in the structure of the gradient: an array, or a tuple if there are several."""
        arrays = tuple(self.inputs[name] for name in self.case.differentiable)
        return arrays if len(arrays) > 1 else arrays[0]

    @property
    def axis(self):
        """The axis that `pred` has and the unreduced loss has not: that of classes, or of the elements of a vector."""
        return self.options.get("axis", -1) % self.pred.ndim if self.case.has_axis else None

    @property
    def classes(self):
        return len(self.inputs["weight"]) if self.case.linear else self.pred.shape[self.axis]

    @property
    def batch(self):
        """The shape of the unreduced loss."""
        shape = self.pred.shape
        without_axis = shape if self.axis is None else shape[: self.axis] + shape[self.axis + 1 :]
        return without_axis[:-1] if self.case.of_chains else without_axis[self.case.sample_axis :]

    def call(self, function, **common):
        """Call the loss or one of its methods. Optional inputs go by name."""
        optional = {x.name for x in self.case.declaration.inputs if x.optional}
        named = {k: x for k, x in self.inputs.items() if k in optional}
        return function(*(x for k, x in self.inputs.items() if k not in optional), **named, **self.options, **common)

    def value(self, **common):
        return self.call(self.case.loss, **common)

    def for_derivatives(self, common):
        """The same arguments, but "sum" in place of "none" if derivatives need a sum of the losses."""
        of_losses = common.get("reduction") == "none" and common.get("normalizer") is None
        return common | {"reduction": "sum"} if of_losses and "none" not in self.case.reductions else common

    def grad(self, **common):
        return self.call(self.case.loss.grad, **self.for_derivatives(common))

    def value_and_grad(self, **common):
        summed = self.for_derivatives(common)
        if summed is common:
            return self.call(self.case.loss.value_and_grad, **common)
        grad = self.grad(**summed)
        common.pop("out", None)
        return self.value(**common), grad

    def grad_and_hess(self, **common):
        return self.call(self.case.loss.grad_and_hess, **common)

    def normalizer(self, **common):
        return self.call(self.case.loss.normalizer, **common)

    def everything(self, **common):
        """The value, the gradient and the diagonal of the Hessian. Each is () if there is none."""
        derivatives = self.grad_and_hess(**common) if self.case.hessian else (self.grad(**common), ())
        return self.value(**common), *derivatives

    def expected(self, **common):
        declaration = self.case.declaration
        common = {"reduction": declaration.reduction} | common
        more = {}
        if declaration.family == "elementwise":
            more["differentiable"] = [k for k, x in enumerate(declaration.inputs) if x.differentiable]
        elif declaration.family == "terms":
            more["mean"] = declaration.mean
        evaluate, definition = getattr(reference, declaration.family), getattr(reference, self.case.name)
        return self.call(partial(evaluate, definition), **common, **more)

    def assert_as_expected(self, ulp=16, each_level=False, **common):
        """Assert that value and derivatives are those of the definition, to `ulp` units in the last place.

        Errors are relative to the sizes that the definition names.
        """
        expected = self.expected(**common)
        for _ in levels() if each_level else [None]:
            self._assert_is(expected, ulp, **common)

    def _assert_is(self, expected, ulp, **common):
        results = dict(zip(("value", "grad", "hess"), self.everything(**common), strict=True))
        assert (type(results["value"]) is float) == (common.get("reduction") != "none")
        self.assert_results(results, expected, ulp)

    def assert_results(self, results, expected, ulp=16):
        """Assert that results, some of "value", "grad" and "hess", are those of the definition."""
        for name, x in results.items():
            wanted, sizes = getattr(expected, name), expected.sizes[("value", "grad", "hess").index(name)]
            of_type = 1.0
            if type(x) is float:  # as exact as the terms that were summed
                of_type = float(np.finfo(self.pred.dtype).eps / np.finfo(float).eps)
            else:
                assert all(part.dtype == self.pred.dtype for part in as_tuple(x))
            assert_close(x, wanted, ulp * of_type, sizes)

    def weight(self, ndim=None, seed=0, whole=()):
        """Random weights for the first `ndim` axes of the batch, a quarter of them 0.

        Axes in `whole` get the length 1.
        """
        rng = np.random.default_rng(seed)
        shape = tuple(1 if k in whole else n for k, n in enumerate(self.batch[:ndim]))
        return rng.uniform(0.1, 3, shape) * (rng.random(shape) < 0.75)

    def with_(self, options=None, **inputs):
        """The same with other inputs or options."""
        if "pred" in inputs:
            inputs = {self.case.first: inputs.pop("pred")} | inputs
        assert inputs.keys() <= self.inputs.keys()
        return replace(self, inputs=self.inputs | inputs, options=self.options if options is None else options)

    def copied(self):
        """The same with copies of the inputs."""
        return replace(self, inputs={k: x.copy() for k, x in self.inputs.items()})

    def each(self, function):
        """The same with a function applied to every input that has an axis of samples, as to take a part of them.

        The function sees the axis of samples in the first place.
        """
        of_samples = self.case.of_samples
        inputs = self.inputs | {self.case.first: self.samples_first(self.pred)}
        inputs = {k: function(x) if k in of_samples and np.ndim(x) else x for k, x in inputs.items()}
        return replace(self, inputs=inputs | {self.case.first: self.samples_first(inputs[self.case.first])})

    def samples_first(self, x):
        """An array in the shape of pred, with the first axis of the batch in front."""
        return np.swapaxes(x, 0, self.case.sample_axis) if np.ndim(x) else x

    def in_batch(self, index):
        """The index into pred for an index into the batch: all classes, and all frames, of these samples."""
        if self.axis is None:
            return index
        index = index if isinstance(index, tuple) else (index,)
        if self.case.of_sequences:
            return slice(None), *index, slice(None)
        return *index[: self.axis], slice(None), *index[self.axis :]
