"""Losses of several classes, which lie along one axis of `pred`. Each sample has one loss.

Choose by what `pred` holds:

* Logits of classes of which one is right: `cross_entropy`, `softmax_focal`, `poly1_cross_entropy`.
* Scores that should be apart by a margin: `multiclass_hinge` and `crammer_singer` in `fastloss.margin`.
* Probabilities: `categorical_cross_entropy`. Log-probabilities: `nll`.
* Logits of classes that do not exclude each other: `multilabel_soft_margin`.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.classes import classes
from fastloss._core.calls.terms import terms
from fastloss._core.request.arguments import number
from fastloss._declaration import CLASSES, PRED, PROBABILITY, Classes, Terms
from fastloss._loss import loss
from fastloss._parameters import focal

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "categorical_cross_entropy",
    "cross_entropy",
    "multilabel_soft_margin",
    "nll",
    "poly1_cross_entropy",
    "softmax_focal",
]


CROSS_ENTROPY = Classes("cross_entropy")


@loss(CROSS_ENTROPY)
def cross_entropy(
    outputs: int,
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
    r"""Cross-entropy between softmax(pred) and a target class or distribution.

    Use it as the default for several classes of which one is right. If several classes can be right at once, take
    `binary_cross_entropy_with_logits`; if `pred` holds probabilities, take `categorical_cross_entropy`.

    With p = softmax(`pred`) along `axis`, target distribution t and class weights w (1 without `class_weight`)::

        loss = -sum_c w_c t_c log p_c

    A class index stands for a one-hot t: 1 in its class and 0 elsewhere. Class index and one-hot target give the same
    loss. `label_smoothing` replaces t in this sum by (1 - label_smoothing) t + label_smoothing / C, where C is the
    number of classes. `z_loss` adds z_loss M (log sum_c exp z_c)^2. z is `pred`. M is sum_c w_c t_c with the t before
    smoothing. Without `class_weight`, M is 1.

    Parameters
    ----------
    pred : array_like
        Logits, half precision, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with
        axis=1, and so on. A logit of -inf excludes its class, as long as one logit of the sample is finite. A logit of
        +inf or NaN makes the loss and the gradient of its sample NaN.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`. Alternatively, probabilities in
        [0, 1], in the shape of `pred`, which need not sum to 1. An index that is neither a class nor `ignore_index`,
        and a probability that is NaN or outside [0, 1], raise ValueError.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        Weights of the classes, finite and >= 0, in shape (C,). Without `label_smoothing`, a sample is ignored if its
        target has only classes of weight 0.
    ignore_index : int, default -100
        Samples with this class index are ignored. It may be the index of a class, which then stays in the softmax of
        the other samples. If `target` holds probabilities, an `ignore_index` >= 0 raises ValueError.
    label_smoothing : float, default 0.0
        A number in [0, 1]. It moves the target towards 1 / C.
    z_loss : float, default 0.0
        Factor >= 0 of (log sum_c exp z_c)^2. This term keeps the logits from drifting.

    Notes
    -----
    * Mean: the denominator is the sum of sample_weight times M over the samples that are not ignored. For a class
      index, M is the weight of the class. Without weights the denominator is the number of these samples. PyTorch has
      the same denominator for class indices. For probabilities it divides by the number of samples N instead:
      `normalizer=N` gives that number, see the second example.
    * Gradient for a class index y, without `label_smoothing` and `z_loss`: w_y (p - t).
    * Gradient in general: Q p - q + 2 z_loss M L p, where q_c is w_c times the smoothed t_c, Q = sum_c q_c, and L = log
      sum_c exp z_c.
    * Second derivative (the diagonal of the Hessian): Q p (1 - p) + 2 z_loss M (p^2 + L p (1 - p)). For a class index
      without `label_smoothing` and `z_loss` it is w_y p (1 - p).
    * Accuracy: for a class index y without `label_smoothing` and `z_loss`, the loss and the gradient keep their
      relative accuracy where p_y is close to 1.
    * Special values: a right class with a logit of -inf costs inf, with a finite gradient. With `label_smoothing`, a
      logit of -inf gives the loss inf, unless its class has weight 0.
    * Unit: the logarithm is natural, so the loss is in nats.
    * Picture, in the repository: docs/curves/focal.svg

    References
    ----------
    J. S. Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs (1990); label smoothing: C.
    Szegedy et al. (2016); z_loss: A. Chowdhery et al., PaLM (2022).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, -np.inf]])
    >>> value, grad = fl.cross_entropy.value_and_grad(logits, np.array([0, 1]))
    >>> round(value, 6), grad.round(4)
    (0.466346, array([[-0.1065,  0.0533,  0.0533],
           [ 0.25  , -0.25  ,  0.    ]]))

    Probabilities as targets, with class weights. The mean divides by the sum of w_c t_c, here 1.5 + 3.6. PyTorch
    divides by the number of samples, here 2:

    >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> target, weight = np.array([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]]), [1.0, 2.0, 4.0]
    >>> round(fl.cross_entropy(logits, target, class_weight=weight), 4)
    0.9303
    >>> round(fl.cross_entropy(logits, target, class_weight=weight, normalizer=len(logits)), 4)
    2.3723
    """
    return classes(
        CROSS_ENTROPY,
        outputs,
        pred,
        target,
        (number(z_loss, "z_loss", 0),),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


SOFTMAX_FOCAL = Classes("softmax_focal")


@loss(SOFTMAX_FOCAL)
def softmax_focal(
    outputs: int,
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
    r"""Focal loss of logits for classes that exclude each other: cross-entropy that gives easy samples little weight.

    Use it if most samples are easy and would dominate the sum of `cross_entropy`. Take `sigmoid_focal` for logits of
    independent labels, and `binary_focal` for probabilities.

    With p = softmax(`pred`) along `axis`, target distribution t and class weights w (1 without `class_weight`)::

        loss = -sum_c w_c t_c (1 - p_c)^gamma log p_c

    A class index stands for a one-hot t: 1 in its class and 0 elsewhere. Class index and one-hot target give the same
    loss. For a class index y, it is -w_y (1 - p_y)^gamma log p_y.

    Parameters
    ----------
    pred : array_like
        Logits, half precision, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with
        axis=1, and so on. A logit of -inf excludes its class, as long as one logit of the sample is finite. A logit of
        +inf or NaN makes the loss and the gradient of its sample NaN.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`. Alternatively, probabilities in
        [0, 1], in the shape of `pred`, which need not sum to 1. An index that is neither a class nor `ignore_index`,
        and a probability that is NaN or outside [0, 1], raise ValueError.
    gamma : float, default 2.0
        Exponent, finite and >= 0. The larger it is, the less weight easy samples have. With gamma=0, the loss is
        `cross_entropy`. Multiples of 1/2 up to 7.5 are fastest.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        Weights of the classes, finite and >= 0, in shape (C,). They take the place of the `alpha` of `sigmoid_focal`. A
        sample is ignored if its target has only classes of weight 0.
    ignore_index : int, default -100
        Samples with this class index are ignored. It may be the index of a class, which then stays in the softmax of
        the other samples. If `target` holds probabilities, an `ignore_index` >= 0 raises ValueError.

    Notes
    -----
    * Mean: the denominator is the same as in `cross_entropy`. So `class_weight` enters the denominator, and `alpha` of
      `sigmoid_focal` does not. Object detectors divide by the number of positives instead:
      `normalizer=max(n_positive, 1)`, see the second example.
    * Gradient for a class index y: w_y (1 - p_y)^gamma (1 - gamma p_y log(p_y) / (1 - p_y)) (p - t).
    * Gradient in general: p sum_c A_c - A, where A_c = w_c t_c (1 - p_c)^gamma (1 - gamma p_c log(p_c) / (1 - p_c)).
    * Second derivative (the diagonal of the Hessian): it can be negative, because the loss is not convex for gamma > 0.
    * Targets of several classes: with gamma=0, the minimum is at p = t, if t sums to 1 and there are no class weights.
      A larger gamma moves it towards equal probabilities: for t = (0.3, 0.7) and gamma=2 it is at p = (0.42, 0.58).
    * Accuracy: the computation is in log space. If p_c is too small for the dtype, the loss still grows with the
      distance of the logits, and the gradient is not 0.
    * Special values: a probability p_c of 0 or 1 does not give NaN, whatever gamma is. A right class with a logit of
      -inf costs inf, with a finite gradient.
    * Picture, in the repository: docs/curves/focal.svg

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

    An object detector with four anchors. Class 0 is the background, with a smaller weight. The sum of the losses is
    divided by the number of positives, or by 1 if there are none:

    >>> logits = np.array([[3.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [4.0, 0.0, 0.0]])
    >>> target = np.array([0, 0, 1, 0])
    >>> n_positive = np.count_nonzero(target)
    >>> round(fl.softmax_focal(logits, target, class_weight=[0.25, 0.75, 0.75], normalizer=max(n_positive, 1)), 4)
    0.0772

    With two classes and a class index, it is `sigmoid_focal` of the difference of the logits, and `binary_focal` of its
    sigmoid.
    `class_weight=[1 - alpha, alpha]` takes the place of `alpha`:

    >>> z = np.array([0.5])
    >>> round(fl.softmax_focal(np.array([[0.0, 0.5]]), np.array([1]), class_weight=[0.75, 0.25], reduction="sum"), 6)
    0.016893
    >>> round(fl.sigmoid_focal(z, np.array([1]), alpha=0.25, reduction="sum"), 6)
    0.016893
    >>> round(fl.binary_focal(1 / (1 + np.exp(-z)), np.array([1]), alpha=0.25, reduction="sum"), 6)
    0.016893
    """
    kernel, parameters = focal("softmax_focal", gamma, None)
    return classes(
        SOFTMAX_FOCAL,
        outputs,
        pred,
        target,
        parameters,
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        kernel=kernel,
    )


POLY1_CROSS_ENTROPY = Classes("poly1_cross_entropy")


@loss(POLY1_CROSS_ENTROPY)
def poly1_cross_entropy(
    outputs: int,
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
    r"""Poly-1 loss of logits: cross-entropy plus epsilon times the probability of the wrong classes.

    Use it in place of `cross_entropy` to change its gradient with one number: for a class index y, the gradient is
    multiplied by 1 + epsilon p_y. For labels that do not exclude each other take `sigmoid_poly1`.

    With p = softmax(`pred`) along `axis`, target distribution t and class weights w (1 without `class_weight`)::

        loss = sum_c w_c t_c (-log p_c + epsilon (1 - p_c))

    A class index stands for a one-hot t: 1 in its class and 0 elsewhere. Class index and one-hot target give the same
    loss. `label_smoothing` replaces t by (1 - label_smoothing) t + label_smoothing / C, where C is the number of
    classes.

    Parameters
    ----------
    pred : array_like
        Logits, half precision, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with
        axis=1, and so on. A logit of -inf excludes its class, as long as one logit of the sample is finite. A logit of
        +inf or NaN makes the loss and the gradient of its sample NaN.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`. Alternatively, probabilities in
        [0, 1], in the shape of `pred`, which need not sum to 1. An index that is neither a class nor `ignore_index`,
        and a probability that is NaN or outside [0, 1], raise ValueError.
    epsilon : float, default 1.0
        Any finite number. For a class index y, it is added to the coefficient of 1 - p_y in the expansion of
        cross-entropy in powers of 1 - p_y.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        Weights of the classes, finite and >= 0, in shape (C,). Without `label_smoothing`, a sample is ignored if its
        target has only classes of weight 0.
    ignore_index : int, default -100
        Samples with this class index are ignored. It may be the index of a class, which then stays in the softmax of
        the other samples. If `target` holds probabilities, an `ignore_index` >= 0 raises ValueError.
    label_smoothing : float, default 0.0
        A number in [0, 1]. It moves the target towards 1 / C.

    Notes
    -----
    * Mean: the denominator is the same as in `cross_entropy`.
    * Gradient for a class index y, without `label_smoothing`: w_y (1 + epsilon p_y) (p - t).
    * Gradient in general: Q p - q - epsilon p (q - h), where q_c is w_c times the smoothed t_c, Q = sum_c q_c, and
      h = sum_c q_c p_c.
    * Second derivative (the diagonal of the Hessian): Q p (1 - p) - epsilon p (q - h) (1 - 2 p).
    * Targets of several classes: a positive epsilon moves the minimum away from p = t, towards the largest t. For t =
      (0.3, 0.7) and epsilon=1 it is at p = (0.23, 0.77).
    * Accuracy: for a class index y without `label_smoothing`, the loss and the gradient keep their relative accuracy
      where p_y is close to 1. An epsilon close to -1 is an exception, because the two terms cancel.
    * Special values: a right class with a logit of -inf costs inf, with a finite gradient. With `label_smoothing`, a
      logit of -inf gives the loss inf, unless its class has weight 0.

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
    return classes(
        POLY1_CROSS_ENTROPY,
        outputs,
        pred,
        target,
        (number(epsilon, "epsilon"),),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


CATEGORICAL_CROSS_ENTROPY = Terms("categorical_cross_entropy", (PROBABILITY, CLASSES))


@loss(CATEGORICAL_CROSS_ENTROPY)
def categorical_cross_entropy(
    outputs: int,
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
    r"""Cross-entropy between predicted probabilities and a target class or distribution.

    Use it if the model ends in probabilities. If you have the logits, take `cross_entropy`, which is more accurate; if
    you have log-probabilities, take `nll`.

    With predicted probabilities p along `axis`, target distribution t and class weights w (1 without `class_weight`)::

        loss = -sum_c w_c t_c max(log p_c, -100)

    A class index stands for a one-hot t: 1 in its class and 0 elsewhere. `label_smoothing` replaces t by
    (1 - label_smoothing) t + label_smoothing / C, where C is the number of classes. The probabilities p are used as
    given: they are not divided by their sum.

    Parameters
    ----------
    pred : array_like
        Probabilities in [0, 1], half precision, float32 or float64, with the classes along `axis`: (N, C), (C,),
        (N, C, H, W) with axis=1, and so on. A value outside [0, 1] raises ValueError. NaN does not.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`. Alternatively, probabilities in
        [0, 1], in the shape of `pred`, which need not sum to 1. An index that is neither a class nor `ignore_index`,
        and a probability that is NaN or outside [0, 1], raise ValueError.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        Weights of the classes, finite and >= 0, in shape (C,). A class with weight 0 adds 0 to the loss, and nothing to
        the denominator.
    ignore_index : int, default -100
        Samples with this class index are ignored. It may be the index of a class. If `target` holds probabilities, an
        `ignore_index` >= 0 raises ValueError.
    label_smoothing : float, default 0.0
        A number in [0, 1]. It moves the target towards 1 / C.

    Notes
    -----
    * Mean: the denominator is the same as in `cross_entropy`.
    * Limit: a prediction that is certain and wrong costs 100, not inf.
    * Gradient, where q_c is w_c times the smoothed t_c: -q / p. The limit of the logarithm does not enter it. A p below
      the smallest normal number of the dtype is replaced by that number, so the gradient is finite.
    * Second derivative: q / p^2. It can be inf.
    * Special values: a class with q_c = 0 adds 0, even if its p_c is NaN.
    * Checks: for class indices without `label_smoothing`, only the probability of the label is read and checked. In
      other cases, the probabilities of all classes of weight > 0 are checked.
    * Unit: the logarithm is natural, so the loss is in nats.

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
    return terms(
        CATEGORICAL_CROSS_ENTROPY,
        outputs,
        pred,
        target,
        (),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=number(label_smoothing, "label_smoothing", 0, 1),
    )


NLL = Terms("nll", (PRED, CLASSES), light=True)


@loss(NLL)
def nll(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    **common: Unpack[Common],
) -> Any:
    r"""Negative log-likelihood of log-probabilities and a target class or distribution.

    `pred` must hold log-probabilities, which are <= 0. This is not checked. For positive numbers, for example logits or
    probabilities given by mistake, the loss is negative or meaningless. For logits take `cross_entropy`; for
    probabilities take `categorical_cross_entropy`. Use `nll` if the model ends in a log-softmax.

    With log-probabilities z along `axis`, target distribution t and class weights w (1 without `class_weight`)::

        loss = -sum_c w_c t_c z_c

    A class index stands for a one-hot t: 1 in its class and 0 elsewhere.

    Parameters
    ----------
    pred : array_like
        Log-probabilities, half precision, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W)
        with axis=1, and so on.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`. Alternatively, probabilities in
        [0, 1], in the shape of `pred`, which need not sum to 1. An index that is neither a class nor `ignore_index`,
        and a probability that is NaN or outside [0, 1], raise ValueError.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        Weights of the classes, finite and >= 0, in shape (C,). A class with weight 0 adds 0 to the loss, and nothing to
        the denominator.
    ignore_index : int, default -100
        Samples with this class index are ignored. It may be the index of a class. If `target` holds probabilities, an
        `ignore_index` >= 0 raises ValueError.

    Notes
    -----
    * Mean: the denominator is the same as in `cross_entropy`.
    * Gradient: -w t. It does not depend on `pred`.
    * Second derivative: 0.
    * Special values: a class with t_c = 0 adds 0, even if its `pred` is -inf or NaN. For class indices, only the
      element of the label is read. A label with `pred` -inf costs inf. A label with `pred` NaN gives a NaN loss. The
      gradient is finite in both cases.
    * Unit: nats, if the log-probabilities are natural logarithms.

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

    Probabilities given by mistake, without an error:

    >>> fl.nll(np.array([[0.5, 0.5]]), np.array([0]))
    -0.5
    """
    return terms(
        NLL, outputs, pred, target, (), common, axis=axis, class_weight=class_weight, ignore_index=ignore_index
    )


MULTILABEL_SOFT_MARGIN = Terms("multilabel_soft_margin", mean=True)


@loss(MULTILABEL_SOFT_MARGIN)
def multilabel_soft_margin(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Binary cross-entropy of logits, averaged over the classes: one loss for each sample.

    Use it for classes that do not exclude each other, if each sample must have one loss, for example for one sample
    weight each. For one loss for each element take `binary_cross_entropy_with_logits`. For classes that exclude each
    other take `cross_entropy`.

    z is `pred`, t is `target`, p = sigmoid(z), C is the number of classes, and w are the class weights (1 without
    `class_weight`)::

        loss = 1/C sum_c w_c (-t_c log p_c - (1 - t_c) log(1 - p_c))

    Parameters
    ----------
    pred : array_like
        Logits, half precision, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with
        axis=1, and so on.
    target : array_like
        Numbers in [0, 1]: labels 0 and 1, or probabilities. They have the shape of `pred`. NaN or a value outside
        [0, 1] raises ValueError. Class indices are not allowed.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        Weights of the classes, finite and >= 0, in shape (C,). A class with weight 0 adds nothing, even if its logit is
        NaN.

    Notes
    -----
    * Mean: the denominator is the sum over the samples of sample_weight times the mean of w. So the result is the
      weighted mean over all samples and classes.
    * Gradient: w (p - t) / C.
    * Second derivative: w p (1 - p) / C.
    * Special values: an infinite logit costs 0 if the label agrees with it, and inf if not. The gradient is finite in
      both cases.
    * Unit: the logarithm is natural, so the loss is in nats.

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
    return terms(MULTILABEL_SOFT_MARGIN, outputs, pred, target, (), common, axis=axis, class_weight=class_weight)
