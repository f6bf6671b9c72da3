"""numba: a few losses as plain loops with fastmath, in parallel from a size on at which that is faster."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numba
import numpy as np
from numba import njit, prange

from ..case import Case
from ..shared_types import Arrays, Call

VERSION = numba.__version__
PARALLEL = 10_000  # elements; below, threads take longer to start than to work

# The math of one element: its loss and slope. `one` has the dtype of p. A literal would turn float32 into float64.


def _mse(p: Any, t: Any, one: Any) -> Any:
    r = p - t
    return r * r, r + r


def _huber(p: Any, t: Any, one: Any) -> Any:
    r = p - t
    slope = min(max(r, -one), one)
    return slope * (r - slope / (one + one)), slope


def _log_cosh(p: Any, t: Any, one: Any) -> Any:
    r = p - t
    size = abs(r)
    return size + np.log1p(np.exp(-(size + size))) - np.log(one + one), np.tanh(r)


def _poisson_nll(p: Any, t: Any, one: Any) -> Any:
    mean = np.exp(p)
    return mean - t * p, mean - t


def _binary_cross_entropy_with_logits(z: Any, t: Any, one: Any) -> Any:
    e = np.exp(-abs(z))
    return max(z, one - one) - z * t + np.log1p(e), (one if z > 0 else e) / (one + e) - t


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "mse": _mse,
    "huber": _huber,
    "log_cosh": _log_cosh,
    "poisson_nll": _poisson_nll,
    "binary_cross_entropy_with_logits": _binary_cross_entropy_with_logits,
}


@cache
def _elementwise(loss: str, parallel: bool) -> Callable[..., Any]:
    function = njit(ELEMENTWISE[loss], inline="always", fastmath=True)

    @njit(parallel=parallel, fastmath=True)
    def value_and_grad(p: Any, t: Any, grad: Any) -> Any:
        one = p.dtype.type(1)
        scale = p.dtype.type(1 / p.size)
        total = 0.0
        for i in prange(p.size):
            value, slope = function(p[i], t[i], one)
            total += value
            grad[i] = slope * scale
        return total / p.size

    return value_and_grad


@cache
def _cross_entropy(parallel: bool) -> Callable[..., Any]:
    @njit(parallel=parallel, fastmath=True)
    def value_and_grad(z: Any, t: Any, grad: Any) -> Any:
        n, classes = z.shape
        scale = z.dtype.type(1 / n)
        total = 0.0
        for i in prange(n):
            highest = z[i, 0]
            for j in range(1, classes):
                highest = max(highest, z[i, j])
            norm = z.dtype.type(0)
            for j in range(classes):
                grad[i, j] = np.exp(z[i, j] - highest)
                norm += grad[i, j]
            total += np.log(norm) + highest - z[i, t[i]]
            factor = scale / norm
            for j in range(classes):
                grad[i, j] *= factor
            grad[i, t[i]] -= scale
        return total / n

    return value_and_grad


def bind(case: Case, inputs: Arrays, threads: int) -> Call | None:
    parallel = case.size >= PARALLEL
    if case.loss in ELEMENTWISE:
        function = _elementwise(case.loss, parallel)
    elif case.loss == "cross_entropy" and len(case.shape) == 2:
        function = _cross_entropy(parallel)
    else:
        return None
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    return partial(_call, function, inputs, case.outputs(inputs))


def _call(function: Callable[..., Any], inputs: Arrays, grad: Any) -> tuple[Any, Any]:
    return function(*inputs, grad), grad
