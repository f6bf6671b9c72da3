"""Dropout, with random bits that depend on the seed and the index of an element alone."""

from cython cimport floating
cimport numpy as cnp
from libc.stdint cimport uint32_t, uint64_t

from fastloss._core.kernels.base.chunks cimport Partial, run_job
from fastloss._core.kernels.base.operands cimport TILE

cnp.import_array()

# ---------------------------------------------------------------------------------------------------------------------
# Random bits: Philox4x32-10 of J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as
# 1, 2, 3 (SC 2011). It turns a counter and a key into four words. It keeps no state, so any element can be drawn alone.

cdef enum:
    COUNTERS = TILE // 4    # in a tile
    ROUNDS = 10


cdef inline void philox(uint32_t* word, Py_ssize_t n, uint64_t key) noexcept nogil:
    """Turn n counters into their random words, in place. Word k of counter i is word[k * COUNTERS + i].

    Each round runs over all counters. So it vectorises, and there is no chain of dependent instructions.
    """
    cdef uint32_t* word_0 = word
    cdef uint32_t* word_1 = word + COUNTERS
    cdef uint32_t* word_2 = word + 2 * COUNTERS
    cdef uint32_t* word_3 = word + 3 * COUNTERS
    cdef uint32_t key_0 = <uint32_t> key, key_1 = <uint32_t> (key >> 32)
    cdef uint64_t first, second
    cdef Py_ssize_t i
    cdef int _round
    for _round in range(ROUNDS):
        for i in range(n):
            first = <uint64_t> 0xD2511F53 * word_0[i]
            second = <uint64_t> 0xCD9E8D57 * word_2[i]
            word_0[i] = <uint32_t> (second >> 32) ^ word_1[i] ^ key_0
            word_1[i] = <uint32_t> second
            word_2[i] = <uint32_t> (first >> 32) ^ word_3[i] ^ key_1
            word_3[i] = <uint32_t> first
        key_0 += <uint32_t> 0x9E3779B9
        key_1 += <uint32_t> 0xBB67AE85


def philox_words(tuple counter, uint64_t key):
    """The four random words of one counter, for tests."""
    cdef uint32_t[TILE] word
    cdef Py_ssize_t i, k
    for k in range(4):
        for i in range(COUNTERS):
            word[k * COUNTERS + i] = counter[k]
    philox(word, COUNTERS, key)
    return tuple([word[k * COUNTERS + COUNTERS - 1] for k in range(4)])


# ---------------------------------------------------------------------------------------------------------------------
# Dropout

cdef struct Job:
    const void* x
    void* y
    unsigned char* mask
    uint64_t seed
    uint64_t threshold      # an element is dropped if its word is below: from 0 (none) to 2^32 (all)
    double kept             # the share of elements that are kept; these are divided by it


cdef inline void draw(uint32_t* word, Py_ssize_t start, Py_ssize_t n, uint64_t seed) noexcept nogil:
    """The random words of elements start to start + n, which lie in one tile.

    Tile k has the counters k * COUNTERS + i, for i in [0, COUNTERS). The four words of a counter belong to the elements
    i, i + COUNTERS, i + 2 * COUNTERS and i + 3 * COUNTERS of the tile. So the word of an element depends on its index
    and the seed alone.
    """
    cdef uint64_t counter = <uint64_t> start // 4
    cdef uint32_t low = <uint32_t> counter, high = <uint32_t> (counter >> 32)
    cdef Py_ssize_t counters = min(n, COUNTERS), i
    for i in range(counters):
        word[i] = low + <uint32_t> i  # no carry: low is a multiple of COUNTERS
        word[COUNTERS + i] = high
        word[2 * COUNTERS + i] = 0
        word[3 * COUNTERS + i] = 0
    philox(word, counters, seed)


cdef inline void drop(
    const floating* x, floating* y, unsigned char* mask, const uint32_t* word, uint32_t first_kept, floating kept,
    Py_ssize_t n
) noexcept nogil:
    cdef floating quotient
    cdef Py_ssize_t i
    for i in range(n):
        quotient = x[i] / kept
        y[i] = quotient if word[i] >= first_kept else 0  # not a product with the mask: x may be NaN
    for i in range(n):
        mask[i] = word[i] >= first_kept


cdef void run_chunk(const Job* job, Py_ssize_t start, Py_ssize_t stop, floating* as_type) noexcept nogil:
    """Run elements start to stop, tile by tile."""
    cdef uint32_t[TILE] word
    cdef bint random = 0 < job.threshold < <uint64_t> 1 << 32
    # 2^32 does not fit a word. So if all elements are dropped, the words stay 0, and a word of 1 would be kept.
    cdef uint32_t first_kept = <uint32_t> job.threshold if random else job.threshold != 0
    cdef floating kept = <floating> job.kept
    cdef const floating* x
    cdef floating* y
    cdef Py_ssize_t i = start, n
    for n in range(TILE):
        word[n] = 0
    while i < stop:
        n = min(TILE, stop - i)
        if random:
            draw(word, i, n, job.seed)
        x = <const floating*> job.x + i
        y = <floating*> job.y + i
        if x == y:  # a loop of its own: it vectorises only if the compiler sees one array
            drop(y, y, job.mask + i, word, first_kept, kept, n)
        else:
            drop(x, y, job.mask + i, word, first_kept, kept, n)
        i += n


cdef void run_floats(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, <float*> NULL)


cdef void run_doubles(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, <double*> NULL)


def dropout(
    cnp.ndarray x, cnp.ndarray y, cnp.ndarray mask, uint64_t seed, uint64_t threshold, double kept, int threads
):
    """Write y and mask, for checked, C-contiguous arrays. With threads = 0 the GIL is kept: see run_job."""
    cdef Job job
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    job.x = cnp.PyArray_DATA(x)
    job.y = cnp.PyArray_DATA(y)
    job.mask = <unsigned char*> cnp.PyArray_DATA(mask)
    job.seed = seed
    job.threshold = threshold
    job.kept = kept
    run_job(run_floats if single else run_doubles, &job, cnp.PyArray_SIZE(x), TILE, threads)
