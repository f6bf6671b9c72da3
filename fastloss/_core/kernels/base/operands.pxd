"""Arrays of any real dtype: how the kernels load and convert operands, tile by tile, and store results."""

from cpython.pyport cimport PY_SSIZE_T_MAX
from cython cimport floating
cimport numpy as cnp
from libc.string cimport memcpy

from fastloss._core.kernels.base.memory cimport prefetch_all, stream
from fastloss._core.kernels.base.sums cimport LANES

cdef extern from "half.h" nogil:
    float from_float16 "vm_from_float16" (unsigned short half) noexcept
    float from_bfloat16 "vm_from_bfloat16" (unsigned short half) noexcept
    unsigned short to_float16 "vm_to_float16" (float x) noexcept
    unsigned short to_bfloat16 "vm_to_bfloat16" (float x) noexcept
    void load_float16 "vm_load_float16" (const unsigned short* half, float* x, Py_ssize_t n) noexcept
    void store_float16 "vm_store_float16" (const float* x, unsigned short* half, Py_ssize_t n) noexcept

cdef enum:
    TILE = 1024         # elements
    MAX_OUTER = 32      # of an operand. Each stands for four elements of the result or more, and these are below 2^63.
    BFLOAT16 = 256      # stands for the type bfloat16. NumPy's own number of it may differ between processes.


cdef inline int type_of(cnp.ndarray array) noexcept:
    """NumPy's number of the type of an array, or BFLOAT16, the only type of another package that passes the checks."""
    return BFLOAT16 if cnp.PyArray_ISUSERDEF(array) else cnp.PyArray_TYPE(array)


cdef inline bint is_half(int typenum) noexcept nogil:
    """Whether numbers of this type are computed in float."""
    return typenum == cnp.NPY_FLOAT16 or typenum == BFLOAT16


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


cdef inline void copy_halves(
    float (*convert)(unsigned short) noexcept nogil, const void* source, Py_ssize_t start, floating* target,
    Py_ssize_t n
) noexcept nogil:
    cdef const unsigned short* half = <const unsigned short*> source + start
    cdef Py_ssize_t i
    for i in range(n):
        target[i] = convert(half[i])


cdef inline void load(const void* source, int typenum, Py_ssize_t start, floating* target, Py_ssize_t n) noexcept nogil:
    """Convert source[start : start + n], of any real NumPy type, to floating point."""
    if typenum == cnp.NPY_FLOAT:
        copy(<const float*> source + start, target, n)
    elif typenum == cnp.NPY_DOUBLE:
        copy(<const double*> source + start, target, n)
    elif typenum == cnp.NPY_FLOAT16:
        if floating is float:
            load_float16(<const unsigned short*> source + start, target, n)
        else:
            copy_halves(from_float16, source, start, target, n)
    elif typenum == BFLOAT16:
        copy_halves(from_bfloat16, source, start, target, n)
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
    # Element i of the result meets element (i // inner) % period of the operand, if there are no outer axes. Each of
    # these adds (i // every) % length, times the elements of the operand that the axes before it span.
    const void* data        # NULL for a missing operand
    int typenum
    Py_ssize_t inner        # neighbouring elements of the result that share an element of the operand
    Py_ssize_t period       # neighbouring elements of the operand until the result meets the first of them again
    int n_outer
    Py_ssize_t[MAX_OUTER] every, length


cdef inline void prefetch_halves(const Operand* x, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """Prefetch n numbers, from `start` on, if they are of half precision.

    The loops read copies of such numbers. Otherwise memory would be idle during the arithmetic.
    """
    if is_half(x.typenum):
        prefetch_all(<const float*> (<const unsigned short*> x.data + start), n // 2)


cdef inline void take_whole(Operand* x, cnp.ndarray array) noexcept:
    """Set x to an array in the shape of the result, or to None."""
    x.data = NULL
    x.typenum = 0
    x.inner = x.period = 1
    x.n_outer = 0
    if array is not None:
        x.data = cnp.PyArray_DATA(array)
        x.typenum = type_of(array)
        x.period = max(1, cnp.PyArray_SIZE(array))


cdef inline void take_leading(Operand* x, cnp.ndarray array, tuple shape):
    """Set x to an array, or to None. `shape` is that of the result.

    The axes of the array are the leading ones of the result. An axis of length 1 stands for the whole axis, and so does
    each axis that the array lacks.
    """
    cdef Py_ssize_t every = 1, length = 1, n
    cdef int k = len(shape), pairs = 0
    take_whole(x, array)
    if array is None:
        return
    # From the last axis to the first. Axes that the array has or lacks side by side are one.
    while k > 0:
        k -= 1
        n = shape[k]
        if n > 1 and k < cnp.PyArray_NDIM(array) and cnp.PyArray_DIM(array, k) > 1:
            length *= n
        elif n > 1:
            if length > 1:
                add_axis(x, pairs, every, length)
                pairs += 1
                every *= length
                length = 1
            every *= n
    if length > 1 or pairs == 0:
        add_axis(x, pairs, every, length)


cdef inline void add_axis(Operand* x, int pairs, Py_ssize_t every, Py_ssize_t length) noexcept:
    """Set the first pair of `every` and `length`, or an outer one."""
    if pairs == 0:
        x.inner, x.period = every, length
    else:
        x.every[pairs - 1], x.length[pairs - 1] = every, length
        x.n_outer = pairs


cdef inline void expand(
    const Operand* x, Py_ssize_t start, floating* target, Py_ssize_t n, floating* scratch
) noexcept nogil:
    """target[k] = the element of x that belongs to element start + k of the result.

    `scratch` holds TILE elements. It is not used if x.inner is 1.
    """
    cdef Py_ssize_t repeats = x.every[0] if x.n_outer > 0 else PY_SSIZE_T_MAX
    cdef Py_ssize_t done = 0, first, base, step, stop, end, last, row, skip, k, rows
    while done < n:
        # Up to `stop`, the same `period` elements of x repeat. They begin at `base`.
        first = done
        stop = min(n, done + repeats - (start + done) % repeats)
        base, step = 0, x.period
        for k in range(x.n_outer):
            base += (start + done) // x.every[k] % x.length[k] * step
            step *= x.length[k]
        row, skip = (start + done) // x.inner, (start + done) % x.inner
        end = min(stop, done + x.inner * x.period)
        while done < end:
            # The next stretch of x, without wrapping; then each of its elements `inner` times.
            rows = min((skip + end - done + x.inner - 1) // x.inner, x.period - row % x.period)
            if x.inner == 1:
                load(x.data, x.typenum, base + row % x.period, target + done, rows)
                done += rows
            else:
                load(x.data, x.typenum, base + row % x.period, scratch, rows)
                for k in range(rows):
                    last = min(end, done + x.inner - skip)
                    while done < last:
                        target[done] = scratch[k]
                        done += 1
                    skip = 0
            row += rows
        while done < stop:
            k = min(done - first, stop - done)
            memcpy(target + done, target + first, k * sizeof(floating))
            done += k


cdef inline void round_to_bfloat16(const float* source, unsigned short* target, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        target[i] = to_bfloat16(source[i])


cdef inline void round_to_halves(
    void (*convert)(const float*, unsigned short*, Py_ssize_t) noexcept nogil, const float* source,
    unsigned short* target, Py_ssize_t n, bint past_caches
) noexcept nogil:
    cdef unsigned short[LANES] halves
    cdef Py_ssize_t done = 0
    while past_caches and done + LANES <= n:
        convert(source + done, halves, LANES)
        stream(target + done, halves, sizeof(halves))
        done += LANES
    convert(source + done, target + done, n - done)


cdef inline void store(
    const float* source, void* target, int typenum, Py_ssize_t start, Py_ssize_t n, bint past_caches=False
) noexcept nogil:
    """Round n numbers to target[start : start + n], of half precision."""
    if typenum == cnp.NPY_FLOAT16:
        round_to_halves(store_float16, source, <unsigned short*> target + start, n, past_caches)
    else:
        round_to_halves(round_to_bfloat16, source, <unsigned short*> target + start, n, past_caches)


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
