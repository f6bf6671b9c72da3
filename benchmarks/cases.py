"""The rows of the kernel table: a loss, a shape, a dtype, and reproducible data for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests import exact

from .types import Array, Arrays

LARGE = 4_000_000  # elements from which the arrays do not fit the caches of most machines
BLOCK = 100_000  # data of elementwise losses repeat after so many elements, and so does the gradient

DTYPES = ("float32", "float64")

REGRESSION = (
    "mse",
    "mae",
    "huber",
    "smooth_l1",
    "pseudo_huber",
    "log_cosh",
    "quantile",
    "expectile",
    "epsilon_insensitive",
    "squared_epsilon_insensitive",
    "msle",
    "mape",
    "poisson_nll",
    "gamma_nll",
    "tweedie",
    "gaussian_nll",
    "cauchy",
    "welsch",
    "geman_mcclure",
    "fair",
    "tukey",
)
BINARY = (
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_focal",
    "sigmoid_focal",
    "sigmoid_poly1",
    "brier",
    "hinge",
    "squared_hinge",
    "modified_huber",
    "logistic",
    "exponential",
    "perceptron",
)
REGULARIZATION = ("l1", "l2", "elastic_net")
RANKING = ("margin_ranking", "hinge_embedding")
ELEMENTWISE = REGRESSION + BINARY + RANKING + REGULARIZATION
CLASSES = (
    "softmax_focal",
    "poly1_cross_entropy",
    "multilabel_soft_margin",
    "multiclass_hinge",
    "crammer_singer",
    "categorical_cross_entropy",
    "nll",
)
DIVERGENCES = ("kl_divergence", "js_divergence", "gaussian_kl")
VECTORS = ("contrastive", "triplet", "cosine_embedding", "cosine_distance")
BATCHES = ("info_nce", "clip", "siglip", "nt_xent", "supcon", "batch_hard_triplet")  # of unit vectors (N, D)

# what the pictures by size and by threads show, and what is compiled for torch.compile, numba and numexpr
REPRESENTATIVE = ("mse", "huber", "log_cosh", "poisson_nll", "binary_cross_entropy_with_logits", "cross_entropy")

# the inputs that have a gradient; of all others the first
DIFFERENTIABLE = {"gaussian_nll": (0, 2), "triplet": (0, 1, 2), "clip": (0, 1, 2), "siglip": (0, 1, 2, 3)}
DIFFERENTIABLE |= dict.fromkeys(
    ("js_divergence", "gaussian_kl", "margin_ranking", "contrastive", "cosine_embedding", "info_nce", "nt_xent"), (0, 1)
)


@dataclass(frozen=True)
class Case:
    loss: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    allocate: bool = False  # a new gradient even where the case is large

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def large(self) -> bool:
        return self.size >= LARGE

    @property
    def quick(self) -> bool:
        """Whether a quick run has it too: one row of most losses, and nothing large."""
        full = ("mse", "binary_cross_entropy_with_logits", "cross_entropy")
        medium = self.shape in ((100_000,), (65536, 10), (1024, 128)) and self.dtype == "float32"
        return not self.large and (self.loss in full or medium)

    @property
    def reuse(self) -> bool:
        """Whether `out` is given, to those that take it: a large new array costs a page fault every 4 KiB."""
        return self.large and not self.allocate

    @property
    def axis(self) -> int:
        axis: int = self.options.get("axis", -1)
        return axis

    @property
    def differentiable(self) -> tuple[int, ...]:
        return DIFFERENTIABLE.get(self.loss, (0,))

    @property
    def period(self) -> int:
        """After how many elements the data of an elementwise loss repeat."""
        return min(self.size, BLOCK)

    @property
    def label(self) -> str:
        if len(self.shape) == 1:
            shape = f"{self.shape[0]:,}".replace(",", " ")
        else:
            shape = f"({', '.join(map(str, self.shape))})"
        return f"{shape} {self.dtype[0]}{np.dtype(self.dtype).itemsize * 8}{', no out' if self.allocate else ''}"

    def data(self) -> Arrays:
        """Predictions of this shape and dtype, and what else the loss takes."""
        if self.loss in ELEMENTWISE:
            block = exact.inputs(self.loss, self.period, self.dtype)
            return tuple(np.tile(x, self.size // self.period) for x in block)
        rng = np.random.default_rng(0)
        pred, other = (rng.standard_normal(self.shape, dtype=np.dtype(self.dtype).type) for _ in range(2))
        if self.loss in BATCHES:
            return self._batch(pred, other)
        batch = list(self.shape)
        classes = batch.pop(self.axis)
        labels = rng.integers(classes, size=batch)
        match self.loss:
            case "gaussian_kl" | "cosine_distance":
                return pred, other
            case "triplet":
                return pred, other, np.roll(pred, 1, 0)
            case "contrastive" | "cosine_embedding":
                label = rng.choice([0 if self.loss == "contrastive" else -1, 1], batch)
                return pred, other, label.astype(pred.dtype)
            case "multilabel_soft_margin":
                return pred, (other > 1).astype(pred.dtype)
            case "categorical_cross_entropy":
                return np.exp(_log_softmax(pred, self.axis)), labels
            case "nll":
                return _log_softmax(pred, self.axis), labels
            case "kl_divergence":
                return _log_softmax(pred, self.axis), np.exp(_log_softmax(other, self.axis))
            case "js_divergence":
                return _log_softmax(pred, self.axis), _log_softmax(other, self.axis)
        return pred, labels

    def _batch(self, x: Array, y: Array) -> Arrays:
        x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, x + y))
        scale, bias = np.array(10, self.dtype), np.array(-10, self.dtype)
        labels = np.arange(len(x)) // 16
        more = {"clip": (y, scale), "siglip": (y, scale, bias), "supcon": (labels,), "batch_hard_triplet": (labels,)}
        return x, *more.get(self.loss, (y,))


def _log_softmax(z: Array, axis: int) -> Array:
    return z - np.log(np.exp(z).sum(axis=axis, keepdims=True))


def all_cases(quick: bool = False) -> list[Case]:
    """Of each loss from a call's overhead to memory's bandwidth; large ones in float64 of one cheap and one dear."""
    cases = []
    for loss in ELEMENTWISE:
        cases += [Case(loss, (size,)) for size in (100, 100_000, 16_000_000)]
        cases += [Case(loss, (16_000_000,), allocate=True)] * (loss == "mse")
        cases += [Case(loss, (size,), "float64") for size in (100, 100_000)]
        cases += [Case(loss, (16_000_000,), "float64")] * (loss in ("mse", "binary_cross_entropy_with_logits"))
    cases += [
        Case("cross_entropy", (100, 10)),
        Case("cross_entropy", (65536, 10)),
        Case("cross_entropy", (65536, 100)),
        Case("cross_entropy", (16384, 1000)),
        Case("cross_entropy", (16384, 1000), allocate=True),
        Case("cross_entropy", (256, 128256)),
        Case("cross_entropy", (4, 21, 256, 256), options={"axis": 1}),
        Case("cross_entropy", (100, 10), "float64"),
        Case("cross_entropy", (65536, 10), "float64"),
        Case("cross_entropy", (4096, 1000), "float64"),
        Case("cross_entropy", (4, 21, 256, 256), "float64", {"axis": 1}),
    ]
    for loss in CLASSES + DIVERGENCES:
        cases += [Case(loss, shape) for shape in ((100, 10), (65536, 10), (16384, 1000))]
        cases += [Case(loss, (65536, 10), "float64")]
        cases += [Case(loss, (4, 21, 256, 256), options={"axis": 1})] * (loss in CLASSES)
    for loss in VECTORS:
        cases += [Case(loss, shape) for shape in ((10, 16), (100_000, 3), (16384, 128))]
        cases += [Case(loss, (16384, 128), "float64")]
    for loss in BATCHES:
        cases += [Case(loss, shape) for shape in ((128, 64), (1024, 128), (4096, 256))]
        cases += [Case(loss, (1024, 128), "float64")]
    return [case for case in cases if not quick or case.quick]


def grid() -> list[Case]:
    """Every loss at the same three sizes in both dtypes; one of another kind at the sizes that it has above."""
    rows = ("cross_entropy", *CLASSES, *DIVERGENCES)
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {loss: ((100,), (100_000,), (16_000_000,)) for loss in ELEMENTWISE}
    shapes |= {loss: ((10, 10), (10_000, 10), (16_000, 1000)) for loss in rows}
    cases = [Case(loss, shape, dtype) for loss, of in shapes.items() for shape in of for dtype in DTYPES]
    return cases + [case for case in all_cases() if case.loss not in shapes]
