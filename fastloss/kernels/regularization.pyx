"""Kernels of the regularisers that are no losses: dropout and the projection onto a norm ball."""

from cython cimport floating
from cython.parallel cimport prange
cimport numpy as cnp
from libc.float cimport DBL_MIN
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t, uint64_t

import numpy as np

from fastloss.kernels.tiles cimport LANES, TILE, chunk_size, grain
from fastloss.kernels.vecmath cimport at_least, at_most, fabs, sqrt, sum_lanes

cnp.import_array()

# ---------------------------------------------------------------------------------------------------------------------
# Random bits: Philox4x32-10 of J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as
# 1, 2, 3 (SC 2011). It makes four words of a counter and a key, and keeps no state: any element can be drawn alone.

cdef enum:
    BLOCKS = TILE // 4      # counters in a tile
    ROUNDS = 10


cdef inline void philox(uint32_t* word, Py_ssize_t n, uint64_t key) noexcept nogil:
    """Turn n counters into their random words, in place. Word k of counter b is word[k * BLOCKS + b].

    Round by round over all counters: so each round vectorises, and there is no chain of dependent instructions.
    """
    cdef uint32_t* a = word
    cdef uint32_t* b = word + BLOCKS
    cdef uint32_t* c = word + 2 * BLOCKS
    cdef uint32_t* d = word + 3 * BLOCKS
    cdef uint32_t key_0 = <uint32_t> key, key_1 = <uint32_t> (key >> 32)
    cdef uint64_t first, second
    cdef Py_ssize_t i
    cdef int _
    for _ in range(ROUNDS):
        for i in range(n):
            first = <uint64_t> 0xD2511F53 * a[i]
            second = <uint64_t> 0xCD9E8D57 * c[i]
            a[i] = <uint32_t> (second >> 32) ^ b[i] ^ key_0
            b[i] = <uint32_t> second
            c[i] = <uint32_t> (first >> 32) ^ d[i] ^ key_1
            d[i] = <uint32_t> first
        key_0 += <uint32_t> 0x9E3779B9
        key_1 += <uint32_t> 0xBB67AE85


def philox_words(tuple counter, uint64_t key):
    """The four random words of one counter, for tests."""
    cdef uint32_t[TILE] word
    cdef Py_ssize_t i, k
    for k in range(4):
        for i in range(BLOCKS):
            word[k * BLOCKS + i] = counter[k]
    philox(word, BLOCKS, key)
    return tuple([word[k * BLOCKS + BLOCKS - 1] for k in range(4)])


# ---------------------------------------------------------------------------------------------------------------------
# Dropout

cdef struct Dropout:
    const void* x
    void* y
    unsigned char* mask
    uint64_t seed
    uint64_t threshold      # a word below it drops its element: from 0 (none) to 2^32 (all)
    double kept             # the share of elements kept, by which they are divided


cdef inline void draw(uint32_t* word, Py_ssize_t start, Py_ssize_t n, uint64_t seed) noexcept nogil:
    """The random words of elements start to start + n, which lie in one tile.

    Tile k has the counters k * BLOCKS + b for b in [0, BLOCKS): the four words of a counter belong to the elements b,
    b + BLOCKS, b + 2 * BLOCKS, b + 3 * BLOCKS of the tile. So the word of an element depends on its index and the seed
    alone.
    """
    cdef uint64_t counter = <uint64_t> start // 4
    cdef uint32_t low = <uint32_t> counter, high = <uint32_t> (counter >> 32)
    cdef Py_ssize_t blocks = min(n, BLOCKS), b
    for b in range(blocks):
        word[b] = low + <uint32_t> b  # no carry: low is a multiple of BLOCKS
        word[BLOCKS + b] = high
        word[2 * BLOCKS + b] = 0
        word[3 * BLOCKS + b] = 0
    philox(word, blocks, seed)


cdef inline void thin(
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


cdef void drop_chunk(const Dropout* call, floating* _, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef uint32_t[TILE] word
    cdef bint random = 0 < call.threshold < <uint64_t> 1 << 32
    # 2^32 does not fit a word: where all are dropped, the words stay 0 and the first to be kept is 1.
    cdef uint32_t first_kept = <uint32_t> call.threshold if random else call.threshold != 0
    cdef floating kept = <floating> call.kept
    cdef const floating* x
    cdef floating* y
    cdef Py_ssize_t i = start, n
    for n in range(TILE):
        word[n] = 0
    while i < stop:
        n = min(TILE, stop - i)
        if random:
            draw(word, i, n, call.seed)
        x = <const floating*> call.x + i
        y = <floating*> call.y + i
        if x == y:  # a loop of its own: it vectorises only if the compiler sees one array
            thin(y, y, call.mask + i, word, first_kept, kept, n)
        else:
            thin(x, y, call.mask + i, word, first_kept, kept, n)
        i += n


cdef void drop_all(const Dropout* call, floating* _, Py_ssize_t n, int threads) noexcept nogil:
    cdef Py_ssize_t size = chunk_size(n, TILE), chunks = (n + size - 1) // size, k
    if threads <= 1:
        for k in range(chunks):
            drop_chunk(call, _, k * size, min(n, (k + 1) * size))
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
            drop_chunk(call, _, k * size, min(n, (k + 1) * size))


cdef void drop(const Dropout* call, bint single, Py_ssize_t n, int threads) noexcept nogil:
    if single:
        drop_all(call, <float*> NULL, n, threads)
    else:
        drop_all(call, <double*> NULL, n, threads)


def dropout(
    cnp.ndarray x, cnp.ndarray y, cnp.ndarray mask, uint64_t seed, uint64_t threshold, double kept, int threads
):
    """Write y and mask, for checked, C-contiguous arrays. threads = 0: so small that the GIL is kept."""
    cdef Dropout call
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    call.x = cnp.PyArray_DATA(x)
    call.y = cnp.PyArray_DATA(y)
    call.mask = <unsigned char*> cnp.PyArray_DATA(mask)
    call.seed = seed
    call.threshold = threshold
    call.kept = kept
    if threads == 0:
        drop(&call, single, n, 0)
    else:
        with nogil:
            drop(&call, single, n, threads)


# ---------------------------------------------------------------------------------------------------------------------
# Projection onto a norm ball. The array is (outer, n, inner), its vectors run along n. A strip is what is worked on at
# once: one vector where inner is 1, else neighbouring vectors of one outer index, side by side in memory.

cdef enum:
    MIN_STRIP = 64      # vectors
    MAX_STRIP = 512
    STRIP = 131072      # elements that stay in the L2 cache between the sum and the product
    ROWS = 8192         # elements of whole rows that are worked on together
    PIECE = 16384       # elements of a strip that are summed up together, and that one thread takes at a time
    MAX_PIECES = 64     # of a strip: bounds the memory for partial sums

cdef double SMALL = 1e-145  # a norm below which squares lose digits to underflow

cdef struct Projection:
    const void* w
    void* out
    Py_ssize_t n
    Py_ssize_t inner
    Py_ssize_t width    # vectors in a strip
    Py_ssize_t strips   # for each outer index
    Py_ssize_t piece    # elements along n that are summed up together
    Py_ssize_t pieces
    double limit


cdef inline Py_ssize_t quotient_up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline double square_sum(const floating* x, Py_ssize_t n) noexcept nogil:
    """The sum of the squares of x[:n] in double precision."""
    cdef double[LANES] lane, rest
    cdef double total = 0
    cdef Py_ssize_t i = 0, j
    if n < LANES // 2:
        for i in range(n):
            total += <double> x[i] * <double> x[i]
        return total
    for j in range(LANES):
        lane[j] = rest[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += <double> x[i + j] * <double> x[i + j]
        i += LANES
    for j in range(n - i):
        rest[j] = x[i + j]
    for j in range(LANES):
        lane[j] += rest[j] * rest[j]  # over all of them: so the lanes stay in registers
    return sum_lanes(lane)


cdef inline void add_squares(const floating* x, Py_ssize_t n, double* total) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        total[j] += <double> x[j] * <double> x[j]


cdef inline void square_sums(
    const floating* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width, double* total
) noexcept nogil:
    """total[j] = the sum of the squares of x[k * stride + j] over k in [0, rows)."""
    cdef double[2 * MIN_STRIP] side_by_side
    cdef Py_ssize_t together = MIN_STRIP // width, k = 0, j
    for j in range(width):
        total[j] = 0
    if width == stride and together > 1:
        # Few vectors, without gaps: several rows are taken as one long row, so that its loop is worth while.
        for j in range(2 * MIN_STRIP):
            side_by_side[j] = 0
        while k + together <= rows:
            add_squares(x + k * stride, together * width, side_by_side)
            k += together
        for j in range(together * width):
            total[j % width] += side_by_side[j]
    while k < rows:
        add_squares(x + k * stride, width, total)
        k += 1


cdef inline void scale(const floating* x, floating* y, double factor, Py_ssize_t n) noexcept nogil:
    """y = factor x, where x is y or apart from it. A factor of 1 leaves every bit."""
    cdef Py_ssize_t i
    if x == y:  # a loop of its own: it vectorises only if the compiler sees one array
        for i in range(n if factor != 1 else 0):
            y[i] = <floating> (y[i] * factor)
    else:
        for i in range(n):
            y[i] = <floating> (x[i] * factor)


cdef inline void scale_each(const floating* x, floating* y, const double* factor, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if x == y:
        for i in range(n):
            y[i] = <floating> (y[i] * factor[i])
    else:
        for i in range(n):
            y[i] = <floating> (x[i] * factor[i])


cdef inline double factor_of(double square, double limit) noexcept nogil:
    """What a vector of this squared norm is multiplied by; NaN for NaN."""
    # No branch: which vectors exceed the limit is hard to predict. Both may be 0, and must not give 0 / 0.
    return at_most(limit / at_least(sqrt(square), <double> DBL_MIN), <double> 1)


cdef inline bint in_range(double square, double factor, double limit) noexcept nogil:
    """Whether a squared norm, and the factor made of it, have kept their digits. Those of floats always do."""
    if square == INFINITY or square < SMALL * SMALL and limit < SMALL:
        return False
    return not (factor < SMALL * SMALL and limit > 0)


cdef inline bint find_factors(
    double* total, double* factor, Py_ssize_t n, double limit, const floating* _
) noexcept nogil:
    """The factors of n vectors; whether `rescale` is to do some of them, whose total becomes -1."""
    cdef bint odd = False
    cdef Py_ssize_t j
    for j in range(n):
        factor[j] = factor_of(total[j], limit)
    if floating is double:
        for j in range(n):
            if not in_range(total[j], factor[j], limit):
                odd = True
                total[j] = -1
                factor[j] = 1
    return odd


cdef void rescale(double* x, Py_ssize_t n, Py_ssize_t stride, double limit) noexcept nogil:
    """Project one vector whose squares, or whose factor, leave the range of doubles: scaled by its largest element."""
    cdef double largest = 0, square = 0, norm
    cdef Py_ssize_t k
    for k in range(n):
        largest = max(largest, fabs(x[k * stride]))
    if largest == INFINITY:
        for k in range(n):
            x[k * stride] *= 0  # limit / inf
        return
    if largest == 0:
        return
    for k in range(n):
        square += (x[k * stride] / largest) * (x[k * stride] / largest)
    norm = sqrt(square)  # in units of the largest element
    if norm > limit / largest:
        for k in range(n):
            x[k * stride] = x[k * stride] / largest * (limit / norm)


cdef inline void sum_piece(
    const Projection* call, const floating* w, Py_ssize_t vectors, Py_ssize_t p, double* total
) noexcept nogil:
    """The sums of squares over piece p of a strip that begins at w."""
    cdef Py_ssize_t start = p * call.piece, rows = min(call.piece, call.n - start)
    if call.inner == 1:
        total[0] = square_sum(w + start, rows)
    else:
        square_sums(w + start * call.inner, rows, call.inner, vectors, total)


cdef inline void write_piece(
    const Projection* call, const floating* w, floating* out, Py_ssize_t vectors, Py_ssize_t p, const double* factor
) noexcept nogil:
    cdef Py_ssize_t start = p * call.piece, rows = min(call.piece, call.n - start), k
    if call.inner == 1:
        scale(w + start, out + start, factor[0], rows)
    else:
        for k in range(start, start + rows):
            scale_each(w + k * call.inner, out + k * call.inner, factor, vectors)


cdef void project_strip(
    const Projection* call, floating* _, Py_ssize_t strip, double* partial, int threads
) noexcept nogil:
    """Project the vectors of one strip. With more than one thread, `partial` holds the sums of each piece."""
    cdef double[MAX_STRIP] total, factor
    cdef Py_ssize_t first = strip % call.strips * call.width, vectors = min(call.width, call.inner - first), p, j
    cdef Py_ssize_t place = strip // call.strips * call.n * call.inner + first
    cdef const floating* w = <const floating*> call.w + place
    cdef floating* out = <floating*> call.out + place
    cdef bint changed = w != out, odd
    if threads > 1:
        for p in prange(call.pieces, schedule="dynamic", num_threads=threads):
            sum_piece(call, w, vectors, p, partial + p * vectors)
    for j in range(vectors):
        total[j] = 0
    for p in range(call.pieces):  # the same order for any number of threads
        if threads <= 1:
            sum_piece(call, w, vectors, p, factor)
        for j in range(vectors):
            total[j] += factor[j] if threads <= 1 else partial[p * vectors + j]
    odd = find_factors(total, factor, vectors, call.limit, w)
    for j in range(vectors):
        changed |= factor[j] != 1
    if changed:
        if threads <= 1:
            for p in range(call.pieces):
                write_piece(call, w, out, vectors, p, factor)
        else:
            for p in prange(call.pieces, schedule="dynamic", num_threads=threads):
                write_piece(call, w, out, vectors, p, factor)
    if floating is double:
        for j in range(vectors if odd else 0):
            if total[j] == -1:
                rescale(out + j, call.n, call.inner, call.limit)


cdef void project_rows(const Projection* call, floating* _, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """The same for rows of one piece, several at once: so their square roots and quotients are vectorised too."""
    cdef double[MAX_STRIP] total, factor
    cdef const floating* w
    cdef floating* out
    cdef Py_ssize_t together = max(1, min(MAX_STRIP, ROWS // call.n)), first = start, n, j
    cdef bint odd
    while first < stop:
        n = min(together, stop - first)
        w = <const floating*> call.w + first * call.n
        out = <floating*> call.out + first * call.n
        for j in range(n):
            total[j] = square_sum(w + j * call.n, call.n)
        odd = find_factors(total, factor, n, call.limit, w)
        for j in range(n):
            scale(w + j * call.n, out + j * call.n, factor[j], call.n)
        if floating is double:
            for j in range(n if odd else 0):
                if total[j] == -1:
                    rescale(out + j * call.n, call.n, 1, call.limit)
        first += n


cdef void project_chunk(const Projection* call, floating* _, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t k
    if call.inner == 1 and call.pieces == 1:
        project_rows(call, _, start, stop)
    else:
        for k in range(start, stop):
            project_strip(call, _, k, NULL, 1)


cdef void project_all(
    const Projection* call, floating* _, Py_ssize_t strips, double* partial, int threads
) noexcept nogil:
    cdef Py_ssize_t size = max(1, PIECE // (call.n * call.width)), chunks = quotient_up(strips, size), k
    if partial != NULL:
        for k in range(strips):
            project_strip(call, _, k, partial, threads)
    elif threads <= 1:
        project_chunk(call, _, 0, strips)
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
            project_chunk(call, _, k * size, min(strips, (k + 1) * size))


cdef void project(const Projection* call, bint single, Py_ssize_t strips, double* partial, int threads) noexcept nogil:
    if single:
        project_all(call, <float*> NULL, strips, partial, threads)
    else:
        project_all(call, <double*> NULL, strips, partial, threads)


def max_norm(cnp.ndarray w, cnp.ndarray out, tuple shape, double limit, int threads):
    """Project the vectors of w, of this shape (outer, n, inner), into out: both C-contiguous, apart or the same.

    threads = 0: so small that the GIL is kept.
    """
    cdef Projection call
    cdef Py_ssize_t outer = shape[0], strips
    cdef double* partial = NULL
    cdef bint single = cnp.PyArray_TYPE(w) == cnp.NPY_FLOAT
    call.n = shape[1]
    call.inner = shape[2]
    if cnp.PyArray_SIZE(w) == 0:
        return
    call.w = cnp.PyArray_DATA(w)
    call.out = cnp.PyArray_DATA(out)
    call.limit = limit
    # The partition into strips and pieces depends on the shape alone: sums must not depend on anything else.
    call.strips = quotient_up(call.inner, max(MIN_STRIP, min(MAX_STRIP, STRIP // call.n)))
    call.width = quotient_up(call.inner, call.strips)
    call.piece = max(PIECE // call.width, quotient_up(call.n, MAX_PIECES))
    call.pieces = quotient_up(call.n, call.piece)
    strips = outer * call.strips
    # Few strips are worked on one after the other, by all threads together.
    sums = None
    if threads > 1 and strips < 4 * threads and call.pieces > 1:
        sums = np.empty(call.pieces * call.width)
        partial = <double*> cnp.PyArray_DATA(sums)
    if threads == 0:
        project(&call, single, strips, NULL, 0)
    else:
        with nogil:
            project(&call, single, strips, partial, threads)
