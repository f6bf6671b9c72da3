"""The losses of a batch against a batch: what happens to one tile of similarities between two matrix products.

A tile holds s_ij, the scalar products of the vectors i0 + i with the vectors j0 + j. Samples are sorted by their
labels, so the positives of a vector i are a range, start[i] <= j < stop[i]. A row of a tile has up to three segments,
negatives, positives, negatives, and each of them is a plain loop. If a batch meets itself (`alike`), a sample is not
its own positive.

All of this runs on the calling thread. The threads of BLAS spin while they wait for the next product, and a second team
would have to wait for their cores. With two threads in these kernels, calls took 0.93 to 1.09 of the time at best, and
longer in the median ((1024, 128) and (4096, 256), float32, two cores).
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_MAX, DBL_MIN, FLT_MAX, FLT_MIN
from libc.math cimport INFINITY, frexp, ldexp, sqrt
from libc.stdint cimport int32_t, int64_t

import numpy as np

from fastloss._core.kernels.base.memory cimport at
from fastloss._core.kernels.base.sums cimport LANES, ordered_sum
from fastloss._core.kernels.base.vecmath cimport (
    at_least, at_most, copysign, exp_nonpositive, fabs, log, max_lanes, sigmoid, softplus, sum_lanes
)

cnp.import_array()

cdef enum:
    # Columns are summed in blocks that fit the L1 cache: ROWS rows of exponentials in the dtype of the tile, and the
    # sums in double.
    ROWS = 32
    COLUMNS = 256
    SEGMENTS = 3    # of a row. Segment q holds pairs of kind q % 2: 0 for negatives, 1 for positives.
    POSITIVE = 1

cdef struct Sums:       # of softmax: the arrays of Totals, from the first row or column of the tile on
    void* top           # (2, n): the largest exponent of the negatives, and of the positives
    double* sum_exp     # (3, n): the sums of exp(k s - top) over each kind, and of k s over the positives
    void* slope         # (2, FIELDS, n): coefficients of the slopes, for each kind
    Py_ssize_t n        # the length of a row of these

include "tile.pxi"
include "vectors.pxi"
include "softmax.pxi"
include "sigmoid.pxi"
include "mining.pxi"


def ranges(cnp.ndarray labels):
    """For each of the sorted labels, where those equal to it begin and end."""
    cdef Py_ssize_t n = cnp.PyArray_DIM(labels, 0), i, first = 0
    cdef cnp.ndarray start = np.empty(n, np.int64), stop = np.empty(n, np.int64)
    cdef cnp.ndarray new = labels[1:] != labels[:max(n - 1, 0)]
    cdef int64_t* a = <int64_t*> cnp.PyArray_DATA(start)
    cdef int64_t* b = <int64_t*> cnp.PyArray_DATA(stop)
    cdef cnp.npy_bool* is_new = <cnp.npy_bool*> cnp.PyArray_DATA(new)
    for i in range(n):
        if i > 0 and is_new[i - 1]:
            first = i
        a[i] = first
    first = n
    for i in range(n - 1, -1, -1):
        b[i] = first
        if i > 0 and is_new[i - 1]:
            first = i
    return start, stop
