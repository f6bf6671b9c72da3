"""The driver of the losses of vectors, functions of the distances or the cosine between them. README.md is the way in.

One pass over a row of each input sums up what these take, the function of the loss makes of it the loss and its slopes,
and a second pass writes the gradients, by the chain rule. A tile is as many whole rows as fit a piece, which is then
read from memory once; or it is one row, of several pieces. Short rows are transposed, so that a vector register holds
one element of many rows. Sums are in double precision: a float32 square cannot overflow.
"""

from cython cimport floating
from cython.parallel cimport prange
cimport numpy as cnp
from libc.float cimport DBL_MAX, DBL_MIN, FLT_MAX, FLT_MIN
from libc.math cimport INFINITY, NAN, fmin, frexp, isfinite, ldexp

from fastloss.kernels.class_axis cimport transpose
from fastloss.kernels.loops cimport ANY, SIGN, ZERO_OR_ONE, outside
from fastloss.kernels.row_gradients cimport (
    by_euclidean, by_largest, by_power, by_sum, differentiate, differentiate_cosine
)
from fastloss.kernels.row_sums cimport (
    MAX_ROWS, PIECE, Call, Sums, Tile, add_rows, deviation, distance, is_of_size, largest_distance, largest_magnitude,
    loss_of_rows, nearly_parallel, power, products, scaled_square, square
)
from fastloss.kernels.tiles cimport (
    LANES, MAX_CHUNKS, MAX_PARAMETERS, address, aligned, at, chunk_size, end_stream, expand, grain, load, operand,
    take_parameters, weighted_sum
)
from fastloss.kernels.vecmath cimport at_least, at_most, fabs, pow, sqrt

cnp.import_array()

cdef enum:
    FAR = 16777216      # bytes of inputs and gradients from which these are not expected in the cache
    MAX_LOSSES = 16

# ---------------------------------------------------------------------------------------------------------------------
# The losses. Of distances, s has that of the first and second vector, and for three vectors that of the first and
# third and that of the second and third. Of cosines, s has the cosine, and 1 - cosine more accurately.

cdef enum:
    VALUE               # what a loss writes: itself,
    SLOPE               # and from here on its derivatives by the distances, or by the cosine
    OUTPUTS = 4

cdef inline double positive(double x) noexcept nogil: return 0 if x <= 0 else x  # NaN stays
cdef inline double step(double x) noexcept nogil: return 1.0 if x > 0 else 0.0


cdef inline void contrastive(const double* s, double same, const double* c, double* out) noexcept nogil:
    """c: the margin."""
    cdef double gap = positive(c[0] - s[0]), pull = s[0] if same else -gap
    out[VALUE] = pull * pull / 2
    out[SLOPE] = pull


cdef inline void triplet(const double* s, double label, const double* c, double* out) noexcept nogil:
    """c: the margin."""
    out[VALUE] = positive(s[0] - s[1] + c[0])
    out[SLOPE] = step(out[VALUE])
    out[SLOPE + 1] = -out[SLOPE]


cdef inline void triplet_swap(const double* s, double label, const double* c, double* out) noexcept nogil:
    """c: the margin."""
    cdef double share = 1.0 if s[1] < s[2] else (0.0 if s[1] > s[2] else 0.5)
    cdef double near = s[1] if (s[1] < s[2]) | (s[1] != s[1]) else s[2]  # NaN if one is
    out[VALUE] = positive(s[0] - near + c[0])
    out[SLOPE] = step(out[VALUE])
    out[SLOPE + 1] = -out[SLOPE] * share
    out[SLOPE + 2] = -out[SLOPE] * (1 - share)


cdef inline void cosine_embedding(const double* s, double label, const double* c, double* out) noexcept nogil:
    """c: the margin."""
    out[VALUE] = s[1] if label > 0 else positive(s[0] - c[0])
    out[SLOPE] = -1.0 if label > 0 else step(out[VALUE])


cdef inline void cosine_distance(const double* s, double label, const double* c, double* out) noexcept nogil:
    out[VALUE] = s[1]
    out[SLOPE] = -1


# ---------------------------------------------------------------------------------------------------------------------

cdef inline void settle(
    void (*loss)(const double*, double, const double*, double*) noexcept nogil, int slopes, const Call* call, Tile* t
) noexcept nogil:
    """The losses of the rows, and their derivatives by the distances or by the cosine, weighted and scaled."""
    cdef double[MAX_PARAMETERS] c
    cdef double[3] s
    cdef double[OUTPUTS] out
    cdef double scale = call.scale, factor, slope
    cdef Py_ssize_t r
    cdef int k
    for k in range(MAX_PARAMETERS):
        c[k] = call.parameters[k]
    for r in range(t.n):
        for k in range(3):
            s[k] = t.s[k][r]
        loss(s, t.label[r], c, out)
        t.value[r] = out[VALUE]
        factor = at_most(scale * t.weight[r], <double> DBL_MAX)
        for k in range(slopes):
            # Of a loss that is NaN, so are all gradients; what a loss does not depend on has none, be it infinite.
            slope = out[SLOPE + k] * factor if out[VALUE] == out[VALUE] else <double> NAN
            t.slope[k][r] = 0 if t.weight[r] == 0 else slope


cdef void contrastive_rows(const Call* call, Tile* t) noexcept nogil: settle(contrastive, 1, call, t)
cdef void triplet_rows(const Call* call, Tile* t) noexcept nogil: settle(triplet, 2, call, t)
cdef void triplet_swap_rows(const Call* call, Tile* t) noexcept nogil: settle(triplet_swap, 3, call, t)
cdef void cosine_embedding_rows(const Call* call, Tile* t) noexcept nogil: settle(cosine_embedding, 1, call, t)
cdef void cosine_distance_rows(const Call* call, Tile* t) noexcept nogil: settle(cosine_distance, 1, call, t)

LOSSES = {}  # name -> place in the table

cdef struct Loss:
    loss_of_rows rows
    int distances           # how many; of a cosine 0

cdef Loss[MAX_LOSSES] TABLE


cdef add(str name, loss_of_rows rows, int distances):
    cdef int place = len(LOSSES)
    if place == MAX_LOSSES:
        raise IndexError("the table of losses is full: raise MAX_LOSSES")
    TABLE[place] = Loss(rows, distances)
    LOSSES[name] = place


add("contrastive", contrastive_rows, 1)
add("triplet", triplet_rows, 2)
add("triplet_swap", triplet_swap_rows, 3)
add("cosine_embedding", cosine_embedding_rows, 0)
add("cosine_distance", cosine_distance_rows, 0)

DOMAINS = {None: ANY, "sign": SIGN, "zero or one": ZERO_OR_ONE}

# ---------------------------------------------------------------------------------------------------------------------
# A piece of each row

cdef inline void turn_few(
    Py_ssize_t columns, bint back, const floating* x, floating* y, Py_ssize_t n, Py_ssize_t stride
) noexcept nogil:
    cdef Py_ssize_t r, c
    for r in range(n):
        for c in range(columns):
            if back:
                y[r * columns + c] = x[c * stride + r]
            else:
                y[c * stride + r] = x[r * columns + c]


cdef inline void turn(bint back, const Call* call, const floating* x, floating* y, Py_ssize_t n) noexcept nogil:
    """Transpose n rows x into columns y of a tile, or back."""
    if call.length == 1:
        turn_few(1, back, x, y, n, call.block)
    elif call.length == 2:
        turn_few(2, back, x, y, n, call.block)
    elif call.length == 3:
        turn_few(3, back, x, y, n, call.block)
    elif back:
        transpose(x, call.block, call.length, n, y, call.length)
    else:
        transpose(x, call.length, n, call.length, y, call.block)


cdef void fetch(const Call* call, Tile* t, floating* buffer, Py_ssize_t piece) noexcept nogil:
    """Make `x` a piece of each row."""
    cdef Py_ssize_t start = t.start * call.length + piece * PIECE
    cdef const floating* x
    cdef int k
    if t.loaded == piece:
        return
    t.loaded = piece
    t.length = min(call.length - piece * PIECE, PIECE)
    for k in range(call.inputs):
        x = <const floating*> call.data[k] + start
        if not call.direct[k]:
            x = buffer + (3 + k) * PIECE
            load(call.data[k], call.typenum[k], start, <floating*> x, t.n * t.length)
        if call.across:
            turn(False, call, x, buffer + k * PIECE, t.n)
            x = buffer + k * PIECE
        t.x[k] = x


# ---------------------------------------------------------------------------------------------------------------------
# First pass. Each is a function of its own, or their loops would run out of registers.
cdef void add_squares(const Call* c, const Tile* t, const Sums* s, floating* _) noexcept nogil:
    add_rows(square[floating], 1, False, c, t, s)
cdef void add_scaled_squares(const Call* c, const Tile* t, const Sums* s, floating* _) noexcept nogil:
    add_rows(scaled_square[floating], 1, False, c, t, s)
cdef void add_powers(const Call* c, const Tile* t, const Sums* s, floating* _) noexcept nogil:
    add_rows(power[floating], 1, False, c, t, s)
cdef void add_distances(const Call* c, const Tile* t, const Sums* s, floating* _) noexcept nogil:
    add_rows(distance[floating], 1, False, c, t, s)
cdef void find_largest_distances(const Call* c, const Tile* t, const Sums* s, floating* _) noexcept nogil:
    add_rows(largest_distance[floating], 1, True, c, t, s)
cdef void count(const Call* c, const Tile* t, const Sums* s, floating* _) noexcept nogil:
    add_rows(is_of_size[floating], 1, False, c, t, s)
cdef void find_largest_magnitudes(const Call* c, const Tile* t, const Sums* s, floating* _) noexcept nogil:
    add_rows(largest_magnitude[floating], 1, True, c, t, s)
cdef void add_products(const Call* c, const Tile* t, const Sums* s, floating* _) noexcept nogil:
    add_rows(products[floating], 3, False, c, t, s)
cdef void add_deviations(const Call* c, const Tile* t, const Sums* s, floating* _) noexcept nogil:
    add_rows(deviation[floating], 1, False, c, t, s)


cdef void total(
    void (*add)(const Call*, const Tile*, const Sums*, floating*) noexcept nogil, const Call* call, Tile* t,
    floating* buffer, int first, int second, const double* a, const double* b, double* result
) noexcept nogil:
    """Sums over whole rows, of two vectors."""
    cdef Sums s = Sums(first, second, a, b, result, True)
    cdef Py_ssize_t piece
    for piece in range(t.pieces):
        fetch(call, t, buffer, piece)
        add(call, t, &s, buffer)
        s.fresh = False


cdef void total_of_pair(
    void (*add)(const Call*, const Tile*, const Sums*, floating*) noexcept nogil, const Call* call, Tile* t,
    floating* buffer, int k, const double* a, double* result
) noexcept nogil:
    """Sums over whole rows, of the difference that is the k-th distance."""
    total(add, call, t, buffer, k // 2, (k + 3) // 2, a, a, result)


cdef void find_norms(const Call* call, Tile* t, floating* buffer) noexcept nogil:
    cdef int k
    if call.distances == 0:
        total(add_products[floating], call, t, buffer, 0, 1, t.scale[0], t.scale[1], t.size[0])
    for k in range(call.distances):
        if call.p == 1:
            total_of_pair(add_distances[floating], call, t, buffer, k, t.scale[k], t.size[k])
        elif call.p == INFINITY:
            total_of_pair(find_largest_distances[floating], call, t, buffer, k, t.scale[k], t.size[k])
        elif call.p != 2:
            total_of_pair(add_powers[floating], call, t, buffer, k, t.scale[k], t.size[k])
        elif t.scaled:
            total_of_pair(add_scaled_squares[floating], call, t, buffer, k, t.scale[k], t.size[k])
        else:
            total_of_pair(add_squares[floating], call, t, buffer, k, t.scale[k], t.size[k])


cdef inline bint out_of_range(double size) noexcept nogil:
    """Whether a sum of squares may have lost something to overflow or underflow; that of float32 cannot."""
    return (size > 1e290) | (size < 1e-270)


cdef inline bint needs_scale(const Call* call, const Tile* t, int k, Py_ssize_t r) noexcept nogil:
    """Whether a sum of squares does. Those of a cosine do if one of both does, or their ratio would be out of range."""
    return out_of_range(t.size[k][r]) or call.distances == 0 and out_of_range(t.size[1 - k][r])


cdef bint any_out_of_range(const Tile* t) noexcept nogil:
    cdef Py_ssize_t r
    cdef int k, bad = 0
    for k in range(t.vectors):
        for r in range(t.n):
            bad |= out_of_range(t.size[k][r])
    return bad


cdef void find_scales(const Call* call, Tile* t, floating* buffer) noexcept nogil:
    """Set scales that bring the largest element close to 1, of sums of squares only where these are out of range."""
    cdef Py_ssize_t r
    cdef double* scale
    cdef int k, exponent
    for k in range(t.vectors):
        scale = t.scale[k]
        if call.distances == 0:
            total(find_largest_magnitudes[floating], call, t, buffer, k, k, scale, scale, scale)
        else:
            total_of_pair(find_largest_distances[floating], call, t, buffer, k, scale, scale)
        for r in range(t.n):
            if not isfinite(scale[r]) or scale[r] == 0 or call.p == 2 and not needs_scale(call, t, k, r):
                scale[r] = 1
            elif call.p == 2:
                frexp(scale[r], &exponent)
                scale[r] = ldexp(1, max(-1000, min(1000, -exponent)))
            else:  # no power of two: 0.5 to a power above 1074 is 0
                scale[r] = fmin(1 / scale[r], ldexp(1, 1000))
    t.scaled = True


cdef void find_cosines(const Call* call, Tile* t, floating* buffer) noexcept nogil:
    """The cosine, and 1 - cosine more accurately: of nearly parallel vectors from |x / |x| - y / |y||^2."""
    cdef double* cosine = t.s[0]
    cdef double* opposite = t.s[1]  # 1 - cosine
    cdef double* a = t.other[0]
    cdef double* b = t.other[1]
    cdef double* squared = t.other[2]
    cdef double p, q, low
    cdef int parallel = 0
    cdef Py_ssize_t r
    for r in range(t.n):
        p = t.size[0][r]
        q = t.size[1][r]
        cosine[r] = p * q if (p == 0) | (q == 0) else t.size[2][r] / p / q  # 0, or NaN if one is not finite
        opposite[r] = 1 - cosine[r]
        # The larger one is brought to the length of the smaller, which cannot overflow.
        low = q if q < p else p
        a[r] = t.scale[0][r] * (low / p)
        b[r] = t.scale[1][r] * (-low / q if cosine[r] < 0 else low / q)
        parallel |= nearly_parallel(cosine[r], <floating> 0)
    if parallel:
        total(add_deviations[floating], call, t, buffer, 0, 1, a, b, squared)
        for r in range(t.n):
            low = t.size[1][r] if t.size[1][r] < t.size[0][r] else t.size[0][r]
            p = squared[r] / low / low / 2
            if nearly_parallel(cosine[r], <floating> 0):
                opposite[r] = p if cosine[r] > 0 else 2 - p
                cosine[r] = 1 - p if cosine[r] > 0 else p - 1


cdef void add_up(const Call* call, Tile* t, floating* buffer) noexcept nogil:
    """Find what the loss is a function of, and what else its derivatives take."""
    cdef double one_by_p = 1 / call.p
    cdef Py_ssize_t r
    cdef int k
    t.scaled = False
    for k in range(t.vectors):
        for r in range(t.n):
            t.scale[k][r] = 1
    if call.p != 1 and call.p != 2 and call.p != INFINITY:
        find_scales(call, t, buffer)
    find_norms(call, t, buffer)
    if call.p == 2 and floating is double and any_out_of_range(t):
        find_scales(call, t, buffer)
        find_norms(call, t, buffer)
    for k in range(t.vectors):
        if call.p == 2:
            for r in range(t.n):
                t.size[k][r] = sqrt(t.size[k][r])
        elif call.p != 1 and call.p != INFINITY:
            for r in range(t.n):
                t.size[k][r] = pow(t.size[k][r], one_by_p)
        for r in range(t.n):
            t.s[k][r] = t.size[k][r] / t.scale[k][r] if t.scaled else t.size[k][r]
    if call.distances == 0:
        find_cosines(call, t, buffer)
    elif call.p == INFINITY and call.grad[0] != NULL:
        for k in range(t.vectors):
            total_of_pair(count[floating], call, t, buffer, k, t.size[k], t.other[k])


# ---------------------------------------------------------------------------------------------------------------------
# Second pass

cdef void differentiate_euclidean(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_euclidean[floating], c, t, out, f)
cdef void differentiate_sum(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_sum[floating], c, t, out, f)
cdef void differentiate_largest(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_largest[floating], c, t, out, f)
cdef void differentiate_power(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_power[floating], c, t, out, f)


cdef void differentiate_cosine_once(const Call* call, const Tile* t, floating** out) noexcept nogil:
    differentiate_cosine(False, call, t, out)
cdef void differentiate_cosine_twice(const Call* call, const Tile* t, floating** out) noexcept nogil:
    differentiate_cosine(True, call, t, out)


cdef void find_factors(const Call* call, Tile* t, int k, floating* b, floating* c) noexcept nogil:
    """What the derivatives of vector k take of each row."""
    cdef double smallest = FLT_MIN if floating is float else DBL_MIN
    cdef double largest = FLT_MAX if floating is float else DBL_MAX
    cdef double* size = t.size[k]
    cdef double* scale = t.scale[k]
    cdef double* slope = t.slope[k]
    cdef double factor, quotient, p = call.p
    cdef Py_ssize_t r
    cdef bint none, fits
    if p == 2:
        for r in range(t.n):
            # The quotient of slope and size can be beyond the dtype where their product with a difference is not: two
            # factors then. Only then, since an element that is tiny beside the others may not survive the first.
            quotient = slope[r] * scale[r] / size[r]
            factor = at_most(at_least(1 / size[r], smallest), largest)
            factor = <double> <floating> factor if scale[r] == 1 else scale[r]
            c[r] = <floating> (slope[r] / (size[r] * factor if scale[r] == 1 else size[r]))
            fits = (smallest <= fabs(quotient)) & (fabs(quotient) <= largest)
            none = (slope[r] == 0) | (size[r] == 0)
            t.other[k][r] = 0 if none else <double> INFINITY
            b[r] = <floating> (0 if none else 1 if fits else factor)
            c[r] = 0 if none else <floating> quotient if fits else c[r]
    elif p == 1:
        for r in range(t.n):
            c[r] = <floating> slope[r]
    elif p == INFINITY:
        for r in range(t.n):
            b[r] = <floating> size[r]
            c[r] = <floating> (0 if slope[r] == 0 else slope[r] / t.other[k][r])
    else:
        for r in range(t.n):
            b[r] = <floating> (0 if slope[r] == 0 else size[r])
            c[r] = <floating> (slope[r] * pow(1 if b[r] == size[r] else b[r] / size[r], p - 1))


cdef void find_cosine_factors(Tile* t) noexcept nogil:
    cdef double p, q, slope
    cdef Py_ssize_t r
    for r in range(t.n):
        p, q = t.size[0][r], t.size[1][r]
        slope = 0 if p * q == 0 else t.slope[0][r]
        t.factors[0][r], t.factors[1][r] = t.scale[0][r], t.scale[1][r]
        t.factors[2][r] = 0 if slope == 0 else <double> INFINITY
        t.factors[3][r] = 0 if slope == 0 else slope * t.s[0][r] / (p * p)
        t.factors[4][r] = 0 if slope == 0 else slope * t.s[0][r] / (q * q)
        t.factors[5][r] = 0 if slope == 0 else slope / (p * q)


cdef void write_gradients(const Call* call, Tile* t, floating* buffer) noexcept nogil:
    cdef floating* factors = buffer + 6 * PIECE
    cdef floating* out[3]
    cdef Py_ssize_t piece
    cdef int k
    if call.distances == 0:
        find_cosine_factors(t)
    for k in range(call.distances):
        find_factors(call, t, k, factors + k * MAX_ROWS, factors + (3 + k) * MAX_ROWS)
    for piece in range(t.pieces):
        fetch(call, t, buffer, piece)
        for k in range(3):
            out[k] = at(<floating*> call.grad[k], t.start * call.length + piece * PIECE)
            if call.across and out[k] != NULL:
                out[k] = buffer + (3 + k) * PIECE
        if call.distances == 0:
            if out[1] == NULL:
                differentiate_cosine_once(call, t, out)
            else:
                differentiate_cosine_twice(call, t, out)
        elif call.p == 2:
            differentiate_euclidean(call, t, out, factors)
        elif call.p == 1:
            differentiate_sum(call, t, out, factors)
        elif call.p == INFINITY:
            differentiate_largest(call, t, out, factors)
        else:
            differentiate_power(call, t, out, factors)
        if call.across:
            for k in range(3):
                if out[k] != NULL:
                    turn(True, call, out[k], <floating*> call.grad[k] + t.start * call.length, t.n)


# ---------------------------------------------------------------------------------------------------------------------
# The driver

cdef void run_tile(const Call* call, Tile* t, floating* buffer) noexcept nogil:
    t.loaded = -1
    add_up(call, t, buffer)
    call.loss(call, t)
    if call.grad[0] != NULL:
        write_gradients(call, t, buffer)


cdef double run_batch(const Call* call, floating* buffer, Py_ssize_t batch, char* bad) noexcept nogil:
    """Some tiles, with their labels and weights: the sum of their weighted losses."""
    cdef double[MAX_ROWS] weight
    cdef double[MAX_ROWS] label
    cdef double[MAX_ROWS] value
    cdef double[MAX_ROWS] scratch
    cdef Py_ssize_t start = batch * call.batch, n = min(call.batch, call.rows - start), r
    cdef Tile t
    for r in range(n):
        weight[r] = 1
    if call.weight.data != NULL:
        expand(&call.weight, start, weight, n, scratch)
    if call.label.data != NULL:
        expand(&call.label, start, label, n, scratch)
        bad[0] |= outside(call.domain, label, weight, n)
    if call.check_only:
        return 0
    t.pieces = (call.length + PIECE - 1) // PIECE
    t.vectors = call.distances if call.distances > 0 else 2
    r = 0
    while r < n:
        t.start, t.n = start + r, min(call.block, n - r)
        t.weight, t.label, t.value = weight + r, label + r, value + r
        run_tile(call, &t, buffer)
        r += call.block
    if call.value != NULL:
        for r in range(n):
            (<floating*> call.value)[start + r] = 0 if weight[r] == 0 else <floating> (weight[r] * value[r])
    return weighted_sum(value, weight, n) if call.sum_values else 0


cdef double run_chunk(const Call* call, floating* _, Py_ssize_t start, Py_ssize_t stop, char* bad) noexcept nogil:
    cdef floating[6 * PIECE + 6 * MAX_ROWS + 16] memory
    cdef double sum_of_losses = 0
    cdef Py_ssize_t batch
    bad[0] = 0
    for batch in range(start, stop):
        sum_of_losses += run_batch(call, aligned(memory), batch, bad)
    if call.far:
        end_stream()
    return sum_of_losses


cdef double run_all(const Call* call, floating* _, int threads, char* bad) noexcept nogil:
    """Run all chunks; their sums are added in order, so the result does not depend on the number of threads."""
    cdef double[MAX_CHUNKS] partial
    cdef char[MAX_CHUNKS] flag
    cdef Py_ssize_t batches = (call.rows + call.batch - 1) // call.batch, size = chunk_size(batches, 1), k
    cdef Py_ssize_t chunks = (batches + size - 1) // size
    cdef double sum_of_losses = 0
    if threads <= 1:
        for k in range(chunks):
            partial[k] = run_chunk(call, _, k * size, min(batches, (k + 1) * size), &flag[k])
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
            partial[k] = run_chunk(call, _, k * size, min(batches, (k + 1) * size), &flag[k])
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
    cdef int k
    call.loss = TABLE[loss].rows
    call.distances = TABLE[loss].distances
    call.p = p
    call.eps = eps
    call.length = cnp.PyArray_DIM(first, cnp.PyArray_NDIM(first) - 1)
    call.rows = cnp.PyArray_SIZE(first) // call.length
    for k in range(3):
        call.grad[k] = address(grads[k]) if k < len(grads) else NULL
    call.inputs = len(inputs)
    call.across = call.length < LANES
    call.far = 2 * call.inputs * cnp.PyArray_NBYTES(first) > FAR and call.length <= PIECE // 2
    call.block = max(1, min(MAX_ROWS, PIECE // call.length))
    call.ahead = 2 * call.block if call.far else call.rows
    if call.across:
        call.block = call.block // LANES * LANES
    call.batch = call.block * max(1, min(MAX_ROWS, 4 * PIECE // call.length) // call.block)
    for k in range(call.inputs):
        call.data[k] = cnp.PyArray_DATA(inputs[k])
        call.typenum[k] = cnp.PyArray_TYPE(inputs[k])
        call.direct[k] = call.typenum[k] == cnp.PyArray_TYPE(first)
    call.label = operand(label, 1)
    call.domain = DOMAINS[domain]
    call.weight = operand(weight, weight_inner)
    take_parameters(call.parameters, parameters, False)  # all that they take part in is in double precision
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
