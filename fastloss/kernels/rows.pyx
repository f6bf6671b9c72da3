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

from fastloss.kernels.class_axis cimport prefetch, transpose
from fastloss.kernels.loops cimport ANY, SIGN, ZERO_OR_ONE, outside
from fastloss.kernels.tiles cimport (
    LANES, MAX_CHUNKS, MAX_PARAMETERS, Operand, address, aligned, at, chunk_size, expand, grain, load, operand,
    take_parameters, weighted_sum
)
from fastloss.kernels.vecmath cimport at_least, at_most, fabs, pow, sqrt, sum_lanes

cnp.import_array()

cdef enum:
    PIECE = 1024        # elements of a vector
    MAX_ROWS = 128      # in a tile
    FAR = 262144        # elements from which an input is not expected in the cache
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
    Py_ssize_t ahead        # rows from that at work to that asked for
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
    double[3][MAX_ROWS] size    # their norms
    double[3][MAX_ROWS] other   # of cosines, what `find_cosines` says; numbers of largest elements
    double[3][MAX_ROWS] s       # what the loss is a function of
    double[3][MAX_ROWS] slope   # the derivatives of the loss
    double[MAX_ROWS] weight
    double[MAX_ROWS] label
    double[MAX_ROWS] value


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
# Sums over (a piece of) each row: of terms of an element of two vectors, their scales or sizes, and a constant of all

cdef struct Terms:
    int first               # vectors
    int second
    const double* a         # for each row
    const double* b
    double* result


cdef inline double square(floating x, floating y, double a, double b, floating eps, double p) noexcept nogil:
    cdef double d = x - y + eps
    return d * d
cdef inline double scaled_square(floating x, floating y, double a, double b, floating eps, double p) noexcept nogil:
    cdef double d = (x - y + eps) * a
    return d * d
cdef inline double power(floating x, floating y, double a, double b, floating eps, double p) noexcept nogil:
    return pow(fabs(<double> (x - y + eps) * a), p)
cdef inline double distance(floating x, floating y, double a, double b, floating eps, double p) noexcept nogil:
    return fabs(x - y + eps)
cdef inline double is_of_size(floating x, floating y, double a, double b, floating eps, double p) noexcept nogil:
    return 1.0 if <double> fabs(x - y + eps) == a else 0.0

cdef inline double magnitude(floating x, floating y, double a, double b, floating eps, double p) noexcept nogil:
    return fabs(x)
cdef inline double scaled(floating x, double scale) noexcept nogil:
    """A sum of squares of float32 needs no scale."""
    return x if floating is float else x * scale
cdef inline double product(floating x, floating y, double a, double b, floating eps, double p) noexcept nogil:
    return scaled(x, a) * scaled(y, b)
cdef inline double deviation(floating x, floating y, double a, double b, floating eps, double p) noexcept nogil:
    return (x * a - y * b) * (x * a - y * b)


cdef inline double larger(double x, double y) noexcept nogil:
    """max(x, y); NaN if one is."""
    return x if (x >= y) | (x != x) else y


cdef inline double joined(bint largest, double x, double y) noexcept nogil:
    return larger(x, y) if largest else x + y


cdef inline double along(
    double (*term)(floating, floating, double, double, floating, double) noexcept nogil, bint largest, double start,
    const floating* x, const floating* y, double a, double b, floating eps, double p, Py_ssize_t n
) noexcept nogil:
    """The terms of a row, added to `start`; or the largest of these and `start`."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = LANES, k
    if n < LANES:
        for i in range(n):
            start = joined(largest, start, term(x[i], y[i], a, b, eps, p))
        return start
    for k in range(LANES):
        lane[k] = term(x[k], y[k], a, b, eps, p)
    while i + LANES <= n:
        for k in range(LANES):
            lane[k] = joined(largest, lane[k], term(x[i + k], y[i + k], a, b, eps, p))
        i += LANES
    for k in range(n - i):
        lane[k] = joined(largest, lane[k], term(x[i + k], y[i + k], a, b, eps, p))
    if not largest:
        return start + sum_lanes(lane)
    for k in range(LANES):
        start = larger(start, lane[k])
    return start


cdef inline void sums(
    double (*term)(floating, floating, double, double, floating, double) noexcept nogil, bint largest, const Call* call,
    const Tile* t, Terms* s
) noexcept nogil:
    """Add to the results of the rows their terms; or make them the largest of these, if it is larger."""
    cdef const floating* x = <const floating*> t.x[s.first]
    cdef const floating* y = <const floating*> t.x[s.second]
    cdef const double* a = s.a
    cdef const double* b = s.b
    cdef double* result = s.result
    cdef floating eps = <floating> call.eps
    cdef double p = call.p
    cdef double[LANES] lane
    cdef Py_ssize_t n = t.length, r = 0, i, j, k
    if not call.across:
        for r in range(t.n):
            result[r] = along(term, largest, result[r], x + r * n, y + r * n, a[r], b[r], eps, p, n)
        return
    while r < t.n:  # what lanes beyond the last row come to is read by nobody
        for k in range(LANES):
            lane[k] = result[r + k]
        for i in range(n):
            for k in range(LANES):
                j = i * call.block + r + k
                lane[k] = joined(largest, lane[k], term(x[j], y[j], a[r + k], b[r + k], eps, p))
        for k in range(LANES):
            result[r + k] = lane[k]
        r += LANES


# Each is a function of its own, or their loops would run out of registers.
cdef void squares(const Call* c, const Tile* t, Terms* s, floating* _) noexcept nogil:
    sums(square[floating], False, c, t, s)
cdef void scaled_squares(const Call* c, const Tile* t, Terms* s, floating* _) noexcept nogil:
    sums(scaled_square[floating], False, c, t, s)
cdef void powers(const Call* c, const Tile* t, Terms* s, floating* _) noexcept nogil:
    sums(power[floating], False, c, t, s)
cdef void distances(const Call* c, const Tile* t, Terms* s, floating* _) noexcept nogil:
    sums(distance[floating], False, c, t, s)
cdef void largest_distances(const Call* c, const Tile* t, Terms* s, floating* _) noexcept nogil:
    sums(distance[floating], True, c, t, s)
cdef void count(const Call* c, const Tile* t, Terms* s, floating* _) noexcept nogil:
    sums(is_of_size[floating], False, c, t, s)
cdef void largest_magnitudes(const Call* c, const Tile* t, Terms* s, floating* _) noexcept nogil:
    sums(magnitude[floating], True, c, t, s)
cdef void products(const Call* c, const Tile* t, Terms* s, floating* _) noexcept nogil:
    sums(product[floating], False, c, t, s)
cdef void deviations(const Call* c, const Tile* t, Terms* s, floating* _) noexcept nogil:
    sums(deviation[floating], False, c, t, s)


cdef void total(
    void (*terms)(const Call*, const Tile*, Terms*, floating*) noexcept nogil, const Call* call, Tile* t,
    floating* buffer, int k, int second, const double* a, const double* b, double* result
) noexcept nogil:
    """Sums over whole rows: of the k-th pair of vectors, or of vectors k and `second`."""
    cdef Terms s = Terms(k, second, a, b, result)
    cdef Py_ssize_t piece, r
    if call.distances > 0:
        s.first, s.second = k // 2, (k + 3) // 2
    for r in range(t.n):
        result[r] = 0
    for piece in range(t.pieces):
        fetch(call, t, buffer, piece)
        terms(call, t, &s, buffer)


cdef void find_norms(const Call* call, Tile* t, floating* buffer) noexcept nogil:
    cdef double* size
    cdef const double* scale
    cdef int k
    for k in range(t.vectors):
        size, scale = t.size[k], t.scale[k]
        if call.distances == 0:
            total(products[floating], call, t, buffer, k, k, scale, scale, size)
        elif call.p == 1:
            total(distances[floating], call, t, buffer, k, k, scale, scale, size)
        elif call.p == INFINITY:
            total(largest_distances[floating], call, t, buffer, k, k, scale, scale, size)
        elif call.p != 2:
            total(powers[floating], call, t, buffer, k, k, scale, scale, size)
        elif t.scaled:
            total(scaled_squares[floating], call, t, buffer, k, k, scale, scale, size)
        else:
            total(squares[floating], call, t, buffer, k, k, scale, scale, size)


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
            total(largest_magnitudes[floating], call, t, buffer, k, k, scale, scale, scale)
        else:
            total(largest_distances[floating], call, t, buffer, k, k, scale, scale, scale)
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
    """The cosine, and 1 - cosine more accurately: of nearly parallel vectors from |x / |x| - y / |y||^2."""
    cdef double* cosine = t.s[0]
    cdef double* distance = t.s[1]
    cdef double* a = t.other[0]
    cdef double* b = t.other[1]
    cdef double* squared = t.other[2]
    cdef double p, q, low
    cdef bint parallel = False
    cdef Py_ssize_t r
    total(products[floating], call, t, buffer, 0, 1, t.scale[0], t.scale[1], cosine)
    for r in range(t.n):
        p = t.size[0][r]
        q = t.size[1][r]
        cosine[r] = 0.0 if (p == 0) | (q == 0) else cosine[r] / p / q
        distance[r] = 1 - cosine[r]
        # The larger one is brought to the length of the smaller, which cannot overflow.
        low = q if q < p else p
        a[r] = t.scale[0][r] * (low / p)
        b[r] = t.scale[1][r] * (-low / q if cosine[r] < 0 else low / q)
        parallel |= fabs(cosine[r]) > 0.5
    if parallel:
        total(deviations[floating], call, t, buffer, 0, 1, a, b, squared)
        for r in range(t.n):
            low = t.size[1][r] if t.size[1][r] < t.size[0][r] else t.size[0][r]
            p = squared[r] / low / low / 2
            if fabs(cosine[r]) > 0.5:
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
            t.s[k][r] = t.size[k][r] / t.scale[k][r]
    if call.distances == 0:
        find_cosines(call, t, buffer)
    elif call.p == INFINITY and call.grad[0] != NULL:
        for k in range(t.vectors):
            total(count[floating], call, t, buffer, k, k, t.size[k], t.size[k], t.other[k])


# ---------------------------------------------------------------------------------------------------------------------
# Second pass: the derivatives of a norm by an element, where b = 0 says that there is none. b * c is the slope by size.

cdef inline floating by_euclidean(floating d, double a, floating b, floating c, double p) noexcept nogil:
    return 0 if b == 0 else d * b * c
cdef inline floating by_sum(floating d, double a, floating b, floating c, double p) noexcept nogil:
    return c if d > 0 else (-c if d < 0 else c * 0)  # NaN stays
cdef inline floating by_largest(floating d, double a, floating b, floating c, double p) noexcept nogil:
    return 0 * c if (fabs(d) != b) | (b == 0) else (c if d > 0 else -c)
cdef inline floating by_power(floating d, double a, floating b, floating c, double p) noexcept nogil:
    cdef double slope = c * pow(fabs(d * a) / b, p - 1)
    return 0 if b == 0 else <floating> (slope if d >= 0 else -slope)


cdef inline void ask_for(const floating* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i < n:
        prefetch(x + i)
        i += 64 // sizeof(floating)  # a cache line


cdef inline void prefetch_row(const Call* call, const Tile* t, Py_ssize_t r, const floating* _) noexcept nogil:
    """Ask for a row that comes soon: a piece is too short a stretch for the hardware to foresee it."""
    cdef Py_ssize_t row = t.start + call.ahead + r, start = row * call.length
    cdef int k
    if row >= call.rows:
        return
    for k in range(3):
        if k < call.inputs and call.direct[k]:
            ask_for(<const floating*> call.data[k] + start, call.length)
        if call.grad[k] != NULL:
            ask_for(<const floating*> call.grad[k] + start, call.length)


cdef inline void differentiate_lines(
    floating (*by)(floating, double, floating, floating, double) noexcept nogil, const Call* call, const Tile* t,
    floating** out, const floating* factors, int step
) noexcept nogil:
    """The derivatives by the inputs, line by line: step = 0 if a line is a row, 1 if it is an element of each row."""
    cdef const floating* x = <const floating*> t.x[0]
    cdef const floating* y = <const floating*> t.x[1]
    cdef const floating* z = <const floating*> t.x[2]
    cdef floating* first = out[0]
    cdef floating* second = out[1]
    cdef floating* third = out[2]
    cdef const double* a = &t.scale[0][0]
    cdef const floating* b = factors
    cdef const floating* c = factors + 3 * MAX_ROWS
    cdef floating eps = <floating> call.eps, u, v, w
    cdef double p = call.p
    cdef Py_ssize_t n = t.n if step else t.length, stride = call.block if step else t.length, m = MAX_ROWS, line, i, j
    for line in range(t.length if step else t.n):
        if step == 0:
            prefetch_row(call, t, line, x)
        if call.distances == 1:
            for i in range(n):
                j = i * step
                u = by(x[i] - y[i] + eps, a[j], b[j], c[j], p)
                first[i] = u
                second[i] = 0 - u
        elif call.distances == 2:
            for i in range(n):
                j = i * step
                u = by(x[i] - y[i] + eps, a[j], b[j], c[j], p)
                v = by(x[i] - z[i] + eps, a[j + m], b[j + m], c[j + m], p)
                first[i] = u + v
                second[i] = 0 - u
                third[i] = 0 - v
        else:
            for i in range(n):
                j = i * step
                u = by(x[i] - y[i] + eps, a[j], b[j], c[j], p)
                v = by(x[i] - z[i] + eps, a[j + m], b[j + m], c[j + m], p)
                w = by(y[i] - z[i] + eps, a[j + 2 * m], b[j + 2 * m], c[j + 2 * m], p)
                first[i] = u + v
                second[i] = w - u
                third[i] = 0 - v - w
        x, y, z = at(x, stride), at(y, stride), at(z, stride)
        first, second, third = at(first, stride), at(second, stride), at(third, stride)
        a, b, c = a + (1 - step), b + (1 - step), c + (1 - step)


cdef inline void differentiate(
    floating (*by)(floating, double, floating, floating, double) noexcept nogil, const Call* call, const Tile* t,
    floating** out, const floating* factors
) noexcept nogil:
    if call.across:
        differentiate_lines(by, call, t, out, factors, 1)
    else:
        differentiate_lines(by, call, t, out, factors, 0)


cdef void differentiate_euclidean(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_euclidean[floating], c, t, out, f)
cdef void differentiate_sum(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_sum[floating], c, t, out, f)
cdef void differentiate_largest(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_largest[floating], c, t, out, f)
cdef void differentiate_power(const Call* c, const Tile* t, floating** out, const floating* f) noexcept nogil:
    differentiate(by_power[floating], c, t, out, f)


cdef inline void differentiate_cosine_lines(
    const Call* call, const Tile* t, int k, floating* grad, int step
) noexcept nogil:
    """The derivatives by vector k, slope (y / |y| - cosine x / |x|) / |x|, line by line as above."""
    cdef const floating* x = <const floating*> t.x[k]
    cdef const floating* y = <const floating*> t.x[1 - k]
    cdef const double* own = t.scale[k]
    cdef const double* other = t.scale[1 - k]
    cdef const double* a = t.other[2]
    cdef const double* b = t.other[k]
    cdef Py_ssize_t n = t.n if step else t.length, stride = call.block if step else t.length, line, i, j
    cdef double by_x
    for line in range(t.length if step else t.n):
        if step == 0 and k == 0:
            prefetch_row(call, t, line, x)
        for i in range(n):
            j = i * step
            by_x = a[j] * scaled(y[i], other[j]) - b[j] * scaled(x[i], own[j])
            if floating is double:
                by_x *= own[j]
            grad[i] = <floating> (0 if a[j] == 0 else by_x)
        x, y, grad = x + stride, y + stride, grad + stride
        own, other, a, b = own + (1 - step), other + (1 - step), a + (1 - step), b + (1 - step)


cdef void differentiate_cosine(const Call* call, const Tile* t, int k, floating* grad) noexcept nogil:
    if call.across:
        differentiate_cosine_lines(call, t, k, grad, 1)
    else:
        differentiate_cosine_lines(call, t, k, grad, 0)


cdef void find_factors(const Call* call, Tile* t, int k, floating* b, floating* c) noexcept nogil:
    """What the derivatives of vector k take of each row."""
    cdef double smallest = FLT_MIN if floating is float else DBL_MIN
    cdef double largest = FLT_MAX if floating is float else DBL_MAX
    cdef double* size = t.size[k]
    cdef double* scale = t.scale[k]
    cdef double* slope = t.slope[k]
    cdef double factor, p = call.p
    cdef Py_ssize_t r
    if p == 2:
        for r in range(t.n):
            # The quotient of slope and size can be beyond the dtype where their product with a difference is not.
            factor = at_most(at_least(1 / size[r], smallest), largest)
            factor = <double> <floating> factor if scale[r] == 1 else scale[r]
            c[r] = <floating> (slope[r] / (size[r] * factor if scale[r] == 1 else size[r]))
            b[r] = <floating> (0 if (slope[r] == 0) | (size[r] == 0) else factor)
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
    cdef double slope, product
    cdef Py_ssize_t r
    for r in range(t.n):
        product = t.size[0][r] * t.size[1][r]
        slope = 0 if product == 0 else t.slope[0][r]
        t.other[0][r] = slope * t.s[0][r] / (t.size[0][r] * t.size[0][r])
        t.other[1][r] = slope * t.s[0][r] / (t.size[1][r] * t.size[1][r])
        t.other[2][r] = 0 if slope == 0 else slope / product


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
            for k in range(2):
                if out[k] != NULL:
                    differentiate_cosine(call, t, k, out[k])
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

cdef double run_tile(const Call* call, floating* buffer, Py_ssize_t tile, char* bad) noexcept nogil:
    """A tile: the sum of its weighted losses."""
    cdef double[MAX_ROWS] scratch
    cdef Tile t
    cdef Py_ssize_t r
    t.start = tile * call.block
    t.n = min(call.block, call.rows - t.start)
    t.pieces = (call.length + PIECE - 1) // PIECE
    t.vectors = call.distances if call.distances > 0 else 2
    t.loaded = -1
    for r in range(t.n):
        t.weight[r] = 1
    if call.weight.data != NULL:
        expand(&call.weight, t.start, t.weight, t.n, scratch)
    if call.label.data != NULL:
        expand(&call.label, t.start, t.label, t.n, scratch)
        bad[0] |= outside(call.domain, t.label, t.weight, t.n)
    if call.check_only:
        return 0
    if call.grad[0] == NULL and not call.across:
        for r in range(t.n):
            prefetch_row(call, &t, r, buffer)
    add_up(call, &t, buffer)
    call.loss(call, &t)
    if call.value != NULL:
        for r in range(t.n):
            (<floating*> call.value)[t.start + r] = 0 if t.weight[r] == 0 else <floating> (t.weight[r] * t.value[r])
    if call.grad[0] != NULL:
        write_gradients(call, &t, buffer)
    return weighted_sum(t.value, t.weight, t.n) if call.sum_values else 0


cdef double run_chunk(const Call* call, floating* _, Py_ssize_t start, Py_ssize_t stop, char* bad) noexcept nogil:
    cdef floating[6 * PIECE + 6 * MAX_ROWS + 16] memory
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
    cdef Py_ssize_t cells
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
    far = call.rows * call.length > FAR and call.length <= PIECE // 2
    # No more than stays in the cache beside what is asked for: arrays often lie so that they compete for its places.
    cells = 2048 // cnp.PyArray_ITEMSIZE(first) if far and not call.across else PIECE
    call.block = max(1, min(MAX_ROWS, cells // call.length))
    call.ahead = (call.block if call.inputs == 3 else 2 * call.block) if far else call.rows
    if call.across:
        call.block = call.block // LANES * LANES
    for k in range(call.inputs):
        call.data[k] = cnp.PyArray_DATA(inputs[k])
        call.typenum[k] = cnp.PyArray_TYPE(inputs[k])
        call.direct[k] = call.typenum[k] == cnp.PyArray_TYPE(first)
        # In place, the loops get a copy: the compiler must not fear that a store changes what is still to be read.
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
