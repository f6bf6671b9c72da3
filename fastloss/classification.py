"""Classification losses: binary and multi-label (elementwise), and multi-class (with a class axis).

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
Pictures of the losses and their gradients, in the repository: docs/curves/margins.svg, probabilities.svg, focal.svg
and surfaces.svg.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._loss import Loss
from fastloss.kernels.call import class_axis, elementwise, number, summed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_focal",
    "brier",
    "categorical_cross_entropy",
    "crammer_singer",
    "cross_entropy",
    "exponential",
    "hinge",
    "logistic",
    "modified_huber",
    "multiclass_hinge",
    "multilabel_soft_margin",
    "nll",
    "perceptron",
    "poly1_cross_entropy",
    "sigmoid_focal",
    "sigmoid_poly1",
    "softmax_focal",
    "squared_hinge",
]


@Loss
def binary_cross_entropy(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = None,
    label_smoothing: float = 0.0,
    **common: Unpack[Common],
) -> Any:
    r"""Binary cross-entropy of a probability. Of a logit, `binary_cross_entropy_with_logits` is more accurate and
    faster.

    With t' = t (1 - label_smoothing) + label_smoothing / 2, and alpha_t = alpha t' + (1 - alpha) (1 - t') (1 without
    `alpha`)::

        alpha_t (-t' max(log p, -100) - (1 - t') max(log(1 - p), -100))

    so a wrong certainty costs 100, not inf. The gradient alpha_t ((1 - t') / (1 - p) - t' / p) is exact down to the
    smallest normal number of the dtype, which then takes the place of the denominator: it is finite, always. The second
    derivative is alpha_t ((1 - t') / (1 - p)^2 + t' / p^2).

    Picture, in the repository: docs/curves/probabilities.svg

    Parameters
    ----------
    pred : array_like
        Probabilities in [0, 1] of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`: labels 0 and 1, or probabilities in between.
    alpha : float, optional
        Balance in [0, 1]: alpha weighs the positive label, 1 - alpha the negative one.
    label_smoothing : float, default 0.0
        In [0, 1]: moves the labels towards 1/2.

    References
    ----------
    D. R. Cox, The Regression Analysis of Binary Sequences, JRSS B 20 (1958).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.binary_cross_entropy.value_and_grad(np.array([0.5, 0.0]), np.array([1, 1]), reduction="none")
    (array([  0.69314718, 100.        ]), array([-2.00000000e+000, -4.49423284e+307]))
    """
    return elementwise(
        want,
        "binary_cross_entropy",
        pred,
        target,
        (*_smoothing(label_smoothing), *_balance(alpha)),
        common,
        pred_domain="probability",
        domain="unit interval",
    )


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
        Logits of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`: labels 0 and 1, or probabilities in between.
    pos_weight : float or array_like, optional
        Weight >= 0 of the positive label: a number, or one for each index of the last axis.
    alpha : float, optional
        Balance in [0, 1]: alpha weighs the positive label, 1 - alpha the negative one.
    label_smoothing : float, default 0.0
        In [0, 1]: moves the labels towards 1/2.

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
    return elementwise(
        want,
        "binary_cross_entropy_with_logits",
        pred,
        target,
        (*_smoothing(label_smoothing), *_balance(alpha)),
        common,
        domain="unit interval",
        along_last_axis=None if pos_weight is None else ("pos_weight", pos_weight),
    )


@Loss
def binary_focal(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Focal loss of a probability: cross-entropy in which elements that are right already count little.

    With p_t = p t + (1 - p) (1 - t) and alpha_t = alpha t + (1 - alpha) (1 - t) (1 without `alpha`)::

        -alpha_t (1 - p_t)^gamma max(log p_t, -100)

    The gradient is -(2 t - 1) alpha_t (1 - p_t)^gamma (1 / p_t - gamma log(p_t) / (1 - p_t)), finite for every p in [0,
    1]. Of a logit, `sigmoid_focal` is more accurate and faster.

    Parameters
    ----------
    pred : array_like
        Probabilities in [0, 1] of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`: labels 0 and 1, or probabilities in between.
    gamma : float, default 2.0
        How little easy elements count, >= 0; 0 is cross-entropy. Multiples of 1/2 up to 7.5 are fastest.
    alpha : float, optional
        Balance in [0, 1]: alpha weighs the positive label, 1 - alpha the negative one.

    References
    ----------
    T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.binary_focal.value_and_grad(np.array([0.5, 1.0]), np.array([1, 1]), reduction="none")
    (array([0.1732868, 0.       ]), array([-1.19314718, -0.        ]))
    """
    kernel, parameters = _focal("binary_focal", gamma, alpha)
    return elementwise(
        want,
        "binary_focal",
        pred,
        target,
        parameters,
        common,
        kernel=kernel,
        pred_domain="probability",
        domain="unit interval",
    )


@Loss
def sigmoid_focal(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Focal loss of a logit: binary cross-entropy in which elements that are right already count little.

    With p = sigmoid(z), p_t = p t + (1 - p) (1 - t) and alpha_t = alpha t + (1 - alpha) (1 - t) (1 without `alpha`)::

        -alpha_t (1 - p_t)^gamma log p_t

    For label 1 the gradient is -alpha (1 - p)^gamma (1 - p - gamma p log p). Exact for every logit: an infinite one
    costs 0 where the label agrees, else inf, with a finite gradient. For dense detection, where nearly all elements are
    easy negatives.

    Picture, in the repository: docs/curves/focal.svg

    Parameters
    ----------
    pred : array_like
        Logits of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`: labels 0 and 1, or probabilities in between.
    gamma : float, default 2.0
        How little easy elements count, >= 0; 0 is cross-entropy. Multiples of 1/2 up to 7.5 are fastest.
    alpha : float, optional
        Balance in [0, 1]: alpha weighs the positive label, 1 - alpha the negative one.

    References
    ----------
    T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.sigmoid_focal.value_and_grad(np.array([0.0, 40.0]), np.array([1, 1]), gamma=0.5, reduction="none")
    (array([4.90129072e-01, 8.75651076e-27]), array([-4.76085659e-01, -1.31347661e-26]))
    """
    kernel, parameters = _focal("sigmoid_focal", gamma, alpha)
    return elementwise(want, "sigmoid_focal", pred, target, parameters, common, kernel=kernel, domain="unit interval")


@Loss
def sigmoid_poly1(
    want: int, /, pred: ArrayLike, target: ArrayLike, *, epsilon: float = 1.0, **common: Unpack[Common]
) -> Any:
    r"""Poly-1 loss of a logit: binary cross-entropy with a steeper start, epsilon (1 - p_t) more.

    With p = sigmoid(z) and p_t = p t + (1 - p) (1 - t)::

        -t log p - (1 - t) log(1 - p) + epsilon (1 - p_t)

    The gradient is p - t - epsilon (2 t - 1) p (1 - p), the second derivative p (1 - p) (1 + epsilon (2 t - 1) (2 p -
    1)).

    Parameters
    ----------
    pred : array_like
        Logits of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`: labels 0 and 1, or probabilities in between.
    epsilon : float, default 1.0
        What the first term of cross-entropy's expansion in 1 - p_t gains.

    References
    ----------
    Z. Leng et al., PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions (2022).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.sigmoid_poly1.value_and_grad(np.array([0.0]), np.array([1]), reduction="none")
    (array([1.19314718]), array([-0.75]))
    """
    return elementwise(
        want, "sigmoid_poly1", pred, target, (number(epsilon, "epsilon"),), common, domain="unit interval"
    )


@Loss
def brier(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Brier score of a logit, (sigmoid(z) - t)^2: squared error through a sigmoid, bounded by 1.

    Not convex in z: the gradient 2 (p - t) p (1 - p), where p = sigmoid(z), vanishes for confident mistakes too. The
    second derivative is 2 p (1 - p) (p (1 - p) + (p - t) (1 - 2 p)).

    Picture, in the repository: docs/curves/surfaces.svg

    Parameters
    ----------
    pred : array_like
        Logits of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`: labels 0 and 1, or probabilities in between.

    References
    ----------
    G. W. Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 78 (1950).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.brier.value_and_grad(np.array([0.0, 0.0]), np.array([0, 1]), reduction="sum")
    (0.5, array([ 0.25, -0.25]))
    """
    return elementwise(want, "brier", pred, target, (), common, domain="unit interval")


@Loss
def hinge(want: int, /, pred: ArrayLike, target: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Hinge loss, max(0, margin - t z): a linear classifier trained with it is a support vector machine.

    The gradient is -t where t z < margin, else 0; the second derivative is 0.

    Picture, in the repository: docs/curves/margins.svg

    Parameters
    ----------
    pred : array_like
        Scores of any shape, float32 or float64.
    target : array_like
        Labels -1 and +1, of the shape of `pred`.
    margin : float, default 1.0
        The product t z from which on nothing is lost.

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
def squared_hinge(
    want: int, /, pred: ArrayLike, target: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]
) -> Any:
    r"""Squared hinge loss, max(0, margin - t z)^2: a smooth support vector machine.

    The gradient is -2 t max(0, margin - t z), the second derivative 2 where t z < margin, else 0.

    Parameters
    ----------
    pred : array_like
        Scores of any shape, float32 or float64.
    target : array_like
        Labels -1 and +1, of the shape of `pred`.
    margin : float, default 1.0
        The product t z from which on nothing is lost.

    References
    ----------
    C.-C. Chang, C.-W. Hsu and C.-J. Lin, The Analysis of Decomposition Methods for SVMs (2000).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.squared_hinge.value_and_grad(np.array([0.5, 2.0, -1.0]), np.array([1, 1, 1]), reduction="sum")
    (4.25, array([-1., -0., -4.]))
    """
    return elementwise(
        want, "squared_hinge", pred, target, (number(margin, "margin"),), common, domain="sign", light=True
    )


@Loss
def modified_huber(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Modified Huber loss: squared hinge that is linear for gross mistakes, so outliers do not pull it.

    max(0, 1 - t z)^2 where t z >= -1, else -4 t z. The gradient is -2 t max(0, 1 - t z), and -4 t where t z < -1; the
    second derivative is 2 where -1 <= t z < 1, else 0.

    Parameters
    ----------
    pred : array_like
        Scores of any shape, float32 or float64.
    target : array_like
        Labels -1 and +1, of the shape of `pred`.

    References
    ----------
    T. Zhang, Solving Large Scale Linear Prediction Problems Using Stochastic Gradient Descent (2004).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.modified_huber.value_and_grad(np.array([0.5, 2.0, -3.0]), np.array([1, 1, 1]), reduction="sum")
    (12.25, array([-1., -0., -4.]))
    """
    return elementwise(want, "modified_huber", pred, target, (), common, domain="sign", light=True)


@Loss
def logistic(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Logistic loss, log(1 + exp(-t z)): binary cross-entropy with labels -1 and +1.

    Stable for every z. The gradient is -t sigmoid(-t z), the second derivative p (1 - p) with p = sigmoid(z).

    Parameters
    ----------
    pred : array_like
        Scores of any shape, float32 or float64.
    target : array_like
        Labels -1 and +1, of the shape of `pred`.

    References
    ----------
    J. Friedman, T. Hastie and R. Tibshirani, Additive Logistic Regression, Annals of Statistics 28 (2000).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.logistic.value_and_grad(np.array([0.0, 1000.0]), np.array([1, -1]), reduction="none")
    (array([6.93147181e-01, 1.00000000e+03]), array([-0.5,  1. ]))
    """
    return elementwise(want, "logistic", pred, target, (), common, domain="sign")


@Loss
def exponential(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Exponential loss, exp(-t z): what AdaBoost minimises.

    The gradient is -t exp(-t z), the second derivative exp(-t z). Mistakes weigh exponentially: `logistic` forgives
    more.

    Parameters
    ----------
    pred : array_like
        Scores of any shape, float32 or float64.
    target : array_like
        Labels -1 and +1, of the shape of `pred`.

    References
    ----------
    Y. Freund and R. E. Schapire, A Decision-Theoretic Generalization of On-Line Learning (1997).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.exponential.value_and_grad(np.array([0.0, 1.0]), np.array([1, -1]), reduction="none")
    (array([1.        , 2.71828183]), array([-1.        ,  2.71828183]))
    """
    return elementwise(want, "exponential", pred, target, (), common, domain="sign")


@Loss
def perceptron(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Perceptron loss, max(0, -t z): `hinge` with margin 0.

    The gradient is -t where t z < 0, else 0; the second derivative is 0.

    Parameters
    ----------
    pred : array_like
        Scores of any shape, float32 or float64.
    target : array_like
        Labels -1 and +1, of the shape of `pred`.

    References
    ----------
    F. Rosenblatt, The Perceptron, Psychological Review 65 (1958).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.perceptron.value_and_grad(np.array([0.5, -3.0]), np.array([1, 1]), reduction="sum")
    (3.0, array([ 0., -1.]))
    """
    return elementwise(want, "perceptron", pred, target, (0.0,), common, kernel="hinge", domain="sign", light=True)


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


@Loss
def softmax_focal(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    **common: Unpack[Common],
) -> Any:
    r"""Focal loss of several classes: cross-entropy in which samples that are right already count little.

    With p = softmax(z) along `axis`, class weights w (1 without `class_weight`), t the probabilities, or 1 in the class
    of the label and 0 elsewhere, and p_t = sum_c t_c p_c::

        -(sum_c w_c t_c) (1 - p_t)^gamma log p_t

    so class indices and one-hot probabilities give the same number. Unlike the weights of `cross_entropy`, those of a
    target of several classes weigh the whole sample; they enter the denominator of "mean" as there. All is computed in
    log space: the loss of a class that is out of reach is its distance, with a gradient that is not 0, and for no gamma
    a probability of 0 or 1 gives NaN. For a label y the gradient is w_y (1 - p_y)^gamma (1 - gamma p_y log(p_y) /
    (1 - p_y)) (p - t).

    Picture, in the repository: docs/curves/focal.svg

    Parameters
    ----------
    pred : array_like
        Logits, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with axis=1, ... A logit
        of -inf rules its class out, as long as one logit of the sample is finite; +inf and NaN give NaN.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`; or probabilities in the shape of
        `pred`, in [0, 1].
    gamma : float, default 2.0
        How little easy samples count, >= 0; 0 is cross-entropy. Multiples of 1/2 up to 7.5 are fastest.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        (C,), weights >= 0 of the classes.
    ignore_index : int, default -100
        Samples with this class index do not count; it may be a class, which then stays in the softmax.

    References
    ----------
    T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, -np.inf]])
    >>> value, grad = fl.softmax_focal.value_and_grad(logits, np.array([0, 1]))
    >>> round(value, 6), grad.round(4)
    (0.092078, array([[-0.0134,  0.0067,  0.0067],
           [ 0.1491, -0.1491,  0.    ]]))
    """
    kernel, parameters = _focal("softmax_focal", gamma, None)
    return class_axis(
        want,
        "softmax_focal",
        pred,
        target,
        parameters,
        common,
        kernel=kernel,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
    )


@Loss
def poly1_cross_entropy(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 1.0,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    **common: Unpack[Common],
) -> Any:
    r"""Poly-1 loss of several classes: cross-entropy with a steeper start, epsilon (1 - p_y) more.

    With p = softmax(z) along `axis`, class weights w (1 without `class_weight`), smoothed target q_c = w_c ((1 - e) t_c
    + e / C) for label smoothing e, and t the probabilities, or 1 in the class of the label and 0 elsewhere::

        sum_c q_c (-log p_c + epsilon (1 - p_c))

    so class indices and one-hot probabilities give the same number. The mean is that of `cross_entropy`. For a label y
    without smoothing the gradient is w_y (1 + epsilon p_y) (p - t); it and the loss keep their relative accuracy where
    p_y is close to 1, but for an epsilon close to -1, where their terms cancel.

    Parameters
    ----------
    pred : array_like
        Logits, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with axis=1, ... A logit
        of -inf rules its class out, as long as one logit of the sample is finite; +inf and NaN give NaN.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`; or probabilities in the shape of
        `pred`, in [0, 1]. They need not sum to 1.
    epsilon : float, default 1.0
        What the first term of cross-entropy's expansion in 1 - p_y gains.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        (C,), weights >= 0 of the classes.
    ignore_index : int, default -100
        Samples with this class index do not count; it may be a class, which then stays in the softmax.
    label_smoothing : float, default 0.0
        In [0, 1]: moves the target towards 1 / C.

    References
    ----------
    Z. Leng et al., PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions (2022).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, -np.inf]])
    >>> value, grad = fl.poly1_cross_entropy.value_and_grad(logits, np.array([0, 1]))
    >>> round(value, 6), grad.round(4)
    (0.822853, array([[-0.1903,  0.0952,  0.0952],
           [ 0.375 , -0.375 ,  0.    ]]))
    """
    return class_axis(
        want,
        "poly1_cross_entropy",
        pred,
        target,
        (number(epsilon, "epsilon"),),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


@Loss
def multiclass_hinge(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 1.0,
    power: int = 1,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    **common: Unpack[Common],
) -> Any:
    r"""Multi-class hinge loss of Weston and Watkins: every wrong class must stay a margin below the right one. For
    linear machines and embeddings of which only the order of the scores counts, not their probabilities. It pushes all
    wrong classes that are too close; `crammer_singer` only the closest.

    For a class index y and class weights w (1 if there are none)::

        w_y sum over j != y of max(0, z_j - z_y + margin)^power

    It is not divided by the number of classes. Under "mean" the denominator is the sum of w_y, times the sample
    weights, over the samples that are not ignored. With power=1 the gradient is w_y for each wrong class that is too
    close, minus their sum for the right one, with the subgradient 0 at the kink, and the second derivative is 0. With
    power=2 the gradient has no jumps, and the second derivative is 2 w_y, and for the right class their sum.

    Parameters
    ----------
    pred : array_like
        Scores, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with axis=1, ... A wrong
        class at -inf contributes nothing; a right one at -inf costs inf, but with power=1 the gradient is finite. NaN
        anywhere in a sample, or +inf at the right and at a wrong class, gives NaN throughout the sample.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`.
    margin : float, default 1.0
        By how much the right class has to lead.
    power : {1, 2}, default 1
        The power of the hinge.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        (C,), weights >= 0 of the classes.
    ignore_index : int, default -100
        Samples with this class index do not count; it may be a class, which then stays a wrong class of the others.

    References
    ----------
    J. Weston and C. Watkins, Support Vector Machines for Multi-Class Pattern Recognition, ESANN (1999).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> scores = np.array([[2.0, 1.5, 0.0], [0.0, 0.5, -np.inf]])
    >>> fl.multiclass_hinge.value_and_grad(scores, np.array([0, 0]), reduction="none")
    (array([0.5, 1.5]), array([[-1.,  1.,  0.],
           [-1.,  1.,  0.]]))
    >>> fl.multiclass_hinge(scores, np.array([0, 0]), power=2, reduction="none")
    array([0.25, 2.25])
    """
    if number(power, "power") not in (1, 2):
        raise ValueError(f"power must be 1 or 2, not {power!r}")
    return class_axis(
        want,
        "multiclass_hinge",
        pred,
        target,
        (number(margin, "margin"),),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        family="margins",
        kernel="multiclass_hinge" if power == 1 else "squared_multiclass_hinge",
        only_labels=True,
    )


@Loss
def crammer_singer(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 1.0,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    **common: Unpack[Common],
) -> Any:
    r"""Multi-class hinge loss of Crammer and Singer: the closest wrong class must stay a margin below the right one. It
    bounds the number of wrong decisions more tightly than `multiclass_hinge`, and its gradient has at most two entries
    a sample.

    For a class index y and class weights w (1 if there are none)::

        w_y max over j != y of max(0, z_j - z_y + margin)

    Under "mean" the denominator is the sum of w_y, times the sample weights, over the samples that are not ignored.
    Where the loss is positive, the gradient is w_y for the largest wrong class, the first of these where several are
    equal, and -w_y for the right one. The second derivative is 0.

    Parameters
    ----------
    pred : array_like
        Scores, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with axis=1, ... A wrong
        class at -inf contributes nothing; a right one at -inf costs inf, but the gradient is finite. NaN anywhere in a
        sample, or +inf at the right and at a wrong class, gives NaN throughout the sample.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`.
    margin : float, default 1.0
        By how much the right class has to lead.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        (C,), weights >= 0 of the classes.
    ignore_index : int, default -100
        Samples with this class index do not count; it may be a class, which then stays a wrong class of the others.

    References
    ----------
    K. Crammer and Y. Singer, On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines, JMLR 2
    (2001).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> scores = np.array([[2.0, 1.5, 1.8], [0.0, 0.5, -np.inf]])
    >>> fl.crammer_singer.value_and_grad(scores, np.array([0, 0]), reduction="none")
    (array([0.8, 1.5]), array([[-1.,  0.,  1.],
           [-1.,  1.,  0.]]))
    """
    return class_axis(
        want,
        "crammer_singer",
        pred,
        target,
        (number(margin, "margin"),),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        family="margins",
        only_labels=True,
    )


@Loss
def categorical_cross_entropy(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    **common: Unpack[Common],
) -> Any:
    r"""Cross-entropy of probabilities, where a model ends in them. Of logits, `cross_entropy` is more accurate.

    With probabilities p along `axis`, class weights w (1 without `class_weight`), smoothed target q_c = w_c ((1 - e)
    t_c + e / C) for label smoothing e, and t the target probabilities, or 1 in the class of the label and 0 elsewhere::

        -sum_c q_c max(log p_c, -100)

    so a wrong certainty costs 100, not inf. The probabilities are taken as they are, not normalised. Under "mean" the
    denominator is that of `cross_entropy`. The gradient is -q / p and the second derivative q / p^2, where the smallest
    normal number of the dtype takes the place of a smaller p. Of class indices without label smoothing, only the
    probability of the label is read, and checked.

    Parameters
    ----------
    pred : array_like
        Probabilities in [0, 1], float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with
        axis=1, ...
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`; or probabilities in the shape of
        `pred`, in [0, 1]. They need not sum to 1. What a class without a part in the target holds does not matter.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        (C,), weights >= 0 of the classes.
    ignore_index : int, default -100
        Samples with this class index do not count; it may be a class.
    label_smoothing : float, default 0.0
        In [0, 1]: moves the target towards 1 / C.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred = np.array([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]])
    >>> fl.categorical_cross_entropy(pred, np.array([1, 0]), reduction="none")
    array([  1.38629436, 100.        ])
    >>> fl.categorical_cross_entropy.grad(pred, np.array([1, 2]), reduction="sum")
    array([[ 0., -4.,  0.],
           [ 0.,  0., -2.]])
    """
    return summed(
        want,
        "categorical_cross_entropy",
        pred,
        target,
        (),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=number(label_smoothing, "label_smoothing", 0, 1),
        domains=("probability", "unit interval"),
    )


@Loss
def nll(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    **common: Unpack[Common],
) -> Any:
    r"""Negative log-likelihood of log-probabilities. Of logits, `cross_entropy` does both steps in one.

    With log-probabilities along `axis`, class weights w (1 without `class_weight`), and t the target probabilities, or
    1 in the class of the label and 0 elsewhere::

        -sum_c w_c t_c pred_c

    where a class with t_c = 0 adds 0, also where `pred` is -inf. Under "mean" the denominator is that of
    `cross_entropy`. The gradient is -w t, the second derivative 0. Of class indices, only the element of the label is
    read.

    Parameters
    ----------
    pred : array_like
        Log-probabilities, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with axis=1,
        ...
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`; or probabilities in the shape of
        `pred`, in [0, 1]. They need not sum to 1.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        (C,), weights >= 0 of the classes.
    ignore_index : int, default -100
        Samples with this class index do not count; it may be a class.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred = np.log([[0.5, 0.5], [0.25, 0.75]])
    >>> value, grad = fl.nll.value_and_grad(pred, np.array([0, -100]))
    >>> round(value, 6), grad
    (0.693147, array([[-1.,  0.],
           [ 0.,  0.]]))
    """
    return summed(
        want,
        "nll",
        pred,
        target,
        (),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        domains=(None, "unit interval"),
        light=True,
    )


@Loss
def multilabel_soft_margin(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Binary cross-entropy of logits, averaged over classes that do not exclude each other: one loss a sample.

    With p = sigmoid(z) for logit z, and class weights w (1 without `class_weight`)::

        1/C sum_c w_c (-t_c log p_c - (1 - t_c) log(1 - p_c))

    Under "mean" a sample counts as mean_c w_c, so the result is the weighted mean over all samples and classes. The
    gradient is w (p - t) / C, the second derivative w p (1 - p) / C.

    Parameters
    ----------
    pred : array_like
        Logits, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with axis=1, ...
    target : array_like
        Of the shape of `pred`: labels 0 and 1, or probabilities in between.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        (C,), weights >= 0 of the classes.

    References
    ----------
    M.-L. Zhang and Z.-H. Zhou, A Review on Multi-Label Learning Algorithms (2014).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> logits, labels = np.array([[0.0, 0.0], [0.0, -np.inf]]), np.array([[0, 1], [1, 0]])
    >>> fl.multilabel_soft_margin(logits, labels, reduction="none")
    array([0.69314718, 0.34657359])
    >>> fl.multilabel_soft_margin.grad(logits, labels, reduction="sum", class_weight=[2.0, 1.0])
    array([[ 0.5 , -0.25],
           [-0.5 ,  0.  ]])
    """
    return summed(
        want,
        "multilabel_soft_margin",
        pred,
        target,
        (),
        common,
        axis=axis,
        class_weight=class_weight,
        domains=(None, "unit interval"),
        mean=True,
    )


def _smoothing(label_smoothing: float) -> tuple[float, float]:
    """a and b of the smoothed label a + b t."""
    smoothing = number(label_smoothing, "label_smoothing", 0, 1)
    return smoothing / 2, 1 - smoothing


def _balance(alpha: float | None) -> tuple[float, float]:
    """The weights of the positive and of the negative label."""
    if alpha is None:
        return 1.0, 1.0
    alpha = number(alpha, "alpha", 0, 1)
    return alpha, 1 - alpha


def _focal(loss: str, gamma: float, alpha: float | None) -> tuple[str, tuple[float, ...]]:
    """The kernel of a focal loss and its parameters: see binary.pxd."""
    gamma = number(gamma, "gamma", 0)
    halves = 2 * gamma
    slope = float(gamma == 1) if gamma >= 1 or gamma == 0 else math.inf  # of m^gamma at 0
    if halves > 15 or halves % 1:
        return loss + "_any_gamma", (gamma, 0, *_balance(alpha), 0, 0, 0, slope)
    whole, odd = divmod(int(halves), 2)
    return loss, (gamma, odd, *_balance(alpha), whole & 1, whole & 2, whole & 4, slope)
