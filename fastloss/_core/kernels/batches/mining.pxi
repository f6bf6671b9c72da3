"""Mining: the farthest positive and the nearest negative of each sample.

The score of a pair is its squared distance for positives, and minus that for negatives. The best pair of a sample has
the largest score. |x_i|^2 + |x_j|^2 - 2 s_ij approximates the squared distance. With a bound on its error, it gives
a score that is `certain` to be reached, and one that is `possible`. `limit` is the largest certain score of a sample
so far. A pair whose possible score is below the limits of both samples is not the best of either. All other pairs are
measured by differences, in double precision.
"""

cdef inline floating bound(floating own, floating other, floating twice, floating s) noexcept nogil:
    """A bound on the score of a pair. `twice` is 2 for positives, and -2 for negatives."""
    return (own + other) - twice * s


cdef floating raise_limits(
    const floating* s, const floating* certain, Py_ssize_t n, floating own, floating twice, floating own_limit,
    floating* limit
) noexcept nogil:
    """Raise the limits of the columns. Return the limit of the row."""
    cdef floating[LANES] lane
    cdef Py_ssize_t i = 0, j
    cdef floating x
    for j in range(LANES):
        lane[j] = own_limit
    while i + LANES <= n:
        for j in range(LANES):
            x = bound(own, certain[i + j], twice, s[i + j])
            lane[j] = at_least(x, lane[j])
            limit[i + j] = at_least(x, limit[i + j])
        i += LANES
    for j in range(n - i):
        x = bound(own, certain[i + j], twice, s[i + j])
        lane[j] = at_least(x, lane[j])
        limit[i + j] = at_least(x, limit[i + j])
    return max_lanes(lane)


cdef bint any_possible(
    const floating* s, const floating* possible, Py_ssize_t n, floating own, floating twice, floating own_limit,
    const floating* limit
) noexcept nogil:
    """Whether one of at most LANES pairs may be the best of a sample."""
    cdef floating[LANES] lane
    cdef Py_ssize_t j
    if n == LANES:
        for j in range(LANES):
            lane[j] = bound(own, possible[j], twice, s[j]) - at_most(limit[j], own_limit)
    else:
        for j in range(LANES):
            lane[j] = -1
        for j in range(n):
            lane[j] = bound(own, possible[j], twice, s[j]) - at_most(limit[j], own_limit)
    return max_lanes(lane) >= 0


cdef void improve(const Tile* tile, Py_ssize_t kind, Py_ssize_t i, Py_ssize_t j, double score) noexcept nogil:
    """Take j as the best of i, if it is. Of equally good ones, the first of the caller's is the best."""
    cdef Py_ssize_t place = kind * tile.length + i
    cdef double best = tile.best[place]
    if score > best or (score == best and tile.order[j] < tile.order[tile.index[place]]):
        tile.best[place], tile.index[place] = score, <int32_t> j


cdef void measure(
    const Tile* tile, Py_ssize_t kind, Py_ssize_t i, Py_ssize_t j, const floating* vectors
) noexcept nogil:
    cdef Py_ssize_t d = tile.dimensions
    cdef double square = squared_distance(vectors + i * d, vectors + j * d, d)
    improve(tile, kind, i, j, square if kind == POSITIVE else -square)
    improve(tile, kind, j, i, square if kind == POSITIVE else -square)


cdef void mine_tile(const Tile* tile, floating* data) noexcept nogil:
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t i, j, q, stop, row, column
    cdef Py_ssize_t after = tile.i0 + 1 - tile.j0  # on the diagonal, the columns before i + after mirror the others
    cdef const floating* certain = <const floating*> tile.certain
    cdef const floating* possible = <const floating*> tile.possible
    cdef floating* limit = <floating*> tile.limit
    cdef const floating* s
    cdef floating twice, high
    for i in range(tile.rows):
        s = data + i * tile.columns
        segments(tile, i, max(0, i + after), tile.columns, edge)
        for q in range(SEGMENTS):
            j, twice = edge[q], 2 if q == POSITIVE else -2
            row, column = q % 2 * tile.length + tile.i0 + i, q % 2 * tile.length + tile.j0 + j
            limit[row] = raise_limits(
                s + j, certain + column, edge[q + 1] - j, certain[row], twice, limit[row], limit + column
            )
    for i in range(tile.rows):
        s = data + i * tile.columns
        segments(tile, i, max(0, i + after), tile.columns, edge)
        for q in range(SEGMENTS):
            j, twice = edge[q], 2 if q == POSITIVE else -2
            row, column = q % 2 * tile.length + tile.i0 + i, q % 2 * tile.length + tile.j0
            while j < edge[q + 1]:
                stop = min(j + LANES, edge[q + 1])
                if not any_possible(
                    s + j, possible + column + j, stop - j, possible[row], twice, limit[row], limit + column + j
                ):
                    j = stop
                while j < stop:
                    high = bound(possible[row], possible[column + j], twice, s[j])
                    if high >= at_most(limit[column + j], limit[row]):
                        measure(tile, q % 2, tile.i0 + i, tile.j0 + j, <const floating*> tile.vectors)
                    j += 1


def mine(
    cnp.ndarray s, Py_ssize_t i0, Py_ssize_t j0, tuple positives, cnp.ndarray vectors, cnp.ndarray order, tuple bounds,
    cnp.ndarray best, cnp.ndarray index
):
    """Update best and index, of shape (2, n), by a tile of a batch that meets itself.

    `order` holds the caller's index of each sample. `bounds` are certain, possible and limit, of shape (2, n). The
    first row of all these is for negatives.
    """
    cdef Tile tile = tile_of(s, i0, j0, positives, True)
    cdef cnp.ndarray certain = bounds[0], possible = bounds[1], limit = bounds[2]
    tile.certain, tile.possible = cnp.PyArray_DATA(certain), cnp.PyArray_DATA(possible)
    tile.limit, tile.vectors = cnp.PyArray_DATA(limit), cnp.PyArray_DATA(vectors)
    tile.order = <const int64_t*> cnp.PyArray_DATA(order)
    tile.best, tile.index = <double*> cnp.PyArray_DATA(best), <int32_t*> cnp.PyArray_DATA(index)
    tile.length, tile.dimensions = cnp.PyArray_DIM(vectors, 0), cnp.PyArray_DIM(vectors, 1)
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        with nogil:
            mine_tile(&tile, <float*> tile.data)
    else:
        with nogil:
            mine_tile(&tile, <double*> tile.data)


cdef void pull(
    const floating* x, const floating* y, Py_ssize_t d, double slope, floating* of_x, floating* of_y
) noexcept nogil:
    """Add the gradients of slope / 2 |x - y|^2 with respect to x and y to of_x and of_y."""
    cdef floating r
    cdef Py_ssize_t k
    for k in range(d):
        r = <floating> (slope * (<double> x[k] - <double> y[k]))
        of_x[k] += r
        of_y[k] -= r


cdef void pull_all(
    const floating* x, Py_ssize_t n, Py_ssize_t d, const int32_t* near, const int32_t* far, const double* weight,
    double unit, double margin, bint soft, double* loss, floating* grad
) noexcept nogil:
    """Set the loss of each triplet. Unless grad is NULL, add the gradients to its rows. Weights of 0 are skipped."""
    cdef Py_ssize_t i
    cdef double to_near, to_far, gap, slope
    for i in range(n):
        if weight[i] == 0:
            continue
        to_near, to_far = distance(x + i * d, x + near[i] * d, d), distance(x + i * d, x + far[i] * d, d)
        gap = unit * (to_far - to_near)
        if soft:
            loss[i], slope = softplus(gap), weight[i] * sigmoid(gap)
        else:
            loss[i], slope = at_least(gap + margin, 0), weight[i] if gap + margin > 0 else 0
        if grad == NULL or slope == 0:
            continue
        if to_far > 0:
            pull(x + i * d, x + far[i] * d, d, slope / to_far, grad + i * d, grad + far[i] * d)
        if to_near > 0:
            pull(x + i * d, x + near[i] * d, d, -slope / to_near, grad + i * d, grad + near[i] * d)


def triplets(
    cnp.ndarray x, cnp.ndarray index, cnp.ndarray weight, double unit, double margin, bint soft,
    cnp.ndarray losses, cnp.ndarray grad
):
    """The losses of vectors unit * x with the negatives index[0] and the positives index[1]; adds to grad, if any."""
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), d = cnp.PyArray_DIM(x, 1)
    cdef void* data = cnp.PyArray_DATA(x)
    cdef void* result = NULL if grad is None else cnp.PyArray_DATA(grad)
    cdef int32_t* near = <int32_t*> cnp.PyArray_DATA(index)
    cdef double* w = <double*> cnp.PyArray_DATA(weight)
    cdef double* loss = <double*> cnp.PyArray_DATA(losses)
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        with nogil:
            pull_all(<float*> data, n, d, near, near + n, w, unit, margin, soft, loss, <float*> result)
    else:
        with nogil:
            pull_all(<double*> data, n, d, near, near + n, w, unit, margin, soft, loss, <double*> result)
