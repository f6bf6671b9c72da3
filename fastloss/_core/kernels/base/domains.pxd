"""Whether the elements of a tile are in their domain."""

from cython cimport floating

from fastloss._core.request.domains cimport (
    NOT_NEGATIVE, PROBABILITY, SIGN, UNIT_INTERVAL, ZERO_OR_ONE, Domain, in_unit_interval, is_not_negative,
    is_probability, is_sign, is_zero_or_one
)


cdef inline bint any_not_allowed(
    bint (*allowed)(floating) noexcept nogil, const floating* x, const double* weight, Py_ssize_t n
) noexcept nogil:
    """Whether an element that counts (its weight is not 0) is not allowed."""
    cdef Py_ssize_t i
    cdef int bad = 0
    if weight == NULL:
        for i in range(n):
            bad |= not allowed(x[i])
    else:
        for i in range(n):
            bad |= (weight[i] != 0) & (not allowed(x[i]))
    return bad


cdef inline bint any_outside_domain(
    Domain domain, const floating* x, const double* weight, Py_ssize_t n
) noexcept nogil:
    """Whether an element that counts is outside the domain. sum_weights checks the domain WEIGHT."""
    if domain == UNIT_INTERVAL:
        return any_not_allowed(in_unit_interval[floating], x, weight, n)
    if domain == PROBABILITY:
        return any_not_allowed(is_probability[floating], x, weight, n)
    if domain == NOT_NEGATIVE:
        return any_not_allowed(is_not_negative[floating], x, weight, n)
    if domain == SIGN:
        return any_not_allowed(is_sign[floating], x, weight, n)
    if domain == ZERO_OR_ONE:
        return any_not_allowed(is_zero_or_one[floating], x, weight, n)
    return False
