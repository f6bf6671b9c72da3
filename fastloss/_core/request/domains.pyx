"""The messages of the domains, and the search for elements outside them."""

cimport numpy as cnp

import numpy as np

cnp.import_array()

#: What a message says is expected of an element.
EXPECTED = {
    Domain.UNIT_INTERVAL: "in [0, 1]",
    Domain.PROBABILITY: "in [0, 1]",
    Domain.NOT_NEGATIVE: ">= 0",
    Domain.SIGN: "a label -1 or +1 (of 0/1 labels y, make np.where(y, 1, -1))",
    Domain.ZERO_OR_ONE: "0 or 1",
    Domain.WEIGHT: "a finite weight >= 0",
}


cdef bint allowed(Domain domain, double x) noexcept:
    if domain == UNIT_INTERVAL:
        return in_unit_interval(x)
    if domain == PROBABILITY:
        return is_probability(x)
    if domain == NOT_NEGATIVE:
        return is_not_negative(x)
    if domain == SIGN:
        return is_sign(x)
    if domain == ZERO_OR_ONE:
        return is_zero_or_one(x)
    return domain != WEIGHT or is_weight(x)


def outside(x, Domain domain):
    """Where a real array is outside a domain, as an array of bool."""
    cdef cnp.ndarray elements = np.ascontiguousarray(x, np.float64), result = np.empty(np.shape(x), np.bool_)
    cdef const double* element = <const double*> cnp.PyArray_DATA(elements)
    cdef cnp.npy_bool* is_outside = <cnp.npy_bool*> cnp.PyArray_DATA(result)
    cdef Py_ssize_t i
    for i in range(cnp.PyArray_SIZE(result)):
        is_outside[i] = not allowed(domain, element[i])
    return result
