"""Regression losses of a prediction p and a target t."""

from cython cimport floating
from fastloss.kernels.outputs cimport CURVATURE, SLOPE, VALUE
from fastloss.kernels.vecmath cimport copysign, fabs


cdef inline void mse(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating r = p - t
    out[VALUE] = r * r
    out[SLOPE] = 2 * r
    out[CURVATURE] = 2


cdef inline void mae(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating r = p - t
    out[VALUE] = fabs(r)
    out[SLOPE] = 1 if r > 0 else (-1 if r < 0 else r)  # r itself: 0 at the kink, NaN stays NaN
    out[CURVATURE] = 0


cdef inline void huber(floating p, floating t, floating u, floating e, const floating* c, floating* out) noexcept nogil:
    cdef floating delta = c[0], r = p - t, a = fabs(r)
    cdef floating k = delta if a > delta else a
    out[VALUE] = k * (a - <floating> 0.5 * k)
    out[SLOPE] = copysign(k, r)
    out[CURVATURE] = 0 if a > delta else 1
