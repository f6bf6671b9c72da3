"""Classification losses: binary and multi-label (elementwise), and multi-class (with a class axis).

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss import _checks
from fastloss._loss import Loss
from fastloss.kernels.call import class_axis, elementwise, number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "hinge"]


@Loss
def binary_cross_entropy_with_logits(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    alpha: float | None = None,
    label_smoothing: float = 0.0,
    **common: Unpack[Common],
) -> Any:
    r"""Binary cross-entropy of a logit: the default for two classes, and for each label of a multi-label problem.

    With p = sigmoid(z) for logit z, t' = t (1 - label_smoothing) + label_smoothing / 2, and alpha_t = alpha t' +
    (1 - alpha) (1 - t') (1 without `alpha`)::

        alpha_t (-pos_weight t' log p - (1 - t') log(1 - p))

    Both tails keep their relative accuracy. An infinite logit costs 0 where the label agrees, else inf, with a finite
    gradient. Without options the gradient is p - t, the second derivative p (1 - p). `pos_weight` and `alpha` are part
    of the loss: they do not enter the denominator of the mean.

    Parameters
    ----------
    pred : array_like
        Logits of any shape, float32 or float64. They fix the dtype of the result.
    target : array_like
        Of the shape of `pred`: labels 0 and 1 or probabilities in between; any real dtype, bool and integers too.
    pos_weight : float or array_like, optional
        Weight >= 0 of the positive label: a number, or one for each index of the last axis.
    alpha : float, optional
        Balance in [0, 1]: alpha weighs the positive label, 1 - alpha the negative one.
    label_smoothing : float, default 0.0
        In [0, 1]: moves the labels towards 1/2.

    Raises
    ------
    TypeError
        If `pred` is not float32 or float64, `target` not real, or a parameter not a number.
    ValueError
        If the shapes differ, a target is outside [0, 1], a parameter outside its range, or a weight negative.

    References
    ----------
    D. R. Cox, The Regression Analysis of Binary Sequences, JRSS B 20 (1958); label smoothing: C. Szegedy et al.,
    Rethinking the Inception Architecture for Computer Vision (2016).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> logits, labels = np.array([0.0, 40.0, -np.inf]), np.array([1, 1, 0])
    >>> fl.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    array([6.93147181e-01, 4.24835426e-18, 0.00000000e+00])
    >>> fl.binary_cross_entropy_with_logits.grad(logits, labels, reduction="sum")
    array([-5.00000000e-01, -4.24835426e-18,  0.00000000e+00])
    """
    smoothing = number(label_smoothing, "label_smoothing", 0, 1)
    balance = (1.0, 1.0)
    if alpha is not None:
        alpha = number(alpha, "alpha", 0, 1)
        balance = (alpha, 1 - alpha)
    return elementwise(
        want,
        "binary_cross_entropy_with_logits",
        pred,
        target,
        (smoothing / 2, 1 - smoothing, *balance),
        common,
        domain="unit interval",
        along_last_axis=(
            None if pos_weight is None else ("pos_weight", pos_weight, _checks.positive_weight(pos_weight))
        ),
    )


@Loss
def hinge(want: int, /, pred: ArrayLike, target: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Hinge loss, max(0, margin - t z): a linear classifier trained with it is a support vector machine.

    The gradient is -t where t z < margin, else 0; the second derivative is 0.

    Parameters
    ----------
    pred : array_like
        Scores of any shape, float32 or float64. They fix the dtype of the result.
    target : array_like
        Labels -1 and +1, of the shape of `pred`; any real dtype.
    margin : float, default 1.0
        The product t z from which on nothing is lost.

    Raises
    ------
    TypeError
        If `pred` is not float32 or float64, `target` not real, or `margin` not a number.
    ValueError
        If the shapes differ, a label is not -1 or +1, `margin` is not finite, or a weight is negative.

    References
    ----------
    C. Cortes and V. Vapnik, Support-Vector Networks, Machine Learning 20 (1995).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.hinge.value_and_grad(np.array([0.5, 2.0, -3.0]), np.array([1, 1, 1]), reduction="sum")
    (4.5, array([-1.,  0., -1.]))
    """
    return elementwise(want, "hinge", pred, target, (number(margin, "margin"),), common, domain="sign", light=True)


@Loss
def cross_entropy(
    want: int,
    /,
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
    r"""Cross-entropy of softmax probabilities: the default for several classes of which one is right.

    With p = softmax(z) along `axis`, class weights w (1 without `class_weight`), smoothed target q_c = w_c ((1 - e) t_c
    + e / C) for label smoothing e, and t the probabilities, or 1 in the class of the label and 0 elsewhere::

        sum_c q_c (-log p_c) + z_loss (sum_c w_c t_c) (log sum_c exp z_c)^2

    so class indices and one-hot probabilities give the same number. Under "mean" the denominator is the sum of the
    sample weights of the samples that are not ignored, each times sum_c w_c t_c; without `class_weight` this factor is
    1, as it is in the term of z_loss. Without smoothing and z_loss the gradient is w_y (p - t); it and the loss keep
    their relative accuracy where p_y is close to 1. The diagonal of the Hessian is w_y p (1 - p).

    Parameters
    ----------
    pred : array_like
        Logits, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with axis=1, ... A logit
        of -inf rules its class out, as long as one logit of the sample is finite; +inf and NaN give NaN.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`; or probabilities in the shape of
        `pred`, in [0, 1]. They need not sum to 1.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        (C,), weights >= 0 of the classes.
    ignore_index : int, default -100
        Samples with this class index do not count; it may be a class, which then stays in the softmax.
    label_smoothing : float, default 0.0
        In [0, 1]: moves the target towards 1 / C.
    z_loss : float, default 0.0
        Weight >= 0 of the squared log-partition, which keeps logits from drifting.

    Raises
    ------
    TypeError
        If `pred` is not float32 or float64, or class indices are not integers.
    ValueError
        If the shapes do not fit, a class index is neither in [0, C) nor `ignore_index`, a probability is outside
        [0, 1], a parameter outside its range, or a weight negative.

    References
    ----------
    J. S. Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs (1990); label smoothing:
    C. Szegedy et al. (2016); z_loss: A. Chowdhery et al., PaLM (2022).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, -np.inf]])
    >>> value, grad = fl.cross_entropy.value_and_grad(logits, np.array([0, 1]))
    >>> round(value, 6), grad.round(4)
    (0.466346, array([[-0.1065,  0.0533,  0.0533],
           [ 0.25  , -0.25  ,  0.    ]]))
    """
    return class_axis(
        want,
        "cross_entropy",
        pred,
        target,
        (number(z_loss, "z_loss", 0),),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
