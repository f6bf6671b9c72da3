"""A case: one loss with a shape and a dtype, and random data for it. All of it follows from the loss's declaration."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastloss
from fastloss._core.request.domains import Domain
from fastloss._declaration import Declaration, Input

from .shared_types import Array, Arrays

LARGE = 4_000_000  # elements: the arrays no longer fit into the caches of most machines
BLOCK = 100_000  # the data of an elementwise loss, and so its gradient, repeat after this number of elements

#: Every loss, in the order of the public modules.
LOSSES: dict[str, Any] = {
    loss.__name__: loss for name in fastloss.__all__ if isinstance(loss := getattr(fastloss, name), fastloss.Loss)
}

#: Ordinary values of each domain: a function of the generator and the shape.
VALUES: dict[Domain, Callable[[np.random.Generator, Any], Array]] = {
    Domain.ANY: lambda rng, shape: 2 * rng.standard_normal(shape),
    Domain.UNIT_INTERVAL: lambda rng, shape: rng.integers(0, 2, shape),
    Domain.PROBABILITY: lambda rng, shape: rng.uniform(0.01, 0.99, shape),
    Domain.NOT_NEGATIVE: lambda rng, shape: rng.gamma(2, size=shape),
    Domain.SIGN: lambda rng, shape: rng.choice([-1, 1], shape),
    Domain.ZERO_OR_ONE: lambda rng, shape: rng.integers(0, 2, shape),
}

#: The numbers that have a gradient.
NUMBERS = {"logit_scale": 10.0, "logit_bias": -10.0}


def log_softmax(z: Array, axis: int = -1) -> Array:
    return z - np.log(np.exp(z).sum(axis=axis, keepdims=True))


#: Changes the values where a formula expects more than the domains of its inputs say: (values, axis) to values.
ORDINARY: dict[str, Callable[[Arrays, int], Arrays]] = {
    "msle": lambda x, axis: (np.abs(x[0]), np.abs(x[1])),
    "poisson_nll": lambda x, axis: (x[0], np.rint(np.exp(x[1]))),
    "gamma_nll": lambda x, axis: (x[0], np.exp(x[1])),
    "tweedie": lambda x, axis: (x[0], np.exp(x[1])),
    "nll": lambda x, axis: (log_softmax(x[0], axis), x[1]),
    "kl_divergence": lambda x, axis: (log_softmax(x[0], axis), np.exp(log_softmax(x[0][::-1], axis))),
    "js_divergence": lambda x, axis: (log_softmax(x[0], axis), log_softmax(x[1], axis)),
}


@dataclass(frozen=True)
class Case:
    loss: str
    shape: tuple[int, ...]  # of the first input. For a linear layer: samples, length of their vectors, classes
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    allocate: bool = False  # return a new gradient even if the case is large

    @property
    def declaration(self) -> Declaration:
        declaration: Declaration = LOSSES[self.loss].declaration
        return declaration

    @property
    def elementwise(self) -> bool:
        return self.declaration.family == "elementwise"

    @property
    def size(self) -> int:
        if self.declaration.family == "linear":  # scores
            return self.shape[0] * self.shape[-1]
        return math.prod(self.shape)

    @property
    def scale(self) -> str:
        return "small" if self.size <= 1000 else "large" if self.size >= LARGE else "medium"

    @property
    def reuse(self) -> bool:
        """Whether `out` is given to the libraries that take it. A large new array costs a page fault every 4 KiB."""
        return self.scale == "large" and not self.allocate

    @property
    def axis(self) -> int:
        axis: int = self.options.get("axis", -1)
        return axis

    @property
    def differentiable(self) -> tuple[int, ...]:
        """The positions of the inputs that have a gradient."""
        return tuple(i for i, x in enumerate(self.inputs) if x.differentiable)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs of the loss but for optional ones."""
        return tuple(x for x in self.declaration.inputs if not x.optional)

    @property
    def period(self) -> int:
        """The number of elements after which the data of an elementwise loss repeat."""
        return min(self.size, BLOCK)

    @property
    def label(self) -> str:
        if len(self.shape) == 1:
            shape = f"{self.size:,}".replace(",", " ")
        else:
            shape = f"({', '.join(map(str, self.shape))})"
        if "tree" in self.options:
            shape += f", {self.options['tree'].classes} classes"
        return f"{shape} {self.dtype[0]}{np.dtype(self.dtype).itemsize * 8}{', no out' if self.allocate else ''}"

    @property
    def name(self) -> str:
        return f"{self.loss} {self.label}"

    def data(self) -> Arrays:
        """The inputs, drawn from their domains. Class indices and labels of samples are integers."""
        rng = np.random.default_rng(0)
        inputs = self.inputs
        if self.declaration.family == "batches":
            return self._vectors_and_labels(rng, inputs)
        if self.declaration.family == "trees":
            return self._vectors_and_tree(rng)
        if self.declaration.family == "alignments":
            return self._sequences(rng)
        if self.declaration.family == "linear":
            samples, length, classes = self.shape
            x, weight = (rng.standard_normal((n, length)).astype(self.dtype) for n in (samples, classes))
            return x, weight / weight.dtype.type(math.sqrt(length)), rng.integers(classes, size=samples)
        if self.declaration.family == "chains":
            return self._tagged_sequences(rng)
        shape = (self.period,) if self.elementwise else self.shape
        values = tuple(self._values(rng, x, shape) for x in inputs)
        values = ORDINARY.get(self.loss, lambda x, axis: x)(values, self.axis)
        arrays = (v if x.shape == "classes" else v.astype(self.dtype) for v, x in zip(values, inputs, strict=True))
        if not self.elementwise:
            return tuple(arrays)
        return tuple(np.tile(x, self.size // self.period) for x in arrays)

    def _values(self, rng: np.random.Generator, x: Input, shape: tuple[int, ...]) -> Array:
        samples = list(shape)
        classes = samples.pop(self.axis)
        if x.shape == "classes":
            return rng.integers(classes, size=samples)
        return VALUES[x.domain](rng, samples if x.shape == "batch" and not self.elementwise else shape)

    def _sequences(self, rng: np.random.Generator) -> Arrays:
        """Logits (T, N, C), targets of T / 5 labels, and lengths: all sequences are full.

        The logits favour a right alignment, like those of a model in training.
        """
        frames, n, classes = self.shape
        logits = VALUES[Domain.ANY](rng, self.shape)
        targets = rng.integers(1, classes, (n, frames // 5))
        favoured = np.repeat(targets.T, 5, axis=0)
        favoured[::5] = 0
        np.put_along_axis(logits, favoured[:, :, None], 6, axis=2)
        return logits.astype(self.dtype), targets, np.full(n, frames), np.full(n, frames // 5)

    def _vectors_and_labels(self, rng: np.random.Generator, inputs: tuple[Input, ...]) -> Arrays:
        """Unit vectors, of which those of one sample are similar; labels of groups of 16 samples; and numbers."""
        common = rng.standard_normal(self.shape)
        arrays = []
        for i, x in enumerate(inputs):
            if x.shape == "number":
                arrays.append(np.array(NUMBERS[x.name], self.dtype))
            elif x.shape == "batch":
                arrays.append(np.arange(len(common)) // 16)
            else:
                vectors = common + i * rng.standard_normal(self.shape)
                arrays.append((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(self.dtype))
        return tuple(arrays)

    def _vectors_and_tree(self, rng: np.random.Generator) -> Arrays:
        """Vectors, the weights of the inner nodes, and any classes of the tree."""
        samples, length = self.shape
        classes = self.options["tree"].classes
        x, node_weight = (rng.standard_normal((n, length)) / length**0.25 for n in (samples, classes - 1))
        return x.astype(self.dtype), node_weight.astype(self.dtype), rng.integers(classes, size=samples)

    def _tagged_sequences(self, rng: np.random.Generator) -> Arrays:
        """Emissions, tags and transitions."""
        *batch, tags = self.shape
        emissions, transitions = rng.standard_normal(self.shape), rng.standard_normal((tags, tags))
        return emissions.astype(self.dtype), rng.integers(tags, size=batch), transitions.astype(self.dtype)

    def outputs(self, inputs: Arrays) -> Any:
        """Memory for the gradient, or for a tuple of gradients, touched once."""
        out = tuple(np.zeros_like(inputs[k]) for k in self.differentiable)
        return out if len(out) > 1 else out[0]
