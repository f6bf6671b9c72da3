"""Regularisers that are not losses: from the arguments to the kernel and back."""

cimport numpy as cnp
from libc.math cimport INFINITY

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments import number
from fastloss._core.request.arguments cimport PARTLY, outer_length_inner, empty_like, floating, output, overlap

cnp.import_array()


cdef cnp.ndarray result_for(out, str name, cnp.ndarray x):
    """The array for the result of a function of one array x: a new array, or `out`, which may be x itself."""
    if out is None:
        return empty_like(x)
    y = output(out, "out", x)
    if overlap(y, x) == PARTLY:
        raise ValueError(f"out overlaps {name}")
    return y


def max_norm(w, limit, axis, out):
    """Scale down the vectors along `axis` whose norm exceeds the limit."""
    cdef cnp.ndarray x = floating(w, "w")
    limit = number(limit, "limit", 0, infinite=True)
    shape = outer_length_inner(x, checks.axis(axis, cnp.PyArray_NDIM(x), "w must have an axis"))
    y = result_for(out, "w", x)
    if limit == INFINITY:
        y[...] = x
    else:
        kernels.max_norm.max_norm(x, y, shape, limit, threads_for(cnp.PyArray_SIZE(x)))
    return y


def dropout(x, rate, seed, out):
    """Inverted dropout: the result, and the mask of the elements that are kept."""
    cdef cnp.ndarray a = floating(x, "x")
    rate = number(rate, "rate", 0, 1)
    seed = checks.seed(seed)
    y = result_for(out, "x", a)
    mask = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a), cnp.NPY_BOOL, 0)
    kernels.dropout.dropout(a, y, mask, seed, round(rate * 2.0**32), 1 - rate, threads_for(cnp.PyArray_SIZE(a)))
    return y, mask
