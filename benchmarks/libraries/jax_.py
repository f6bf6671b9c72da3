"""JAX, compiled. Each loss is written as JAX users write it; those of optax are the same one-liners.

`ctc` is that of optax, if it is installed.
"""

import os
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from ..case import Case
from ..shared_types import Arrays, Call

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before the import
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.nn import logsumexp, relu, sigmoid, softplus  # noqa: E402

try:
    import optax
except ImportError:
    optax = None

VERSION = jax.__version__


def _huber(p: Any, t: Any) -> Any:
    r = p - t
    grad = jnp.clip(r, -1, 1)
    return jnp.mean(grad * (r - grad / 2))


def _log_cosh(p: Any, t: Any) -> Any:
    r = p - t
    return jnp.mean(jnp.logaddexp(r, -r)) - jnp.log(2.0)


def _norm(x: Any) -> Any:
    return jnp.sqrt(jnp.sum(x * x, -1))


def _cosine(x: Any, y: Any) -> Any:
    return jnp.sum(x * y, -1) / (_norm(x) * _norm(y))


def _contrastive(x: Any, y: Any, same: Any) -> Any:
    d = _norm(x - y)
    return jnp.mean(same * d**2 + (1 - same) * relu(1 - d) ** 2) / 2


def _quantile(p: Any, t: Any, q: float = 0.5) -> Any:
    e = t - p
    return jnp.mean(jnp.maximum(q * e, (q - 1) * e))


def _expectile(p: Any, t: Any, q: float = 0.5) -> Any:
    r = p - t
    return jnp.mean(jnp.where(r > 0, 1 - q, q) * r**2)


def _gaussian_nll(p: Any, t: Any, var: Any) -> Any:
    v = jnp.maximum(var, 1e-6)
    return jnp.mean(jnp.log(v) + (p - t) ** 2 / v) / 2


def _geman_mcclure(p: Any, t: Any) -> Any:
    square = (p - t) ** 2
    return jnp.mean(square / (1 + square)) / 2


def _fair(p: Any, t: Any) -> Any:
    u = jnp.abs(p - t)
    return jnp.mean(u - jnp.log1p(u))


def _binary_cross_entropy(p: Any, t: Any) -> Any:
    return -jnp.mean(t * jnp.maximum(jnp.log(p), -100) + (1 - t) * jnp.maximum(jnp.log1p(-p), -100))


def _binary_focal(p: Any, t: Any) -> Any:
    right = p * t + (1 - p) * (1 - t)
    return -jnp.mean((1 - right) ** 2 * jnp.maximum(jnp.log(right), -100))


def _sigmoid_focal(z: Any, t: Any) -> Any:
    """As in optax, without alpha."""
    p = sigmoid(z)
    wrong = p * (1 - t) + (1 - p) * t
    return jnp.mean((softplus(z) - z * t) * wrong**2)


def _sigmoid_poly1(z: Any, t: Any) -> Any:
    p = sigmoid(z)
    return jnp.mean(softplus(z) - z * t + p * (1 - t) + (1 - p) * t)


def _modified_huber(z: Any, t: Any) -> Any:
    margin = t * z
    return jnp.mean(jnp.where(margin >= -1, relu(1 - margin) ** 2, -4 * margin))


def _of_label(x: Any, t: Any, axis: int = -1) -> Any:
    return jnp.take_along_axis(x, jnp.expand_dims(t, axis), axis).squeeze(axis)


def _losses_of_labels(z: Any, t: Any, axis: int = -1) -> Any:
    return logsumexp(z, axis) - _of_label(z, t, axis)


def _softmax_focal(z: Any, t: Any, axis: int = -1) -> Any:
    loss = _losses_of_labels(z, t, axis)
    return jnp.mean((1 - jnp.exp(-loss)) ** 2 * loss)


def _poly1_cross_entropy(z: Any, t: Any, axis: int = -1) -> Any:
    loss = _losses_of_labels(z, t, axis)
    return jnp.mean(loss + 1 - jnp.exp(-loss))


def _multiclass_hinge(z: Any, t: Any, axis: int = -1) -> Any:
    gaps = relu(1 + z - jnp.expand_dims(_of_label(z, t, axis), axis))
    return jnp.mean(gaps.sum(axis) - 1)  # minus the gap of the label itself


def _crammer_singer(z: Any, t: Any, axis: int = -1) -> Any:
    others = jnp.where(jax.nn.one_hot(t, z.shape[axis], axis=axis, dtype=bool), -jnp.inf, z)
    return jnp.mean(relu(1 + others.max(axis) - _of_label(z, t, axis)))


def _js_divergence(p: Any, t: Any) -> Any:
    m = jnp.logaddexp(p, t) - jnp.log(2.0)
    return jnp.mean(jnp.sum(jnp.exp(p) * (p - m) + jnp.exp(t) * (t - m), -1)) / 2


def _cross_entropy(s: Any, own: Any) -> Any:
    return jnp.mean(_losses_of_labels(s, own))


def _clip(x: Any, y: Any, scale: Any) -> Any:
    s, own = scale * x @ y.T, jnp.arange(len(x))
    return (_cross_entropy(s, own) + _cross_entropy(s.T, own)) / 2


def _siglip(x: Any, y: Any, scale: Any, bias: Any) -> Any:
    sign = 2 * jnp.eye(len(x)) - 1
    return jnp.sum(softplus(-sign * (scale * x @ y.T + bias))) / len(x)


def _nt_xent(z1: Any, z2: Any) -> Any:
    z = jnp.concatenate([z1, z2])
    z /= jnp.linalg.norm(z, axis=1, keepdims=True)
    s = jnp.where(jnp.eye(len(z)) == 1, -jnp.inf, z @ z.T / 0.5)
    return _cross_entropy(s, jnp.roll(jnp.arange(len(z)), len(z1)))


def _supcon(z: Any, labels: Any) -> Any:
    others = jnp.eye(len(z)) == 0
    s = jnp.where(others, z @ z.T / 0.1, -jnp.inf)
    same = (labels[:, None] == labels) & others
    return jnp.mean(logsumexp(s, 1) - jnp.where(same, s, 0).sum(1) / same.sum(1))


def _ctc(z: Any, targets: Any, frames: Any, lengths: Any) -> Any:
    of_frames, of_labels = (
        (jnp.arange(most) >= n[:, None]).astype(z.dtype) for most, n in ((len(z), frames), (targets.shape[1], lengths))
    )
    return jnp.mean(optax.ctc_loss(z.swapaxes(0, 1), of_frames, targets, of_labels))


def _batch_hard_triplet(z: Any, labels: Any) -> Any:
    same = labels[:, None] == labels
    square = jnp.sum(z**2, 1)
    d = jax.lax.stop_gradient(square[:, None] + square - 2 * z @ z.T)
    far, near = jnp.where(same, d, -1).argmax(1), jnp.where(same, jnp.inf, d).argmin(1)
    return jnp.mean(relu(jnp.linalg.norm(z - z[far], axis=1) - jnp.linalg.norm(z - z[near], axis=1) + 1))


def _score(e: Any, tags: Any, a: Any) -> Any:
    return jnp.sum(_of_label(e, tags), -1) + jnp.sum(a[tags[:, :-1], tags[:, 1:]], -1)


def _best_ends(e: Any, a: Any, reduce: Callable[..., Any]) -> Any:
    """The scores of paths (N, K) by their last tag, reduced over the tags before."""

    def step(alpha: Any, e_t: Any) -> tuple[Any, None]:
        return reduce(alpha[:, :, None] + a, 1) + e_t, None

    return jax.lax.scan(step, e[:, 0], jnp.swapaxes(e[:, 1:], 0, 1))[0]


def _linear_chain_crf(e: Any, tags: Any, a: Any) -> Any:
    return jnp.mean(logsumexp(_best_ends(e, a, logsumexp), 1) - _score(e, tags, a))


def _structured_hinge(e: Any, tags: Any, a: Any) -> Any:
    with_margin = e + 1 - jax.nn.one_hot(tags, e.shape[2])
    return jnp.mean(jnp.max(_best_ends(with_margin, a, jnp.max), 1) - _score(e, tags, a))


LOSSES: dict[str, Callable[..., Any]] = {
    "mse": lambda p, t: jnp.mean((p - t) ** 2),
    "mae": lambda p, t: jnp.mean(jnp.abs(p - t)),
    "huber": _huber,
    "smooth_l1": _huber,  # with beta = 1
    "pseudo_huber": lambda p, t: jnp.mean(jnp.sqrt(1 + (p - t) ** 2) - 1),
    "log_cosh": _log_cosh,
    "quantile": _quantile,
    "expectile": _expectile,
    "epsilon_insensitive": lambda p, t: jnp.mean(relu(jnp.abs(p - t) - 0.1)),
    "squared_epsilon_insensitive": lambda p, t: jnp.mean(relu(jnp.abs(p - t) - 0.1) ** 2),
    "msle": lambda p, t: jnp.mean((jnp.log1p(p) - jnp.log1p(t)) ** 2),
    "mape": lambda p, t: jnp.mean(jnp.abs(p - t) / jnp.maximum(jnp.abs(t), jnp.finfo(t.dtype).eps)),
    "poisson_nll": lambda p, t: jnp.mean(jnp.exp(p) - t * p),
    "gamma_nll": lambda p, t: jnp.mean(t * jnp.exp(-p) + p),
    "tweedie": lambda p, t: jnp.mean(2 * t * jnp.exp(-0.5 * p) + 2 * jnp.exp(0.5 * p)),
    "gaussian_nll": _gaussian_nll,
    "cauchy": lambda p, t: jnp.mean(jnp.log1p((p - t) ** 2)) / 2,
    "welsch": lambda p, t: -jnp.mean(jnp.expm1(-((p - t) ** 2))) / 2,
    "geman_mcclure": _geman_mcclure,
    "fair": _fair,
    "tukey": lambda p, t: jnp.mean(1 - relu(1 - (p - t) ** 2) ** 3) / 6,
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_with_logits": lambda z, t: jnp.mean(softplus(z) - z * t),
    "binary_focal": _binary_focal,
    "sigmoid_focal": _sigmoid_focal,
    "sigmoid_poly1": _sigmoid_poly1,
    "brier": lambda z, t: jnp.mean((sigmoid(z) - t) ** 2),
    "hinge": lambda z, t: jnp.mean(relu(1 - z * t)),
    "squared_hinge": lambda z, t: jnp.mean(relu(1 - z * t) ** 2),
    "modified_huber": _modified_huber,
    "logistic": lambda z, t: jnp.mean(softplus(-t * z)),
    "exponential": lambda z, t: jnp.mean(jnp.exp(-t * z)),
    "perceptron": lambda z, t: jnp.mean(relu(-t * z)),
    "l1": lambda w: jnp.sum(jnp.abs(w)),
    "l2": lambda w: jnp.sum(w**2) / 2,
    "elastic_net": lambda w: 0.5 * jnp.sum(jnp.abs(w)) + 0.25 * jnp.sum(w**2),
    "cross_entropy": lambda z, t, axis=-1: jnp.mean(_losses_of_labels(z, t, axis)),
    "softmax_focal": _softmax_focal,
    "poly1_cross_entropy": _poly1_cross_entropy,
    "multilabel_soft_margin": lambda z, t, axis=-1: jnp.mean(softplus(z) - z * t),
    "multiclass_hinge": _multiclass_hinge,
    "crammer_singer": _crammer_singer,
    "categorical_cross_entropy": lambda p, t, axis=-1: -jnp.mean(jnp.maximum(jnp.log(_of_label(p, t, axis)), -100)),
    "nll": lambda p, t, axis=-1: -jnp.mean(_of_label(p, t, axis)),
    "kl_divergence": lambda p, t: jnp.mean(jnp.sum(t * (jnp.log(t) - p), -1)),
    "js_divergence": _js_divergence,
    "info_nce": lambda x, y: _cross_entropy(x @ y.T / 0.07, jnp.arange(len(x))),
    "clip": _clip,
    "siglip": _siglip,
    "nt_xent": _nt_xent,
    "supcon": _supcon,
    "batch_hard_triplet": _batch_hard_triplet,
    "linear_cross_entropy": lambda x, w, t: jnp.mean(_losses_of_labels(x @ w.T, t, -1)),
    "linear_softmax_focal": lambda x, w, t: _softmax_focal(x @ w.T, t),
    "linear_poly1_cross_entropy": lambda x, w, t: _poly1_cross_entropy(x @ w.T, t),
    "linear_multiclass_hinge": lambda x, w, t: _multiclass_hinge(x @ w.T, t),
    "gaussian_kl": lambda mu, log_var: jnp.mean(jnp.sum(jnp.exp(log_var) - 1 - log_var + mu**2, -1)) / 2,
    "contrastive": _contrastive,
    "triplet": lambda a, p, n: jnp.mean(relu(_norm(a - p + 1e-6) - _norm(a - n + 1e-6) + 1)),
    "cosine_embedding": lambda x, y, t: jnp.mean(jnp.where(t > 0, 1 - _cosine(x, y), relu(_cosine(x, y)))),
    "cosine_distance": lambda p, t: 1 - jnp.mean(_cosine(p, t)),
    "margin_ranking": lambda x, y, t: jnp.mean(relu(t * (y - x))),
    "hinge_embedding": lambda x, t: jnp.mean(jnp.where(t > 0, x, relu(1 - x))),
    "linear_chain_crf": _linear_chain_crf,
    "structured_hinge": _structured_hinge,
}


if optax:
    LOSSES["ctc"] = _ctc


def bind(case: Case, inputs: Arrays, threads: int) -> Call | None:
    """JAX has no setting for its threads. It follows the CPU affinity, which `--threads` sets."""
    if case.loss not in LOSSES:
        return None
    # One case runs at a time, so a global switch is enough. A context manager would cost time in every call.
    jax.config.update("jax_enable_x64", case.dtype == "float64")
    places = case.differentiable if len(case.differentiable) > 1 else 0
    compiled = _compile(case.loss, places, tuple(case.options.items()))
    arrays = [jnp.asarray(x.astype(np.int32) if np.issubdtype(x.dtype, np.integer) else x) for x in inputs]
    return lambda: jax.block_until_ready(compiled(*arrays))


@cache
def _compile(loss: str, places: int | tuple[int, ...], options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    return jax.jit(jax.value_and_grad(partial(LOSSES[loss], **dict(options)), argnums=places))
