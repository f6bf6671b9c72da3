"""The fast checks of arguments: see arguments.pyx."""

cimport numpy as cnp

cdef enum Overlap:
    APART       # no byte in common
    SAME        # exactly the same bytes
    PARTLY

cdef bint is_half(cnp.ndarray x)
cdef floating(x, str name)
cdef real(x, str name)
cdef floating_as(x, dtype)
cdef cnp.ndarray leading_weights(x, tuple shape)
cdef tuple class_shape(cnp.ndarray pred, axis, str no_axis_message=*)
cdef tuple outer_length_inner(cnp.ndarray x, int axis)
cdef tuple class_target(target, cnp.ndarray pred, tuple batch, ignore_index, bint takes_probabilities, bint any_axis=*)
cdef cnp.ndarray empty_like(cnp.ndarray x)
cdef cnp.ndarray like_gradient(cnp.ndarray x, dtype)
cdef Overlap overlap(cnp.ndarray a, cnp.ndarray b)
cdef cnp.ndarray output(x, str name, cnp.ndarray like)
