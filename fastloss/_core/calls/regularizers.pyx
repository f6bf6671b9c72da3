"""Regularisers that are not losses: from the arguments to the kernel and back."""

cimport numpy as cnp
from libc.math cimport INFINITY

import numpy as np

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments import number
from fastloss._core.request.arguments cimport (
    PARTLY, empty_like, floating, is_half, outer_length_inner, output, overlap
)

cnp.import_array()


cdef cnp.ndarray result_for(out, str name, cnp.ndarray x):
    """The array for the result of a function of one array x: a new array, or `out`, which may be x itself."""
    if out is None:
        return empty_like(x)
    y = output(out, "out", x)
    if overlap(y, x) == PARTLY:
        raise ValueError(f"out overlaps {name}")
    return y


cdef tuple in_float(cnp.ndarray x, cnp.ndarray y):
    """The arrays for a kernel that reads x and writes y: a float32 copy stands for both if x is of half precision."""
    if is_half(x):
        x = y = x.astype(np.float32)
    return x, y


cdef finish(cnp.ndarray y, cnp.ndarray result):
    """Round a result in float32 to y, if a copy stood for y."""
    if result is not y:
        with np.errstate(all="ignore"):
            y[...] = result
    return y


def max_norm(w, limit, axis, out):
    """Scale down the vectors along `axis` whose norm exceeds the limit."""
    cdef cnp.ndarray x = floating(w, "w")
    limit = number(limit, "limit", 0, infinite=True)
    shape = outer_length_inner(x, checks.axis(axis, cnp.PyArray_NDIM(x), "w must have an axis"))
    y = result_for(out, "w", x)
    if limit == INFINITY:
        y[...] = x
        return y
    x, result = in_float(x, y)
    kernels.max_norm.max_norm(x, result, shape, limit, threads_for(cnp.PyArray_SIZE(x)))
    return finish(y, result)


def dropout(x, rate, seed, out):
    """Inverted dropout: the result, and the mask of the elements that are kept."""
    cdef cnp.ndarray a = floating(x, "x")
    rate = number(rate, "rate", 0, 1)
    seed = checks.seed(seed)
    y = result_for(out, "x", a)
    mask = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a), cnp.NPY_BOOL, 0)
    a, result = in_float(a, y)
    kernels.dropout.dropout(a, result, mask, seed, round(rate * 2.0**32), 1 - rate, threads_for(cnp.PyArray_SIZE(a)))
    return finish(y, result), mask
