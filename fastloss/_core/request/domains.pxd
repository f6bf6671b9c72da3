"""What an element of an input may be: one name, one predicate and one message for each domain."""

from cython cimport floating
from libc.math cimport INFINITY

cdef extern from * nogil:
    float fabsf "__builtin_fabsf" (float x) noexcept
    double fabs "__builtin_fabs" (double x) noexcept

cpdef enum Domain:
    ANY
    UNIT_INTERVAL
    PROBABILITY
    NOT_NEGATIVE
    SIGN
    ZERO_OR_ONE
    WEIGHT


cdef inline bint in_unit_interval(floating x) noexcept nogil: return (x >= 0) & (x <= 1)
cdef inline bint is_probability(floating x) noexcept nogil: return not ((x < 0) | (x > 1))  # NaN passes
cdef inline bint is_not_negative(floating x) noexcept nogil: return not (x < 0)             # NaN passes
cdef inline bint is_sign(floating x) noexcept nogil:
    return fabsf(x) == 1 if floating is float else fabs(x) == 1
cdef inline bint is_zero_or_one(floating x) noexcept nogil: return (x == 0) | (x == 1)
cdef inline bint is_weight(floating x) noexcept nogil: return (x >= 0) & (x < INFINITY)
