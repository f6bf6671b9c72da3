"""The list of all losses, with parameters and random inputs from their domains. The property tests run over it.

To add a loss, define it in reference.py and append its cases to CASES below.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import reference

import fastloss as fl

# ---------------------------------------------------------------------------------------------------------------------
# Random inputs: functions of a random generator, the shape of pred and its class axis


def real(rng, shape, axis):
    return 2 * rng.standard_normal(shape)


def unit(rng, shape, axis):
    """Numbers in [0, 1]; a third of them 0, a third 1."""
    return rng.choice([0.0, 1.0, 0.5], shape) * rng.choice([1.0, rng.random()], shape)


def signs(rng, shape, axis):
    return rng.choice([-1.0, 1.0], shape)


def labels(rng, shape, axis):
    return rng.integers(0, shape[axis], np.delete(shape, axis))


def labels_some_ignored(rng, shape, axis):
    return np.where(rng.random(np.delete(shape, axis)) < 0.3, -100, labels(rng, shape, axis))


def probabilities(rng, shape, axis):
    t = rng.random(shape) * (rng.random(shape) < 0.7)
    return t / np.maximum(t.sum(axis, keepdims=True), 1e-3)


def weight_per_class(rng, shape, axis):
    return rng.choice([0.5, 1.0, 2.0, 3.5], shape[axis])


def weight_of_last_axis(rng, shape, axis):
    return rng.uniform(0.5, 4, shape[-1:])


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A loss with a set of parameters; those that are functions are called as the generators above."""

    name: str
    target: Callable = real
    parameters: dict[str, Any] = field(default_factory=dict)
    pred: Callable = real
    has_classes: bool = False
    domain: str | None = None  # what is said of a target outside it
    kinks: bool = False  # whether the second derivative is that of the pieces alone

    def __str__(self):
        options = [f"{k}={'...' if callable(v) else v}" for k, v in self.parameters.items()]
        return f"{self.name}({', '.join([self.target.__name__, *options])})"

    @property
    def loss(self):
        return getattr(fl, self.name)

    def problem(self, shape, axis=-1, dtype=np.float64, seed=0):
        rng = np.random.default_rng(seed)
        pred = np.asarray(self.pred(rng, shape, axis), dtype)
        target = np.asarray(self.target(rng, shape, axis))
        if target.dtype.kind == "f":
            target = target.astype(dtype)
        options = {k: v(rng, shape, axis).astype(dtype) if callable(v) else v for k, v in self.parameters.items()}
        if self.has_classes:
            options["axis"] = axis
        return Problem(self, pred, target, options)

    def problems(self, dtype=np.float64):
        """Small inputs of several shapes."""
        shapes = CLASS_SHAPES if self.has_classes else [(shape, -1) for shape in SHAPES]
        if weight_of_last_axis in self.parameters.values():
            shapes = [(shape, axis) for shape, axis in shapes if shape]
        for seed, (shape, axis) in enumerate(shapes):
            yield self.problem(shape, axis, dtype, seed)

    def small(self, dtype=np.float64):
        """One input with a batch of two axes: (6, 5), and classes in the middle if there are any."""
        return self.problem((6, 4, 5), 1, dtype) if self.has_classes else self.problem((6, 5), -1, dtype)


@dataclass(frozen=True)
class Problem:
    """A case with its inputs."""

    case: Case
    pred: np.ndarray
    target: np.ndarray
    options: dict[str, Any]

    @property
    def axis(self):
        return self.options["axis"] % self.pred.ndim if self.case.has_classes else None

    @property
    def batch(self):
        """The shape of the unreduced loss."""
        return self.pred.shape if self.axis is None else self.pred.shape[: self.axis] + self.pred.shape[self.axis + 1 :]

    def value(self, **common):
        return self.case.loss(self.pred, self.target, **self.options, **common)

    def grad(self, **common):
        return self.case.loss.grad(self.pred, self.target, **self.options, **common)

    def value_and_grad(self, **common):
        return self.case.loss.value_and_grad(self.pred, self.target, **self.options, **common)

    def grad_and_hess(self, **common):
        return self.case.loss.grad_and_hess(self.pred, self.target, **self.options, **common)

    def everything(self, **common):
        """value, gradient and diagonal of the Hessian."""
        return self.value(**common), *self.grad_and_hess(**common)

    def expected(self, **common):
        apply = reference.class_axis if self.case.has_classes else reference.elementwise
        return apply(getattr(reference, self.case.name), self.pred, self.target, **self.options, **common)

    def weight(self, ndim=None, seed=0):
        """Random weights for the first `ndim` axes of the batch, a quarter of them 0."""
        rng = np.random.default_rng(seed)
        shape = self.batch[:ndim]
        return rng.uniform(0.1, 3, shape) * (rng.random(shape) < 0.75)

    def with_(self, **changes):
        return replace(self, **changes)

    def in_batch(self, index):
        """The index into pred for an index into the batch: all classes of these samples."""
        if self.axis is None:
            return index
        index = index if isinstance(index, tuple) else (index,)
        return *index[: self.axis], slice(None), *index[self.axis :]


SHAPES = [(), (1,), (37,), (1, 3), (5, 7), (3, 1, 4), (2, 1500)]
#: shape of pred and its class axis
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

ELEMENTWISE = [
    Case("mse"),
    Case("mae", kinks=True),
    Case("huber", kinks=True),
    Case("huber", kinks=True, parameters={"delta": 0.3}),
    Case("hinge", signs, domain="a label -1 or +1 (of 0/1 labels y, make 2 * y - 1)", kinks=True),
    Case("hinge", signs, {"margin": 0.25}, domain="a label -1 or +1 (of 0/1 labels y, make 2 * y - 1)", kinks=True),
    *(
        Case("binary_cross_entropy_with_logits", unit, parameters, domain="in [0, 1]")
        for parameters in [
            {},
            {"pos_weight": 2.5},
            {"pos_weight": weight_of_last_axis},
            {"alpha": 0.25},
            {"label_smoothing": 0.1},
            {"pos_weight": weight_of_last_axis, "alpha": 0.7, "label_smoothing": 0.2},
        ]
    ),
]

CLASSES = [
    Case("cross_entropy", target, parameters, has_classes=True)
    for target, parameters in [
        (labels, {}),
        (labels, {"ignore_index": 0}),
        (labels, {"class_weight": weight_per_class}),
        (labels, {"label_smoothing": 0.1}),
        (labels, {"z_loss": 0.01}),
        (labels_some_ignored, {"class_weight": weight_per_class, "label_smoothing": 0.2, "z_loss": 0.1}),
        (probabilities, {}),
        (probabilities, {"class_weight": weight_per_class}),
        (probabilities, {"class_weight": weight_per_class, "label_smoothing": 0.2, "z_loss": 0.1}),
    ]
]

CASES = ELEMENTWISE + CLASSES
#: One case for each loss and kind of target, the one with the most parameters.
ONE_OF_EACH = list({(case.name, case.target): case for case in CASES}.values())


# ---------------------------------------------------------------------------------------------------------------------
# Comparing


def assert_close(actual, expected, ulp=16, scale=None):
    """Assert that two results agree to `ulp` units in the last place of actual's dtype (a float counts as float64).

    With `scale`, an error of so many units of scale passes too, where results are differences of numbers of this size.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    eps, tiny = np.finfo(actual.dtype).eps, np.finfo(actual.dtype).smallest_subnormal
    allowed = ulp * (eps * np.maximum(np.abs(expected), scale or 0) + tiny)
    with np.errstate(invalid="ignore"):
        close = (np.abs(actual - expected) <= allowed) | (actual == expected) | np.isnan(actual) & np.isnan(expected)
    if not close.all():
        i = np.unravel_index(np.argmin(close), close.shape)
        where = f"{np.sum(~close)} of {close.size} differ, at {tuple(map(int, i))}"
        raise AssertionError(f"{where}: {actual[i]!r}, expected {expected[i]!r}")


def assert_same_bits(actual, expected):
    """Assert that two results, or tuples of results, are the same to the last bit, the type included."""
    assert type(actual) is type(expected)
    if isinstance(actual, tuple):
        assert len(actual) == len(expected)
        for a, b in zip(actual, expected, strict=True):
            assert_same_bits(a, b)
        return
    a, b = np.asarray(actual), np.asarray(expected)
    assert a.dtype == b.dtype and a.shape == b.shape
    assert a.tobytes() == b.tobytes(), f"{a!r}\nis not\n{b!r}"


def largest(x):
    """The largest finite magnitude in x."""
    x = np.abs(np.asarray(x))
    return np.max(x, initial=0, where=np.isfinite(x))
