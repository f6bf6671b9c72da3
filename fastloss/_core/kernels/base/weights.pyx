"""Sample weights: their sum, before any driver runs. weights.pxd applies them to results."""

cimport numpy as cnp
from libc.math cimport NAN

from fastloss._core.kernels.base.chunks cimport Partial, run_job
from fastloss._core.kernels.base.operands cimport TILE, load, type_of
from fastloss._core.kernels.base.sums cimport ordered_sum
from fastloss._core.request.domains cimport is_weight

cnp.import_array()

cdef struct Weights:
    const void* data
    int typenum


cdef void sum_chunk(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    cdef const Weights* weights = <const Weights*> job
    cdef double[TILE] tile
    cdef Py_ssize_t i = start, k, n
    while i < stop:
        n = min(TILE, stop - i)
        load(weights.data, weights.typenum, i, tile, n)
        for k in range(n):
            tile[k] = tile[k] if is_weight(tile[k]) else NAN
        sums.loss += ordered_sum(tile, n)  # this field holds the sum of the weights here
        i += n


def sum_weights(cnp.ndarray weight, int threads):
    """The sum of a C-contiguous array of weights; NaN if one of them is negative or not finite."""
    cdef Weights weights = Weights(cnp.PyArray_DATA(weight), type_of(weight))
    return run_job(sum_chunk, &weights, cnp.PyArray_SIZE(weight), TILE, threads).loss
