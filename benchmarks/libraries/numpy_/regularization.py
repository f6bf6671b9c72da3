"""Penalties of weights, which are sums and not means."""

import numpy as np

from ...shared_types import Array, Result


def l1(w: Array, *, strength: float = 1.0, out: Array | None = None) -> Result:
    grad = np.sign(w, out=out)
    value = strength * np.abs(w).sum()
    grad *= strength
    return float(value), grad


def l2(w: Array, *, strength: float = 1.0, out: Array | None = None) -> Result:
    return float(strength / 2 * np.vdot(w, w)), np.multiply(w, strength, out=out)


def elastic_net(w: Array, *, strength: float = 1.0, l1_ratio: float = 0.5, out: Array | None = None) -> Result:
    ridge = strength * (1 - l1_ratio)
    value = strength * l1_ratio * np.abs(w).sum() + ridge / 2 * np.vdot(w, w)
    grad = np.sign(w, out=out)
    grad *= strength * l1_ratio
    grad += ridge * w
    return float(value), grad
