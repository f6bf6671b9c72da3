"""Losses of scores and their margins: two classes with labels -1 and +1, or the right class against the wrong ones.

* Two classes, each element has its own loss: `hinge`, `squared_hinge`, `modified_huber`, `logistic`, `exponential`,
  `perceptron`.
* Several classes along one axis of `pred`, each sample has one loss: `multiclass_hinge`, `crammer_singer`.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.classes import classes
from fastloss._core.calls.elementwise import elementwise
from fastloss._core.request.arguments import number
from fastloss._declaration import PRED, SIGN, Classes, Elementwise
from fastloss._loss import loss
from fastloss._parameters import hinge_power

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "crammer_singer",
    "exponential",
    "hinge",
    "logistic",
    "modified_huber",
    "multiclass_hinge",
    "perceptron",
    "squared_hinge",
]

HINGE = Elementwise("hinge", (PRED, SIGN), light=True)


@loss(HINGE)
def hinge(outputs: int, /, pred: ArrayLike, target: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Hinge loss of scores and labels -1 and +1.

    Use it to train a linear support vector machine. If you need a gradient without jumps, take `squared_hinge`; if you
    need probabilities, take `logistic`.

    z is `pred` and t is `target`::

        loss = max(0, margin - t z)

    Parameters
    ----------
    pred : array_like
        Scores of any shape, half precision, float32 or float64.
    target : array_like
        Labels -1 and +1, in the shape of `pred`. Any other value raises ValueError. Convert labels y of 0 and 1 with
        np.where(y, 1, -1).
    margin : float, default 1.0
        Any finite number. The loss is 0 where t z >= margin.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
    * Gradient: -t where t z < margin, else 0. At the kink, t z = margin, it is 0.
    * Second derivative: 0.
    * Special values: a NaN score gives a NaN loss and gradient.
    * Picture, in the repository: docs/curves/margins.svg

    References
    ----------
    C. Cortes and V. Vapnik, Support-Vector Networks, Machine Learning 20 (1995).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.hinge.value_and_grad(np.array([0.5, 2.0, -3.0]), np.array([1, 1, 1]), reduction="sum")
    (4.5, array([-1.,  0., -1.]))
    """
    return elementwise(HINGE, outputs, pred, target, (number(margin, "margin"),), common)


SQUARED_HINGE = Elementwise("squared_hinge", (PRED, SIGN), light=True)


@loss(SQUARED_HINGE)
def squared_hinge(
    outputs: int, /, pred: ArrayLike, target: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]
) -> Any:
    r"""Squared hinge loss of scores and labels -1 and +1.

    Use it to train a support vector machine with a gradient that has no jumps. If there are outliers, take
    `modified_huber`, which grows linearly for large mistakes.

    z is `pred` and t is `target`::

        loss = max(0, margin - t z)^2

    Parameters
    ----------
    pred : array_like
        Scores of any shape, half precision, float32 or float64.
    target : array_like
        Labels -1 and +1, in the shape of `pred`. Any other value raises ValueError. Convert labels y of 0 and 1 with
        np.where(y, 1, -1).
    margin : float, default 1.0
        Any finite number. The loss is 0 where t z >= margin.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
    * Gradient: -2 t max(0, margin - t z).
    * Second derivative: 2 where t z < margin, else 0. At t z = margin it is 0.
    * Special values: a NaN score gives a NaN loss and gradient.
    * Picture, in the repository: docs/curves/margins.svg

    References
    ----------
    C.-C. Chang, C.-W. Hsu and C.-J. Lin, The Analysis of Decomposition Methods for SVMs (2000).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.squared_hinge.value_and_grad(np.array([0.5, 2.0, -1.0]), np.array([1, 1, 1]), reduction="sum")
    (4.25, array([-1., -0., -4.]))
    """
    return elementwise(SQUARED_HINGE, outputs, pred, target, (number(margin, "margin"),), common)


MODIFIED_HUBER = Elementwise("modified_huber", (PRED, SIGN), light=True)


@loss(MODIFIED_HUBER)
def modified_huber(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Modified Huber loss of scores and labels -1 and +1: a squared hinge that is linear for large mistakes.

    Use it if some labels are wrong or some samples are outliers: the size of the gradient is at most 4. Without
    outliers, `squared_hinge` is simpler.

    z is `pred` and t is `target`::

        loss = max(0, 1 - t z)^2    where t z >= -1
        loss = -4 t z               where t z < -1

    Parameters
    ----------
    pred : array_like
        Scores of any shape, half precision, float32 or float64.
    target : array_like
        Labels -1 and +1, in the shape of `pred`. Any other value raises ValueError. Convert labels y of 0 and 1 with
        np.where(y, 1, -1).

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
    * Gradient: -2 t max(0, 1 - t z) where t z >= -1, and -4 t where t z < -1. It has no jumps.
    * Second derivative: 2 where -1 <= t z < 1, else 0.
    * Special values: a NaN score gives a NaN loss and gradient.
    * Picture, in the repository: docs/curves/margins.svg

    References
    ----------
    T. Zhang, Solving Large Scale Linear Prediction Problems Using Stochastic Gradient Descent (2004).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.modified_huber.value_and_grad(np.array([0.5, 2.0, -3.0]), np.array([1, 1, 1]), reduction="sum")
    (12.25, array([-1., -0., -4.]))
    """
    return elementwise(MODIFIED_HUBER, outputs, pred, target, (), common)


LOGISTIC = Elementwise("logistic", (PRED, SIGN))


@loss(LOGISTIC)
def logistic(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Logistic loss of scores and labels -1 and +1.

    Use it for logistic regression with such labels: sigmoid(pred) is then the probability of the label +1. For labels 0
    and 1 the same loss is `binary_cross_entropy_with_logits`.

    z is `pred` and t is `target`::

        loss = log(1 + exp(-t z))

    Parameters
    ----------
    pred : array_like
        Scores of any shape, half precision, float32 or float64.
    target : array_like
        Labels -1 and +1, in the shape of `pred`. Any other value raises ValueError.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
    * Gradient: -t sigmoid(-t z).
    * Second derivative, where p = sigmoid(z): p (1 - p).
    * Accuracy: the loss does not overflow for any finite z.
    * Special values: an infinite score costs 0 if the label agrees with it, and inf if not. The gradient is finite in
      both cases. A NaN score gives a NaN loss and gradient.
    * Unit: the logarithm is natural, so the loss is in nats.
    * Picture, in the repository: docs/curves/margins.svg

    References
    ----------
    J. Friedman, T. Hastie and R. Tibshirani, Additive Logistic Regression, Annals of Statistics 28 (2000).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.logistic.value_and_grad(np.array([0.0, 1000.0]), np.array([1, -1]), reduction="none")
    (array([6.93147181e-01, 1.00000000e+03]), array([-0.5,  1. ]))
    """
    return elementwise(LOGISTIC, outputs, pred, target, (), common)


EXPONENTIAL = Elementwise("exponential", (PRED, SIGN))


@loss(EXPONENTIAL)
def exponential(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Exponential loss of scores and labels -1 and +1.

    Use it for AdaBoost, which minimises it. If some labels are wrong, take `logistic`: a mistake costs exponentially
    much here, and only linearly much there.

    z is `pred` and t is `target`::

        loss = exp(-t z)

    Parameters
    ----------
    pred : array_like
        Scores of any shape, half precision, float32 or float64.
    target : array_like
        Labels -1 and +1, in the shape of `pred`. Any other value raises ValueError. Convert labels y of 0 and 1 with
        np.where(y, 1, -1).

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
    * Gradient: -t exp(-t z).
    * Second derivative: exp(-t z).
    * Special values: where exp(-t z) overflows, the loss is inf and the gradient is infinite. A NaN score gives a NaN
      loss and gradient.

    References
    ----------
    Y. Freund and R. E. Schapire, A Decision-Theoretic Generalization of On-Line Learning (1997).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.exponential.value_and_grad(np.array([0.0, 1.0]), np.array([1, -1]), reduction="none")
    (array([1.        , 2.71828183]), array([-1.        ,  2.71828183]))
    """
    return elementwise(EXPONENTIAL, outputs, pred, target, (), common)


PERCEPTRON = Elementwise("perceptron", (PRED, SIGN), light=True)


@loss(PERCEPTRON)
def perceptron(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Perceptron loss of scores and labels -1 and +1: the hinge loss with margin 0.

    Use it to train a perceptron: only samples on the wrong side have a gradient. If right samples must also keep a
    distance from the border, take `hinge`.

    z is `pred` and t is `target`::

        loss = max(0, -t z)

    Parameters
    ----------
    pred : array_like
        Scores of any shape, half precision, float32 or float64.
    target : array_like
        Labels -1 and +1, in the shape of `pred`. Any other value raises ValueError. Convert labels y of 0 and 1 with
        np.where(y, 1, -1).

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
    * Gradient: -t where t z < 0, else 0. At the kink, t z = 0, it is 0, so scores that are all 0 give no gradient.
    * Second derivative: 0.
    * Special values: a NaN score gives a NaN loss and gradient.

    References
    ----------
    F. Rosenblatt, The Perceptron, Psychological Review 65 (1958).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.perceptron.value_and_grad(np.array([0.5, -3.0]), np.array([1, 1]), reduction="sum")
    (3.0, array([ 0., -1.]))
    """
    return elementwise(PERCEPTRON, outputs, pred, target, (0.0,), common, kernel="hinge")


MULTICLASS_HINGE = Classes("multiclass_hinge", driver="margins")


@loss(MULTICLASS_HINGE)
def multiclass_hinge(
    outputs: int,
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
    r"""Multi-class hinge loss of Weston and Watkins: every wrong class must stay a margin below the right one.

    Use it for linear machines and embeddings if only the order of the scores counts, not their probabilities. It pushes
    down all wrong classes that are too close; `crammer_singer` pushes down only the closest one.

    For scores z, class index y and class weights w (1 without `class_weight`)::

        loss = w_y sum over j != y of max(0, z_j - z_y + margin)^power

    Parameters
    ----------
    pred : array_like
        Scores, half precision, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with
        axis=1, and so on.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`. An index that is neither a class nor
        `ignore_index` raises ValueError. Probabilities are not allowed.
    margin : float, default 1.0
        Any finite number, in the unit of the scores. The right class has to lead by this much.
    power : {1, 2}, default 1
        The power of the hinge. Another value raises ValueError.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        Weights of the classes, finite and >= 0, in shape (C,). A sample of a class with weight 0 is ignored.
    ignore_index : int, default -100
        Samples with this class index are ignored. It may be the index of a class, which then stays a wrong class for
        the other samples.

    Notes
    -----
    * Mean: the denominator is the sum of sample_weight times w_y over the samples that are not ignored. The loss is not
      divided by the number of classes.
    * Gradient with power=1: w_y for each wrong class that is too close, and minus the sum of these for the right class.
      At the kink, z_y - z_j = margin, it is 0.
    * Gradient with power=2: 2 w_y max(0, z_j - z_y + margin) for a wrong class j, and minus the sum of these for the
      right class. It has no jumps.
    * Second derivative with power=1: 0.
    * Second derivative with power=2: 2 w_y for each wrong class that is too close, and the sum of these for the right
      class.
    * Special values: a wrong class at -inf adds nothing. A right class at -inf costs inf. The gradient is then finite
      with power=1, and infinite with power=2. A NaN anywhere in a sample, or +inf at the right and at a wrong class,
      makes the loss and the gradient of the sample NaN.

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
    return classes(
        MULTICLASS_HINGE,
        outputs,
        pred,
        target,
        (number(margin, "margin"),),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        kernel=hinge_power("multiclass_hinge", power),
    )


CRAMMER_SINGER = Classes("crammer_singer", driver="margins")


@loss(CRAMMER_SINGER)
def crammer_singer(
    outputs: int,
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
    r"""Multi-class hinge loss of Crammer and Singer: the closest wrong class must stay a margin below the right one.

    Use it if only the best class matters. It bounds the number of wrong decisions more tightly than `multiclass_hinge`,
    and its gradient has at most two entries for each sample. To push down all wrong classes that are too close, take
    `multiclass_hinge`.

    For scores z, class index y and class weights w (1 without `class_weight`)::

        loss = w_y max over j != y of max(0, z_j - z_y + margin)

    Parameters
    ----------
    pred : array_like
        Scores, half precision, float32 or float64, with the classes along `axis`: (N, C), (C,), (N, C, H, W) with
        axis=1, and so on.
    target : array_like
        Class indices of any integer dtype, in the shape of `pred` without `axis`. An index that is neither a class nor
        `ignore_index` raises ValueError. Probabilities are not allowed.
    margin : float, default 1.0
        Any finite number, in the unit of the scores. The right class has to lead by this much.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    class_weight : array_like, optional
        Weights of the classes, finite and >= 0, in shape (C,). A sample of a class with weight 0 is ignored.
    ignore_index : int, default -100
        Samples with this class index are ignored. It may be the index of a class, which then stays a wrong class for
        the other samples.

    Notes
    -----
    * Mean: the denominator is the sum of sample_weight times w_y over the samples that are not ignored.
    * Gradient where the loss is positive: w_y for the largest wrong class and -w_y for the right class. If several
      wrong classes are equally large, the first one gets the gradient.
    * Gradient where the loss is 0, also at the kink: 0.
    * Second derivative: 0.
    * Special values: a wrong class at -inf adds nothing. A right class at -inf costs inf, with a finite gradient. A NaN
      anywhere in a sample, or +inf at the right and at a wrong class, makes the loss and the gradient of the sample
      NaN.

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
    return classes(
        CRAMMER_SINGER,
        outputs,
        pred,
        target,
        (number(margin, "margin"),),
        common,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
    )
