"""A test interface: the functions of vecmath.h over arrays. No loss calls it."""

cimport numpy as cnp
from cython cimport floating

cnp.import_array()

FUNCTIONS = (
    "exp",
    "exp_nonpositive",
    "expm1",
    "log",
    "log1p",
    "log1p_01",
    "tanh",
    "sigmoid",
    "softplus",
    "log_sigmoid",
    "x_minus_log1p",
    "lgamma1p",
    "log1p_beside_gap",
)
FUNCTIONS_OF_TWO = (
    "log_near_one",
    "exp_of_product",
    "log_cosh",
    "tanh_from",
    "pow",
    "expm1_minus_x",
    "expm1_from",
    "exp_difference",
    "exp_beside_fall",
    "fall",
    "gap_near_one",
    "times_exp",
)


# One loop a function, since a call through a pointer would not vectorise.
cdef void apply(int function, const floating *x, const floating *y, floating *out, cnp.npy_intp n) noexcept nogil:
    cdef cnp.npy_intp i
    cdef floating beside
    if function == 0:
        for i in range(n):
            out[i] = exp(x[i])
    elif function == 1:
        for i in range(n):
            out[i] = exp_nonpositive(x[i])
    elif function == 2:
        for i in range(n):
            out[i] = expm1(x[i])
    elif function == 3:
        for i in range(n):
            out[i] = log(x[i])
    elif function == 4:
        for i in range(n):
            out[i] = log1p(x[i])
    elif function == 5:
        for i in range(n):
            out[i] = log1p_01(x[i])
    elif function == 6:
        for i in range(n):
            out[i] = tanh(x[i])
    elif function == 7:
        for i in range(n):
            out[i] = sigmoid(x[i])
    elif function == 8:
        for i in range(n):
            out[i] = softplus(x[i])
    elif function == 9:
        for i in range(n):
            out[i] = log_sigmoid(x[i])
    elif function == 10:
        for i in range(n):
            out[i] = x_minus_log1p(x[i])
    elif function == 11:
        for i in range(n):
            out[i] = lgamma1p(x[i])
    elif function == 12:
        for i in range(n):
            out[i] = log1p_and_gap(x[i], &beside)
    elif function == 13:
        for i in range(n):
            out[i] = log_near_one(x[i], y[i])
    elif function == 14:
        for i in range(n):
            out[i] = exp_of_product(x[i], y[i])
    elif function == 15:
        for i in range(n):
            out[i] = log_cosh(x[i], y[i])
    elif function == 16:
        for i in range(n):
            out[i] = tanh_from(x[i], y[i])
    elif function == 17:
        for i in range(n):
            out[i] = pow(x[i], y[i])
    elif function == 18:
        for i in range(n):
            out[i] = expm1_minus_x(x[i], y[i])
    elif function == 19:
        for i in range(n):
            out[i] = expm1_from(x[i], y[i])
    elif function == 20:
        for i in range(n):
            out[i] = exp_difference(x[i], y[i])
    elif function == 21:
        for i in range(n):
            out[i] = exp_difference_and_fall(x[i], y[i], &beside)
    elif function == 22:
        for i in range(n):
            exp_difference_and_fall(x[i], y[i], &out[i])
    elif function == 23:
        for i in range(n):
            out[i] = gap_near_one(x[i], y[i])
    elif function == 24:
        for i in range(n):
            out[i] = times_exp(x[i], y[i])


def evaluate(name, cnp.ndarray x not None, cnp.ndarray out not None, cnp.ndarray y=None):
    """Write ``name(x)`` or ``name(x, y)`` into ``out``: C-contiguous 1-d arrays of one dtype, float32 or float64, and
    one length.

    ``out`` may be ``x``. vecmath.pxd gives the domains.
    """
    if name not in FUNCTIONS + FUNCTIONS_OF_TWO:
        raise KeyError(f"unknown function {name!r}: expected one of {', '.join(FUNCTIONS + FUNCTIONS_OF_TWO)}")
    if (y is None) != (name in FUNCTIONS):
        raise TypeError(f"{name} is a function of {'x' if name in FUNCTIONS else 'x and y'}")
    cdef int function = (FUNCTIONS + FUNCTIONS_OF_TWO).index(name)
    cdef int dtype = cnp.PyArray_TYPE(x)
    cdef cnp.npy_intp n = cnp.PyArray_SIZE(x)
    if dtype != cnp.NPY_FLOAT32 and dtype != cnp.NPY_FLOAT64:
        raise TypeError(f"x must be float32 or float64, not {x.dtype}")
    if y is None:
        y = x
    for argument, array in (("y", y), ("out", out)):
        if cnp.PyArray_TYPE(array) != dtype:
            raise TypeError(f"{argument} must have the dtype of x, {x.dtype}, not {array.dtype}")
    for argument, array in (("x", x), ("y", y)):
        if cnp.PyArray_NDIM(array) != 1 or not cnp.PyArray_ISCARRAY_RO(array):
            raise ValueError(f"{argument} must be 1-d, C-contiguous, aligned and of native byte order")
    if cnp.PyArray_NDIM(out) != 1 or not cnp.PyArray_ISCARRAY(out):
        raise ValueError("out must be 1-d, C-contiguous, aligned, of native byte order and writable")
    for argument, array in (("y", y), ("out", out)):
        if cnp.PyArray_SIZE(array) != n:
            raise ValueError(f"{argument} must have the length of x, {n}, not {array.size}")
    cdef void *first = cnp.PyArray_DATA(x)
    cdef void *second = cnp.PyArray_DATA(y)
    cdef void *target = cnp.PyArray_DATA(out)
    with nogil:
        if dtype == cnp.NPY_FLOAT32:
            apply(function, <const float *> first, <const float *> second, <float *> target, n)
        else:
            apply(function, <const double *> first, <const double *> second, <double *> target, n)
