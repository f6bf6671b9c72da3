"""scikit-learn's private losses, which its estimators use. They return the losses of elements and take no mean."""

from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from sklearn._loss import loss as skl

from ..case import Case
from ..shared_types import Arrays, Call

VERSION = sklearn.__version__

#: How a loss is made, and the factor that scikit-learn leaves out.
LOSSES: dict[str, tuple[Callable[[Case], Any], int]] = {
    "mse": (lambda case: skl.HalfSquaredError(), 2),
    "mae": (lambda case: skl.AbsoluteError(), 1),
    "huber": (lambda case: skl.HuberLoss(delta=1.0), 1),
    "smooth_l1": (lambda case: skl.HuberLoss(delta=1.0), 1),
    "quantile": (lambda case: skl.PinballLoss(quantile=0.5), 1),
    "poisson_nll": (lambda case: skl.HalfPoissonLoss(), 1),
    "gamma_nll": (lambda case: skl.HalfGammaLoss(), 1),
    "tweedie": (lambda case: skl.HalfTweedieLoss(power=1.5), 1),
    "binary_cross_entropy_with_logits": (lambda case: skl.HalfBinomialLoss(), 1),
    "logistic": (lambda case: skl.HalfBinomialLoss(), 1),
    "exponential": (lambda case: skl.ExponentialLoss(), 1),
    "cross_entropy": (lambda case: skl.HalfMultinomialLoss(n_classes=case.shape[-1]), 1),
}
#: The losses that take labels 0 and 1 here, and -1 and 1 in fastloss.
LABELS_0_1 = ("logistic", "exponential")


def bind(case: Case, inputs: Arrays, threads: int) -> Call | None:
    if case.loss not in LOSSES or len(case.shape) > 2:
        return None
    pred, target = inputs
    make, factor = LOSSES[case.loss]
    loss_gradient = make(case).loss_gradient
    target = (target > 0 if case.loss in LABELS_0_1 else target).astype(pred.dtype)  # class indices too
    losses, gradient = np.zeros(len(pred), pred.dtype), np.zeros_like(pred)
    scale = factor / len(pred)

    def call() -> tuple[Any, Any]:
        loss_gradient(target, pred, loss_out=losses, gradient_out=gradient, n_threads=threads)
        np.multiply(gradient, scale, out=gradient)  # LinearModelLoss does the same
        return losses.sum() * scale, gradient

    return call
