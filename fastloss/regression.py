"""Regression losses of a prediction and a target of the same shape. `pred` holds the prediction.

* `mse` estimates the mean, and `mae` the median. `quantile` and `expectile` estimate other points of the distribution.
* `huber`, `smooth_l1`, `pseudo_huber` and `log_cosh` are convex. An outlier has a limited gradient.
* `epsilon_insensitive` and `squared_epsilon_insensitive` ignore small errors.
* `mape` and `msle` measure relative errors.

For gross outliers, take a loss of `fastloss.robust`. For counts, positive amounts and predicted variances, take a loss
of `fastloss.likelihood`.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`. Each
formula in this module is for one element, before `sample_weight` and `reduction`.

Notes
-----
The repository has a picture of some losses and their gradients: docs/curves/regression.svg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.elementwise import elementwise, scale
from fastloss._core.request.arguments import number
from fastloss._core.request.domains import Domain
from fastloss._declaration import Elementwise
from fastloss._loss import loss
from fastloss._parameters import levels

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "epsilon_insensitive",
    "expectile",
    "huber",
    "log_cosh",
    "mae",
    "mape",
    "mse",
    "msle",
    "pseudo_huber",
    "quantile",
    "smooth_l1",
    "squared_epsilon_insensitive",
]


MSE = Elementwise("mse", light=True)


@loss(MSE)
def mse(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    """Squared error: the standard loss for regression.

    Use it when errors are normally distributed, or nearly so. The best constant prediction is the mean of the targets.
    Outliers weigh heavily: take `huber` or `mae` if there are outliers. With the residual r = pred - target::

        loss = r^2

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.

    Notes
    -----
    The gradient of one element with respect to `pred` is 2 r. The second derivative is 2.

    scikit-learn's `HalfSquaredError` is half of this loss.

    The repository has a picture: docs/curves/regression.svg

    References
    ----------
    C. F. Gauss, Theoria combinationis observationum erroribus minimis obnoxiae (1821).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.mse.value_and_grad(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (2.0, array([ 0., -2.]))
    """
    return elementwise(MSE, outputs, pred, target, (), common)


MAE = Elementwise("mae", light=True)


@loss(MAE)
def mae(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    """Absolute error: regression that outliers cannot dominate.

    Use it for targets with outliers. The best constant prediction is the median of the targets. Take `huber` or
    `log_cosh` for a loss that is smooth at 0. With the residual r = pred - target::

        loss = abs(r)

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.

    Notes
    -----
    The gradient of one element with respect to `pred` is the sign of r. At r = 0 it is 0. The second derivative is 0.

    The repository has a picture: docs/curves/regression.svg

    References
    ----------
    R. J. Boscovich (1757); P. Bloomfield and W. L. Steiger, Least Absolute Deviations (1983).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.mae.value_and_grad(np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 4.0]), reduction="sum")
    (3.0, array([ 0., -1.,  1.]))
    """
    return elementwise(MAE, outputs, pred, target, (), common)


MAPE = Elementwise("mape")


@loss(MAPE)
def mape(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    """Absolute error as a fraction of the target.

    Use it when errors count in proportion to the target. Training with it favours predictions that are too low. `msle`
    is the symmetric choice: it does not change if `pred` and `target` are exchanged. With the residual
    r = pred - target::

        loss = abs(r) / max(abs(target), eps)

    where eps is the machine epsilon of the dtype of `pred`.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`. They may be negative. A target near 0
        makes the loss huge.

    Notes
    -----
    The loss is a fraction, not per cent.

    The gradient of one element with respect to `pred` is sign(r) / max(abs(target), eps). At r = 0 it is 0. The second
    derivative is 0.

    References
    ----------
    A. de Myttenaere et al., Mean Absolute Percentage Error for Regression Models, Neurocomputing 192 (2016).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.mape.value_and_grad(np.array([90.0, 2.0]), np.array([100.0, 1.0]), reduction="sum")
    (1.1, array([-0.01,  1.  ]))
    """
    return elementwise(MAPE, outputs, pred, target, (), common)


MSLE = Elementwise("msle")


@loss(MSLE)
def msle(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    """Squared difference of logarithms.

    Use it for targets >= 0 that span several orders of magnitude. Take `mape` for the relative error itself. With the
    difference of the logarithms d = log(1 + pred) - log(1 + target)::

        loss = d^2

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64. This is the value itself, not its logarithm. A
        value below -1 gives NaN.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`. A value below -1 gives NaN.

    Notes
    -----
    The gradient of one element with respect to `pred` is 2 d / (1 + pred). The second derivative is
    2 (1 - d) / (1 + pred)^2. It is negative where d > 1.

    d is computed without cancellation where `pred` is near `target`.

    References
    ----------
    Used as RMSLE in forecasting competitions; the Keras and scikit-learn losses of this name.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.msle.value_and_grad(np.array([0.0, 9.0]), np.array([0.0, 99.0]), reduction="none")
    (array([0.        , 5.30189811]), array([ 0.        , -0.46051702]))
    """
    return elementwise(MSLE, outputs, pred, target, (), common)


QUANTILE = Elementwise("quantile", light=True)


@loss(QUANTILE)
def quantile(
    outputs: int, /, pred: ArrayLike, target: ArrayLike, *, q: float | ArrayLike = 0.5, **common: Unpack[Common]
) -> Any:
    """Quantile (pinball) loss: the best constant prediction is the quantile q of the targets.

    Use it to predict quantiles, for example the two ends of an interval. Take `expectile` for a smooth relative. With
    the residual r = pred - target::

        loss = max((1 - q) r, -q r)

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`. For a vector `q`, they have the shape of
        `pred` without its last axis.
    q : float or array_like, default 0.5
        The quantile, in [0, 1]; or a vector of quantiles, one for each index of the last axis of `pred`.

    Notes
    -----
    The gradient of one element with respect to `pred` is 1 - q where pred > target, and -q where pred < target. At
    pred = target it is 0. The second derivative is 0.

    With q = 0.5 the loss is half of `mae`. For a vector q, the loss has the shape of `pred`, and the mean is over all
    levels too.

    References
    ----------
    R. Koenker and G. Bassett, Regression Quantiles, Econometrica 46 (1978).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.quantile.value_and_grad(np.array([0.0, 2.0]), np.array([1.0, 1.0]), q=0.9, reduction="sum")
    (1.0, array([-0.9,  0.1]))

    Three quantiles at once. Their predictions are along the last axis:

    >>> pred, target = np.array([[0.0, 2.0, 3.0], [1.0, 1.0, 4.0]]), np.array([1.0, 2.0])
    >>> fl.quantile(pred, target, q=[0.1, 0.5, 0.9], reduction="none")
    array([[0.1, 0.5, 0.2],
           [0.1, 0.5, 0.2]])
    """
    return by_level(QUANTILE, outputs, pred, target, q, common)


def by_level(
    declaration: Elementwise, outputs: int, pred: ArrayLike, target: ArrayLike, q: float | ArrayLike, common: Common
) -> Any:
    """Run `quantile` or `expectile`, for a number q or for a vector."""
    # Small calls notice each check: a float comes first.
    if type(q) is float or not getattr(q, "ndim", isinstance(q, (list, tuple)) or hasattr(q, "__dlpack__")):
        q = number(q, "q", 0, 1)
        return elementwise(declaration, outputs, pred, target, (q, 1 - q), common)
    return elementwise(
        declaration,
        outputs,
        pred,
        target,
        (),
        common,
        along_axis=("q", levels(q), Domain.ANY, -1, ""),
        target_lacks_axis=True,
        kernel=f"{declaration.name}_of_each",
    )


EXPECTILE = Elementwise("expectile", light=True)


@loss(EXPECTILE)
def expectile(
    outputs: int, /, pred: ArrayLike, target: ArrayLike, *, q: float | ArrayLike = 0.5, **common: Unpack[Common]
) -> Any:
    """Expectile loss: squared error with different weights for predictions that are too high and too low.

    Use it as a smooth relative of `quantile`. Take `quantile` where the prediction must be a quantile itself. With the
    residual r = pred - target::

        loss = (1 - q) r^2    if pred > target
        loss = q r^2          otherwise

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`. For a vector `q`, they have the shape of
        `pred` without its last axis.
    q : float or array_like, default 0.5
        The expectile, in [0, 1]; or a vector of expectiles, one for each index of the last axis of `pred`.

    Notes
    -----
    The gradient of one element with respect to `pred` is 2 (1 - q) r where pred > target, and 2 q r elsewhere. The
    second derivative is 2 (1 - q) where pred > target, and 2 q elsewhere.

    With q = 0.5 the loss is half of `mse`. For a vector q, the loss has the shape of `pred`, and the mean is over all
    levels too. The method is also called asymmetric least squares.

    References
    ----------
    W. K. Newey and J. L. Powell, Asymmetric Least Squares Estimation and Testing, Econometrica 55 (1987).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.expectile.value_and_grad(np.array([0.0, 3.0]), np.array([1.0, 1.0]), q=0.75, reduction="sum")
    (1.75, array([-1.5,  1. ]))
    """
    return by_level(EXPECTILE, outputs, pred, target, q, common)


EPSILON_INSENSITIVE = Elementwise("epsilon_insensitive", light=True)


@loss(EPSILON_INSENSITIVE)
def epsilon_insensitive(
    outputs: int, /, pred: ArrayLike, target: ArrayLike, *, epsilon: float = 0.1, **common: Unpack[Common]
) -> Any:
    """Absolute error beyond a tolerance: the loss of support vector regression.

    Use it when errors up to a tolerance do not matter. Take `squared_epsilon_insensitive` for a smooth loss. With the
    residual r = pred - target::

        loss = max(0, abs(r) - epsilon)

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    epsilon : float, default 0.1
        The tolerance, finite and >= 0. It has the unit of `pred`.

    Notes
    -----
    The gradient of one element with respect to `pred` is the sign of r where abs(r) > epsilon. Elsewhere it is 0. The
    second derivative is 0.

    References
    ----------
    V. Vapnik, The Nature of Statistical Learning Theory (1995).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.epsilon_insensitive.value_and_grad(np.array([0.05, 1.1]), np.array([0.0, 0.0]), reduction="sum")
    (1.0, array([0., 1.]))
    """
    return elementwise(EPSILON_INSENSITIVE, outputs, pred, target, (number(epsilon, "epsilon", 0),), common)


SQUARED_EPSILON_INSENSITIVE = Elementwise("squared_epsilon_insensitive", light=True)


@loss(SQUARED_EPSILON_INSENSITIVE)
def squared_epsilon_insensitive(
    outputs: int, /, pred: ArrayLike, target: ArrayLike, *, epsilon: float = 0.1, **common: Unpack[Common]
) -> Any:
    """Squared error beyond a tolerance: smooth support vector regression.

    Use it when errors up to a tolerance do not matter. Outliers weigh heavily: take `epsilon_insensitive` if there are
    outliers. With the residual r = pred - target::

        loss = max(0, abs(r) - epsilon)^2

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    epsilon : float, default 0.1
        The tolerance, finite and >= 0. It has the unit of `pred`.

    Notes
    -----
    The gradient of one element with respect to `pred` is 2 sign(r) max(0, abs(r) - epsilon). The second derivative is 2
    where abs(r) > epsilon. Elsewhere it is 0.

    References
    ----------
    V. Vapnik, The Nature of Statistical Learning Theory (1995).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.squared_epsilon_insensitive.value_and_grad(np.array([0.05, 1.5]), np.array([0.0, 0.0]), epsilon=0.5)
    (0.5, array([0., 1.]))
    """
    return elementwise(SQUARED_EPSILON_INSENSITIVE, outputs, pred, target, (number(epsilon, "epsilon", 0),), common)


HUBER = Elementwise("huber", light=True)


@loss(HUBER)
def huber(outputs: int, /, pred: ArrayLike, target: ArrayLike, *, delta: float = 1.0, **common: Unpack[Common]) -> Any:
    """Huber loss: half the squared error near the target, absolute error far from it.

    Use it for targets with outliers. Take `mse` if there are no outliers, and `tukey` or `cauchy` if gross outliers
    should hardly count. With the residual r = pred - target::

        loss = r^2 / 2                       if abs(r) <= delta
        loss = delta (abs(r) - delta / 2)    otherwise

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    delta : float, default 1.0
        The residual at which the loss becomes linear. It must be >= 0, or inf. It has the unit of `pred`. With 0 the
        loss is 0, and with inf it is r^2 / 2.

    Notes
    -----
    The gradient of one element with respect to `pred` is r, limited to [-delta, delta]. The second derivative is 1
    where abs(r) <= delta, and 0 elsewhere. With delta=0 it is 0 everywhere.

    The repository has pictures: docs/curves/regression.svg and docs/curves/robust.svg

    References
    ----------
    P. J. Huber, Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 35 (1964).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred, target = np.array([0.5, 3.0]), np.array([0.0, 0.0])
    >>> fl.huber(pred, target, reduction="none")
    array([0.125, 2.5  ])
    >>> fl.huber.grad_and_hess(pred, target, reduction="sum")
    (array([0.5, 1. ]), array([1., 0.]))
    """
    kernel, parameters = scale(delta, "delta")
    return elementwise(HUBER, outputs, pred, target, parameters, common, kernel=kernel)


SMOOTH_L1 = Elementwise("smooth_l1", light=True)


@loss(SMOOTH_L1)
def smooth_l1(
    outputs: int, /, pred: ArrayLike, target: ArrayLike, *, beta: float = 1.0, **common: Unpack[Common]
) -> Any:
    """Smooth L1 loss: `huber` divided by its threshold.

    Use it for the box coordinates of object detectors. As beta goes to 0, the loss tends to `mae`, whereas `huber`
    tends to 0. With the residual r = pred - target::

        loss = r^2 / (2 beta)        if abs(r) < beta
        loss = abs(r) - beta / 2     otherwise

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    beta : float, default 1.0
        The residual at which the loss becomes linear. It must be >= 0, or inf. It has the unit of `pred`. With 0 the
        loss is `mae`, and with inf it is 0.

    Notes
    -----
    The gradient of one element with respect to `pred` is r / beta, limited to [-1, 1]. The second derivative is
    1 / beta where abs(r) < beta. Elsewhere it is 0.

    The repository has a picture: docs/curves/regression.svg

    References
    ----------
    R. Girshick, Fast R-CNN (2015).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.smooth_l1.value_and_grad(np.array([0.25, 3.0]), np.array([0.0, 0.0]), beta=0.5, reduction="sum")
    (2.8125, array([0.5, 1. ]))
    """
    kernel, parameters = scale(beta, "beta", at_0="mae", at_inf="zero")
    return elementwise(SMOOTH_L1, outputs, pred, target, parameters, common, kernel=kernel)


PSEUDO_HUBER = Elementwise("pseudo_huber")


@loss(PSEUDO_HUBER)
def pseudo_huber(
    outputs: int, /, pred: ArrayLike, target: ArrayLike, *, delta: float = 1.0, **common: Unpack[Common]
) -> Any:
    """Pseudo-Huber loss: a smooth form of `huber`.

    Use it in place of `huber` for a method that needs second derivatives: here they are positive everywhere. With the
    residual r = pred - target and s = sqrt(1 + (r / delta)^2)::

        loss = delta^2 (s - 1)

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    delta : float, default 1.0
        The residual around which the loss turns from square to linear. It must be >= 0, or inf. It has the unit of
        `pred`. With 0 the loss is 0, and with inf it is r^2 / 2.

    Notes
    -----
    The gradient of one element with respect to `pred` is r / s. The second derivative is 1 / s^3.

    The value is accurate for tiny and for huge r. For huge r, the second derivative is rounded to 0.

    References
    ----------
    P. Charbonnier et al., Deterministic Edge-Preserving Regularization in Computed Imaging, IEEE TIP 6 (1997).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.pseudo_huber.value_and_grad(np.array([0.0, 0.75]), np.array([0.0, 0.0]), reduction="sum")
    (0.25, array([0. , 0.6]))
    """
    kernel, parameters = scale(delta, "delta")
    return elementwise(PSEUDO_HUBER, outputs, pred, target, parameters, common, kernel=kernel)


LOG_COSH = Elementwise("log_cosh")


@loss(LOG_COSH)
def log_cosh(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    """Logarithm of the hyperbolic cosine of the residual.

    Use it as a smooth `huber` without a parameter. The loss is close to r^2 / 2 near 0, and to abs(r) - log 2 far from
    0. With the residual r = pred - target::

        loss = log(cosh(r))

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.

    Notes
    -----
    The gradient of one element with respect to `pred` is tanh(r). The second derivative is 1 / cosh(r)^2.

    The value is accurate to a few ulp for every r.

    References
    ----------
    P. J. Green, Bayesian Reconstructions from Emission Tomography Data, IEEE TMI 9 (1990).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.log_cosh(np.array([1e-4, 100.0]), np.array([0.0, 0.0]), reduction="none")
    array([4.99999999e-09, 9.93068528e+01])
    """
    return elementwise(LOG_COSH, outputs, pred, target, (), common)
