"""Negative log-likelihoods: regression of counts, of positive amounts, and with a predicted variance.

* Counts: `poisson_nll`. By default, `pred` holds the logarithm of the rate.
* Positive amounts: `gamma_nll`. Amounts that are 0 or positive: `tweedie`. `pred` holds the logarithm of the mean.
* A normal distribution with a predicted variance: `gaussian_nll`. `pred` holds the mean.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.elementwise import elementwise
from fastloss._core.request.arguments import number
from fastloss._core.request.checks import flag
from fastloss._core.request.domains import Domain
from fastloss._declaration import PRED, TARGET, Elementwise, Input
from fastloss._loss import loss

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "gamma_nll",
    "gaussian_nll",
    "poisson_nll",
    "tweedie",
]

POISSON_NLL = Elementwise("poisson_nll")


@loss(POISSON_NLL)
def poisson_nll(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    **common: Unpack[Common],
) -> Any:
    """Negative log-likelihood of a Poisson distribution, for counts; `pred` is the logarithm of the rate by default.

    Use it for regression of counts. Take `tweedie` for amounts that are often 0. The loss is::

        loss = exp(pred) - target * pred          with log_input=True: pred is the logarithm of the rate
        loss = pred - target * log(pred + eps)    with log_input=False: pred is the rate itself

    Parameters
    ----------
    pred : array_like
        Logarithms of the rate, of any shape, half precision, float32 or float64. With ``log_input=False``, the rates
        themselves. For a rate below -eps, the value is NaN.
    target : array_like
        Counts >= 0 of any real dtype, in the shape of `pred`. They need not be integers. Negative counts have no
        meaning, but do not raise an error.
    log_input : bool, default True
        Whether `pred` is the logarithm of the rate.
    full : bool, default False
        Whether to add log(target!), the part of the negative log-likelihood that does not depend on `pred`.
    eps : float, default 1e-8
        A number >= 0 that is added to the rate inside the logarithm. It is only used with ``log_input=False``.

    Notes
    -----
    With ``log_input=True``, the gradient of one element with respect to `pred` is exp(pred) - target. The second
    derivative is exp(pred).

    With ``log_input=False``, the gradient is 1 - target / (pred + eps). The second derivative is
    target / (pred + eps)^2.

    `full` computes log(target!) as lgamma(target + 1) for every target. It does not use Stirling's approximation.

    Where the target is 0, the loss is the rate alone. This also holds for a logarithm of -inf, which is a rate of 0.

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
    kernel = "poisson_nll" if flag(log_input, "log_input") else "poisson_nll_of_rate"
    if flag(full, "full"):
        kernel += "_full"
    return elementwise(POISSON_NLL, outputs, pred, target, (eps,), common, kernel=kernel)


GAMMA_NLL = Elementwise("gamma_nll")


@loss(GAMMA_NLL)
def gamma_nll(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    """Negative log-likelihood of a gamma distribution; `pred` is the logarithm of the mean.

    Use it for positive targets whose relative error is constant. Take `tweedie` if some targets are 0. The loss is::

        loss = target * exp(-pred) + pred

    Parameters
    ----------
    pred : array_like
        Logarithms of the mean, of any shape, half precision, float32 or float64.
    target : array_like
        Values > 0 of any real dtype, in the shape of `pred` and the unit of exp(pred). Values <= 0 do not raise an
        error.

    Notes
    -----
    The gradient of one element with respect to `pred` is 1 - target * exp(-pred). The second derivative is
    target * exp(-pred).

    The loss leaves out the terms that depend on the target alone.

    References
    ----------
    P. McCullagh and J. A. Nelder, Generalized Linear Models (1989), chapter 8.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.gamma_nll.value_and_grad(np.array([0.0, 0.0]), np.array([1.0, 3.0]), reduction="sum")
    (4.0, array([ 0., -2.]))
    """
    return elementwise(GAMMA_NLL, outputs, pred, target, (), common)


TWEEDIE = Elementwise("tweedie")


@loss(TWEEDIE)
def tweedie(
    outputs: int, /, pred: ArrayLike, target: ArrayLike, *, power: float = 1.5, **common: Unpack[Common]
) -> Any:
    """Tweedie deviance, for targets that are 0 or positive; `pred` is the logarithm of the mean.

    Use it for amounts that are often exactly 0, such as insurance claims or rainfall. Take `gamma_nll` if all are
    positive, and `poisson_nll` for counts. With the mean m = exp(pred)::

        loss = m^(2 - power) / (2 - power) - target * m^(1 - power) / (1 - power)

    Parameters
    ----------
    pred : array_like
        Logarithms of the mean, of any shape, half precision, float32 or float64.
    target : array_like
        Values >= 0 of any real dtype, in the shape of `pred` and the unit of exp(pred). Negative values have no
        meaning, but do not raise an error.
    power : float, default 1.5
        The variance is proportional to this power of the mean. It must be > 1 and < 2. `poisson_nll` is the loss for
        the power 1, and `gamma_nll` for the power 2.

    Notes
    -----
    The gradient of one element with respect to `pred` is m^(2 - power) - target * m^(1 - power). The second derivative
    is (2 - power) m^(2 - power) - (1 - power) target * m^(1 - power).

    The loss is half of the deviance of a compound Poisson distribution, up to terms that depend on the target alone.

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
    return elementwise(TWEEDIE, outputs, pred, target, parameters, common)


GAUSSIAN_NLL = Elementwise(
    "gaussian_nll", (PRED, TARGET, Input("var", Domain.NOT_NEGATIVE, differentiable=True, shape="leading"))
)


@loss(GAUSSIAN_NLL)
def gaussian_nll(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    *,
    full: bool = False,
    eps: float = 1e-6,
    **common: Unpack[Common],
) -> Any:
    """Negative log-likelihood of a normal distribution with a predicted mean and a predicted variance.

    Use it for a model that predicts how uncertain its own predictions are. Take `mse` if the variance is constant. With
    the residual r = pred - target and the variance v = max(var, eps)::

        loss = (log(v) + r^2 / v) / 2

    Parameters
    ----------
    pred : array_like
        Predicted means of any shape, half precision, float32 or float64.
    target : array_like
        Target values of any real dtype, in the shape and the unit of `pred`.
    var : array_like
        Predicted variances >= 0 of any real dtype. Their unit is the square of the unit of `pred`. Their shape is that
        of `pred`, or of its leading axes. In the second case, the elements along the remaining axes share a variance. A
        negative variance raises ValueError. A NaN variance gives a NaN loss.
    full : bool, default False
        Whether to add the constant log(2 pi) / 2.
    eps : float, default 1e-6
        The smallest allowed variance. It replaces smaller variances. It must be > 0. Its unit is the square of the unit
        of `pred`.

    Notes
    -----
    The gradient of one element with respect to `pred` is r / v. The second derivative is 1 / v.

    The gradient with respect to `var` is (1 - r^2 / v) / (2 v). The second derivative is (r^2 / v - 1/2) / v^2. Both
    are 0 where var < eps. If several elements share a variance, the derivatives with respect to it are sums over these
    elements. These derivatives have the shape of `var` and the dtype of `pred`.

    References
    ----------
    D. A. Nix and A. S. Weigend, Estimating the Mean and Variance of the Target Probability Distribution (1994).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred, target, var = np.array([1.0, 2.0]), np.array([1.0, 4.0]), np.array([1.0, 2.0])
    >>> fl.gaussian_nll.grad(pred, target, var, reduction="sum")
    (array([ 0., -1.]), array([ 0.5 , -0.25]))

    The gradients with respect to `pred` and `var`, then the second derivatives:

    >>> (grad_pred, grad_var), (hess_pred, hess_var) = fl.gaussian_nll.grad_and_hess(pred, target, var, reduction="sum")
    >>> hess_pred, hess_var
    (array([1. , 0.5]), array([-0.5  ,  0.375]))

    One variance for each row:

    >>> pred, target = np.array([[1.0, 2.0], [3.0, 3.0]]), np.array([[1.0, 4.0], [3.0, 5.0]])
    >>> value, (grad_pred, grad_var) = fl.gaussian_nll.value_and_grad(pred, target, var, reduction="sum")
    >>> grad_var
    array([-1.,  0.])
    """
    eps = number(eps, "eps", 0, above=True)
    constant = math.log(2 * math.pi) / 2 if flag(full, "full") else 0.0
    return elementwise(GAUSSIAN_NLL, outputs, pred, target, (eps, constant), common, third=var)
