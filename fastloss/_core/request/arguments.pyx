"""The fast checks of arguments: compiled, because a call on a small array notices each microsecond.

An argument that a kernel can read as it is passes here. Any other goes on to checks.py, which converts it or raises
the error.
"""

cimport numpy as cnp
from libc.math cimport INFINITY, isfinite

import numpy as np

from fastloss._core.request import checks

cnp.import_array()


cdef int BFLOAT16 = -1  # NumPy's number of this type, which may differ between processes; -1 until an input has it


cdef bint is_half(cnp.ndarray x):
    """Whether the elements are float16 or bfloat16."""
    global BFLOAT16
    cdef int typenum = cnp.PyArray_TYPE(x)
    if cnp.PyArray_ISUSERDEF(x) and typenum != BFLOAT16 and checks.is_bfloat16((<object> x).dtype):
        BFLOAT16 = typenum
    return typenum == cnp.NPY_FLOAT16 or typenum == BFLOAT16


cdef floating(x, str name):
    """An input that fixes the dtype of the result: a C-contiguous array of half precision, float32 or float64."""
    if cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(x):
        if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT or cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE or is_half(x):
            return x
    return checks.floating(x, name)


cdef real(x, str name):
    """An input of any real dtype that the kernels load: bool, integers and floats to 64 bits. C-contiguous."""
    if cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(x):
        if 0 <= cnp.PyArray_TYPE(x) <= cnp.NPY_DOUBLE or is_half(x):
            return x
    return checks.real(x, name)


cdef floating_as(x, dtype):
    """A real array as a C-contiguous array of one dtype."""
    if cnp.PyArray_ISCARRAY_RO(x) and x.dtype == dtype:
        return x
    return checks.contiguous(x, dtype)


cdef cnp.ndarray leading_weights(x, tuple shape):
    """Sample weights, whose shape is the leading axes of the unreduced loss, or 1 for a whole axis."""
    cdef cnp.ndarray weight = real(x, "sample_weight")
    cdef int ndim = cnp.PyArray_NDIM(weight), k
    cdef bint fits = ndim <= len(shape) and (ndim > 0 or len(shape) == 0)
    for k in range(ndim if fits else 0):
        fits = fits and (cnp.PyArray_DIM(weight, k) == 1 or cnp.PyArray_DIM(weight, k) == <Py_ssize_t> shape[k])
    if not fits:
        checks.raise_not_leading(weight, shape)
    return weight


def number(
    x, str name, double low=-INFINITY, double high=INFINITY, *, bint above=False, bint below=False, bint infinite=False
):
    """Return x if it is a finite number in [low, high], or inf if `infinite`. `above` and `below` exclude an end."""
    cdef double value
    if type(x) is float:
        value = x
        if (
            (infinite or isfinite(value)) and low <= value <= high
            and not (above and value == low) and not (below and value == high)
        ):
            return x
    return checks.number(x, name, low, high, above=above, below=below, infinite=infinite)


cdef tuple class_shape(cnp.ndarray pred, axis, str no_axis_message="pred must have a class axis"):
    """The class axis counted from the front, the batch shape, and pred's shape as (outer, classes, inner).

    `no_axis_message` begins the error message for an array without any axis.
    """
    cdef int ndim = cnp.PyArray_NDIM(pred), index
    index = ndim - 1 if type(axis) is int and axis == -1 and ndim > 0 else checks.axis(axis, ndim, no_axis_message)
    shape = (<object> pred).shape
    return index, shape[:index] + shape[index + 1:], outer_length_inner(pred, index)


cdef tuple outer_length_inner(cnp.ndarray x, int axis):
    """The shape of x as (outer, length of the axis, inner)."""
    cdef Py_ssize_t outer = 1, inner = 1
    cdef int k
    for k in range(axis):
        outer *= cnp.PyArray_DIM(x, k)
    for k in range(axis + 1, cnp.PyArray_NDIM(x)):
        inner *= cnp.PyArray_DIM(x, k)
    return outer, cnp.PyArray_DIM(x, axis), inner


cdef tuple class_target(
    target, cnp.ndarray pred, tuple batch, ignore_index, bint takes_probabilities, bint any_axis=True
):
    """The target, and ignore_index. Class indices have the shape of the batch, probabilities that of pred.

    `any_axis` says whether the loss has a parameter for the class axis.
    """
    cdef cnp.ndarray array = real(target, "target")
    cdef bint has_labels = (<object> array).shape == batch
    # np.asarray([]) has dtype float64, so an empty list cannot show that it holds class indices.
    if has_labels and cnp.PyArray_SIZE(array) == 0:
        array = np.zeros(batch, np.int64)
    has_labels = has_labels and cnp.PyArray_ISINTEGER(array)
    if not has_labels and not (takes_probabilities and cnp.PyArray_SAMESHAPE(array, pred)):
        checks.raise_not_for_classes(array, target, pred, batch, takes_probabilities, any_axis)
    ignore_index = checks.integer(ignore_index, "ignore_index")
    if ignore_index >= 0 and not has_labels:
        raise ValueError("ignore_index goes with class indices, and target holds probabilities")
    return array, ignore_index


cdef cnp.ndarray empty_like(cnp.ndarray x):
    return cnp.PyArray_EMPTY(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)


cdef cnp.ndarray like_gradient(cnp.ndarray x, dtype):
    """Return an array with the shape and the dtype of the gradient with respect to x. Its values have no meaning."""
    if (<object> x).dtype == dtype:
        return x
    return np.broadcast_to(dtype.type(0), (<object> x).shape)


cdef Overlap overlap(cnp.ndarray a, cnp.ndarray b):
    """Whether two contiguous arrays share no memory, the same memory, or part of it."""
    cdef size_t a_start = <size_t> cnp.PyArray_DATA(a), a_stop = a_start + cnp.PyArray_NBYTES(a)
    cdef size_t b_start = <size_t> cnp.PyArray_DATA(b), b_stop = b_start + cnp.PyArray_NBYTES(b)
    if a_stop <= b_start or b_stop <= a_start:
        return APART
    return SAME if a_start == b_start and a_stop == b_stop else PARTLY


cdef cnp.ndarray output(x, str name, cnp.ndarray like):
    """An array to write results into, checked."""
    if (
        cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY(x) and cnp.PyArray_SAMESHAPE(x, like)
        and cnp.PyArray_TYPE(x) == cnp.PyArray_TYPE(like)
    ):
        return x
    return checks.output(x, name, like)
