"""Sums in a fixed order and in double precision."""

from cython cimport floating

from fastloss._core.kernels.base.vecmath cimport sum_lanes

cdef enum:
    LANES = 32      # partial sums kept side by side, so that a sum vectorises


cdef inline double ordered_sum(const floating* x, Py_ssize_t n) noexcept nogil:
    """The sum of x[:n] in double precision."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += x[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] += x[i + j]
    return sum_lanes(lane)


cdef inline double weighted_sum(const floating* x, const double* weight, Py_ssize_t n) noexcept nogil:
    """The sum of weight * x in double precision, where a weight of 0 gives 0 whatever x is."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += 0 if weight[i + j] == 0 else weight[i + j] * x[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] += 0 if weight[i + j] == 0 else weight[i + j] * x[i + j]
    return sum_lanes(lane)
