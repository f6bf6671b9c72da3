"""The functions of vecmath.h over arrays, for tests and benchmarks."""

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
)


# One loop a function, since a call through a pointer would not vectorise.
cdef void apply(int function, const floating *x, floating *out, cnp.npy_intp n) noexcept nogil:
    cdef cnp.npy_intp i
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


def evaluate(name, cnp.ndarray x not None, cnp.ndarray out not None):
    """Write ``name(x)`` into ``out``: C-contiguous 1-d arrays of one dtype, float32 or float64, and one length.

    ``out`` may be ``x``. `exp_nonpositive` is defined for x <= 0, `log1p_01` for x in [0, 1].
    """
    if name not in FUNCTIONS:
        raise KeyError(f"unknown function {name!r}: expected one of {', '.join(FUNCTIONS)}")
    cdef int function = FUNCTIONS.index(name)
    cdef int dtype = cnp.PyArray_TYPE(x)
    if dtype != cnp.NPY_FLOAT32 and dtype != cnp.NPY_FLOAT64:
        raise TypeError(f"x must be float32 or float64, not {x.dtype}")
    if cnp.PyArray_TYPE(out) != dtype:
        raise TypeError(f"out must have the dtype of x, {x.dtype}, not {out.dtype}")
    if cnp.PyArray_NDIM(x) != 1 or not cnp.PyArray_ISCARRAY_RO(x):
        raise ValueError("x must be 1-d, C-contiguous, aligned and of native byte order")
    if cnp.PyArray_NDIM(out) != 1 or not cnp.PyArray_ISCARRAY(out):
        raise ValueError("out must be 1-d, C-contiguous, aligned, of native byte order and writable")
    cdef cnp.npy_intp n = cnp.PyArray_SIZE(x)
    if cnp.PyArray_SIZE(out) != n:
        raise ValueError(f"out must have the length of x, {n}, not {cnp.PyArray_SIZE(out)}")
    cdef void *source = cnp.PyArray_DATA(x)
    cdef void *target = cnp.PyArray_DATA(out)
    with nogil:
        if dtype == cnp.NPY_FLOAT32:
            apply(function, <const float *> source, <float *> target, n)
        else:
            apply(function, <const double *> source, <double *> target, n)
