"""Parameters that several losses check and prepare alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss._core.request import checks
from fastloss._core.request.arguments import number
from fastloss._core.request.domains import Domain


def smoothing(label_smoothing: float) -> tuple[float, float]:
    """a and b of the smoothed label a + b t."""
    label_smoothing = number(label_smoothing, "label_smoothing", 0, 1)
    return label_smoothing / 2, 1 - label_smoothing


def balance(alpha: float | None) -> tuple[float, float]:
    """The weights of the positive and of the negative label."""
    if alpha is None:
        return 1.0, 1.0
    alpha = number(alpha, "alpha", 0, 1)
    return alpha, 1 - alpha


def focal(loss: str, gamma: float, alpha: float | None) -> tuple[str, tuple[float, ...]]:
    """The kernel of a focal loss and its parameters. `kernels/base/focal.pxd` lists these."""
    gamma = number(gamma, "gamma", 0)
    halves = 2 * gamma
    # The square of this stands for m^(gamma - 1) at m = 0. For gamma = 0 any finite number does: the loss multiplies by
    # gamma.
    root_at_0 = float(gamma == 1) if gamma >= 1 or gamma == 0 else math.inf
    if halves > 15 or halves % 1:
        return loss + "_any_gamma", (gamma, 0, *balance(alpha), 0, 0, 0, root_at_0)
    whole, odd = divmod(int(halves), 2)
    return loss, (gamma, odd, *balance(alpha), whole & 1, whole & 2, whole & 4, root_at_0)


def levels(q: ArrayLike) -> NDArray[Any]:
    """A vector q as the kernels take it: q up to 1/2, and q - 1 beyond, where -0.0 stands for q = 1."""
    given = checks.real(q, "q")
    if given.ndim != 1:
        raise ValueError(f"q must be a number or a vector, not an array of shape {given.shape}")
    checks.check_elements(given, Domain.UNIT_INTERVAL, "q", given)
    numbers = given.astype(float)
    return np.where(numbers > 0.5, -(1 - numbers), numbers)


def hinge_power(loss: str, power: int) -> str:
    """The kernel of a hinge loss or of its square."""
    if number(power, "power") not in (1, 2):
        raise ValueError(f"power must be 1 or 2, not {checks.shown(power)}")
    return loss if power == 1 else f"squared_{loss}"
