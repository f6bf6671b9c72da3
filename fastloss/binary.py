"""Losses of two classes, and of several labels that do not exclude each other. Each element has its own loss.

Choose by what `pred` holds and by the labels:

* Logits, and targets in [0, 1]: `binary_cross_entropy_with_logits`, `sigmoid_focal`, `sigmoid_poly1`, `brier`.
* Probabilities, and targets in [0, 1]: `binary_cross_entropy`, `binary_focal`.
* Scores, and labels -1 and +1: the losses of `fastloss.margin`.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.elementwise import elementwise
from fastloss._core.request.arguments import number
from fastloss._core.request.domains import Domain
from fastloss._declaration import FRACTION, PRED, PROBABILITY, Elementwise
from fastloss._loss import loss
from fastloss._parameters import balance, focal, smoothing

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_focal",
    "brier",
    "sigmoid_focal",
    "sigmoid_poly1",
]


BINARY_CROSS_ENTROPY_WITH_LOGITS = Elementwise("binary_cross_entropy_with_logits", (PRED, FRACTION))


@loss(BINARY_CROSS_ENTROPY_WITH_LOGITS)
def binary_cross_entropy_with_logits(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    pos_weight_axis: int = -1,
    alpha: float | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Binary cross-entropy of logits.

    Use it as the default for two classes, and for each label of a multi-label problem. For probabilities take
    `binary_cross_entropy`; for several classes that exclude each other take `cross_entropy`.

    z is `pred`, t is `target`, and p = sigmoid(z)::

        loss = -t log p - (1 - t) log(1 - p)

    Three options change this formula. `label_smoothing` replaces t by t (1 - label_smoothing) + label_smoothing / 2.
    `pos_weight` multiplies the first term. `alpha` multiplies both terms by alpha t + (1 - alpha) (1 - t), where t is
    the smoothed target.

    Parameters
    ----------
    pred : array_like
        Logits of any shape, half precision, float32 or float64.
    target : array_like
        Numbers in [0, 1]: labels 0 and 1, or probabilities. They have the shape of `pred`. NaN or a value outside
        [0, 1] raises ValueError.
    pos_weight : float or array_like, optional
        Weight of the positive label, finite and >= 0: a number, or one number for each index of `pos_weight_axis`.
    pos_weight_axis : int, default -1
        The axis of `pred` that `pos_weight` is along.
    alpha : float, optional
        A number in [0, 1] that balances the two labels. The positive label has the weight alpha, the negative label the
        weight 1 - alpha. Without `alpha` both have the weight 1.
    label_smoothing : float, default 0.0
        A number in [0, 1]. It moves the targets towards 1/2.
    ignore_index : int, optional
        Elements whose target is this integer are ignored, whatever their prediction is: for example 255 or -1 in masks.
        They have neither loss nor gradient, and do not count in the denominator of the mean.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
      `pos_weight` and `alpha` are part of the loss. They do not enter the denominator.
    * Gradient without options: p - t.
    * Second derivative without options: p (1 - p).
    * Accuracy: the loss and the gradient keep their relative accuracy for large positive and large negative logits.
    * Special values: an infinite logit costs 0 if the label agrees with it, and inf if not. The gradient is finite in
      both cases. A NaN logit gives a NaN loss and gradient.
    * Unit: the logarithm is natural, so the loss is in nats.
    * Picture, in the repository: docs/curves/surfaces.svg

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
    parameters = (*smoothing(label_smoothing), *balance(alpha))
    along_axis = None
    if pos_weight is not None or type(pos_weight_axis) is not int or pos_weight_axis != -1:
        along_axis = ("pos_weight", pos_weight, Domain.WEIGHT, pos_weight_axis, "pos_weight_axis")
    return elementwise(
        BINARY_CROSS_ENTROPY_WITH_LOGITS,
        outputs,
        pred,
        target,
        parameters,
        common,
        along_axis=along_axis,
        ignore_index=ignore_index,
    )


BINARY_CROSS_ENTROPY = Elementwise("binary_cross_entropy", (PROBABILITY, FRACTION))


@loss(BINARY_CROSS_ENTROPY)
def binary_cross_entropy(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Binary cross-entropy of probabilities.

    Use it if the model ends in probabilities. If you have the logits, take `binary_cross_entropy_with_logits`: it is
    more accurate and faster.

    p is `pred` and t is `target`::

        loss = -t max(log p, -100) - (1 - t) max(log(1 - p), -100)

    Two options change this formula. `label_smoothing` replaces t by t (1 - label_smoothing) + label_smoothing / 2.
    `alpha` multiplies both terms by alpha t + (1 - alpha) (1 - t), where t is the smoothed target.

    Parameters
    ----------
    pred : array_like
        Probabilities in [0, 1] of any shape, half precision, float32 or float64. A value outside [0, 1] raises
        ValueError. NaN does not.
    target : array_like
        Numbers in [0, 1]: labels 0 and 1, or probabilities. They have the shape of `pred`. NaN or a value outside
        [0, 1] raises ValueError.
    alpha : float, optional
        A number in [0, 1] that balances the two labels. The positive label has the weight alpha, the negative label the
        weight 1 - alpha. Without `alpha` both have the weight 1.
    label_smoothing : float, default 0.0
        A number in [0, 1]. It moves the targets towards 1/2.
    ignore_index : int, optional
        Elements whose target is this integer are ignored, whatever their prediction is: for example 255 or -1 in masks.
        They have neither loss nor gradient, and do not count in the denominator of the mean.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights. `alpha` is
      part of the loss. It does not enter the denominator.
    * Limit: a prediction that is certain and wrong costs 100, not inf.
    * Gradient without options: (1 - t) / (1 - p) - t / p. The limit of the logarithm does not enter it. A denominator
      below the smallest normal number of the dtype is replaced by that number, so the gradient is always finite. Above
      that number the gradient is exact.
    * Second derivative without options: (1 - t) / (1 - p)^2 + t / p^2. It can be inf.
    * Special values: a NaN probability gives a NaN loss and gradient.
    * Unit: the logarithm is natural, so the loss is in nats.
    * Picture, in the repository: docs/curves/probabilities.svg

    References
    ----------
    D. R. Cox, The Regression Analysis of Binary Sequences, JRSS B 20 (1958).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.binary_cross_entropy.value_and_grad(np.array([0.5, 0.0]), np.array([1, 1]), reduction="none")
    (array([  0.69314718, 100.        ]), array([-2.00000000e+000, -4.49423284e+307]))
    """
    parameters = (*smoothing(label_smoothing), *balance(alpha))
    return elementwise(BINARY_CROSS_ENTROPY, outputs, pred, target, parameters, common, ignore_index=ignore_index)


SIGMOID_FOCAL = Elementwise("sigmoid_focal", (PRED, FRACTION))


@loss(SIGMOID_FOCAL)
def sigmoid_focal(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    ignore_index: int | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Focal loss of logits for independent labels: binary cross-entropy that gives easy elements little weight.

    Use it when nearly all elements are easy negatives, as in dense object detection. Take `softmax_focal` for logits of
    classes that exclude each other, and `binary_focal` for probabilities.

    z is `pred`, t is `target`, and p = sigmoid(z)::

        p_t  = p t + (1 - p) (1 - t)
        loss = (1 - p_t)^gamma (-t log p - (1 - t) log(1 - p))

    p_t is the probability of the right label. For a label 0 or 1, the loss is -(1 - p_t)^gamma log p_t. `alpha`
    multiplies the loss by alpha t + (1 - alpha) (1 - t).

    Parameters
    ----------
    pred : array_like
        Logits of any shape, half precision, float32 or float64.
    target : array_like
        Numbers in [0, 1]: labels 0 and 1, or probabilities. They have the shape of `pred`. NaN or a value outside
        [0, 1] raises ValueError.
    gamma : float, default 2.0
        Exponent, finite and >= 0. The larger it is, the less weight easy elements have. With gamma=0, the loss is
        binary cross-entropy. Multiples of 1/2 up to 7.5 are fastest.
    alpha : float, optional
        A number in [0, 1] that balances the two labels. The positive label has the weight alpha, the negative label the
        weight 1 - alpha. Without `alpha` both have the weight 1.
    ignore_index : int, optional
        Elements whose target is this integer are ignored, whatever their prediction is: for example 255 or -1 in masks.
        They have neither loss nor gradient, and do not count in the denominator of the mean.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights. `alpha` is
      part of the loss. It does not enter the denominator. Object detectors divide by the number of positive labels
      instead: see the second example.
    * Gradient for label 1: -alpha (1 - p)^gamma (1 - p - gamma p log p).
    * Gradient for label 0: (1 - alpha) p^gamma (p - gamma (1 - p) log(1 - p)).
    * Without `alpha`, the factors alpha and 1 - alpha in the two gradients are 1.
    * Gradient for any target, where B is the binary cross-entropy and a is the factor from `alpha`:
      a (1 - p_t)^gamma (p - t - gamma (2 t - 1) p (1 - p) B / (1 - p_t)).
    * Second derivative: it is negative for some elements that are clearly wrong, because the loss is not convex for
      gamma > 0.
    * Targets between 0 and 1: with gamma=0, the minimum is at p = t. A larger gamma moves it towards 0 or 1: for t =
      0.3 and gamma=2 it is at p = 0.12.
    * Special values: an infinite logit costs 0 if the label agrees with it, and inf if not. The gradient is finite in
      both cases. A NaN logit gives a NaN loss and gradient.
    * Accuracy: the loss keeps its accuracy for every logit.
    * Picture, in the repository: docs/curves/focal.svg

    References
    ----------
    T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.sigmoid_focal.value_and_grad(np.array([0.0, 40.0]), np.array([1, 1]), gamma=0.5, reduction="none")
    (array([4.90129072e-01, 8.75651076e-27]), array([-4.76085659e-01, -1.31347661e-26]))

    An object detector with three anchors and two classes. The sum of the losses is divided by the number of positive
    labels, or by 1 if there are none:

    >>> logits = np.array([[-2.0, 1.0], [-1.0, -4.0], [-3.0, -5.0]])
    >>> labels = np.array([[0, 1], [0, 0], [0, 0]])
    >>> n_positive = labels.sum()
    >>> value, grad = fl.sigmoid_focal.value_and_grad(logits, labels, alpha=0.25, normalizer=max(n_positive, 1))
    >>> round(value, 4), grad.shape
    (0.0241, (3, 2))
    """
    kernel, parameters = focal("sigmoid_focal", gamma, alpha)
    return elementwise(
        SIGMOID_FOCAL, outputs, pred, target, parameters, common, ignore_index=ignore_index, kernel=kernel
    )


BINARY_FOCAL = Elementwise("binary_focal", (PROBABILITY, FRACTION))


@loss(BINARY_FOCAL)
def binary_focal(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    ignore_index: int | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Focal loss of probabilities: binary cross-entropy that gives easy elements little weight.

    Use it if the model ends in probabilities. If you have the logits, take `sigmoid_focal` for independent labels,
    which is more accurate and faster, or `softmax_focal` for classes that exclude each other.

    p is `pred` and t is `target`::

        p_t  = p t + (1 - p) (1 - t)
        loss = (1 - p_t)^gamma (-t max(log p, -100) - (1 - t) max(log(1 - p), -100))

    p_t is the probability of the right label. For a label 0 or 1, the loss is -(1 - p_t)^gamma max(log p_t, -100).
    `alpha` multiplies the loss by alpha t + (1 - alpha) (1 - t).

    Parameters
    ----------
    pred : array_like
        Probabilities in [0, 1] of any shape, half precision, float32 or float64. A value outside [0, 1] raises
        ValueError. NaN does not.
    target : array_like
        Numbers in [0, 1]: labels 0 and 1, or probabilities. They have the shape of `pred`. NaN or a value outside
        [0, 1] raises ValueError.
    gamma : float, default 2.0
        Exponent, finite and >= 0. The larger it is, the less weight easy elements have. With gamma=0, the loss is
        binary cross-entropy. Multiples of 1/2 up to 7.5 are fastest.
    alpha : float, optional
        A number in [0, 1] that balances the two labels. The positive label has the weight alpha, the negative label the
        weight 1 - alpha. Without `alpha` both have the weight 1.
    ignore_index : int, optional
        Elements whose target is this integer are ignored, whatever their prediction is: for example 255 or -1 in masks.
        They have neither loss nor gradient, and do not count in the denominator of the mean.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights. `alpha` is
      part of the loss. It does not enter the denominator.
    * Gradient without `alpha`, where B is the binary cross-entropy, D = (1 - t) / (1 - p) - t / p its derivative, and
      m = 1 - p_t: m^gamma (D - gamma (2 t - 1) B / m). D is limited as in `binary_cross_entropy`, so the gradient is
      finite for every p in [0, 1].
    * Second derivative without `alpha`: m^gamma (t / p^2 + (1 - t) / (1 - p)^2 - 2 gamma (2 t - 1) D / m + gamma (gamma
      - 1) (2 t - 1)^2 B / m^2). It can be inf where p is 0 or 1.
    * Targets between 0 and 1: with gamma=0, the minimum is at p = t. A larger gamma moves it towards 0 or 1: for t =
      0.3 and gamma=2 it is at p = 0.12.
    * Special values: a NaN probability gives a NaN loss and gradient.

    References
    ----------
    T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.binary_focal.value_and_grad(np.array([0.5, 1.0]), np.array([1, 1]), reduction="none")
    (array([0.1732868, 0.       ]), array([-1.19314718, -0.        ]))
    """
    kernel, parameters = focal("binary_focal", gamma, alpha)
    return elementwise(
        BINARY_FOCAL, outputs, pred, target, parameters, common, ignore_index=ignore_index, kernel=kernel
    )


SIGMOID_POLY1 = Elementwise("sigmoid_poly1", (PRED, FRACTION))


@loss(SIGMOID_POLY1)
def sigmoid_poly1(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 1.0,
    ignore_index: int | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Poly-1 loss of logits: binary cross-entropy plus epsilon times the probability of the wrong label.

    Use it in place of `binary_cross_entropy_with_logits` to change its gradient with one number: for labels 0 and 1,
    the gradient is multiplied by 1 + epsilon p_t. For classes that exclude each other take `poly1_cross_entropy`.

    z is `pred`, t is `target`, and p = sigmoid(z)::

        p_t  = p t + (1 - p) (1 - t)
        loss = -t log p - (1 - t) log(1 - p) + epsilon (1 - p_t)

    Parameters
    ----------
    pred : array_like
        Logits of any shape, half precision, float32 or float64.
    target : array_like
        Numbers in [0, 1]: labels 0 and 1, or probabilities. They have the shape of `pred`. NaN or a value outside
        [0, 1] raises ValueError.
    epsilon : float, default 1.0
        Any finite number. It is added to the coefficient of 1 - p_t in the expansion of cross-entropy in powers of
        1 - p_t.
    ignore_index : int, optional
        Elements whose target is this integer are ignored, whatever their prediction is: for example 255 or -1 in masks.
        They have neither loss nor gradient, and do not count in the denominator of the mean.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
    * Gradient: p - t - epsilon (2 t - 1) p (1 - p).
    * Second derivative: p (1 - p) (1 + epsilon (2 t - 1) (2 p - 1)).
    * Targets between 0 and 1: with epsilon=0, the minimum is at p = t. A positive epsilon moves it towards 0 or 1: for
      t = 0.3 and epsilon=1 it is at p = 0.23.
    * Special values: an infinite logit costs 0 if the label agrees with it, and inf if not. The gradient is finite in
      both cases. A NaN logit gives a NaN loss and gradient.

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
        SIGMOID_POLY1, outputs, pred, target, (number(epsilon, "epsilon"),), common, ignore_index=ignore_index
    )


BRIER = Elementwise("brier", (PRED, FRACTION))


@loss(BRIER)
def brier(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    ignore_index: int | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Brier score of logits: the squared error of the probability sigmoid(pred).

    Use it if one confident mistake must not cost more than 1. Otherwise take `binary_cross_entropy_with_logits`: the
    gradient of the Brier score vanishes for confident mistakes, so they are hard to correct.

    z is `pred` and t is `target`::

        loss = (sigmoid(z) - t)^2

    Parameters
    ----------
    pred : array_like
        Logits of any shape, half precision, float32 or float64.
    target : array_like
        Numbers in [0, 1]: labels 0 and 1, or probabilities. They have the shape of `pred`. NaN or a value outside
        [0, 1] raises ValueError.
    ignore_index : int, optional
        Elements whose target is this integer are ignored, whatever their prediction is: for example 255 or -1 in masks.
        They have neither loss nor gradient, and do not count in the denominator of the mean.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
    * Range: the loss is in [0, 1]. It is not convex in z.
    * Gradient, where p = sigmoid(z): 2 (p - t) p (1 - p).
    * Second derivative: 2 p (1 - p) (p (1 - p) + (p - t) (1 - 2 p)). It is negative for confident mistakes.
    * Special values: an infinite logit costs 0 if the label agrees with it, and 1 if not. The gradient is 0 in both
      cases. A NaN logit gives a NaN loss and gradient.
    * Picture, in the repository: docs/curves/surfaces.svg

    References
    ----------
    G. W. Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 78 (1950).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.brier.value_and_grad(np.array([0.0, 0.0]), np.array([0, 1]), reduction="sum")
    (0.5, array([ 0.25, -0.25]))
    """
    return elementwise(BRIER, outputs, pred, target, (), common, ignore_index=ignore_index)
