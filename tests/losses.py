"""The list of all losses, with parameters and random inputs from their domains. The property tests run over it.

To add a loss, define it in reference.py and append its cases to CASES below.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import reference

import fastloss as fl
from fastloss import _cpu

# ---------------------------------------------------------------------------------------------------------------------
# Random inputs: functions of a random generator, the shape of the first input and its class axis


def real(rng, shape, axis):
    return 2 * rng.standard_normal(shape)


def unit(rng, shape, axis):
    """Numbers in [0, 1]; a third of them 0, a third 1."""
    return rng.choice([0.0, 1.0, 0.5], shape) * rng.choice([1.0, rng.random()], shape)


def inside_unit(rng, shape, axis):
    return rng.uniform(0.02, 0.98, shape)


def signs(rng, shape, axis):
    return rng.choice([-1.0, 1.0], shape)


def positive(rng, shape, axis):
    return rng.uniform(0.2, 5, shape)


def above_minus_one(rng, shape, axis):
    return rng.exponential(2, shape) - 0.8


def counts(rng, shape, axis):
    return rng.poisson(1.5, shape).astype(float)


def amounts(rng, shape, axis):
    """Numbers >= 0, a third of them 0."""
    return rng.exponential(2, shape) * rng.choice([0, 1, 1], shape)


def variance(rng, shape, axis):
    return rng.uniform(0.3, 4, shape)


def variance_of_rows(rng, shape, axis):
    return rng.uniform(0.3, 4, shape[:1])


def variance_of_all(rng, shape, axis):
    return rng.uniform(0.3, 4)


def signs_of_rows(rng, shape, axis):
    return signs(rng, shape[:-1], None)


def zeros_and_ones_of_rows(rng, shape, axis):
    return rng.choice([0.0, 1.0], shape[:-1])


def labels_of_rows(rng, shape, axis):
    """About five samples of each class."""
    return rng.integers(0, 1 + shape[0] // 5, shape[0])


def scale(rng, shape, axis):
    return rng.uniform(0.5, 2)


def real_number(rng, shape, axis):
    return rng.uniform(-3, 3)


def labels(rng, shape, axis):
    return rng.integers(0, shape[axis], np.delete(shape, axis))


def labels_some_ignored(rng, shape, axis):
    return np.where(rng.random(np.delete(shape, axis)) < 0.3, -100, labels(rng, shape, axis))


def probabilities(rng, shape, axis):
    t = rng.random(shape) * (rng.random(shape) < 0.7)
    return t / np.maximum(t.sum(axis, keepdims=True), 1e-3)


def log_probabilities(rng, shape, axis):
    z = 2 * rng.standard_normal(shape)
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def weight_per_class(rng, shape, axis):
    return rng.choice([0.5, 1.0, 2.0, 3.5], shape[axis])


def weight_of_last_axis(rng, shape, axis):
    return rng.uniform(0.5, 4, shape[-1:])


# ---------------------------------------------------------------------------------------------------------------------

IN_UNIT = "in [0, 1]"
SIGN = "a label -1 or +1 (of 0/1 labels y, make 2 * y - 1)"
NOT_NEGATIVE = ">= 0"
ZERO_OR_ONE = "0 or 1"


@dataclass(frozen=True)
class Case:
    """A loss with a set of parameters; those that are functions are called as the generators above."""

    name: str
    target: Callable = real
    parameters: dict[str, Any] = field(default_factory=dict)
    pred: Callable = real
    inputs: dict[str, Callable] | None = None  # in the order of the signature, where they are not pred and target
    by: tuple[str, ...] = ()  # the inputs that have a derivative, where it is not the first alone
    has_classes: bool = False
    sums_terms: bool = False  # whether it is a sum of terms, each of which depends on one class alone
    last_axis: bool = False  # whether it has no parameter `axis`, since the classes are always along the last
    of_vectors: bool = False  # along the last axis: no classes, but a batch of the same shape; and no Hessian
    of_batch: bool = False  # of vectors (N, D), each loss depends on the whole batch
    domains: dict[str, str] = field(default_factory=dict)  # what is said of an element of an input outside its domain

    def __post_init__(self):
        inputs = self.inputs or {"pred": self.pred, "target": self.target}
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "by", self.by or tuple(inputs)[:1])
        if self.of_batch:
            object.__setattr__(self, "of_vectors", True)
        if self.of_vectors:
            object.__setattr__(self, "has_classes", True)
            object.__setattr__(self, "last_axis", True)

    def __str__(self):
        generators = [g.__name__ for g in list(self.inputs.values())[1:]]
        options = [f"{k}={'...' if callable(v) else v}" for k, v in self.parameters.items()]
        return f"{self.name}({', '.join(generators + options)})"

    @property
    def loss(self):
        return getattr(fl, self.name)

    @property
    def methods(self):
        """The ways to call it; all but "value" are names of methods."""
        return ["value", "grad", "value_and_grad"] + ["grad_and_hess"] * (not self.of_vectors)

    @property
    def first(self):
        """The name of the first input, which fixes the dtype of the result."""
        return next(iter(self.inputs))

    def specials(self, dtype):
        """Values of the first input at which things go wrong, within its domain."""
        info = np.finfo(dtype)
        if self.inputs[self.first] is log_probabilities:
            return [0.0, -0.0, -info.smallest_subnormal, -info.tiny / 3, -80.0, -1e30, -info.max / 8, -np.inf]
        if self.inputs[self.first] is inside_unit:
            return [0.0, -0.0, 1.0, info.smallest_subnormal, info.tiny, 1e-30, info.eps, 1 - info.eps / 2]
        huge = 1e30 if dtype == np.float32 else 1e300
        if self.of_vectors:  # what exceeds float64 is not found any more
            return [0.0, -0.0, info.smallest_subnormal, -info.tiny / 3, huge, -huge, np.inf, -np.inf]
        return [0.0, -0.0, info.smallest_subnormal, -info.tiny / 3, huge, -huge, info.max, -info.max, np.inf, -np.inf]

    @property
    def takes_any_shape(self):
        """Whether no parameter is an array that depends on the shape of pred."""
        return not any(map(callable, self.parameters.values()))

    def problem(self, shape, axis=-1, dtype=np.float64, seed=0):
        rng = np.random.default_rng(seed)
        if self.last_axis:
            shape, axis = (*np.delete(shape, axis).tolist(), shape[axis]), -1
        inputs = {k: generator(rng, shape, axis) for k, generator in self.inputs.items()}
        inputs = {k: np.asarray(x, dtype if np.asarray(x).dtype.kind == "f" else None) for k, x in inputs.items()}
        options = {k: v(rng, shape, axis).astype(dtype) if callable(v) else v for k, v in self.parameters.items()}
        if self.has_classes and not self.last_axis:
            options["axis"] = axis
        return Problem(self, inputs, options)

    def problems(self, dtype=np.float64):
        """Small inputs of several shapes."""
        shapes = (
            BATCH_SHAPES if self.of_batch else CLASS_SHAPES if self.has_classes else [(shape, -1) for shape in SHAPES]
        )
        if not self.takes_any_shape:
            shapes = [(shape, axis) for shape, axis in shapes if shape]
        for seed, (shape, axis) in enumerate(shapes):
            yield self.problem(shape, axis, dtype, seed)

    def small(self, dtype=np.float64):
        """One input with a batch of two axes: (6, 5), and classes in the middle if there are any."""
        in_the_middle = self.has_classes and not self.of_batch
        return self.problem((6, 4, 5), 1, dtype) if in_the_middle else self.problem((6, 5), -1, dtype)


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
        """The inputs that have a derivative, as the gradient comes: an array, or a tuple if there are several."""
        arrays = tuple(self.inputs[name] for name in self.case.by)
        return arrays if len(arrays) > 1 else arrays[0]

    @property
    def axis(self):
        return self.options.get("axis", -1) % self.pred.ndim if self.case.has_classes else None

    @property
    def batch(self):
        """The shape of the unreduced loss."""
        return self.pred.shape if self.axis is None else self.pred.shape[: self.axis] + self.pred.shape[self.axis + 1 :]

    def value(self, **common):
        return self.case.loss(*self.inputs.values(), **self.options, **common)

    def grad(self, **common):
        return self.case.loss.grad(*self.inputs.values(), **self.options, **common)

    def value_and_grad(self, **common):
        return self.case.loss.value_and_grad(*self.inputs.values(), **self.options, **common)

    def grad_and_hess(self, **common):
        return self.case.loss.grad_and_hess(*self.inputs.values(), **self.options, **common)

    def everything(self, **common):
        """value, gradient and diagonal of the Hessian, () if there is none."""
        derivatives = (self.grad(**common), ()) if self.case.of_vectors else self.grad_and_hess(**common)
        return self.value(**common), *derivatives

    def expected(self, **common):
        definition = getattr(reference, self.case.name)
        if self.case.of_batch:
            return reference.batch(definition, *self.inputs.values(), **self.options, **common)
        if self.case.of_vectors:
            return reference.rows(definition, *self.inputs.values(), **self.options, **common)
        if self.case.has_classes:
            return reference.class_axis(definition, *self.inputs.values(), **self.options, **common)
        if self.case.first == "w":  # regularisers are sums
            common = {"reduction": "sum"} | common
        by = [list(self.inputs).index(name) for name in self.case.by]
        return reference.elementwise(definition, *self.inputs.values(), by=by, **self.options, **common)

    def assert_as_expected(self, ulp=16, each_level=False, **common):
        """Assert that value and derivatives are those of the definition: to `ulp`, or nearly, of what is measured."""
        expected = self.expected(**common)
        for _ in levels() if each_level else [None]:
            self._assert_is(expected, ulp, **common)

    def _assert_is(self, expected, ulp, **common):
        value, grad, hess = self.everything(**common)
        if common.get("reduction") == "none":
            assert value.dtype == self.pred.dtype
            assert_close(value, expected.value, ulp, expected.sizes[0])
        else:  # a float is as exact as the terms that were summed
            assert type(value) is float
            ulp_of_terms = ulp * float(np.finfo(self.pred.dtype).eps / np.finfo(float).eps)
            assert_close(value, expected.value, ulp_of_terms, expected.sizes[0])
        for actual, wanted, sizes in (
            (grad, expected.grad, expected.sizes[1]),
            (hess, expected.hess, expected.sizes[2]),
        ):
            assert all(x.dtype == self.pred.dtype for x in as_tuple(actual))
            assert_close(actual, wanted, ulp, sizes)

    def weight(self, ndim=None, seed=0):
        """Random weights for the first `ndim` axes of the batch, a quarter of them 0."""
        rng = np.random.default_rng(seed)
        shape = self.batch[:ndim]
        return rng.uniform(0.1, 3, shape) * (rng.random(shape) < 0.75)

    def with_(self, options=None, **inputs):
        """The same with other inputs or options."""
        if "pred" in inputs:
            inputs = {self.case.first: inputs.pop("pred")} | inputs
        assert inputs.keys() <= self.inputs.keys()
        return replace(self, inputs=self.inputs | inputs, options=self.options if options is None else options)

    def copied(self):
        return replace(self, inputs={k: x.copy() for k, x in self.inputs.items()})

    def each(self, function):
        """The same with a function applied to every input that has axes, as to take a part of the batch."""
        return replace(self, inputs={k: function(x) if np.ndim(x) else x for k, x in self.inputs.items()})

    def in_batch(self, index):
        """The index into pred for an index into the batch: all classes of these samples."""
        if self.axis is None:
            return index
        index = index if isinstance(index, tuple) else (index,)
        return *index[: self.axis], slice(None), *index[self.axis :]


SHAPES = [(), (1,), (37,), (1, 3), (5, 7), (3, 1, 4), (2, 1100)]
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


BATCH_SHAPES = [((1, 1), -1), ((2, 3), -1), ((9, 5), -1), ((40, 70), -1), ((130, 3), -1)]


def cases(name, *parameters, **more):
    """A case for each set of parameters, or one without any."""
    return [Case(name, parameters=each, **more) for each in parameters or [{}]]


of_unit = {"target": unit, "domains": {"target": IN_UNIT}}
of_probability = {"pred": inside_unit, "target": unit, "domains": {"pred": IN_UNIT, "target": IN_UNIT}}
of_sign = {"target": signs, "domains": {"target": SIGN}}
of_weights = {"inputs": {"w": real}}


def of_variance(generator):
    return {
        "inputs": {"pred": real, "target": real, "var": generator},
        "by": ("pred", "var"),
        "domains": {"var": NOT_NEGATIVE},
    }


FOCAL = [
    {"gamma": 0},
    {"gamma": 0.5},
    {"gamma": 1.0},
    {},
    {"gamma": 2.7},
    {"gamma": 5.0},
    {"gamma": 1.5, "alpha": 0.25},
]

REGRESSION = [
    *cases("mse"),
    *cases("mae"),
    *cases("huber", {}, {"delta": 0.3}),
    *cases("smooth_l1", {}, {"beta": 0}, {"beta": 0.3}),
    *cases("pseudo_huber", {}, {"delta": 0.3}),
    *cases("log_cosh"),
    *cases("quantile", {}, {"q": 0.0}, {"q": 0.9}),
    *cases("expectile", {}, {"q": 1.0}, {"q": 0.1}),
    *cases("epsilon_insensitive", {}, {"epsilon": 0.0}, {"epsilon": 0.7}),
    *cases("squared_epsilon_insensitive", {}, {"epsilon": 0.7}),
    *cases("msle", pred=above_minus_one, target=above_minus_one),
    *cases("mape"),
    *cases("poisson_nll", {}, {"full": True}, target=counts),
    *cases("poisson_nll", {"log_input": False}, pred=positive, target=amounts),
    *cases("poisson_nll", {"log_input": False, "full": True, "eps": 0.1}, pred=positive, target=amounts),
    *cases("gamma_nll", target=amounts),
    *cases("tweedie", {}, {"power": 1.1}, {"power": 1.9}, target=amounts),
    *cases("gaussian_nll", {}, {"full": True, "eps": 1.5}, **of_variance(variance)),
    *cases("gaussian_nll", {"eps": 0.5}, **of_variance(variance_of_rows)),
    *cases("gaussian_nll", {"full": True}, **of_variance(variance_of_all)),
    *(case for m in ("cauchy", "welsch", "geman_mcclure", "fair", "tukey") for case in cases(m, {}, {"c": 2.3})),
]

BINARY = [
    *cases(
        "binary_cross_entropy",
        {},
        {"alpha": 0.25},
        {"label_smoothing": 0.1},
        {"alpha": 0.7, "label_smoothing": 0.2},
        **of_probability,
    ),
    *cases(
        "binary_cross_entropy_with_logits",
        {},
        {"pos_weight": 2.5},
        {"pos_weight": weight_of_last_axis},
        {"alpha": 0.25},
        {"label_smoothing": 0.1},
        {"pos_weight": weight_of_last_axis, "alpha": 0.7, "label_smoothing": 0.2},
        **of_unit,
    ),
    *cases("binary_focal", *FOCAL, **of_probability),
    *cases("sigmoid_focal", *FOCAL, **of_unit),
    *cases("sigmoid_poly1", {}, {"epsilon": -0.5}, **of_unit),
    *cases("brier", **of_unit),
    *cases("hinge", {}, {"margin": 0.25}, **of_sign),
    *cases("squared_hinge", {}, {"margin": 0.25}, **of_sign),
    *cases("modified_huber", **of_sign),
    *cases("logistic", **of_sign),
    *cases("exponential", **of_sign),
    *cases("perceptron", **of_sign),
]

REGULARIZATION = [
    *cases("l1", {}, {"strength": 0.3}, **of_weights),
    *cases("l2", {}, {"strength": 0.3}, **of_weights),
    *cases("elastic_net", {}, {"strength": 0.3, "l1_ratio": 0.9}, **of_weights),
]

ELEMENTWISE = REGRESSION + BINARY + REGULARIZATION

SOFTMAX_FOCAL = [{"gamma": 0}, {"gamma": 0.5}, {"gamma": 1.0}, {}, {"gamma": 2.7, "class_weight": weight_per_class}]
POLY1 = [{}, {"epsilon": -0.5, "class_weight": weight_per_class}]
POLY1_SMOOTH = {"epsilon": 2.5, "class_weight": weight_per_class, "label_smoothing": 0.2}

CLASSES = [
    *cases(
        "cross_entropy",
        {},
        {"ignore_index": 0},
        {"class_weight": weight_per_class},
        {"label_smoothing": 0.1},
        {"z_loss": 0.01},
        target=labels,
        has_classes=True,
    ),
    *cases(
        "cross_entropy",
        {"class_weight": weight_per_class, "label_smoothing": 0.2, "z_loss": 0.1},
        target=labels_some_ignored,
        has_classes=True,
    ),
    *cases(
        "cross_entropy",
        {},
        {"class_weight": weight_per_class},
        {"class_weight": weight_per_class, "label_smoothing": 0.2, "z_loss": 0.1},
        target=probabilities,
        has_classes=True,
    ),
    *cases("softmax_focal", {"gamma": 5.0}, target=labels_some_ignored, has_classes=True),
    *cases("softmax_focal", *SOFTMAX_FOCAL, target=labels, has_classes=True),
    *cases("softmax_focal", *SOFTMAX_FOCAL, target=probabilities, has_classes=True),
    *cases("poly1_cross_entropy", POLY1_SMOOTH, target=labels_some_ignored, has_classes=True),
    *cases("poly1_cross_entropy", *POLY1, target=labels, has_classes=True),
    *cases("poly1_cross_entropy", *POLY1, POLY1_SMOOTH, target=probabilities, has_classes=True),
]

MARGINS = [
    *cases(
        "multiclass_hinge",
        {},
        {"ignore_index": 0},
        {"margin": 0.25, "power": 2, "class_weight": weight_per_class},
        target=labels,
        has_classes=True,
    ),
    *cases("multiclass_hinge", {"power": 2}, target=labels_some_ignored, has_classes=True),
    *cases(
        "crammer_singer",
        {},
        {"ignore_index": 0},
        {"margin": 0.25, "class_weight": weight_per_class},
        target=labels,
        has_classes=True,
    ),
    *cases("crammer_singer", target=labels_some_ignored, has_classes=True),
]

CLASSES += MARGINS

of_labels = {"target": labels, "has_classes": True, "sums_terms": True}
of_terms = {"has_classes": True, "sums_terms": True}
PROBABILITIES = {"target": probabilities, "domains": {"target": IN_UNIT}}
OF_CLASSES = [{}, {"class_weight": weight_per_class}]
SMOOTHED = [*OF_CLASSES, {"label_smoothing": 0.1}, {"class_weight": weight_per_class, "label_smoothing": 0.2}]

SUMMED = [
    *cases("categorical_cross_entropy", {"ignore_index": 0}, *SMOOTHED, pred=inside_unit, **of_labels),
    *cases("categorical_cross_entropy", *SMOOTHED, pred=inside_unit, **of_terms | {"target": labels_some_ignored}),
    *cases(
        "categorical_cross_entropy",
        *SMOOTHED,
        pred=inside_unit,
        target=probabilities,
        domains={"pred": IN_UNIT, "target": IN_UNIT},
        **of_terms,
    ),
    *cases("nll", {"ignore_index": 0}, *OF_CLASSES, pred=log_probabilities, **of_labels),
    *cases("nll", *OF_CLASSES, pred=log_probabilities, **of_terms | {"target": labels_some_ignored}),
    *cases("nll", *OF_CLASSES, pred=log_probabilities, **of_terms | PROBABILITIES),
    *cases("multilabel_soft_margin", *OF_CLASSES, **of_terms | of_unit),
    *cases("kl_divergence", pred=log_probabilities, **of_terms | PROBABILITIES),
    *cases("kl_divergence", {"log_target": True}, pred=log_probabilities, target=log_probabilities, **of_terms),
    *cases(
        "js_divergence",
        {},
        {"beta": 0.1},
        pred=log_probabilities,
        target=log_probabilities,
        by=("pred", "target"),
        **of_terms,
    ),
    *cases("gaussian_kl", inputs={"mu": real, "log_var": real}, by=("mu", "log_var"), last_axis=True, **of_terms),
]

PAIR = {"x1": real, "x2": real}
of_pairs = {"by": ("x1", "x2"), "of_vectors": True}
of_sign_pairs = {"inputs": PAIR | {"label": signs_of_rows}, "domains": {"label": SIGN}} | of_pairs
of_triplets = {
    "inputs": {"anchor": real, "positive": real, "negative": real},
    "by": ("anchor", "positive", "negative"),
    "of_vectors": True,
}

EMBEDDING = [
    *cases(
        "contrastive",
        {},
        {"margin": 6.0},
        inputs=PAIR | {"same": zeros_and_ones_of_rows},
        domains={"same": ZERO_OR_ONE},
        **of_pairs,
    ),
    *cases("triplet", {"p": 1.0}, {"p": np.inf}, {"p": 3.5, "swap": True}, {"p": np.inf, "swap": True}, **of_triplets),
    *cases("triplet", {"eps": 0.0}, {"margin": 2.0, "swap": True}, {}, **of_triplets),
    *cases("cosine_embedding", {}, {"margin": 0.3}, **of_sign_pairs),
    *cases("cosine_distance", of_vectors=True),
]

of_classes_in_batch = {"inputs": {"z": real, "labels": labels_of_rows}, "of_batch": True}
IMAGE_AND_TEXT = {"image": real, "text": real, "logit_scale": scale}

BATCH = [
    *cases(
        "info_nce",
        {},
        {"symmetric": True},
        {"temperature": 1.0},
        inputs={"query": real, "key": real},
        by=("query", "key"),
        of_batch=True,
    ),
    *cases("clip", inputs=IMAGE_AND_TEXT, by=tuple(IMAGE_AND_TEXT), of_batch=True),
    *cases(
        "siglip",
        inputs=IMAGE_AND_TEXT | {"logit_bias": real_number},
        by=(*IMAGE_AND_TEXT, "logit_bias"),
        of_batch=True,
    ),
    *cases("nt_xent", {}, {"temperature": 0.1}, inputs={"z1": real, "z2": real}, by=("z1", "z2"), of_batch=True),
    *cases("supcon", {}, {"temperature": 2.0}, **of_classes_in_batch),
    *cases("batch_hard_triplet", {}, {"soft": True}, {"margin": 0.3}, **of_classes_in_batch),
]

RANKING = [
    *cases(
        "margin_ranking",
        {},
        {"margin": 0.7},
        inputs=PAIR | {"label": signs},
        by=("x1", "x2"),
        domains={"label": SIGN},
    ),
    *cases(
        "hinge_embedding",
        {},
        {"margin": 0.3},
        inputs={"x": real, "label": signs},
        domains={"label": SIGN},
    ),
]

ELEMENTWISE += RANKING
CASES = ELEMENTWISE + CLASSES + SUMMED + EMBEDDING + BATCH
#: One case for each loss and kind of inputs, the last, which has the most parameters.
ONE_OF_EACH = list({(case.name, *case.inputs.values()): case for case in CASES}.values())


def apart(cases):
    """Those where the loss of a sample depends on no other sample."""
    return [case for case in cases if not case.of_batch]


def levels():
    """Every CPU level of this machine, selected in turn."""
    before = _cpu.kernels.level
    for level in _cpu.supported_levels():
        _cpu.kernels.select(level)
        yield level
    _cpu.kernels.select(before)


# ---------------------------------------------------------------------------------------------------------------------
# Comparing


def as_tuple(x):
    """The derivatives by each input, of a loss of one or of several."""
    return x if isinstance(x, tuple) else (x,)


def leaves(x):
    """The arrays and floats of a result, in a row."""
    return [leaf for part in x for leaf in leaves(part)] if isinstance(x, tuple) else [x]


def raises(error, text):
    """Expect an error with exactly this text."""
    return pytest.raises(error, match=f"^{re.escape(text)}$")


def like(x, fill=np.nan):
    """Arrays to receive such a result."""
    return tuple(like(part, fill) for part in x) if isinstance(x, tuple) else np.full_like(x, fill)


def assert_close(actual, expected, ulp=16, scale=None):
    """Assert that two results agree to `ulp` units in the last place of actual's dtype (a float counts as float64).

    With `scale`, an error of so many units of scale passes too, where results are differences of numbers of this size.
    Results may be tuples; a scale is then a tuple as well, or the scale of all.
    """
    if isinstance(actual, tuple):
        assert isinstance(expected, tuple) and len(actual) == len(expected)
        scales = scale if isinstance(scale, tuple) else [scale] * len(actual)
        for a, b, s in zip(actual, expected, scales, strict=True):
            assert_close(a, b, ulp, s)
        return
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    eps, tiny = np.finfo(actual.dtype).eps, np.finfo(actual.dtype).smallest_subnormal
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = ulp * (eps * np.maximum(np.abs(expected), 0 if scale is None else scale) + tiny)
        beyond = np.isinf(actual) & (actual == expected.astype(actual.dtype))  # too large for the dtype
        same = (actual == expected) | beyond | np.isnan(actual) & np.isnan(expected)
        close = same | (np.abs(actual - expected) <= allowed) & np.isfinite(allowed)
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


def largest(*x):
    """The largest finite magnitude in results, which may be tuples."""
    return max(float(np.max(np.abs(a), initial=0, where=np.isfinite(a))) for a in map(np.asarray, leaves(x)))
