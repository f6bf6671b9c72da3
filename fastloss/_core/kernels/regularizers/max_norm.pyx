"""The projection of vectors onto a norm ball.

The array is (outer, n, inner), and its vectors run along n. A strip is what is projected at once. If inner is 1 it is
one vector; otherwise it is neighbouring vectors of one outer index, which lie side by side in memory. The elements of a
strip are summed and written in pieces along n.
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_MIN
from libc.math cimport INFINITY

import numpy as np

from fastloss._core.kernels.base.chunks cimport Partial, run_chunks, run_job
from fastloss._core.kernels.base.sums cimport LANES
from fastloss._core.kernels.base.vecmath cimport at_least, at_most, fabs, sqrt, sum_lanes

cnp.import_array()

cdef enum:
    MIN_STRIP = 64      # vectors
    MAX_STRIP = 512
    STRIP = 131072      # elements that stay in the L2 cache between the sum and the product
    ROWS = 8192         # elements of whole vectors that are projected together
    PIECE = 16384       # elements of a strip that are summed together; one thread takes as many at a time
    MAX_PIECES = 64     # of a strip: bounds the memory for partial sums

cdef double SMALL = 1e-145  # a norm below which squares lose digits to underflow

cdef struct Job:
    const void* w
    void* out
    Py_ssize_t n
    Py_ssize_t inner
    Py_ssize_t width    # vectors in a strip
    Py_ssize_t strips   # for each outer index
    Py_ssize_t piece    # elements along n that are summed together
    Py_ssize_t pieces
    double limit

cdef struct Strip:
    const Job* job
    const void* w       # the first element
    void* out
    Py_ssize_t vectors
    double* partial     # the sums of squares of each piece, if threads share the strip
    double* factor      # for each vector


cdef inline Py_ssize_t quotient_up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


# ---------------------------------------------------------------------------------------------------------------------
# Sums and products

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
        lane[j] += rest[j] * rest[j]  # over all lanes, so that they stay in registers
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
        # Few vectors without gaps: several rows are one long row, which makes the loop worth its start.
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
    """y = factor * x, where y is x or apart from it. A factor of 1 leaves every bit."""
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


# ---------------------------------------------------------------------------------------------------------------------
# The factor of a vector

cdef inline double factor_of(double square, double limit) noexcept nogil:
    """The factor of a vector with this squared norm; NaN for NaN."""
    # No branch: which vectors exceed the limit is hard to predict. Both may be 0, and must not give 0 / 0.
    return at_most(limit / at_least(sqrt(square), <double> DBL_MIN), <double> 1)


cdef inline bint in_range(double square, double factor, double limit) noexcept nogil:
    """Whether a squared norm and its factor have kept their digits. Those of float32 vectors always have."""
    if square == INFINITY or square < SMALL * SMALL and limit < SMALL:
        return False
    return not (factor < SMALL * SMALL and limit > 0)


cdef inline bint find_factors(
    double* total, double* factor, Py_ssize_t n, double limit, floating* as_type
) noexcept nogil:
    """Set the factors of n vectors. Return whether some need `rescale`; the total of these becomes -1."""
    cdef bint any_odd = False
    cdef Py_ssize_t j
    for j in range(n):
        factor[j] = factor_of(total[j], limit)
    if floating is double:
        for j in range(n):
            if not in_range(total[j], factor[j], limit):
                any_odd = True
                total[j] = -1
                factor[j] = 1
    return any_odd


cdef void rescale(double* x, Py_ssize_t n, Py_ssize_t stride, double limit) noexcept nogil:
    """Project one vector whose squares or factor leave the range of doubles: scaled by its largest element."""
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


# ---------------------------------------------------------------------------------------------------------------------
# Pieces of a strip

cdef inline void sum_piece(const Strip* strip, Py_ssize_t piece, double* total, floating* as_type) noexcept nogil:
    """The sums of squares over a piece of each vector."""
    cdef const Job* job = strip.job
    cdef const floating* w = <const floating*> strip.w
    cdef Py_ssize_t start = piece * job.piece, rows = min(job.piece, job.n - start)
    if job.inner == 1:
        total[0] = square_sum(w + start, rows)
    else:
        square_sums(w + start * job.inner, rows, job.inner, strip.vectors, total)


cdef inline void write_piece(const Strip* strip, Py_ssize_t piece, floating* as_type) noexcept nogil:
    cdef const Job* job = strip.job
    cdef const floating* w = <const floating*> strip.w
    cdef floating* out = <floating*> strip.out
    cdef Py_ssize_t start = piece * job.piece, rows = min(job.piece, job.n - start), k
    if job.inner == 1:
        scale(w + start, out + start, strip.factor[0], rows)
    else:
        for k in range(start, start + rows):
            scale_each(w + k * job.inner, out + k * job.inner, strip.factor, strip.vectors)


cdef void sum_pieces(const Strip* strip, Py_ssize_t start, Py_ssize_t stop, floating* as_type) noexcept nogil:
    cdef Py_ssize_t piece
    for piece in range(start, stop):
        sum_piece(strip, piece, strip.partial + piece * strip.vectors, as_type)


cdef void write_pieces(const Strip* strip, Py_ssize_t start, Py_ssize_t stop, floating* as_type) noexcept nogil:
    cdef Py_ssize_t piece
    for piece in range(start, stop):
        write_piece(strip, piece, as_type)


cdef void sum_float_pieces(
    const void* strip, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    sum_pieces(<const Strip*> strip, start, stop, <float*> NULL)


cdef void sum_double_pieces(
    const void* strip, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    sum_pieces(<const Strip*> strip, start, stop, <double*> NULL)


cdef void write_float_pieces(
    const void* strip, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    write_pieces(<const Strip*> strip, start, stop, <float*> NULL)


cdef void write_double_pieces(
    const void* strip, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    write_pieces(<const Strip*> strip, start, stop, <double*> NULL)


cdef void sum_together(const Strip* strip, int threads, floating* as_type) noexcept nogil:
    """Set the partial sums of all pieces, with all threads."""
    cdef Partial[MAX_PIECES] nothing
    if floating is float:
        run_chunks(sum_float_pieces, strip, strip.job.pieces, 1, threads, nothing, NULL, 0)
    else:
        run_chunks(sum_double_pieces, strip, strip.job.pieces, 1, threads, nothing, NULL, 0)


cdef void write_together(const Strip* strip, int threads, floating* as_type) noexcept nogil:
    """Write all pieces, with all threads."""
    cdef Partial[MAX_PIECES] nothing
    if floating is float:
        run_chunks(write_float_pieces, strip, strip.job.pieces, 1, threads, nothing, NULL, 0)
    else:
        run_chunks(write_double_pieces, strip, strip.job.pieces, 1, threads, nothing, NULL, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Strips

cdef void project_strip(
    const Job* job, Py_ssize_t number, double* partial, int threads, floating* as_type
) noexcept nogil:
    """Project the vectors of one strip. With more than one thread, `partial` holds the sums of each piece."""
    cdef double[MAX_STRIP] total, factor
    cdef Py_ssize_t first = number % job.strips * job.width, vectors = min(job.width, job.inner - first), piece, j
    cdef Py_ssize_t offset = number // job.strips * job.n * job.inner + first
    cdef const floating* w = <const floating*> job.w + offset
    cdef floating* out = <floating*> job.out + offset
    cdef Strip strip = Strip(job, w, out, vectors, partial, &factor[0])
    cdef bint changed = w != out, any_odd
    if threads > 1:
        sum_together(&strip, threads, as_type)
    for j in range(vectors):
        total[j] = 0
    for piece in range(job.pieces):  # the same order for any number of threads
        if threads <= 1:
            sum_piece(&strip, piece, factor, as_type)
        for j in range(vectors):
            total[j] += factor[j] if threads <= 1 else partial[piece * vectors + j]
    any_odd = find_factors(total, factor, vectors, job.limit, as_type)
    for j in range(vectors):
        changed |= factor[j] != 1
    if changed:
        if threads <= 1:
            for piece in range(job.pieces):
                write_piece(&strip, piece, as_type)
        else:
            write_together(&strip, threads, as_type)
    if floating is double:
        for j in range(vectors if any_odd else 0):
            if total[j] == -1:
                rescale(out + j, job.n, job.inner, job.limit)


cdef void project_rows(const Job* job, Py_ssize_t start, Py_ssize_t stop, floating* as_type) noexcept nogil:
    """The same for vectors of one piece, several at once, so that their square roots and quotients vectorise too."""
    cdef double[MAX_STRIP] total, factor
    cdef const floating* w
    cdef floating* out
    cdef Py_ssize_t together = max(1, min(MAX_STRIP, ROWS // job.n)), first = start, n, j
    cdef bint any_odd
    while first < stop:
        n = min(together, stop - first)
        w = <const floating*> job.w + first * job.n
        out = <floating*> job.out + first * job.n
        for j in range(n):
            total[j] = square_sum(w + j * job.n, job.n)
        any_odd = find_factors(total, factor, n, job.limit, as_type)
        for j in range(n):
            scale(w + j * job.n, out + j * job.n, factor[j], job.n)
        if floating is double:
            for j in range(n if any_odd else 0):
                if total[j] == -1:
                    rescale(out + j * job.n, job.n, 1, job.limit)
        first += n


cdef void run_chunk(const Job* job, Py_ssize_t start, Py_ssize_t stop, floating* as_type) noexcept nogil:
    """Project strips start to stop."""
    cdef Py_ssize_t strip
    if job.inner == 1 and job.pieces == 1:
        project_rows(job, start, stop, as_type)
    else:
        for strip in range(start, stop):
            project_strip(job, strip, NULL, 1, as_type)


cdef void run_floats(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, <float*> NULL)


cdef void run_doubles(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    run_chunk(<const Job*> job, start, stop, <double*> NULL)


def max_norm(cnp.ndarray w, cnp.ndarray out, tuple shape, double limit, int threads):
    """Project the vectors of w, of this shape (outer, n, inner), into out: both C-contiguous, apart or the same.

    With threads = 0 the GIL is kept: see run_job.
    """
    cdef Job job
    cdef Py_ssize_t outer = shape[0], strips, strip
    cdef double* partial
    cdef bint single = cnp.PyArray_TYPE(w) == cnp.NPY_FLOAT
    job.n = shape[1]
    job.inner = shape[2]
    if cnp.PyArray_SIZE(w) == 0:
        return
    job.w = cnp.PyArray_DATA(w)
    job.out = cnp.PyArray_DATA(out)
    job.limit = limit
    # The partition into strips and pieces depends on the shape alone, and so do the sums.
    job.strips = quotient_up(job.inner, max(MIN_STRIP, min(MAX_STRIP, STRIP // job.n)))
    job.width = quotient_up(job.inner, job.strips)
    job.piece = max(PIECE // job.width, quotient_up(job.n, MAX_PIECES))
    job.pieces = quotient_up(job.n, job.piece)
    strips = outer * job.strips
    if threads <= 1 or strips >= 4 * threads or job.pieces == 1:
        run_job(
            run_floats if single else run_doubles, &job, strips, max(1, PIECE // (job.n * job.width)), threads
        )
        return
    # There are few strips: they are projected one after the other, each by all threads together.
    sums = np.empty(job.pieces * job.width)
    partial = <double*> cnp.PyArray_DATA(sums)
    with nogil:
        for strip in range(strips):
            if single:
                project_strip(&job, strip, partial, threads, <float*> NULL)
            else:
                project_strip(&job, strip, partial, threads, <double*> NULL)
