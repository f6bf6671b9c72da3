"""Sample weights: `weigh` applies them to results. weights.pyx has their sum."""

from cython cimport floating
from libc.float cimport DBL_MAX

from fastloss._core.kernels.base.vecmath cimport at_most


cdef inline void weigh(floating* x, const double* weight, double scale, Py_ssize_t n) noexcept nogil:
    """x *= scale * weight, where a weight of 0 gives 0 whatever x is. NULL is skipped."""
    cdef Py_ssize_t i
    for i in range(n if x != NULL else 0):
        x[i] = 0 if weight[i] == 0 else <floating> (x[i] * at_most(scale * weight[i], <double> DBL_MAX))
