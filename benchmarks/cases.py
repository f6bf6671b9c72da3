"""The rows of the kernel table: a loss, a shape, a dtype, and reproducible data for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .baselines import Array

LARGE = 4_000_000  # elements from which the arrays do not fit the caches of most machines


@dataclass(frozen=True)
class Case:
    loss: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    allocate: bool = False  # a new gradient even where the case is large

    @property
    def large(self) -> bool:
        return math.prod(self.shape) >= LARGE

    @property
    def reuse(self) -> bool:
        """Whether `out` is given, to those that take it: a large new array costs a page fault every 4 KiB."""
        return self.large and not self.allocate

    @property
    def axis(self) -> int:
        axis: int = self.options.get("axis", -1)
        return axis

    @property
    def label(self) -> str:
        if len(self.shape) == 1:
            shape = f"{self.shape[0]:,}".replace(",", " ")
        else:
            shape = f"({', '.join(map(str, self.shape))})"
        return f"{shape} {self.dtype[0]}{np.dtype(self.dtype).itemsize * 8}{', no out' if self.allocate else ''}"

    def data(self) -> tuple[Array, Array]:
        """Predictions of this shape and dtype, and targets that suit the loss."""
        rng = np.random.default_rng(0)
        pred = rng.standard_normal(self.shape, dtype=np.dtype(self.dtype).type)
        if self.loss == "cross_entropy":
            batch = list(self.shape)
            classes = batch.pop(self.axis)
            return pred, rng.integers(classes, size=batch)
        if self.loss in ("binary_cross_entropy_with_logits", "hinge"):
            low = -1 if self.loss == "hinge" else 0
            return pred, rng.choice(np.array([low, 1], self.dtype), size=self.shape)
        return pred, rng.standard_normal(self.shape, dtype=np.dtype(self.dtype).type)


def all_cases(quick: bool = False) -> list[Case]:
    elementwise = ("mse", "mae", "huber", "binary_cross_entropy_with_logits", "hinge")
    cases = [
        Case(loss, (size,), dtype)
        for loss in elementwise
        for size, dtype in ((100, "float32"), (100_000, "float32"), (16_000_000, "float32"), (100_000, "float64"))
    ]
    cases.insert(3, Case("mse", (16_000_000,), allocate=True))
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
    ]
    return [case for case in cases if not (quick and case.large)]
