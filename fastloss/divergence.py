"""Divergences of distributions: sums along an axis, for distillation, variational inference and mixtures.

* `kl_divergence` and `js_divergence`: `pred` holds log-probabilities, not logits.
* `gaussian_kl` takes means and logarithms of variances.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are the same for every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.terms import terms
from fastloss._core.request.arguments import number
from fastloss._core.request.checks import flag
from fastloss._declaration import PRED, TARGET, Input, Terms
from fastloss._loss import loss

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "gaussian_kl",
    "js_divergence",
    "kl_divergence",
]


KL_DIVERGENCE = Terms("kl_divergence")
LOG_TARGET = Terms("kl_divergence", (PRED, TARGET))


@loss(KL_DIVERGENCE)
def kl_divergence(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    log_target: bool = False,
    **common: Unpack[Common],
) -> Any:
    """Kullback-Leibler divergence KL(target || prediction); `pred` holds log-probabilities.

    Use it for distillation and soft labels. Take `cross_entropy` if `pred` holds logits: its value is then larger by
    the entropy of the target, and its gradient goes through the softmax. With the target probabilities t and the
    predicted log-probabilities log q, summed over the classes c::

        loss = sum_c t_c (log t_c - log q_c)

    Parameters
    ----------
    pred : array_like
        Log-probabilities log q, half precision, float32 or float64, with the classes along `axis`.
    target : array_like
        Probabilities t in [0, 1], of any real dtype, in the shape of `pred`. A value outside [0, 1] raises ValueError.
        With ``log_target=True``, `target` holds log-probabilities. They are not checked.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    log_target : bool, default False
        Whether `target` holds log-probabilities. -inf stands for the probability 0.

    Notes
    -----
    The gradient with respect to `pred` is -t. The second derivative is 0. There is no gradient with respect to
    `target`.

    The "mean" reduction averages over the samples, not over the classes. So the value is the mean KL divergence of a
    sample. (For inputs of shape (N, C), PyTorch calls this ``batchmean``.)

    A class with t = 0 adds 0, even if its log q is -inf.

    The function does not normalise the distributions: they must each sum to 1 along `axis` for the loss to be a
    divergence.

    References
    ----------
    S. Kullback and R. A. Leibler, On Information and Sufficiency, Annals of Mathematical Statistics 22 (1951).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred, target = np.log([[0.25, 0.75], [0.5, 0.5]]), np.array([[0.5, 0.5], [1.0, 0.0]])
    >>> fl.kl_divergence(pred, target, reduction="none")
    array([0.14384104, 0.69314718])
    >>> fl.kl_divergence.grad(pred, target, reduction="sum")
    array([[-0.5, -0.5],
           [-1. ,  0. ]])
    """
    if flag(log_target, "log_target"):
        return terms(LOG_TARGET, outputs, pred, target, (), common, axis=axis, kernel="kl_divergence_log_target")
    return terms(KL_DIVERGENCE, outputs, pred, target, (), common, axis=axis)


JS_DIVERGENCE = Terms("js_divergence", (PRED, Input("target", differentiable=True)))


@loss(JS_DIVERGENCE)
def js_divergence(
    outputs: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    beta: float = 0.5,
    **common: Unpack[Common],
) -> Any:
    """Jensen-Shannon divergence of two distributions, both given as log-probabilities.

    Use it in place of `kl_divergence` for a loss that is bounded, and finite even if a class has probability 0 in one
    distribution. Both inputs have a gradient. With the distributions P = exp(pred) and T = exp(target), and their
    mixture M = beta T + (1 - beta) P::

        loss = sum_c beta T_c log(T_c / M_c) + (1 - beta) P_c log(P_c / M_c)

    where c runs over the classes.

    Parameters
    ----------
    pred : array_like
        Log-probabilities, half precision, float32 or float64, with the classes along `axis`. -inf stands for the
        probability 0.
    target : array_like
        Log-probabilities of any real dtype, in the shape of `pred`. -inf stands for the probability 0.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    beta : float, default 0.5
        The weight of the target in the mixture. It must be > 0 and < 1. With 0.5 the loss is symmetric in `pred` and
        `target`. At 0 and 1 the loss would be 0 for any `pred`. Some libraries take these for `kl_divergence`.

    Notes
    -----
    The loss is beta KL(T, M) + (1 - beta) KL(P, M), where KL is the Kullback-Leibler divergence. If P and T each sum to
    1, the loss is at most log 2. The function does not normalise them.

    The "mean" reduction averages over the samples, not over the classes.

    The gradient with respect to `pred` is (1 - beta) P log(P / M). The second derivative is
    (1 - beta) P (log(P / M) + beta T / M).

    The gradient with respect to `target` is beta T log(T / M). The second derivative is
    beta T (log(T / M) + (1 - beta) P / M).

    Value and gradients keep their relative accuracy where `pred` and `target` are close. A class of probability 0 is
    allowed in either or both.

    References
    ----------
    J. Lin, Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 37 (1991);
    on-policy distillation with beta: R. Agarwal et al. (2024).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> pred, target = np.log([0.5, 0.5]), np.array([0.0, -np.inf])
    >>> value, (grad_pred, grad_target) = fl.js_divergence.value_and_grad(pred, target)
    >>> round(value, 6), grad_pred.round(4), grad_target.round(4)
    (0.215762, array([-0.1014,  0.1733]), array([0.1438, 0.    ]))
    """
    beta = number(beta, "beta", 0, 1, above=True, below=True)
    return terms(JS_DIVERGENCE, outputs, pred, target, (beta, 1 - beta), common, axis=axis)


GAUSSIAN_KL = Terms("gaussian_kl", (Input("mu", differentiable=True), Input("log_var", differentiable=True)))


@loss(GAUSSIAN_KL)
def gaussian_kl(outputs: int, /, mu: ArrayLike, log_var: ArrayLike, **common: Unpack[Common]) -> Any:
    """KL divergence of a diagonal Gaussian from the standard one: the regulariser of variational autoencoders.

    Use it to keep the latent distribution N(mu, exp(log_var)) close to N(0, 1). Both inputs have a gradient. The loss
    is summed over the dimensions d of the last axis::

        loss = sum_d (exp(log_var_d) - 1 - log_var_d + mu_d^2) / 2

    Parameters
    ----------
    mu : array_like
        Means, half precision, float32 or float64, with the dimensions of the latent space along the last axis.
    log_var : array_like
        Logarithms of the variances, of any real dtype, in the shape of `mu`.

    Notes
    -----
    The "mean" reduction averages over the samples, not over the dimensions.

    The gradient with respect to `mu` is mu. The second derivative is 1.

    The gradient with respect to `log_var` is (exp(log_var) - 1) / 2. The second derivative is exp(log_var) / 2.

    Value and gradients keep their relative accuracy close to the minimum, where both inputs are 0.

    References
    ----------
    D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes (2014), appendix B.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> value, (grad_mu, grad_log_var) = fl.gaussian_kl.value_and_grad(np.array([[1.0, 0.0]]), np.array([[0.0, 1e-9]]))
    >>> value, grad_mu, grad_log_var
    (0.5, array([[1., 0.]]), array([[0.e+00, 5.e-10]]))
    """
    return terms(GAUSSIAN_KL, outputs, mu, log_var, (), common)
