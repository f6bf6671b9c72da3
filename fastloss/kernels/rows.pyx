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
from fastloss.kernels.tiles cimport (
    LANES, MAX_CHUNKS, MAX_PARAMETERS, Operand, address, aligned, at, chunk_size, expand, grain, load, operand,
    take_parameters, weighted_sum
)
from fastloss.kernels.vecmath cimport FMA, at_least, at_most, fabs, multiply_add, pow, sqrt, sum_lanes

cnp.import_array()

cdef enum:
    PIECE = 1024        # elements of a vector
    MAX_ROWS = 128      # in a tile
    FAR = 16777216      # bytes of inputs and gradients from which these are not expected in the cache
    MAX_LOSSES = 16

cdef double NEARLY_PARALLEL = 1 - 1e-5  # in double precision, the error of a cosine is nothing beside 1e-5

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

cdef struct Call
cdef struct Tile

ctypedef void (*loss_of_rows)(const Call*, Tile*) noexcept nogil

cdef struct Call:
    loss_of_rows loss
    int distances           # how many; of a cosine 0
    double p                # of the norm
    double eps              # added to each difference
    double[MAX_PARAMETERS] parameters
    Py_ssize_t rows
    Py_ssize_t length       # of a row
    Py_ssize_t block        # rows in a tile
    Py_ssize_t batch        # rows whose labels and weights are taken at a time
    bint across             # whether lanes are across rows: element c of row r is at c * block + r of a transposed copy
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
    Py_ssize_t loaded           # the piece that is in `x`; -1 for none
    Py_ssize_t length           # of that
    const void* x[3]            # its elements, of the inputs
    int vectors                 # whose norms are taken: of the differences that are the distances, or of the inputs
    bint scaled                 # whether a scale may be other than 1
    double[3][MAX_ROWS] scale   # of these vectors, against overflow and underflow
    double[3][MAX_ROWS] size    # their norms; of cosines, the third is the scalar product
    double[3][MAX_ROWS] other   # of cosines, what `find_cosines` says; numbers of largest elements
    double[3][MAX_ROWS] s       # what the loss is a function of
    double[3][MAX_ROWS] slope   # the derivatives of the loss
    double[6][MAX_ROWS] factors  # of cosines: both scales, a limit, and what elements are multiplied with
    const double* weight
    const double* label
    double* value


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


cdef inline Py_ssize_t aligned_rows(const Tile* t) noexcept nogil:
    """Rows of a transposed copy, with those beyond the last one that fill the lanes: what these hold is of no use."""
    return (t.n + LANES - 1) // LANES * LANES


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
# Sums over (a piece of) each row, of what an element of two vectors adds to `s`; that takes their scales or sizes, and
# constants of all rows. A row has up to three sums, LANES apart.

cdef struct Sums:
    int first               # vectors
    int second
    const double* a         # for each row
    const double* b
    double* result          # of each row; those of a second and third sum are MAX_ROWS apart
    bint fresh              # whether that has no sums over pieces before


cdef inline void square(floating x, floating y, double a, double b, floating eps, double p, double* s) noexcept nogil:
    cdef double d = x - y + eps
    s[0] = multiply_add(d, d, s[0])
cdef inline void scaled_square(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    cdef double d = (x - y + eps) * a
    s[0] = multiply_add(d, d, s[0])
cdef inline void power(floating x, floating y, double a, double b, floating eps, double p, double* s) noexcept nogil:
    s[0] += pow(fabs(<double> (x - y + eps) * a), p)
cdef inline void distance(floating x, floating y, double a, double b, floating eps, double p, double* s) noexcept nogil:
    s[0] += fabs(x - y + eps)
cdef inline void largest_distance(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    s[0] = larger(s[0], fabs(x - y + eps))
cdef inline void is_of_size(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    s[0] += 1.0 if <double> fabs(x - y + eps) == a else 0.0

cdef inline void largest_magnitude(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    s[0] = larger(s[0], fabs(x))
cdef inline void products(floating x, floating y, double a, double b, floating eps, double p, double* s) noexcept nogil:
    cdef double u = scaled(x, a), v = scaled(y, b)
    s[0] = multiply_add(u, u, s[0])
    s[LANES] = multiply_add(v, v, s[LANES])
    s[2 * LANES] = multiply_add(u, v, s[2 * LANES])
cdef inline void deviation(
    floating x, floating y, double a, double b, floating eps, double p, double* s
) noexcept nogil:
    cdef double d = x * a - y * b
    s[0] = multiply_add(d, d, s[0])


cdef inline double scaled(floating x, double scale) noexcept nogil:
    """A sum of squares of float32 needs no scale."""
    return x if floating is float else x * scale


cdef inline double larger(double x, double y) noexcept nogil:
    """max(x, y); NaN if one is."""
    return x if (x >= y) | (x != x) else y


cdef inline void along(
    void (*add)(floating, floating, double, double, floating, double, double*) noexcept nogil, int count, bint largest,
    const floating* x, const floating* y, double a, double b, floating eps, double p, Py_ssize_t n, double* result
) noexcept nogil:
    """Add a row to its results, or make them the largest."""
    cdef double[3 * LANES] lane
    cdef double[3 * LANES] end  # as far apart
    cdef Py_ssize_t i = LANES, k
    cdef int j
    for j in range(count):
        end[j * LANES] = result[j * MAX_ROWS]
    if n < LANES:
        for i in range(n):
            add(x[i], y[i], a, b, eps, p, end)
    else:
        for k in range(LANES):
            for j in range(count):
                lane[j * LANES + k] = 0
            add(x[k], y[k], a, b, eps, p, lane + k)
        while i + LANES <= n:
            for k in range(LANES):
                add(x[i + k], y[i + k], a, b, eps, p, lane + k)
            i += LANES
        if i < n:
            for k in range(n - i):
                add(x[i + k], y[i + k], a, b, eps, p, lane + k)
        for j in range(count):
            if largest:
                for k in range(LANES):
                    end[j * LANES] = larger(end[j * LANES], lane[j * LANES + k])
            else:
                end[j * LANES] += sum_lanes(lane + j * LANES)
    for j in range(count):
        result[j * MAX_ROWS] = end[j * LANES]


cdef inline void add_rows(
    void (*add)(floating, floating, double, double, floating, double, double*) noexcept nogil, int count, bint largest,
    const Call* call, const Tile* t, const Sums* s
) noexcept nogil:
    cdef const floating* x = <const floating*> t.x[s.first]
    cdef const floating* y = <const floating*> t.x[s.second]
    cdef const double* a = s.a
    cdef const double* b = s.b
    cdef double* result = s.result
    cdef floating eps = <floating> call.eps
    cdef double p = call.p
    cdef double[3 * LANES] lane
    cdef Py_ssize_t n = t.length, r = 0, i, j, k
    cdef int m
    if s.fresh:
        for m in range(count):
            for r in range(t.n):
                result[m * MAX_ROWS + r] = 0
    if not call.across:
        for r in range(t.n):
            along(add, count, largest, x + r * n, y + r * n, a[r], b[r], eps, p, n, result + r)
        return
    r = 0
    while r < t.n:  # what lanes beyond the last row come to is read by nobody
        for m in range(count):
            for k in range(LANES):
                lane[m * LANES + k] = result[m * MAX_ROWS + r + k]
        for i in range(n):
            for k in range(LANES):
                j = i * call.block + r + k
                add(x[j], y[j], a[r + k], b[r + k], eps, p, lane + k)
        for m in range(count):
            for k in range(LANES):
                result[m * MAX_ROWS + r + k] = lane[m * LANES + k]
        r += LANES


# Each is a function of its own, or their loops would run out of registers.
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
            if not isfinite(scale[r]) or scale[r] == 0 or call.p == 2 and not out_of_range(t.size[k][r]):
                scale[r] = 1
            elif call.p == 2:
                frexp(scale[r], &exponent)
                scale[r] = ldexp(1, max(-1000, min(1000, -exponent)))
            else:  # no power of two: 0.5 to a power above 1074 is 0
                scale[r] = fmin(1 / scale[r], ldexp(1, 1000))
    t.scaled = True


cdef void find_cosines(const Call* call, Tile* t, floating* buffer) noexcept nogil:
    """The cosine, and 1 - cosine more accurately: of nearly parallel vectors from |x / |x| - y / |y||^2.

    Of float32 these are to be nearer to parallel, since in double precision their products are exact.
    """
    cdef double* cosine = t.s[0]
    cdef double* distance = t.s[1]
    cdef double* a = t.other[0]
    cdef double* b = t.other[1]
    cdef double* squared = t.other[2]
    cdef double p, q, low, enough = NEARLY_PARALLEL if floating is float else 0.5
    cdef int parallel = 0
    cdef Py_ssize_t r
    for r in range(t.n):
        p = t.size[0][r]
        q = t.size[1][r]
        cosine[r] = 0.0 if (p == 0) | (q == 0) else t.size[2][r] / p / q
        distance[r] = 1 - cosine[r]
        # The larger one is brought to the length of the smaller, which cannot overflow.
        low = q if q < p else p
        a[r] = t.scale[0][r] * (low / p)
        b[r] = t.scale[1][r] * (-low / q if cosine[r] < 0 else low / q)
        parallel |= fabs(cosine[r]) > enough
    if parallel:
        total(add_deviations[floating], call, t, buffer, 0, 1, a, b, squared)
        for r in range(t.n):
            low = t.size[1][r] if t.size[1][r] < t.size[0][r] else t.size[0][r]
            p = squared[r] / low / low / 2
            if fabs(cosine[r]) > enough:
                distance[r] = p if cosine[r] > 0 else 2 - p
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
# Second pass: the derivatives of a norm by an element, where b = 0 says that there is none. b * c is the slope by size.

# Of by_euclidean, a = 0 says that, and is infinite else: a select would become a branch for each row.

cdef inline floating within(floating x, floating limit) noexcept nogil:
    """x, but 0 where the limit is 0, even if x is infinite or NaN. A NaN becomes the limit."""
    return at_least(0 - limit, at_most(limit, x))


cdef inline floating by_euclidean(floating d, double a, floating b, floating c, double p) noexcept nogil:
    return within(d, <floating> a) * b * c
cdef inline floating by_sum(floating d, double a, floating b, floating c, double p) noexcept nogil:
    return c if d > 0 else (-c if d < 0 else c * 0)  # NaN stays
cdef inline floating by_largest(floating d, double a, floating b, floating c, double p) noexcept nogil:
    return 0 * c if (fabs(d) != b) | (b == 0) else (c if d > 0 else -c)
cdef inline floating by_power(floating d, double a, floating b, floating c, double p) noexcept nogil:
    cdef double slope = c * pow(fabs(d * a) / b, p - 1)
    return 0 if b == 0 else <floating> (slope if d >= 0 else -slope)


cdef inline void differentiate_lanes(
    floating (*by)(floating, double, floating, floating, double) noexcept nogil, int distances,
    const floating* x, const floating* y, const floating* z, floating* first, floating* second, floating* third,
    const double* a, const floating* b, const floating* c, Py_ssize_t m, floating eps, double p, Py_ssize_t n, int step
) noexcept nogil:
    """n <= LANES elements. All are read before the first is written, which may be in their place."""
    cdef floating[LANES] u
    cdef floating[LANES] v
    cdef floating[LANES] w
    cdef Py_ssize_t k
    for k in range(n):
        u[k] = by(x[k] - y[k] + eps, a[k * step], b[k * step], c[k * step], p)
    if distances == 1:
        for k in range(n):
            u[k] = -u[k]  # or a copy of u would take it from registers to memory
        for k in range(n):
            first[k] = -u[k]
        for k in range(n):
            second[k] = 0 + u[k]
        return
    for k in range(n):
        v[k] = by(x[k] - z[k] + eps, a[k * step + m], b[k * step + m], c[k * step + m], p)
    for k in range(n):
        w[k] = 0
    if distances == 3:
        for k in range(n):
            w[k] = by(y[k] - z[k] + eps, a[k * step + 2 * m], b[k * step + 2 * m], c[k * step + 2 * m], p)
    for k in range(n):
        first[k] = u[k] + v[k]
    for k in range(n):
        second[k] = w[k] - u[k]
    for k in range(n):
        third[k] = <floating> (0 - v[k]) - w[k]


cdef inline void differentiate_lines(
    floating (*by)(floating, double, floating, floating, double) noexcept nogil, int distances, const Call* call,
    const Tile* t, floating** out, const floating* factors, int step
) noexcept nogil:
    """The derivatives by the inputs, line by line: step = 0 if a line is a row, 1 if it is an element of each row."""
    cdef const floating* x = <const floating*> t.x[0]
    cdef const floating* y = <const floating*> t.x[1]
    cdef const floating* z = <const floating*> t.x[2]
    cdef floating* first = out[0]
    cdef floating* second = out[1]
    cdef floating* third = out[2]
    cdef const double* a = &t.other[0][0] if call.p == 2 else &t.scale[0][0]
    cdef const floating* b = factors
    cdef const floating* c = factors + 3 * MAX_ROWS
    cdef double[3] row_a
    cdef floating[3] row_b
    cdef floating[3] row_c
    cdef floating eps = <floating> call.eps
    cdef Py_ssize_t n = aligned_rows(t) if step else t.length, stride = call.block if step else t.length
    cdef Py_ssize_t m = MAX_ROWS if step else 1, line, i, j, k
    for line in range(t.length if step else t.n):
        if step == 0:  # copies, which no store can change
            for k in range(distances):
                row_a[k] = a[k * MAX_ROWS + line]
                row_b[k], row_c[k] = factors[k * MAX_ROWS + line], factors[(3 + k) * MAX_ROWS + line]
            b, c = row_b, row_c
        if n < LANES:
            differentiate_lanes(by, distances, x, y, z, first, second, third, row_a, b, c, m, eps, call.p, n, step)
        i = 0
        while i < n and n >= LANES:
            i = min(i, n - LANES)  # the last may have been done in part
            j = i * step
            differentiate_lanes(
                by, distances, x + i, y + i, z + i, first + i, second + i, third + i, a + j if step else row_a, b + j,
                c + j, m, eps, call.p, LANES, step
            )
            i += LANES
        x, y, z = x + stride, y + stride, z + stride
        first, second, third = first + stride, second + stride, third + stride


cdef inline void differentiate(
    floating (*by)(floating, double, floating, floating, double) noexcept nogil, const Call* call, const Tile* t,
    floating** out, const floating* factors
) noexcept nogil:
    if call.distances == 1:
        if call.across:
            differentiate_lines(by, 1, call, t, out, factors, 1)
        else:
            differentiate_lines(by, 1, call, t, out, factors, 0)
    elif call.distances == 2:
        if call.across:
            differentiate_lines(by, 2, call, t, out, factors, 1)
        else:
            differentiate_lines(by, 2, call, t, out, factors, 0)
    elif call.across:
        differentiate_lines(by, 3, call, t, out, factors, 1)
    else:
        differentiate_lines(by, 3, call, t, out, factors, 0)


cdef void differentiate_euclidean(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_euclidean[floating], c, t, out, f)
cdef void differentiate_sum(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_sum[floating], c, t, out, f)
cdef void differentiate_largest(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_largest[floating], c, t, out, f)
cdef void differentiate_power(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_power[floating], c, t, out, f)


cdef inline void differentiate_cosine_lanes(
    bint both, const floating* x, const floating* y, floating* first, floating* second, const double* f, Py_ssize_t n,
    int step
) noexcept nogil:
    """n <= LANES elements, slope (y / |y| - cosine x / |x|) / |x|. All are read before the first is written."""
    cdef double[LANES] u
    cdef double[LANES] v
    cdef double p, q
    cdef Py_ssize_t j, k, m = MAX_ROWS if step else 1
    for k in range(n):
        j = k * step
        p = scaled(within(x[k], <floating> f[j + 2 * m]), f[j])
        q = scaled(within(y[k], <floating> f[j + 2 * m]), f[j + m])
        u[k] = f[j + 5 * m] * q - f[j + 3 * m] * p
        if both:
            v[k] = f[j + 5 * m] * p - f[j + 4 * m] * q
    for k in range(n):
        first[k] = <floating> scaled(<floating> u[k], f[k * step])
    if both:
        for k in range(n):
            second[k] = <floating> scaled(<floating> v[k], f[k * step + m])


cdef inline void differentiate_cosine_closely(
    bint both, const floating* x, const floating* y, floating* first, floating* second, const double* f, Py_ssize_t n
) noexcept nogil:
    """The same without a conversion to double precision, c (y - x a / c), where a / c is the sum of two numbers."""
    cdef floating[LANES] u
    cdef floating[LANES] v
    cdef floating a = <floating> (f[3] / f[5]), b = <floating> (f[4] / f[5]), c = <floating> f[5]
    cdef floating a_rest = <floating> (f[3] / f[5] - a), b_rest = <floating> (f[4] / f[5] - b)
    cdef Py_ssize_t k
    for k in range(n):
        u[k] = multiply_add(-a_rest, x[k], multiply_add(-a, x[k], y[k]))
        if both:
            v[k] = multiply_add(-b_rest, y[k], multiply_add(-b, y[k], x[k]))
    for k in range(n):
        first[k] = c * u[k]
    if both:
        for k in range(n):
            second[k] = c * v[k]


cdef inline bint holds(double x) noexcept nogil:
    """Whether float32 has x, and what rounding to it leaves, in full precision."""
    return (1e-25 < fabs(x)) & (fabs(x) < 1e25)


cdef inline void differentiate_cosine_row(
    bint closely, bint both, const floating* x, const floating* y, floating* first, floating* second, const double* f,
    Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i = 0
    if n < LANES:
        differentiate_cosine_lanes(both, x, y, first, second, f, n, 0)
        return
    while i < n:
        i = min(i, n - LANES)  # the last may have been done in part
        if closely:
            differentiate_cosine_closely(both, x + i, y + i, first + i, second + i, f, LANES)
        else:
            differentiate_cosine_lanes(both, x + i, y + i, first + i, second + i, f, LANES, 0)
        i += LANES


cdef inline void differentiate_cosine_lines(
    bint both, const Call* call, const Tile* t, floating** out, int step
) noexcept nogil:
    """The derivatives by the inputs, line by line as above."""
    cdef const floating* x = <const floating*> t.x[0]
    cdef const floating* y = <const floating*> t.x[1]
    cdef floating* first = out[0]
    cdef floating* second = out[1]
    cdef double[6] f
    cdef Py_ssize_t n = t.length, line, i
    cdef int k
    if step:
        for _ in range(n):
            i = 0
            while i < t.n:
                differentiate_cosine_lanes(both, x + i, y + i, first + i, second + i, &t.factors[0][i], LANES, 1)
                i += LANES
            x, y, first, second = x + call.block, y + call.block, first + call.block, second + call.block
        return
    for line in range(t.n):
        for k in range(6):
            f[k] = t.factors[k][line]
        if f[5] == 0:
            for i in range(n):
                first[i] = 0
            if both:
                for i in range(n):
                    second[i] = 0
        elif (
            floating is float and FMA
            and holds(t.size[0][line]) and holds(t.size[1][line]) and holds(f[3] / f[5]) and holds(f[4] / f[5])
            and holds(f[5]) and fabs(t.s[0][line]) < NEARLY_PARALLEL
        ):
            differentiate_cosine_row(True, both, x, y, first, second, f, n)
        else:
            differentiate_cosine_row(False, both, x, y, first, second, f, n)
        x, y, first, second = x + n, y + n, first + n, second + n


cdef void differentiate_cosine(const Call* call, const Tile* t, floating** out) noexcept nogil:
    if call.across:
        differentiate_cosine_lines(False, call, t, out, 1)
    else:
        differentiate_cosine_lines(False, call, t, out, 0)


cdef void differentiate_cosine_twice(const Call* call, const Tile* t, floating** out) noexcept nogil:
    if call.across:
        differentiate_cosine_lines(True, call, t, out, 1)
    else:
        differentiate_cosine_lines(True, call, t, out, 0)


cdef void find_factors(const Call* call, Tile* t, int k, floating* b, floating* c) noexcept nogil:
    """What the derivatives of vector k take of each row."""
    cdef double smallest = FLT_MIN if floating is float else DBL_MIN
    cdef double largest = FLT_MAX if floating is float else DBL_MAX
    cdef double* size = t.size[k]
    cdef double* scale = t.scale[k]
    cdef double* slope = t.slope[k]
    cdef double factor, p = call.p
    cdef Py_ssize_t r
    cdef bint none
    if p == 2:
        for r in range(t.n):
            # The quotient of slope and size can be beyond the dtype where their product with a difference is not.
            factor = at_most(at_least(1 / size[r], smallest), largest)
            factor = <double> <floating> factor if scale[r] == 1 else scale[r]
            c[r] = <floating> (slope[r] / (size[r] * factor if scale[r] == 1 else size[r]))
            none = (slope[r] == 0) | (size[r] == 0)
            t.other[k][r] = 0 if none else <double> INFINITY
            b[r] = <floating> (0 if none else factor)
            c[r] = 0 if none else c[r]
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
                differentiate_cosine(call, t, out)
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
    cdef Py_ssize_t cells, size
    cdef bint far
    cdef int k, j
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
    size = cnp.PyArray_ITEMSIZE(first)
    # Beyond the cache that cores share, reading and writing are to take turns often.
    far = 2 * call.inputs * call.rows * call.length * size > FAR and call.length <= PIECE // 2
    cells = 2048 // size if far and not call.across else PIECE
    call.block = max(1, min(MAX_ROWS, cells // call.length))
    if call.across:
        call.block = call.block // LANES * LANES
    call.batch = call.block * max(1, min(MAX_ROWS, 4 * PIECE // call.length) // call.block)
    for k in range(call.inputs):
        call.data[k] = cnp.PyArray_DATA(inputs[k])
        call.typenum[k] = cnp.PyArray_TYPE(inputs[k])
        call.direct[k] = call.typenum[k] == cnp.PyArray_TYPE(first)
        # In place, the loops get a copy: they read the end of a row once more after they have written a part of it.
        for j in range(3):
            call.direct[k] &= call.across or call.data[k] != call.grad[j]
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
