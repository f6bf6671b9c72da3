"""Classification losses: binary and multi-label (elementwise), and multi-class (with a class axis)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastloss import _checks
from fastloss._loss import Loss, class_axis, elementwise
from fastloss.kernels.call import number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "hinge"]


@Loss
def binary_cross_entropy_with_logits(
    want: int,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    alpha: float | None = None,
    label_smoothing: float = 0.0,
    **common: Unpack[Common],
) -> Any:
    smoothing = number(label_smoothing, "label_smoothing", 0, 1)
    base, slope = 1.0, 0.0
    if alpha is not None:
        alpha = number(alpha, "alpha", 0, 1)
        base, slope = 1 - alpha, 2 * alpha - 1
    return elementwise(
        want,
        "binary_cross_entropy_with_logits",
        pred,
        target,
        (smoothing / 2, 1 - smoothing, base, slope),
        domain="unit interval",
        third=None if pos_weight is None else _checks.positive_weight(pos_weight, np.shape(pred)),
        **common,
    )


@Loss
def hinge(want: int, pred: ArrayLike, target: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]) -> Any:
    return elementwise(want, "hinge", pred, target, (number(margin, "margin"),), domain="sign", **common)


@Loss
def cross_entropy(
    want: int,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    **common: Unpack[Common],
) -> Any:
    return class_axis(
        want,
        "cross_entropy",
        pred,
        target,
        (number(z_loss, "z_loss", 0),),
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        **common,
    )
