"""Everything that is compared, behind one shape: a contender binds a case to its data and returns a call.

The call takes no arguments and returns the mean loss and its gradient. Converting the inputs into a library's own
arrays, compiling and allocating what can be reused happen in `bind`, which is not timed. A contender that has no such
loss returns None. A library that is not installed is left out by name.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastloss

from . import baselines
from .baselines import Array
from .cases import Case

Call = Callable[[], tuple[Any, Any]]


@dataclass(frozen=True)
class Contender:
    name: str
    version: str
    bind: Callable[[Case, Array, Array], Call | None]


def _fastloss(threads: int) -> Contender:
    fastloss.set_num_threads(threads)

    def bind(case: Case, pred: Array, target: Array) -> Call:
        value_and_grad = getattr(fastloss, case.loss).value_and_grad
        if not case.reuse:
            return lambda: value_and_grad(pred, target, **case.options)
        out = np.zeros_like(pred)
        return lambda: value_and_grad(pred, target, out=out, **case.options)

    return Contender("fastloss", fastloss.__version__, bind)


def _numpy(threads: int) -> Contender:
    def bind(case: Case, pred: Array, target: Array) -> Call:
        function = getattr(baselines, case.loss)
        out = np.zeros_like(pred) if case.reuse else None
        return lambda: function(pred, target, out=out, **case.options)

    return Contender("NumPy", np.__version__, bind)


def _torch(threads: int) -> Contender:
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    losses: dict[str, Callable[..., Any]] = {
        "mse": F.mse_loss,
        "mae": F.l1_loss,
        "huber": F.huber_loss,
        "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
        "hinge": lambda pred, target: F.relu(1 - pred * target).mean(),
        "cross_entropy": F.cross_entropy,  # its class axis is 1, as in every case here
    }

    def bind(case: Case, pred: Array, target: Array) -> Call | None:
        if case.loss not in losses:
            return None
        function = losses[case.loss]
        z, t = torch.from_numpy(pred).requires_grad_(), torch.from_numpy(target)

        def call() -> tuple[Any, Any]:
            value = function(z, t)
            (grad,) = torch.autograd.grad(value, z)
            return value.item(), grad

        return call

    return Contender("PyTorch", torch.__version__, bind)


def _jax(threads: int) -> Contender:
    # JAX has no setting for its threads; it follows the CPU affinity, which `--threads` sets.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp

    def huber(pred: Any, target: Any) -> Any:
        r = pred - target
        grad = jnp.clip(r, -1, 1)
        return jnp.mean(grad * (r - grad / 2))

    def cross_entropy(pred: Any, target: Any, axis: int = -1) -> Any:
        picked = jnp.take_along_axis(pred, jnp.expand_dims(target, axis), axis).squeeze(axis)
        return jnp.mean(jax.nn.logsumexp(pred, axis) - picked)

    losses: dict[str, Callable[..., Any]] = {
        "mse": lambda pred, target: jnp.mean((pred - target) ** 2),
        "mae": lambda pred, target: jnp.mean(jnp.abs(pred - target)),
        "huber": huber,
        "binary_cross_entropy_with_logits": lambda z, t: jnp.mean(jax.nn.softplus(z) - z * t),
        "hinge": lambda z, t: jnp.mean(jax.nn.relu(1 - z * t)),
        "cross_entropy": cross_entropy,
    }

    def bind(case: Case, pred: Array, target: Array) -> Call | None:
        if case.loss not in losses:
            return None
        # One case runs at a time, so a global switch will do; a context manager would be paid for in every call.
        jax.config.update("jax_enable_x64", case.dtype == "float64")
        function = losses[case.loss]
        compiled = jax.jit(jax.value_and_grad(lambda z, t: function(z, t, **case.options)))
        indices = np.issubdtype(target.dtype, np.integer)
        z, t = jnp.asarray(pred), jnp.asarray(target.astype(np.int32) if indices else target)
        return lambda: jax.block_until_ready(compiled(z, t))

    return Contender("JAX", jax.__version__, bind)


def _sklearn(threads: int) -> Contender:
    import sklearn
    from sklearn._loss import loss as skl  # private: scikit-learn's own estimators are its users

    losses: dict[str, tuple[Callable[[Case], Any], int]] = {  # and the factor that scikit-learn leaves out
        "mse": (lambda case: skl.HalfSquaredError(), 2),
        "mae": (lambda case: skl.AbsoluteError(), 1),
        "huber": (lambda case: skl.HuberLoss(delta=1.0), 1),
        "binary_cross_entropy_with_logits": (lambda case: skl.HalfBinomialLoss(), 1),
        "cross_entropy": (lambda case: skl.HalfMultinomialLoss(n_classes=case.shape[-1]), 1),
    }

    def bind(case: Case, pred: Array, target: Array) -> Call | None:
        if case.loss not in losses or len(case.shape) > 2:
            return None
        make, factor = losses[case.loss]
        loss_gradient = make(case).loss_gradient
        target = target.astype(pred.dtype)  # class indices too
        losses_out, gradient_out = np.zeros(len(pred), pred.dtype), np.zeros_like(pred)
        scale = factor / len(pred)

        def call() -> tuple[Any, Any]:
            loss_gradient(target, pred, loss_out=losses_out, gradient_out=gradient_out, n_threads=threads)
            np.multiply(gradient_out, scale, out=gradient_out)  # it has no mean; LinearModelLoss does the same
            return losses_out.sum() * scale, gradient_out

        return call

    return Contender("scikit-learn", sklearn.__version__, bind)


_LOADERS: dict[str, Callable[[int], Contender]] = {
    "fastloss": _fastloss,
    "NumPy": _numpy,
    "PyTorch": _torch,
    "JAX": _jax,
    "scikit-learn": _sklearn,
}


def load(name: str, threads: int) -> Contender:
    """One contender, set to this number of threads; ImportError if it is not installed."""
    return _LOADERS[name](threads)


def load_installed(threads: int) -> tuple[list[Contender], list[str]]:
    """The contenders that are installed, and the names of those that are not."""
    found: list[Contender] = []
    missing: list[str] = []
    for name in _LOADERS:
        try:
            found.append(load(name, threads))
        except ImportError:
            missing.append(name)
    return found, missing
