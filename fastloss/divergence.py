"""Divergences of distributions: sums along an axis, for distillation, variational inference and mixtures.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss import _checks
from fastloss._loss import Loss
from fastloss.kernels.call import number, summed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = ["gaussian_kl", "js_divergence", "kl_divergence"]


@Loss
def kl_divergence(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    log_target: bool = False,
    **common: Unpack[Common],
) -> Any:
    r"""Kullback-Leibler divergence of a predicted from a target distribution: for distillation and soft labels.

    With target probabilities t and predicted log-probabilities log q::

        sum_c t_c (log t_c - log q_c)

    where a class with t_c = 0 adds 0, also where log q_c is -inf. The sum is taken along `axis`, and "mean" is that
    over the samples: the KL divergence itself, not divided by the number of classes. Neither distribution is
    normalised. The gradient is -t, the second derivative 0.

    Parameters
    ----------
    pred : array_like
        Log-probabilities, float32 or float64, with the classes along `axis`.
    target : array_like
        Of the shape of `pred`: probabilities in [0, 1], or logarithms of these.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    log_target : bool, default False
        Whether `target` holds log-probabilities; -inf stands for 0.

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
    logarithms = _checks.flag(log_target, "log_target")
    return summed(
        want,
        "kl_divergence",
        pred,
        target,
        (),
        common,
        axis=axis,
        kernel="kl_divergence_log_target" if logarithms else "kl_divergence",
        domains=(None, None if logarithms else "unit interval"),
    )


@Loss
def js_divergence(
    want: int,
    /,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    beta: float = 0.5,
    **common: Unpack[Common],
) -> Any:
    r"""Jensen-Shannon divergence of two distributions: symmetric, bounded, and finite where one of them is 0.

    With log-probabilities p and t, and their mixture m = log(beta exp(t) + (1 - beta) exp(p))::

        sum_c beta exp(t_c) (t_c - m_c) + (1 - beta) exp(p_c) (p_c - m_c)

    so beta KL(T to M) + (1 - beta) KL(P to M), at most log 2. It is differentiated by both inputs: the gradient is
    the pair (1 - beta) exp(p) (p - m), beta exp(t) (t - m). Value and gradients keep their relative accuracy where p
    and t are close, and -inf, a class of probability 0, is allowed in either or both. The second derivative by p is
    (1 - beta) exp(p) (p - m + beta exp(t - m)).

    Parameters
    ----------
    pred : array_like
        Log-probabilities, float32 or float64, with the classes along `axis`.
    target : array_like
        Log-probabilities in the shape of `pred`.
    axis : int, default -1
        The class axis. The unreduced loss has the shape of `pred` without it.
    beta : float, default 0.5
        Weight of the target in the mixture, in (0, 1).

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
    return summed(want, "js_divergence", pred, target, (beta, 1 - beta), common, axis=axis, pair=True)


@Loss
def gaussian_kl(want: int, /, mu: ArrayLike, log_var: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""KL divergence of a diagonal Gaussian from the standard one: the regulariser of variational autoencoders.

    Of N(mu, exp(log_var)) to N(0, 1), summed over the last axis::

        sum_d (exp(log_var_d) - 1 - log_var_d + mu_d^2) / 2

    It is differentiated by both inputs: the gradient is the pair mu, (exp(log_var) - 1) / 2, and the diagonal of the
    Hessian 1, exp(log_var) / 2. All keep their relative accuracy close to the minimum, where both inputs are 0.

    Parameters
    ----------
    mu : array_like
        Means, float32 or float64, with the dimensions of the latent space along the last axis.
    log_var : array_like
        Logarithms of the variances, in the shape of `mu`.

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
    return summed(want, "gaussian_kl", mu, log_var, (), common, names=("mu", "log_var"), pair=True)
