"""Whether two arrays lie in the same memory. Compiled once, for the baseline CPU."""

cimport numpy as cnp

cnp.import_array()

APART, SAME, PARTLY = range(3)


def overlap(cnp.ndarray a, cnp.ndarray b):
    """How the bytes of two contiguous arrays lie: APART, SAME (exactly the same bytes) or PARTLY."""
    cdef size_t a_start = <size_t> cnp.PyArray_DATA(a), a_stop = a_start + cnp.PyArray_NBYTES(a)
    cdef size_t b_start = <size_t> cnp.PyArray_DATA(b), b_stop = b_start + cnp.PyArray_NBYTES(b)
    if a_stop <= b_start or b_stop <= a_start:
        return APART
    return SAME if a_start == b_start and a_stop == b_stop else PARTLY
