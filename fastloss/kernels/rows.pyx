"""The driver of the losses of vectors, functions of the distances or the cosine between them. README.md is the way in.

One pass over a row of each input sums up what these take, the function of the loss makes of it the loss and its slopes,
and a second pass writes the gradients, by the chain rule. A tile is as many whole rows as fit a piece, which is then
read from memory once; or it is one row, of several pieces. Sums are in double precision: a float32 square cannot
overflow.
"""

from cython cimport floating
from cython.parallel cimport prange
cimport numpy as cnp
from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, NAN, frexp, isfinite, ldexp, sqrt

from fastloss.kernels.loops cimport ANY, SIGN, ZERO_OR_ONE, outside
from fastloss.kernels.tiles cimport (
    LANES, MAX_CHUNKS, Operand, address, aligned, at, chunk_size, expand, grain, load, operand, weighted_sum
)
from fastloss.kernels.vecmath cimport at_most, fabs, pow, sum_lanes

cnp.import_array()

cdef extern from *:
    void prefetch "__builtin_prefetch" (const void* address) noexcept nogil

cdef enum:
    PIECE = 512         # elements of a vector
    MAX_ROWS = 128      # in a tile
    FAR = 262144        # elements from which an input is not expected in the cache
    MAX_LOSSES = 16
    MAX_PARAMETERS = 4

# ---------------------------------------------------------------------------------------------------------------------
# The losses. Of distances, s has that of the first and second vector, and for three vectors that of the first and
# third and that of the second and third. Of cosines, s has the cosine, and 1 - cosine more accurately.

cdef enum:
    VALUE               # what a loss writes: itself,
    SLOPE               # and from here on its derivatives by the distances, or by the cosine
    OUTPUTS = 4

ctypedef void (*function)(const double* s, double label, const double* c, double* out) noexcept nogil

cdef inline double positive(double x) noexcept nogil: return 0 if x <= 0 else x  # NaN stays


cdef void contrastive(const double* s, double same, const double* c, double* out) noexcept nogil:
    """c: the margin."""
    cdef double gap = positive(c[0] - s[0]), pull = s[0] if same else -gap
    out[VALUE] = pull * pull / 2
    out[SLOPE] = pull


cdef void triplet(const double* s, double label, const double* c, double* out) noexcept nogil:
    """c: the margin."""
    out[VALUE] = positive(s[0] - s[1] + c[0])
    out[SLOPE] = out[VALUE] > 0
    out[SLOPE + 1] = -out[SLOPE]


cdef void triplet_swap(const double* s, double label, const double* c, double* out) noexcept nogil:
    """c: the margin."""
    cdef double share = 1 if s[1] < s[2] else (0 if s[1] > s[2] else 0.5)
    cdef double near = s[1] if (s[1] < s[2]) | (s[1] != s[1]) else s[2]  # NaN if one is
    out[VALUE] = positive(s[0] - near + c[0])
    out[SLOPE] = out[VALUE] > 0
    out[SLOPE + 1] = -out[SLOPE] * share
    out[SLOPE + 2] = -out[SLOPE] * (1 - share)


cdef void cosine_embedding(const double* s, double label, const double* c, double* out) noexcept nogil:
    """c: the margin."""
    out[VALUE] = s[1] if label > 0 else positive(s[0] - c[0])
    out[SLOPE] = -1 if label > 0 else out[VALUE] > 0


cdef void cosine_distance(const double* s, double label, const double* c, double* out) noexcept nogil:
    out[VALUE] = s[1]
    out[SLOPE] = -1


LOSSES = {}  # name -> place in the table

cdef struct Loss:
    function of
    int distances       # how many; of a cosine 0

cdef Loss[MAX_LOSSES] TABLE


cdef add(str name, function of, int distances):
    cdef int place = len(LOSSES)
    if place == MAX_LOSSES:
        raise IndexError("the table of losses is full: raise MAX_LOSSES")
    TABLE[place] = Loss(of, distances)
    LOSSES[name] = place


add("contrastive", contrastive, 1)
add("triplet", triplet, 2)
add("triplet_swap", triplet_swap, 3)
add("cosine_embedding", cosine_embedding, 0)
add("cosine_distance", cosine_distance, 0)

# ---------------------------------------------------------------------------------------------------------------------

DOMAINS = {None: ANY, "sign": SIGN, "zero or one": ZERO_OR_ONE}

cdef struct Call:
    Loss loss
    double p                # of the norm
    double eps              # added to each difference
    double[MAX_PARAMETERS] parameters
    Py_ssize_t rows
    Py_ssize_t length       # of a row
    Py_ssize_t block        # rows in a tile
    int inputs
    const void* data[3]
    int typenum[3]
    bint direct[3]          # whether an input can be used where it lies
    Operand label
    int domain              # of the label
    Operand weight
    bint check_only
    double scale
    bint sum_values
    void* value
    void* grad[3]

cdef struct Tile:
    Py_ssize_t start            # the first row
    Py_ssize_t n                # rows
    Py_ssize_t pieces           # of each
    Py_ssize_t loaded           # the piece that is in `v`; -1 for none
    void* buffer                # three pieces
    void* v[3]                  # elements: of the differences whose norms are the distances, or of the inputs
    int vectors                 # how many of these
    bint scaled                 # whether a scale is other than 1
    double[3][MAX_ROWS] scale   # of v, powers of two, against overflow of squares
    double[3][MAX_ROWS] size    # the norms of v
    double[3][MAX_ROWS] other   # dot product, deviation from parallel, or numbers of largest elements
    double[3][MAX_ROWS] slope   # the derivatives of the loss
    double[MAX_ROWS] weight
    double[MAX_ROWS] label
    double[MAX_ROWS] value

# ---------------------------------------------------------------------------------------------------------------------
# Sums over (a piece of) one row


cdef inline double product(double x, double y, double a, double b) noexcept nogil: return x * y
cdef inline double magnitude(double x, double y, double a, double b) noexcept nogil: return fabs(x)
cdef inline double power(double x, double y, double a, double b) noexcept nogil: return pow(fabs(x), a)
cdef inline double is_of_size(double x, double y, double a, double b) noexcept nogil: return fabs(x) == a
cdef inline double deviation(double x, double y, double a, double b) noexcept nogil:
    return (x * a - y * b) * (x * a - y * b)


cdef inline double total(
    double (*term)(double, double, double, double) noexcept nogil,
    const floating* x, const floating* y, double a, double b, Py_ssize_t n
) noexcept nogil:
    cdef double[LANES] lane
    cdef double few = 0
    cdef Py_ssize_t i = 0, j
    if n < LANES:
        for i in range(n):
            few += term(x[i], y[i], a, b)
        return few
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += term(x[i + j], y[i + j], a, b)
        i += LANES
    for j in range(n - i):
        lane[j] += term(x[i + j], y[i + j], a, b)
    return sum_lanes(lane)


cdef inline double larger(double x, double y) noexcept nogil:
    """max(x, y); NaN if one is."""
    return x if (x >= y) | (x != x) else y


cdef double largest(const floating* x, double start, Py_ssize_t n) noexcept nogil:
    """The largest magnitude, at least `start`; NaN if one is NaN."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = start
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = larger(lane[j], fabs(<double> x[i + j]))
        i += LANES
    for j in range(n - i):
        lane[j] = larger(lane[j], fabs(<double> x[i + j]))
    for j in range(min(n, LANES)):
        start = larger(start, lane[j])
    return start


cdef double dot(const floating* x, const floating* y, Py_ssize_t n) noexcept nogil:
    return total(product, x, y, 0, 0, n)
cdef double sum_abs(const floating* x, Py_ssize_t n) noexcept nogil:
    return total(magnitude, x, x, 0, 0, n)
cdef double sum_powers(const floating* x, double p, Py_ssize_t n) noexcept nogil:
    return total(power, x, x, p, 0, n)
cdef double count(const floating* x, double size, Py_ssize_t n) noexcept nogil:
    return total(is_of_size, x, x, size, 0, n)
cdef double deviations(const floating* x, const floating* y, double a, double b, Py_ssize_t n) noexcept nogil:
    return total(deviation, x, y, a, b, n)


# ---------------------------------------------------------------------------------------------------------------------
# First pass

cdef void subtract(
    const floating* x, const floating* y, const floating* z, floating* a, floating* b, floating* c, double epsilon,
    int distances, Py_ssize_t n
) noexcept nogil:
    cdef floating eps = <floating> epsilon, x_i, y_i, z_i
    cdef Py_ssize_t i
    if distances == 1:
        for i in range(n):
            a[i] = x[i] - y[i] + eps
    elif distances == 2:
        for i in range(n):
            x_i = x[i]
            a[i] = x_i - y[i] + eps
            b[i] = x_i - z[i] + eps
    else:
        for i in range(n):
            x_i = x[i]
            y_i = y[i]
            z_i = z[i]
            a[i] = x_i - y_i + eps
            b[i] = x_i - z_i + eps
            c[i] = y_i - z_i + eps


cdef Py_ssize_t fetch(const Call* call, Tile* t, floating* _, Py_ssize_t piece) noexcept nogil:
    """Make `v` a piece of each row, all of them where these are short; the number of elements of one row."""
    cdef Py_ssize_t length = min(call.length - piece * PIECE, PIECE), n = t.n * length, i, r
    cdef Py_ssize_t start = t.start * call.length + piece * PIECE
    cdef floating* buffer = <floating*> t.buffer
    cdef const floating* x[3]
    cdef floating* v
    cdef int k
    if t.loaded == piece:
        return length
    t.loaded = piece
    for k in range(call.inputs):
        x[k] = <const floating*> call.data[k] + start
        if not call.direct[k] or call.loss.distances == 0 and t.scaled:
            load(call.data[k], call.typenum[k], start, buffer + k * PIECE, n)
            x[k] = buffer + k * PIECE
    for k in range(3):
        t.v[k] = <void*> x[k] if call.loss.distances == 0 and k < 2 else buffer + k * PIECE
    if call.loss.distances > 0:
        subtract(
            x[0], x[1], x[2], buffer, buffer + PIECE, buffer + 2 * PIECE, call.eps, call.loss.distances, n
        )
    if t.scaled:
        for k in range(t.vectors):
            v = <floating*> t.v[k]
            for r in range(t.n):
                for i in range(r * length, (r + 1) * length):
                    v[i] = <floating> (v[i] * t.scale[k][r])
    return length


cdef void find_norms(const Call* call, Tile* t, floating* _) noexcept nogil:
    cdef Py_ssize_t piece, r, n
    cdef double* size
    cdef const floating* x
    cdef int k
    for k in range(t.vectors):
        for r in range(t.n):
            t.size[k][r] = 0
    for piece in range(t.pieces):
        n = fetch(call, t, _, piece)
        for k in range(t.vectors):
            size = t.size[k]
            x = <const floating*> t.v[k]
            for r in range(t.n):
                if call.p == 2:
                    size[r] += dot(x + r * n, x + r * n, n)
                elif call.p == 1:
                    size[r] += sum_abs(x + r * n, n)
                elif call.p == INFINITY:
                    size[r] = largest(x + r * n, size[r], n)
                else:
                    size[r] += sum_powers(x + r * n, call.p, n)


cdef void find_scales(const Call* call, Tile* t, floating* _) noexcept nogil:
    """Set scales that bring the largest element of each vector close to 1."""
    cdef Py_ssize_t piece, r, n
    cdef double* scale
    cdef int k, exponent
    for piece in range(t.pieces):
        n = fetch(call, t, _, piece)
        for k in range(t.vectors):
            for r in range(t.n):
                scale = &t.scale[k][r]
                scale[0] = largest(<const floating*> t.v[k] + r * n, 0 if piece == 0 else scale[0], n)
    for k in range(t.vectors):
        for r in range(t.n):
            scale = &t.scale[k][r]
            frexp(scale[0], &exponent)
            scale[0] = ldexp(1, max(-1000, min(1000, -exponent))) if isfinite(scale[0]) and scale[0] > 0 else 1
    t.scaled = True
    t.loaded = -1


cdef bint out_of_range(const Tile* t, floating* _) noexcept nogil:
    """Whether a sum of squares, or one over its root, may have lost something to overflow or underflow."""
    cdef double high = 1e70 if floating is float else 1e290, low = 1e-70 if floating is float else 1e-270
    cdef Py_ssize_t r
    cdef int k, bad = 0
    for k in range(t.vectors):
        for r in range(t.n):
            bad |= (t.size[k][r] > high) | (t.size[k][r] < low)
    return bad


cdef void add_up(const Call* call, Tile* t, floating* _) noexcept nogil:
    """Find the norms of the vectors, and what else the derivatives take."""
    cdef Py_ssize_t piece, r, n
    cdef const floating* x
    cdef const floating* y
    cdef double a, b
    cdef int k
    t.scaled = False
    t.loaded = -1
    for k in range(t.vectors):
        for r in range(t.n):
            t.scale[k][r] = 1
            t.other[k][r] = 0
    if call.p != 1 and call.p != 2 and call.p != INFINITY:
        find_scales(call, t, _)
    find_norms(call, t, _)
    if call.p == 2 and out_of_range(t, _):
        find_scales(call, t, _)
        find_norms(call, t, _)
    for k in range(t.vectors):
        if call.p == 2:
            for r in range(t.n):
                t.size[k][r] = sqrt(t.size[k][r])
        elif call.p != 1 and call.p != INFINITY:
            for r in range(t.n):
                t.size[k][r] = pow(t.size[k][r], 1 / call.p)
    if call.loss.distances == 0:
        for piece in range(t.pieces):
            n = fetch(call, t, _, piece)
            x = <const floating*> t.v[0]
            y = <const floating*> t.v[1]
            for r in range(t.n):
                t.other[0][r] += dot(x + r * n, y + r * n, n)
        for piece in range(t.pieces):
            n = fetch(call, t, _, piece)
            x = <const floating*> t.v[0]
            y = <const floating*> t.v[1]
            for r in range(t.n):
                if fabs(t.other[0][r]) > 0.5 * t.size[0][r] * t.size[1][r]:
                    a = 1 / t.size[0][r]
                    b = 1 / (-t.size[1][r] if t.other[0][r] < 0 else t.size[1][r])
                    t.other[1][r] += deviations(x + r * n, y + r * n, a, b, n)
    elif call.p == INFINITY and call.grad[0] != NULL:
        for piece in range(t.pieces):
            n = fetch(call, t, _, piece)
            for k in range(t.vectors):
                for r in range(t.n):
                    t.other[k][r] += count(<const floating*> t.v[k] + r * n, t.size[k][r], n)


# ---------------------------------------------------------------------------------------------------------------------
# Second pass

cdef inline void settle(const Call* call, Tile* t, Py_ssize_t r) noexcept nogil:
    """The loss of a row, and its derivatives by the distances or by the cosine, weighted and scaled."""
    cdef double[3] s
    cdef double[OUTPUTS] out
    cdef double factor = at_most(call.scale * t.weight[r], <double> DBL_MAX), size = t.size[0][r] * t.size[1][r]
    cdef int k
    if call.loss.distances > 0:
        for k in range(call.loss.distances):
            s[k] = t.size[k][r] / t.scale[k][r]
    elif size == 0:
        s[0] = 0
        s[1] = 1
    else:
        s[0] = t.other[0][r] / size
        s[1] = 1 - s[0]
        if fabs(t.other[0][r]) > 0.5 * size:
            s[1] = t.other[1][r] / 2 if s[0] > 0 else 2 - t.other[1][r] / 2
            s[0] = 1 - s[1] if s[0] > 0 else t.other[1][r] / 2 - 1
        t.other[0][r] = s[0]
    call.loss.of(s, t.label[r], call.parameters, out)
    t.value[r] = out[VALUE]
    for k in range(max(1, call.loss.distances)):
        # Of a loss that is NaN, so are all gradients; what a loss does not depend on has none, be it infinite.
        t.slope[k][r] = 0 if t.weight[r] == 0 else (out[SLOPE + k] * factor if out[VALUE] == out[VALUE] else NAN)


cdef inline void fill(floating* x, double value, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = <floating> value


cdef inline void differentiate_norm(
    const Call* call, Tile* t, int k, Py_ssize_t r, floating* x, Py_ssize_t n
) noexcept nogil:
    """Put the derivatives by (a piece of) a difference in its place, from that by its norm."""
    cdef double size = t.size[k][r], p = call.p - 1, slope_by_size = t.slope[k][r]
    cdef floating slope = <floating> slope_by_size, one_by_size = <floating> (1 / size)
    cdef Py_ssize_t i
    if slope_by_size != slope_by_size or slope_by_size == 0 or size == 0:
        fill(x, slope_by_size if slope_by_size != slope_by_size else 0, n)
    elif call.p == 2:
        for i in range(n):
            x[i] = x[i] * one_by_size * slope
    elif call.p == 1:
        for i in range(n):
            x[i] = slope if x[i] > 0 else (-slope if x[i] < 0 else 0)
    elif call.p == INFINITY:
        slope_by_size /= t.other[k][r]
        for i in range(n):
            x[i] = <floating> (slope_by_size if x[i] == size else (-slope_by_size if x[i] == -size else 0))
    else:
        slope_by_size /= pow(size, p)
        for i in range(n):
            x[i] = <floating> (slope_by_size * pow(fabs(<double> x[i]), p) * (1 if x[i] >= 0 else -1))


cdef void add_differences(const Call* call, Tile* t, floating* _, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """From the derivatives by the differences those by the inputs."""
    cdef floating* first = at(<floating*> call.grad[0], start)
    cdef floating* second = at(<floating*> call.grad[1], start)
    cdef floating* third = at(<floating*> call.grad[2], start)
    cdef const floating* a = <const floating*> t.v[0]
    cdef const floating* b = <const floating*> t.v[1]
    cdef const floating* c = <const floating*> t.v[2]
    cdef Py_ssize_t i
    if call.loss.distances == 1:
        for i in range(n):
            first[i] = a[i]
            second[i] = 0 - a[i]
    elif call.loss.distances == 2:
        for i in range(n):
            first[i] = a[i] + b[i]
            second[i] = 0 - a[i]
            third[i] = 0 - b[i]
    else:
        for i in range(n):
            first[i] = a[i] + b[i]
            second[i] = c[i] - a[i]
            third[i] = 0 - b[i] - c[i]


cdef inline void differentiate_cosine(
    const Call* call, const Tile* t, int k, Py_ssize_t r, floating* grad, Py_ssize_t n
) noexcept nogil:
    """The derivatives by (a piece of) vector k: slope (y / |y| - cosine x / |x|) / |x|."""
    cdef const floating* x = <const floating*> t.v[k] + r * n
    cdef const floating* y = <const floating*> t.v[1 - k] + r * n
    cdef double slope = t.slope[0][r], own = 1 / t.size[k][r], other = 1 / t.size[1 - k][r], scale = t.scale[k][r]
    cdef double a = slope * own * other, b = slope * own * own * t.other[0][r]
    cdef Py_ssize_t i
    if slope != slope or slope == 0 or t.size[k][r] == 0 or t.size[1 - k][r] == 0:
        fill(grad, slope if slope != slope else 0, n)
    else:
        for i in range(n):
            grad[i] = <floating> ((a * y[i] - b * x[i]) * scale)


cdef void write_gradients(const Call* call, Tile* t, floating* _) noexcept nogil:
    cdef Py_ssize_t piece, r, n, start
    cdef int k
    for piece in range(t.pieces):
        n = fetch(call, t, _, piece)
        start = t.start * call.length + piece * PIECE
        if call.loss.distances > 0:
            for k in range(t.vectors):
                for r in range(t.n):
                    differentiate_norm(call, t, k, r, <floating*> t.v[k] + r * n, n)
            add_differences(call, t, _, start, t.n * n)
        else:
            for k in range(2):
                if call.grad[k] != NULL:
                    for r in range(t.n):
                        differentiate_cosine(call, t, k, r, <floating*> call.grad[k] + start + r * n, n)
        t.loaded = -1


# ---------------------------------------------------------------------------------------------------------------------
# The driver

cdef void prefetch_next(const Call* call, const Tile* t, floating* _) noexcept nogil:
    """Ask for the next tile: a piece is too short a stretch for the hardware to foresee it."""
    cdef Py_ssize_t start = (t.start + t.n) * call.length, n = min(PIECE, call.rows * call.length - start), i
    cdef int k
    for k in range(3):
        if k < call.inputs and call.direct[k]:
            for i in range(0, n, 16):
                prefetch(<const floating*> call.data[k] + start + i)
        if call.grad[k] != NULL:
            for i in range(0, n, 16):
                prefetch(<const floating*> call.grad[k] + start + i)


cdef double run_tile(const Call* call, floating* buffer, Py_ssize_t tile, char* bad) noexcept nogil:
    """A tile: the sum of its weighted losses."""
    cdef double[MAX_ROWS] scratch
    cdef Tile t
    cdef Py_ssize_t r
    t.start = tile * call.block
    t.n = min(call.block, call.rows - t.start)
    t.pieces = (call.length + PIECE - 1) // PIECE
    t.vectors = call.loss.distances if call.loss.distances > 0 else 2
    t.buffer = buffer
    fill(t.weight, 1, t.n)
    if call.weight.data != NULL:
        expand(&call.weight, t.start, t.weight, t.n, scratch)
    if call.label.data != NULL:
        expand(&call.label, t.start, t.label, t.n, scratch)
        bad[0] |= outside(call.domain, t.label, t.weight, t.n)
    if call.check_only:
        return 0
    if t.pieces == 1 and call.rows * call.length > FAR:
        prefetch_next(call, &t, buffer)
    add_up(call, &t, buffer)
    for r in range(t.n):
        settle(call, &t, r)
    if call.value != NULL:
        for r in range(t.n):
            (<floating*> call.value)[t.start + r] = 0 if t.weight[r] == 0 else <floating> (t.weight[r] * t.value[r])
    if call.grad[0] != NULL:
        write_gradients(call, &t, buffer)
    return weighted_sum(t.value, t.weight, t.n) if call.sum_values else 0


cdef double run_chunk(const Call* call, floating* _, Py_ssize_t start, Py_ssize_t stop, char* bad) noexcept nogil:
    cdef floating[3 * PIECE + 16] memory
    cdef double sum_of_losses = 0
    cdef Py_ssize_t tile
    bad[0] = 0
    for tile in range(start, stop):
        sum_of_losses += run_tile(call, aligned(memory), tile, bad)
    return sum_of_losses


cdef double run_all(const Call* call, floating* _, int threads, char* bad) noexcept nogil:
    """Run all chunks; their sums are added in order, so the result does not depend on the number of threads."""
    cdef double[MAX_CHUNKS] partial
    cdef char[MAX_CHUNKS] flag
    cdef Py_ssize_t tiles = (call.rows + call.block - 1) // call.block, size = chunk_size(tiles, 1), k
    cdef Py_ssize_t chunks = (tiles + size - 1) // size
    cdef double sum_of_losses = 0
    if threads <= 1:
        for k in range(chunks):
            partial[k] = run_chunk(call, _, k * size, min(tiles, (k + 1) * size), &flag[k])
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
            partial[k] = run_chunk(call, _, k * size, min(tiles, (k + 1) * size), &flag[k])
    for k in range(chunks):
        sum_of_losses += partial[k]
        bad[0] |= flag[k]
    return sum_of_losses


def run(
    int loss, tuple inputs, cnp.ndarray label, domain, double p, double eps, cnp.ndarray weight,
    Py_ssize_t weight_inner, tuple parameters, bint check_only, double scale, bint sum_values, cnp.ndarray value,
    tuple grads, int threads
):
    """Run one loss over checked, C-contiguous arrays: the weighted sum, or None where a label is not in its domain.

    Distances are p-norms of differences with `eps` added to each element. What there is not is None. threads = 0 stands
    for an input so small that releasing the GIL would cost more than it gives.
    """
    cdef Call call
    cdef cnp.ndarray first = inputs[0]
    cdef bint single = cnp.PyArray_TYPE(first) == cnp.NPY_FLOAT
    cdef char bad = 0
    cdef double sum_of_losses
    cdef int k, j
    call.loss = TABLE[loss]
    call.p = p
    call.eps = eps
    call.length = cnp.PyArray_DIM(first, cnp.PyArray_NDIM(first) - 1)
    call.rows = cnp.PyArray_SIZE(first) // call.length
    call.block = max(1, min(MAX_ROWS, PIECE // call.length))
    for k in range(3):
        call.grad[k] = address(grads[k]) if k < len(grads) else NULL
    call.inputs = len(inputs)
    for k in range(call.inputs):
        call.data[k] = cnp.PyArray_DATA(inputs[k])
        call.typenum[k] = cnp.PyArray_TYPE(inputs[k])
        call.direct[k] = call.typenum[k] == cnp.PyArray_TYPE(first)
        # In place, the loops get a copy: the compiler must not fear that a store changes what is still to be read.
        for j in range(3):
            call.direct[k] &= call.data[k] != call.grad[j]
    call.label = operand(label, 1)
    call.domain = DOMAINS[domain]
    call.weight = operand(weight, weight_inner)
    if len(parameters) > MAX_PARAMETERS:
        raise IndexError("too many parameters: raise MAX_PARAMETERS")
    for k in range(len(parameters)):
        call.parameters[k] = parameters[k]
    call.check_only = check_only
    call.scale = scale
    call.sum_values = sum_values
    call.value = address(value)
    if threads == 0:
        sum_of_losses = run_all(&call, <float*> NULL, 0, &bad) if single else run_all(&call, <double*> NULL, 0, &bad)
    else:
        with nogil:
            sum_of_losses = (
                run_all(&call, <float*> NULL, threads, &bad) if single
                else run_all(&call, <double*> NULL, threads, &bad)
            )
    return None if bad else sum_of_losses
