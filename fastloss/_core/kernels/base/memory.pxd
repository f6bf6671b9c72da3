"""Memory: blocks that calls use in turn, clearing, prefetching, transposing, and stores that go past the caches."""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cython cimport floating
cimport numpy as cnp

from fastloss._core.kernels.base.vecmath cimport transpose4

cdef extern from "stream.h" nogil:
    void stream "fastloss_stream" (void* to, const void* x, size_t bytes) noexcept
    void end_stream "fastloss_end_stream" () noexcept

cdef extern from *:
    """
    #ifdef __SANITIZE_ADDRESS__
    #define FL_KEEPS_BLOCKS 0  /* so that it sees an access beyond what a call asked for */
    #else
    #define FL_KEEPS_BLOCKS 1
    #endif
    static void *fl_kept;
    static void *fl_exchange_kept(void *block) { return __atomic_exchange_n(&fl_kept, block, __ATOMIC_ACQ_REL); }
    """
    bint KEEPS_BLOCKS "FL_KEEPS_BLOCKS"
    void* exchange_kept "fl_exchange_kept" (void* block) noexcept nogil

cdef extern from *:
    void prefetch "__builtin_prefetch" (const void* address) noexcept nogil


# Memory that calls use in turn: to allocate it anew would take longer than a call on a small array.

cdef enum:
    MAX_KEPT = 1 << 20      # bytes of a block that is kept for the next call

cdef struct Block:
    size_t nbytes           # that follow


cdef inline Block* take_block(size_t nbytes) noexcept:
    """Return a block of memory with so many bytes or more after its head; NULL if there is none."""
    cdef Block* block = <Block*> exchange_kept(NULL)
    if block == NULL or block.nbytes < nbytes:
        PyMem_RawFree(block)
        block = <Block*> PyMem_RawMalloc(sizeof(Block) + nbytes)
        if block != NULL:
            block.nbytes = nbytes
    return block


cdef inline void give_back(Block* block) noexcept:
    """Keep a block for the next call, or free it."""
    PyMem_RawFree(exchange_kept(block) if KEEPS_BLOCKS and block.nbytes <= MAX_KEPT else block)


cdef inline void* address(cnp.ndarray array) noexcept:
    """Where the elements of an array begin; NULL for None."""
    return NULL if array is None else cnp.PyArray_DATA(array)


cdef inline floating* at(const floating* x, Py_ssize_t offset) noexcept nogil:
    """x + offset; NULL stays NULL. This also casts const away."""
    return <floating*> x if x == NULL else <floating*> x + offset


cdef inline floating* aligned(floating* x) noexcept nogil:
    """The first address from x on that begins a cache line."""
    return <floating*> ((<size_t> x + 63) & ~<size_t> 63)


cdef inline void clear(floating* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = 0


cdef inline void prefetch_all(const floating* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i < n:
        prefetch(x + i)
        i += 64 // sizeof(floating)  # a cache line


cdef inline void transpose(
    const floating* x, Py_ssize_t x_stride, Py_ssize_t rows, Py_ssize_t columns, floating* y, Py_ssize_t y_stride
) noexcept nogil:
    """y[j * y_stride + i] = x[i * x_stride + j].

    It copies blocks of 4 x 4. The last block may overlap the one before. x and y must not overlap.
    """
    cdef Py_ssize_t i, j, row
    if rows < 4 or columns < 4:
        for i in range(rows):
            for j in range(columns):
                y[j * y_stride + i] = x[i * x_stride + j]
        return
    for i in range(0, rows, 4):
        row = min(i, rows - 4)
        for j in range(0, columns - 3, 4):
            transpose4(x + row * x_stride + j, x_stride, y + j * y_stride + row, y_stride)
        if columns % 4 != 0:
            j = columns - 4
            transpose4(x + row * x_stride + j, x_stride, y + j * y_stride + row, y_stride)
