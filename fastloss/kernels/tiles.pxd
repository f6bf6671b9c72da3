"""What the drivers share: tiles, chunks, loading and ordered sums.

A tile is as much as fits the L1 cache. A chunk is a run of tiles that one thread takes at a time. The partition into
chunks and the order of every sum depend on the size of the input alone, never on threads or addresses.
"""

from cython cimport floating
cimport numpy as cnp

from fastloss.kernels.vecmath cimport copysign, fabs, sum_lanes
from libc.float cimport DBL_MAX, DBL_MIN, FLT_MAX, FLT_MIN
from libc.math cimport fmax, fmin

cdef extern from "stream.h" nogil:
    void stream "fastloss_stream" (void* to, const void* x, size_t bytes) noexcept
    void end_stream "fastloss_end_stream" () noexcept

cdef enum:
    TILE = 1024         # elements
    MAX_CHUNKS = 2048   # bounds the memory for partial sums, whatever the size of the input
    LANES = 32          # partial sums kept side by side, so that a sum vectorises
    MAX_PARAMETERS = 8  # of a loss

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


cdef inline Py_ssize_t chunk_size(Py_ssize_t n, Py_ssize_t tile) noexcept nogil:
    """The size of a chunk: whole tiles, and at most MAX_CHUNKS of them for n items."""
    cdef Py_ssize_t tiles = (n + tile - 1) // tile
    return tile * max(1, (tiles + MAX_CHUNKS - 1) // MAX_CHUNKS)


cdef inline Py_ssize_t grain(Py_ssize_t chunks, int threads) noexcept nogil:
    """Chunks handed out at a time: few enough to balance the load, many enough to keep the hand-outs rare."""
    return max(1, chunks // (8 * threads))


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
    const void* data
    int typenum
    Py_ssize_t inner
    Py_ssize_t period


cdef inline Operand operand(cnp.ndarray array, Py_ssize_t inner):
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


cdef inline int take_parameters(double* place, tuple parameters, bint single) except -1:
    """Set the MAX_PARAMETERS of a call, 0 where there are fewer.

    One beyond the range of the dtype becomes its largest or smallest normal number, not inf or 0: that would make NaN.
    """
    cdef double smallest = FLT_MIN if single else DBL_MIN, largest = FLT_MAX if single else DBL_MAX, x
    cdef int k
    if len(parameters) > MAX_PARAMETERS:
        raise IndexError("too many parameters: raise MAX_PARAMETERS")
    for k in range(MAX_PARAMETERS):
        x = parameters[k] if k < len(parameters) else 0
        place[k] = x if x == 0 else copysign(fmin(fmax(fabs(x), smallest), largest), x)
    return 0


cdef inline void* address(cnp.ndarray array) noexcept:
    return NULL if array is None else cnp.PyArray_DATA(array)


cdef inline void expand(
    const Operand* x, Py_ssize_t start, floating* target, Py_ssize_t n, floating* scratch
) noexcept nogil:
    """target[k] = the element of x that belongs to element start + k of the result; scratch holds TILE elements."""
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


cdef inline double ordered_sum(const floating* x, Py_ssize_t n) noexcept nogil:
    """The sum of x[:n] in double precision."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += x[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] += x[i + j]
    return sum_lanes(lane)


cdef inline double weighted_sum(const floating* x, const double* weight, Py_ssize_t n) noexcept nogil:
    """The sum of weight * x in double precision, where a weight of 0 gives 0 whatever x is."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += 0 if weight[i + j] == 0 else weight[i + j] * x[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] += 0 if weight[i + j] == 0 else weight[i + j] * x[i + j]
    return sum_lanes(lane)


cdef inline floating* at(const floating* x, Py_ssize_t offset) noexcept nogil:
    """x + offset; NULL stays NULL."""
    return <floating*> x if x == NULL else <floating*> x + offset


cdef inline floating* aligned(floating* x) noexcept nogil:
    """The first address from x on that begins a cache line."""
    return <floating*> ((<size_t> x + 63) & ~<size_t> 63)


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
        target[i] = invalid if source[i] > 0 and target[i] < 0 else target[i]  # an unsigned number from 2^63 on


cdef inline void load_labels(
    const void* source, int typenum, Py_ssize_t start, long long* target, Py_ssize_t n, long long invalid
) noexcept nogil:
    """Class indices source[start : start + n] of any integer type; what is beyond 2^63 becomes `invalid`."""
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
