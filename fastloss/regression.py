"""Regression losses of a prediction and a target of the same shape.

With r = p - t, where p is `pred` and t is `target`. The arguments `sample_weight`, `reduction`, `normalizer` and `out`
are those of every loss: see `fastloss.Loss`. Pictures of the losses and their gradients, in the repository:
docs/curves/regression.svg and robust.svg.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss import _checks
from fastloss._loss import Loss
from fastloss.kernels.call import elementwise, number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "cauchy",
    "epsilon_insensitive",
    "expectile",
    "fair",
    "gamma_nll",
    "gaussian_nll",
    "geman_mcclure",
    "huber",
    "log_cosh",
    "mae",
    "mape",
    "mse",
    "msle",
    "poisson_nll",
    "pseudo_huber",
    "quantile",
    "smooth_l1",
    "squared_epsilon_insensitive",
    "tukey",
    "tweedie",
    "welsch",
]


@Loss
def mse(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Squared error, r^2: the default for regression. Its minimiser is the mean; outliers weigh heavily.

    The gradient is 2 r, the second derivative 2. scikit-learn's `HalfSquaredError` is half of it.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.

    References
    ----------
    C. F. Gauss, Theoria combinationis observationum erroribus minimis obnoxiae (1821).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.mse.value_and_grad(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (2.0, array([ 0., -2.]))
    """
    return elementwise(want, "mse", pred, target, (), common, light=True)


@Loss
def mae(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Absolute error, abs(r): regression that outliers cannot pull. Its minimiser is the median.

    The gradient is the sign of r, and 0 at r = 0; the second derivative is 0.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.

    References
    ----------
    R. J. Boscovich (1757); P. Bloomfield and W. L. Steiger, Least Absolute Deviations (1983).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.mae.value_and_grad(np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 4.0]), reduction="sum")
    (3.0, array([ 0., -1.,  1.]))
    """
    return elementwise(want, "mae", pred, target, (), common, light=True)


@Loss
def mape(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Absolute error as a fraction of the target, abs(r) / max(abs(t), eps): errors that are judged by proportion.

    eps is the machine epsilon of the dtype of `pred`. A fraction, not per cent. Near a target of 0 it is huge, and it
    prefers predictions that are too low: `msle` is the symmetric choice. The gradient is sign(r) / max(abs(t), eps),
    and 0 at r = 0; the second derivative is 0.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.

    References
    ----------
    A. de Myttenaere et al., Mean Absolute Percentage Error for Regression Models, Neurocomputing 192 (2016).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.mape.value_and_grad(np.array([90.0, 2.0]), np.array([100.0, 1.0]), reduction="sum")
    (1.1, array([-0.01,  1.  ]))
    """
    return elementwise(want, "mape", pred, target, (), common)


@Loss
def msle(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Squared error of logarithms, (log(1 + p) - log(1 + t))^2: positive targets over several orders of magnitude.

    The gradient is 2 d / (1 + p), the second derivative 2 (1 - d) / (1 + p)^2, where d is the difference of the
    logarithms; it is computed without cancellation where p is near t. NaN where p or t is below -1.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.

    References
    ----------
    Used as RMSLE in forecasting competitions; the Keras and scikit-learn losses of this name.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.msle.value_and_grad(np.array([0.0, 9.0]), np.array([0.0, 99.0]), reduction="none")
    (array([0.        , 5.30189811]), array([ 0.        , -0.46051702]))
    """
    return elementwise(want, "msle", pred, target, (), common)


@Loss
def quantile(want: int, /, pred: ArrayLike, target: ArrayLike, *, q: float = 0.5, **common: Unpack[Common]) -> Any:
    r"""Quantile (pinball) loss: its minimiser is the q-th quantile of the target.

    With e = t - p it is max(q e, (q - 1) e). The gradient is -q where e > 0, 1 - q where e < 0, and 0 at e = 0; the
    second derivative is 0. q = 0.5 is half of `mae`.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    q : float, default 0.5
        The quantile, in [0, 1].

    References
    ----------
    R. Koenker and G. Bassett, Regression Quantiles, Econometrica 46 (1978).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.quantile.value_and_grad(np.array([0.0, 2.0]), np.array([1.0, 1.0]), q=0.9, reduction="sum")
    (1.0, array([-0.9,  0.1]))
    """
    q = number(q, "q", 0, 1)
    return elementwise(want, "quantile", pred, target, (q, q - 1), common, light=True)


@Loss
def expectile(want: int, /, pred: ArrayLike, target: ArrayLike, *, q: float = 0.5, **common: Unpack[Common]) -> Any:
    r"""Expectile loss, abs(q - [t < p]) r^2: a smooth relative of `quantile`, asymmetric least squares.

    The gradient is 2 abs(q - [t < p]) r, the second derivative 2 abs(q - [t < p]). q = 0.5 is half of `mse`.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    q : float, default 0.5
        The expectile, in [0, 1].

    References
    ----------
    W. K. Newey and J. L. Powell, Asymmetric Least Squares Estimation and Testing, Econometrica 55 (1987).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.expectile.value_and_grad(np.array([0.0, 3.0]), np.array([1.0, 1.0]), q=0.75, reduction="sum")
    (1.75, array([-1.5,  1. ]))
    """
    q = number(q, "q", 0, 1)
    return elementwise(want, "expectile", pred, target, (q, 1 - q), common, light=True)


@Loss
def epsilon_insensitive(
    want: int, /, pred: ArrayLike, target: ArrayLike, *, epsilon: float = 0.1, **common: Unpack[Common]
) -> Any:
    r"""Absolute error beyond a tolerance, max(0, abs(r) - epsilon): support vector regression.

    The gradient is the sign of r where abs(r) > epsilon, else 0; the second derivative is 0.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    epsilon : float, default 0.1
        The tolerance, in the unit of `pred`; >= 0.

    References
    ----------
    V. Vapnik, The Nature of Statistical Learning Theory (1995).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.epsilon_insensitive.value_and_grad(np.array([0.05, 1.1]), np.array([0.0, 0.0]), reduction="sum")
    (1.0, array([0., 1.]))
    """
    parameters = (number(epsilon, "epsilon", 0),)
    return elementwise(want, "epsilon_insensitive", pred, target, parameters, common, light=True)


@Loss
def squared_epsilon_insensitive(
    want: int, /, pred: ArrayLike, target: ArrayLike, *, epsilon: float = 0.1, **common: Unpack[Common]
) -> Any:
    r"""Squared error beyond a tolerance, max(0, abs(r) - epsilon)^2: smooth support vector regression.

    The gradient is 2 sign(r) max(0, abs(r) - epsilon), the second derivative 2 where abs(r) > epsilon, else 0.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    epsilon : float, default 0.1
        The tolerance, in the unit of `pred`; >= 0.

    References
    ----------
    V. Vapnik, The Nature of Statistical Learning Theory (1995).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.squared_epsilon_insensitive.value_and_grad(np.array([0.05, 1.5]), np.array([0.0, 0.0]), epsilon=0.5)
    (0.5, array([0., 1.]))
    """
    parameters = (number(epsilon, "epsilon", 0),)
    return elementwise(want, "squared_epsilon_insensitive", pred, target, parameters, common, light=True)


@Loss
def huber(want: int, /, pred: ArrayLike, target: ArrayLike, *, delta: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Huber loss: squared error near the target, absolute error far from it.

    r^2 / 2 where abs(r) <= delta, else delta (abs(r) - delta / 2). The gradient is r, limited to [-delta, delta]; the
    second derivative is 1 where abs(r) <= delta, else 0.

    Picture, in the repository: docs/curves/regression.svg

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    delta : float, default 1.0
        Where the loss becomes linear, in the unit of `pred`; > 0.

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
    return elementwise(want, "huber", pred, target, (number(delta, "delta", 0, above=True),), common, light=True)


@Loss
def smooth_l1(want: int, /, pred: ArrayLike, target: ArrayLike, *, beta: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Smooth L1: `huber` divided by its threshold, so that it tends to `mae` as beta goes to 0.

    r^2 / (2 beta) where abs(r) < beta, else abs(r) - beta / 2. The gradient is r / beta, limited to [-1, 1]; the second
    derivative is 1 / beta where abs(r) < beta, else 0. Usual for the boxes of object detectors.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    beta : float, default 1.0
        Where the loss becomes linear, in the unit of `pred`; >= 0. With 0 it is `mae`.

    References
    ----------
    R. Girshick, Fast R-CNN (2015).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.smooth_l1.value_and_grad(np.array([0.25, 3.0]), np.array([0.0, 0.0]), beta=0.5, reduction="sum")
    (2.8125, array([0.5, 1. ]))
    """
    beta = number(beta, "beta", 0)
    if beta == 0:
        return elementwise(want, "smooth_l1", pred, target, (), common, kernel="mae", light=True)
    return elementwise(want, "smooth_l1", pred, target, (beta, 1 / beta), common, light=True)


@Loss
def pseudo_huber(
    want: int, /, pred: ArrayLike, target: ArrayLike, *, delta: float = 1.0, **common: Unpack[Common]
) -> Any:
    r"""Pseudo-Huber loss: like `huber`, but smooth, with a second derivative that is never 0.

    delta^2 (sqrt(1 + (r / delta)^2) - 1), accurate for tiny and for huge r. The gradient is r / s, the second
    derivative 1 / s^3, where s = sqrt(1 + (r / delta)^2).

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    delta : float, default 1.0
        Where the loss turns from square to linear, in the unit of `pred`; > 0.

    References
    ----------
    P. Charbonnier et al., Deterministic Edge-Preserving Regularization in Computed Imaging, IEEE TIP 6 (1997).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.pseudo_huber.value_and_grad(np.array([0.0, 0.75]), np.array([0.0, 0.0]), reduction="sum")
    (0.25, array([0. , 0.6]))
    """
    delta = number(delta, "delta", 0, above=True)
    return elementwise(want, "pseudo_huber", pred, target, (delta, 1 / delta), common)


@Loss
def log_cosh(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Logarithm of the hyperbolic cosine, log(cosh(r)): a smooth `huber` without a parameter.

    r^2 / 2 near 0, abs(r) - log 2 far out, accurate to a few ulp everywhere. The gradient is tanh(r), the second
    derivative 1 / cosh(r)^2.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.

    References
    ----------
    P. J. Green, Bayesian Reconstructions from Emission Tomography Data, IEEE TMI 9 (1990).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.log_cosh(np.array([1e-4, 100.0]), np.array([0.0, 0.0]), reduction="none")
    array([4.99999999e-09, 9.93068528e+01])
    """
    return elementwise(want, "log_cosh", pred, target, (), common)


@Loss
def fair(want: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Fair loss, c^2 (abs(u) - log(1 + abs(u))) with u = r / c: robust and convex, between `mse` and `mae`.

    The gradient is r / (1 + abs(u)), which tends to c sign(r); the second derivative is 1 / (1 + abs(u))^2.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    c : float, default 1.0
        The residual, in the unit of `pred`, at which the gradient is half of r; > 0.

    References
    ----------
    R. C. Fair, On the Robust Estimation of Econometric Models, Annals of Economic and Social Measurement 3 (1974).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.fair.value_and_grad(np.array([1.0, -3.0]), np.array([0.0, 0.0]), reduction="none")
    (array([0.30685282, 1.61370564]), array([ 0.5 , -0.75]))
    """
    return elementwise(want, "fair", pred, target, _robust(c), common)


@Loss
def cauchy(want: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Cauchy (Lorentzian) loss, c^2/2 log(1 + u^2) with u = r / c: outliers count less the farther they are.

    Not convex: the gradient r / (1 + u^2) is largest at abs(r) = c and tends to 0; the second derivative is
    (1 - u^2) / (1 + u^2)^2. Up to scale the negative log-likelihood of a Cauchy distribution.

    Picture, in the repository: docs/curves/robust.svg

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    c : float, default 1.0
        The residual, in the unit of `pred`, at which the gradient is largest; > 0.

    References
    ----------
    M. J. Black and P. Anandan, The Robust Estimation of Multiple Motions, CVIU 63 (1996).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.cauchy.value_and_grad(np.array([1.0, -3.0]), np.array([0.0, 0.0]), reduction="none")
    (array([0.34657359, 1.15129255]), array([ 0.5, -0.3]))
    """
    return elementwise(want, "cauchy", pred, target, _robust(c), common)


@Loss
def geman_mcclure(want: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Geman-McClure loss, r^2/2 / (1 + u^2) with u = r / c: bounded by c^2/2, so gross outliers do not count.

    Not convex. The gradient is r / (1 + u^2)^2, the second derivative (1 - 3 u^2) / (1 + u^2)^3.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    c : float, default 1.0
        The residual, in the unit of `pred`, at which the loss is half of its limit; > 0.

    References
    ----------
    S. Geman and D. E. McClure, Bayesian Image Analysis: An Application to Single Photon Emission Tomography (1985).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.geman_mcclure.value_and_grad(np.array([1.0, -3.0]), np.array([0.0, 0.0]), reduction="sum")
    (0.7, array([ 0.25, -0.03]))
    """
    return elementwise(want, "geman_mcclure", pred, target, _robust(c), common)


@Loss
def welsch(want: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Welsch (Leclerc) loss, c^2/2 (1 - exp(-u^2)) with u = r / c: bounded, and forgets outliers fastest.

    Not convex. The gradient is r exp(-u^2), the second derivative (1 - 2 u^2) exp(-u^2). Also known as correntropy.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    c : float, default 1.0
        The residual, in the unit of `pred`, at which the loss is 63 % of its limit; > 0.

    References
    ----------
    J. E. Dennis and R. E. Welsch, Techniques for Nonlinear Least Squares and Robust Regression (1978).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.welsch.value_and_grad(np.array([1.0, -3.0]), np.array([0.0, 0.0]), reduction="none")
    (array([0.31606028, 0.4999383 ]), array([ 0.36787944, -0.00037023]))
    """
    return elementwise(want, "welsch", pred, target, _robust(c), common)


@Loss
def tukey(want: int, /, pred: ArrayLike, target: ArrayLike, *, c: float = 1.0, **common: Unpack[Common]) -> Any:
    r"""Tukey's biweight, c^2/6 (1 - (1 - u^2)^3) where abs(u) <= 1, else c^2/6, with u = r / c: outliers have no say.

    Not convex. The gradient is r (1 - u^2)^2, the second derivative (1 - u^2) (1 - 5 u^2), and both are 0 where abs(u)
    > 1. For residuals of standard deviation 1, c = 4.685 has 95 % of the efficiency of least squares.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    c : float, default 1.0
        The residual, in the unit of `pred`, at which an observation no longer counts; > 0.

    References
    ----------
    A. E. Beaton and J. W. Tukey, The Fitting of Power Series, Technometrics 16 (1974).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.tukey.value_and_grad(np.array([1.0, 3.0]), np.array([0.0, 0.0]), c=2.0, reduction="none")
    (array([0.38541667, 0.66666667]), array([0.5625, 0.    ]))
    """
    return elementwise(want, "tukey", pred, target, _robust(c), common)


@Loss
def poisson_nll(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    **common: Unpack[Common],
) -> Any:
    r"""Negative log-likelihood of a Poisson distribution: regression of counts.

    With the logarithm of the rate in `pred` (`log_input`) it is exp(p) - t p, with gradient exp(p) - t and second
    derivative exp(p); with the rate itself p - t log(p + eps), with gradient 1 - t / (p + eps) and second derivative t
    / (p + eps)^2. `full` adds log(t!), the part that does not depend on `pred`: by lgamma(t + 1) for every t, not by
    Stirling's approximation. A target of 0 costs the rate alone, also at p = -inf.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    log_input : bool, default True
        Whether `pred` is the logarithm of the rate.
    full : bool, default False
        Whether to add lgamma(t + 1).
    eps : float, default 1e-8
        Added to the rate in the logarithm, if not `log_input`; >= 0.

    References
    ----------
    P. McCullagh and J. A. Nelder, Generalized Linear Models (1989), chapter 6.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.poisson_nll.value_and_grad(np.array([0.0, 0.0]), np.array([0, 3]), reduction="sum")
    (2.0, array([ 1., -2.]))
    >>> fl.poisson_nll(np.array([2.0]), np.array([3]), log_input=False, full=True, reduction="none")
    array([1.71231791])
    """
    eps = number(eps, "eps", 0)
    kernel = "poisson_nll" if _checks.flag(log_input, "log_input") else "poisson_nll_of_rate"
    if _checks.flag(full, "full"):
        kernel += "_full"
    return elementwise(want, "poisson_nll", pred, target, (eps,), common, kernel=kernel)


@Loss
def gamma_nll(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Negative log-likelihood of a gamma distribution with a log link: positive targets with constant relative error.

    t exp(-p) + p, where exp(p) is the mean; terms that depend on t alone are left out. The gradient is 1 - t exp(-p),
    the second derivative t exp(-p).

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.

    References
    ----------
    P. McCullagh and J. A. Nelder, Generalized Linear Models (1989), chapter 8.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.gamma_nll.value_and_grad(np.array([0.0, 0.0]), np.array([1.0, 3.0]), reduction="sum")
    (4.0, array([ 0., -2.]))
    """
    return elementwise(want, "gamma_nll", pred, target, (), common)


@Loss
def tweedie(want: int, /, pred: ArrayLike, target: ArrayLike, *, power: float = 1.5, **common: Unpack[Common]) -> Any:
    r"""Tweedie deviance with a log link: targets that are 0 or positive, such as claims or rainfall.

    -t exp((1 - power) p) / (1 - power) + exp((2 - power) p) / (2 - power), where exp(p) is the mean: a compound Poisson
    distribution, half of whose deviance it is up to terms in t alone. The gradient is exp((2 - power) p) - t exp((1 -
    power) p), the second derivative (2 - power) exp((2 - power) p) - t (1 - power) exp((1 - power) p).

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    power : float, default 1.5
        Between 1 (`poisson_nll`) and 2 (`gamma_nll`), both excluded.

    References
    ----------
    B. Jorgensen, Exponential Dispersion Models, JRSS B 49 (1987).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.tweedie.value_and_grad(np.array([0.0, 0.0]), np.array([0.0, 3.0]), reduction="sum")
    (10.0, array([ 1., -2.]))
    """
    power = number(power, "power", 1, 2, above=True, below=True)
    parameters = (1 - power, 2 - power, 1 / (1 - power), 1 / (2 - power))
    return elementwise(want, "tweedie", pred, target, parameters, common)


@Loss
def gaussian_nll(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    *,
    full: bool = False,
    eps: float = 1e-6,
    **common: Unpack[Common],
) -> Any:
    r"""Negative log-likelihood of a normal distribution whose variance is predicted too.

    (log v + r^2 / v) / 2 with v = max(var, eps); `full` adds log(2 pi) / 2. There are gradients for `pred`, r / v, and
    for `var`, (1 - r^2 / v) / (2 v), which is 0 where var < eps. The second derivatives are 1 / v and (r^2 / v - 1/2) /
    v^2. `grad` gives, and as `out` takes, a pair (by `pred`, by `var`); `grad_and_hess` a pair of such pairs, the
    gradients and the second derivatives. Where a variance is shared, the derivatives by it are sums.

    Parameters
    ----------
    pred : array_like
        Predictions of any shape, float32 or float64.
    target : array_like
        Of the shape of `pred`.
    var : array_like
        Variances, of the shape of `pred`, or of its leading axes for a variance that the rest of the axes share;
        the gradient for it has its shape, and the dtype of `pred`. A negative one raises, NaN propagates.
    full : bool, default False
        Whether to add the constant log(2 pi) / 2.
    eps : float, default 1e-6
        The least variance, in the square of the unit of `pred`; > 0.

    References
    ----------
    D. A. Nix and A. S. Weigend, Estimating the Mean and Variance of the Target Probability Distribution (1994).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred, target, var = np.array([1.0, 2.0]), np.array([1.0, 4.0]), np.array([1.0, 2.0])
    >>> fl.gaussian_nll.grad(pred, target, var, reduction="sum")
    (array([ 0., -1.]), array([ 0.5 , -0.25]))
    """
    eps = number(eps, "eps", 0, above=True)
    constant = math.log(2 * math.pi) / 2 if _checks.flag(full, "full") else 0.0
    return elementwise(want, "gaussian_nll", pred, target, (eps, constant), common, second=("var", var, "not negative"))


def _robust(c: float) -> tuple[float, float]:
    """What the kernels of the robust losses need of c."""
    c = number(c, "c", 0, above=True)
    return c, 1 / c
