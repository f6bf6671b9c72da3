"""Mining: the farthest positive and the nearest negative of each sample, by |x_i|^2 + |x_j|^2 - 2 s_ij.

Both searches look for the largest value. For positives, the value is the squared distance. For negatives, it is minus
the squared distance.
"""

cdef inline floating compared(floating s, floating squares, floating sign) noexcept nogil:
    return sign * (squares - 2 * s)


cdef void best_of_row(
    const floating* s, const floating* square, Py_ssize_t n, floating own, floating sign, Py_ssize_t first,
    floating* best, int32_t* index
) noexcept nogil:
    cdef floating[LANES] lane
    cdef Py_ssize_t i = 0, j
    cdef floating high
    for j in range(LANES):
        lane[j] = best[0]
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = at_least(compared(s[i + j], own + square[i + j], sign), lane[j])
        i += LANES
    high = max_lanes(lane)
    for j in range(i, n):
        high = at_least(compared(s[j], own + square[j], sign), high)
    if high > best[0]:
        best[0] = high
        for j in range(n):
            if compared(s[j], own + square[j], sign) == high:
                index[0] = <int32_t> (first + j)
                break


cdef void best_of_columns(
    const floating* s, const floating* square, Py_ssize_t n, floating own, floating sign, int32_t i,
    floating* best, int32_t* index
) noexcept nogil:
    cdef Py_ssize_t j
    cdef floating x
    for j in range(n):
        x = compared(s[j], own + square[j], sign)
        index[j] = i if x > best[j] else index[j]
        best[j] = x if x > best[j] else best[j]


cdef void mine_rows(const Tile* tile, floating* data) noexcept nogil:
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t i, j, q, place
    cdef const floating* square = <const floating*> tile.square
    cdef floating* s
    for i in range(tile.rows):
        s = data + i * tile.columns
        set_itself(tile, i, s, <floating> INFINITY)  # nearer than any other: never the farthest positive
        segments(tile, i, 0, tile.columns, edge)
        for q in range(SEGMENTS):
            j, place = edge[q], q % 2 * tile.length + tile.i0 + i
            if j < edge[q + 1]:
                best_of_row(
                    s + j, square + tile.j0 + j, edge[q + 1] - j, square[tile.i0 + i], 1 if q == POSITIVE else -1,
                    tile.j0 + j, <floating*> tile.best + place, tile.index + place
                )


cdef void mine_columns(const Tile* tile, floating* data) noexcept nogil:
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t i, j, q, place
    cdef const floating* square = <const floating*> tile.square
    for i in range(tile.rows):
        segments(tile, i, 0, tile.columns, edge)
        for q in range(SEGMENTS):
            j, place = edge[q], q % 2 * tile.length + tile.j0 + edge[q]
            best_of_columns(
                data + i * tile.columns + j, square + tile.j0 + j, edge[q + 1] - j, square[tile.i0 + i],
                1 if q == POSITIVE else -1, <int32_t> (tile.i0 + i), <floating*> tile.best + place, tile.index + place
            )


cdef void mine_tile(const Tile* tile, floating* data) noexcept nogil:
    mine_rows(tile, data)
    if tile.i0 != tile.j0:
        mine_columns(tile, data)


def mine(
    cnp.ndarray s, Py_ssize_t i0, Py_ssize_t j0, tuple positives, cnp.ndarray squares, cnp.ndarray best,
    cnp.ndarray index
):
    """Update best and index, of shape (2, n), by a tile of a batch that meets itself: by its rows and its columns."""
    cdef Tile tile = tile_of(s, i0, j0, positives, True)
    tile.square, tile.best = cnp.PyArray_DATA(squares), cnp.PyArray_DATA(best)
    tile.index = <int32_t*> cnp.PyArray_DATA(index)
    tile.length = cnp.PyArray_DIM(best, 1)
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
    cdef floating c = <floating> slope, r
    cdef Py_ssize_t k
    for k in range(d):
        r = c * (x[k] - y[k])
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
