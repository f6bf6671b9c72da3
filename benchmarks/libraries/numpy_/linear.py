"""Losses of a linear layer: three matrix products and the loss of the scores, all of which are in memory at once."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...shared_types import Array, Arrays, Result
from .margin import multiclass_hinge
from .multiclass import cross_entropy, poly1_cross_entropy, softmax_focal


def _layer(loss: Callable[..., Result]) -> Callable[..., tuple[float, Arrays]]:
    def of_layer(x: Array, weight: Array, target: Array, *, out: Any = None) -> tuple[float, Arrays]:
        of_x, of_weight = out or (None, None)
        scores = x @ weight.T
        value, slopes = loss(scores, target, out=scores)
        return value, (np.matmul(slopes, weight, out=of_x), np.matmul(slopes.T, x, out=of_weight))

    return of_layer


linear_cross_entropy = _layer(cross_entropy)
linear_softmax_focal = _layer(softmax_focal)
linear_poly1_cross_entropy = _layer(poly1_cross_entropy)
linear_multiclass_hinge = _layer(multiclass_hinge)
