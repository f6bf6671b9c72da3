"""Robust regression losses of a prediction and a target of the same shape: gross outliers have little influence.

Each loss is close to r^2 / 2 for small residuals r = pred - target. Far from the target it grows more slowly.

* Convex, grows linearly: `fair`.
* Not convex, grows like a logarithm: `cauchy`.
* Not convex, bounded: `geman_mcclure`, `welsch`, `tukey`. `tukey` ignores residuals beyond c completely.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.elementwise import elementwise, scale
from fastloss._declaration import Elementwise
from fastloss._loss import loss

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "cauchy",
    "fair",
    "geman_mcclure",
    "tukey",
    "welsch",
]

FAIR = Elementwise("fair")


@loss(FAIR)
def fair(outputs: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]) -> Any:
    """Fair loss: robust, convex, and between `mse` and `mae`.

    Use it for targets with outliers when the loss must stay convex. Take `cauchy` or `tukey` for a stronger effect.
    With the residual r = pred - target and u = r / c::

        loss = c^2 (abs(u) - log(1 + abs(u)))

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    c : float, default 1.0
        The residual at which the gradient is half of r. It must be >= 0, or inf. It has the unit of
        `pred`. With 0 the loss is 0, and with inf it is r^2 / 2.

    Notes
    -----
    The gradient of one element with respect to `pred` is r / (1 + abs(u)). It tends to c sign(r) for large residuals.
    The second derivative is 1 / (1 + abs(u))^2.

    The loss is close to r^2 / 2 near r = 0.

    The repository has a picture: docs/curves/robust.svg

    References
    ----------
    R. C. Fair, On the Robust Estimation of Econometric Models, Annals of Economic and Social Measurement 3 (1974).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.fair.value_and_grad(np.array([1.0, -3.0]), np.array([0.0, 0.0]), reduction="none")
    (array([0.30685282, 1.61370564]), array([ 0.5 , -0.75]))
    """
    kernel, parameters = scale(c, "c")
    return elementwise(FAIR, outputs, pred, target, parameters, common, kernel=kernel)


CAUCHY = Elementwise("cauchy")


@loss(CAUCHY)
def cauchy(outputs: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]) -> Any:
    """Cauchy (Lorentzian) loss: beyond a residual of c, the gradient falls again.

    Use it for targets with gross outliers. The loss is not convex: take `huber` or `fair` for a convex loss. Take
    `tukey` to ignore gross outliers altogether. With the residual r = pred - target and u = r / c::

        loss = c^2 / 2 log(1 + u^2)

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    c : float, default 1.0
        The residual at which the gradient is largest. It must be >= 0, or inf. It has the unit of
        `pred`. With 0 the loss is 0, and with inf it is r^2 / 2.

    Notes
    -----
    The gradient of one element with respect to `pred` is r / (1 + u^2). Its absolute value is largest at abs(r) = c,
    and tends to 0 for large residuals. The second derivative is (1 - u^2) / (1 + u^2)^2. It is negative where
    abs(r) > c.

    The loss is close to r^2 / 2 near r = 0. Up to scale, it is the negative log-likelihood of a Cauchy distribution. It
    is inf where r / c is larger than all numbers of the dtype.

    The repository has a picture: docs/curves/robust.svg

    References
    ----------
    M. J. Black and P. Anandan, The Robust Estimation of Multiple Motions, CVIU 63 (1996).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.cauchy.value_and_grad(np.array([1.0, -3.0]), np.array([0.0, 0.0]), reduction="none")
    (array([0.34657359, 1.15129255]), array([ 0.5, -0.3]))
    """
    kernel, parameters = scale(c, "c")
    return elementwise(CAUCHY, outputs, pred, target, parameters, common, kernel=kernel)


GEMAN_MCCLURE = Elementwise("geman_mcclure")


@loss(GEMAN_MCCLURE)
def geman_mcclure(
    outputs: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]
) -> Any:
    """Geman-McClure loss: bounded, so that gross outliers hardly count.

    Use it for targets with gross outliers. The loss is not convex: take `huber` or `fair` for a convex loss. With the
    residual r = pred - target and u = r / c::

        loss = r^2 / 2 / (1 + u^2)

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    c : float, default 1.0
        The residual at which the loss is half of its limit. It must be >= 0, or inf. It has the unit of
        `pred`. With 0 the loss is 0, and with inf it is r^2 / 2.

    Notes
    -----
    The loss is close to r^2 / 2 near r = 0. It tends to c^2 / 2 for large residuals.

    The gradient of one element with respect to `pred` is r / (1 + u^2)^2. The second derivative is
    (1 - 3 u^2) / (1 + u^2)^3. It is negative where 3 u^2 > 1.

    The repository has a picture: docs/curves/robust.svg

    References
    ----------
    S. Geman and D. E. McClure, Bayesian Image Analysis: An Application to Single Photon Emission Tomography (1985).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.geman_mcclure.value_and_grad(np.array([1.0, -3.0]), np.array([0.0, 0.0]), reduction="none")
    (array([0.25, 0.45]), array([ 0.25, -0.03]))
    """
    kernel, parameters = scale(c, "c")
    return elementwise(GEMAN_MCCLURE, outputs, pred, target, parameters, common, kernel=kernel)


WELSCH = Elementwise("welsch")


@loss(WELSCH)
def welsch(outputs: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]) -> Any:
    """Welsch (Leclerc) loss: bounded, with a gradient that quickly goes to 0.

    Use it for targets with gross outliers. Their influence vanishes faster than with `cauchy` or `geman_mcclure`. The
    loss is not convex: take `huber` or `fair` for a convex loss. With the residual r = pred - target and u = r / c::

        loss = c^2 / 2 (1 - exp(-u^2))

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    c : float, default 1.0
        The residual at which the loss is 63 % of its limit. It must be >= 0, or inf. It has the unit of
        `pred`. With 0 the loss is 0, and with inf it is r^2 / 2.

    Notes
    -----
    The loss is close to r^2 / 2 near r = 0. It tends to c^2 / 2 for large residuals. It is also known as the
    correntropy loss.

    The gradient of one element with respect to `pred` is r exp(-u^2). The second derivative is (1 - 2 u^2) exp(-u^2).
    It is negative where 2 u^2 > 1.

    The repository has a picture: docs/curves/robust.svg

    References
    ----------
    J. E. Dennis and R. E. Welsch, Techniques for Nonlinear Least Squares and Robust Regression (1978).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.welsch.value_and_grad(np.array([1.0, -3.0]), np.array([0.0, 0.0]), reduction="none")
    (array([0.31606028, 0.4999383 ]), array([ 0.36787944, -0.00037023]))
    """
    kernel, parameters = scale(c, "c")
    return elementwise(WELSCH, outputs, pred, target, parameters, common, kernel=kernel)


TUKEY = Elementwise("tukey")


@loss(TUKEY)
def tukey(outputs: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]) -> Any:
    """Tukey's biweight: a residual beyond c has no effect on the gradient.

    Use it to ignore gross outliers altogether. The loss is not convex: take `huber` or `fair` for a convex loss. With
    the residual r = pred - target and u = r / c::

        loss = c^2 / 6 (1 - (1 - u^2)^3)    if abs(u) <= 1
        loss = c^2 / 6                      otherwise

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    c : float, default 1.0
        The residual from which the gradient is 0. It must be >= 0, or inf. It has the unit of
        `pred`. With 0 the loss is 0, and with inf it is r^2 / 2. For normally distributed
        residuals of standard deviation 1, c = 4.685 gives 95 % of the efficiency of least squares.

    Notes
    -----
    The loss is close to r^2 / 2 near r = 0.

    The gradient of one element with respect to `pred` is r (1 - u^2)^2. The second derivative is (1 - u^2) (1 - 5 u^2).
    Both are 0 where abs(u) > 1.

    The repository has a picture: docs/curves/robust.svg

    References
    ----------
    A. E. Beaton and J. W. Tukey, The Fitting of Power Series, Technometrics 16 (1974).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.tukey.value_and_grad(np.array([1.0, 3.0]), np.array([0.0, 0.0]), c=2.0, reduction="none")
    (array([0.38541667, 0.66666667]), array([0.5625, 0.    ]))
    """
    kernel, parameters = scale(c, "c")
    return elementwise(TUKEY, outputs, pred, target, parameters, common, kernel=kernel)
