"""Operands of any real dtype: how the kernels load and convert them, tile by tile."""

from cython cimport floating
cimport numpy as cnp

cdef enum:
    TILE = 1024     # elements

ctypedef fused number:
    signed char
    unsigned char
    short
    unsigned short
    int
    unsigned int
    long
    unsigned long
    long long
    unsigned long long
    float
    double


cdef inline void copy(const number* source, floating* target, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        target[i] = <floating> source[i]


cdef inline void load(const void* source, int typenum, Py_ssize_t start, floating* target, Py_ssize_t n) noexcept nogil:
    """Convert source[start : start + n], of any real NumPy type, to floating point."""
    if typenum == cnp.NPY_FLOAT:
        copy(<const float*> source + start, target, n)
    elif typenum == cnp.NPY_DOUBLE:
        copy(<const double*> source + start, target, n)
    elif typenum == cnp.NPY_BOOL or typenum == cnp.NPY_UBYTE:
        copy(<const unsigned char*> source + start, target, n)
    elif typenum == cnp.NPY_BYTE:
        copy(<const signed char*> source + start, target, n)
    elif typenum == cnp.NPY_SHORT:
        copy(<const short*> source + start, target, n)
    elif typenum == cnp.NPY_USHORT:
        copy(<const unsigned short*> source + start, target, n)
    elif typenum == cnp.NPY_INT:
        copy(<const int*> source + start, target, n)
    elif typenum == cnp.NPY_UINT:
        copy(<const unsigned int*> source + start, target, n)
    elif typenum == cnp.NPY_LONG:
        copy(<const long*> source + start, target, n)
    elif typenum == cnp.NPY_ULONG:
        copy(<const unsigned long*> source + start, target, n)
    elif typenum == cnp.NPY_LONGLONG:
        copy(<const long long*> source + start, target, n)
    else:
        copy(<const unsigned long long*> source + start, target, n)


cdef struct Operand:
    # Element i of the result meets element (i // inner) % period of the operand.
    const void* data        # NULL for a missing operand
    int typenum
    Py_ssize_t inner        # neighbouring elements of the result that share an element of the operand
    Py_ssize_t period       # elements of the operand


cdef inline Operand operand(cnp.ndarray array, Py_ssize_t inner):
    """An array, of which each element belongs to `inner` elements of the result; or None, for which inner is 1."""
    cdef Operand x
    x.data = NULL
    x.typenum = 0
    x.inner = x.period = 1
    if array is not None:
        x.data = cnp.PyArray_DATA(array)
        x.typenum = cnp.PyArray_TYPE(array)
        x.inner = inner
        x.period = max(1, cnp.PyArray_SIZE(array))
    return x


cdef inline void expand(
    const Operand* x, Py_ssize_t start, floating* target, Py_ssize_t n, floating* scratch
) noexcept nogil:
    """target[k] = the element of x that belongs to element start + k of the result.

    `scratch` holds TILE elements. It is not used if x.inner is 1.
    """
    cdef Py_ssize_t done = 0, row = start // x.inner, skip = start % x.inner, k, rows, stop
    while done < n:
        # The next stretch of x, without wrapping; then each of its elements `inner` times.
        rows = min((skip + n - done + x.inner - 1) // x.inner, x.period - row % x.period)
        if x.inner == 1:
            load(x.data, x.typenum, row % x.period, target + done, rows)
            done += rows
        else:
            load(x.data, x.typenum, row % x.period, scratch, rows)
            for k in range(rows):
                stop = min(n, done + x.inner - skip)
                while done < stop:
                    target[done] = scratch[k]
                    done += 1
                skip = 0
        row += rows


ctypedef fused integer:
    signed char
    unsigned char
    short
    unsigned short
    int
    unsigned int
    long
    unsigned long
    long long
    unsigned long long


cdef inline void copy_labels(
    const integer* source, long long* target, Py_ssize_t n, long long invalid
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        target[i] = <long long> source[i]
        target[i] = invalid if source[i] > 0 and target[i] < 0 else target[i]  # an unsigned number of 2^63 or more


cdef inline void load_labels(
    const void* source, int typenum, Py_ssize_t start, long long* target, Py_ssize_t n, long long invalid
) noexcept nogil:
    """Class indices source[start : start + n] of any integer type. A number of 2^63 or more becomes `invalid`."""
    if typenum == cnp.NPY_LONG:
        copy_labels(<const long*> source + start, target, n, invalid)
    elif typenum == cnp.NPY_INT:
        copy_labels(<const int*> source + start, target, n, invalid)
    elif typenum == cnp.NPY_BYTE:
        copy_labels(<const signed char*> source + start, target, n, invalid)
    elif typenum == cnp.NPY_UBYTE:
        copy_labels(<const unsigned char*> source + start, target, n, invalid)
    elif typenum == cnp.NPY_SHORT:
        copy_labels(<const short*> source + start, target, n, invalid)
    elif typenum == cnp.NPY_USHORT:
        copy_labels(<const unsigned short*> source + start, target, n, invalid)
    elif typenum == cnp.NPY_UINT:
        copy_labels(<const unsigned int*> source + start, target, n, invalid)
    elif typenum == cnp.NPY_ULONG:
        copy_labels(<const unsigned long*> source + start, target, n, invalid)
    elif typenum == cnp.NPY_LONGLONG:
        copy_labels(<const long long*> source + start, target, n, invalid)
    else:
        copy_labels(<const unsigned long long*> source + start, target, n, invalid)
