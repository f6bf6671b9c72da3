"""Kernels over one tile of the similarities of a batch with a batch: what _pairs.py does between matrix products.

A tile holds s_ij, the products of the vectors i0 + i with the vectors j0 + j. The positives of a vector i are a range,
start[i] <= j < stop[i], since samples come sorted by their labels: so a row of a tile falls into up to three segments,
negatives, positives, negatives, and each of them is a plain loop. Where a batch meets itself (`alike`), a sample is no
positive of its own.

They run on the calling thread. The threads of BLAS wait for the next product spinning, and a second team would have to
wait for the cores that they hold: on two cores, an elementwise kernel with two threads that spin as well made products
take 180 times as long, on one thread an eighth longer (tiles of 256 x 256, 64 dimensions, float32). With threads that
do not spin (see __init__.py) it was not measured.
"""

from cython cimport floating
cimport numpy as cnp
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t

import numpy as np

from fastloss.kernels.tiles cimport LANES, at, ordered_sum
from fastloss.kernels.vecmath cimport at_least, exp_nonpositive, max_lanes, sigmoid, softplus

cnp.import_array()

cdef enum:
    BLOCK = 32      # rows whose exponentials are summed up in the dtype of the tile, before that goes on in double
    SEGMENTS = 3
    NEGATIVE = 0    # kinds of pairs; of segment q it is q % 2
    POSITIVE = 1

cdef struct Tile:
    void* data
    Py_ssize_t i0, j0, rows, columns
    const int64_t* start
    const int64_t* stop
    bint alike


cdef Tile tile_of(cnp.ndarray s, Py_ssize_t i0, Py_ssize_t j0, tuple positives, bint alike):
    cdef Tile tile
    cdef cnp.ndarray start = positives[0], stop = positives[1]
    tile.data = cnp.PyArray_DATA(s)
    tile.rows, tile.columns = cnp.PyArray_DIM(s, 0), cnp.PyArray_DIM(s, 1)
    tile.i0, tile.j0, tile.alike = i0, j0, alike
    tile.start = <const int64_t*> cnp.PyArray_DATA(start) + i0
    tile.stop = <const int64_t*> cnp.PyArray_DATA(stop) + i0
    return tile


cdef inline void segments(const Tile* tile, Py_ssize_t i, Py_ssize_t* edge) noexcept nogil:
    """Segment q of row i is [edge[q], edge[q + 1])."""
    edge[0] = 0
    edge[1] = min(max(tile.start[i] - tile.j0, 0), tile.columns)
    edge[2] = min(max(tile.stop[i] - tile.j0, 0), tile.columns)
    edge[3] = tile.columns


cdef inline void set_itself(const Tile* tile, Py_ssize_t i, floating* s, floating value) noexcept nogil:
    """Set what row i has of sample i itself, if the batch meets itself."""
    cdef Py_ssize_t j = tile.i0 + i - tile.j0
    if tile.alike and 0 <= j < tile.columns:
        s[j] = value


# ---------------------------------------------------------------------------------------------------------------------
# Softmax: log sum exp(k s_ij) over the negatives and over the positives of each row and of each column, tile by tile.
#
# A sum is kept as `top`, the largest exponent so far, and `mass`, the sum of exp(k s - top). A third row of `mass` has
# the sum of k s over the positives.

cdef struct Sums:
    void* top
    double* mass
    Py_ssize_t n        # the length of a row of both: one for each kind


cdef Sums sums_of(tuple sums, Py_ssize_t first):
    """The sums from a position on."""
    cdef Sums x
    cdef cnp.ndarray top = sums[0], mass = sums[1]
    x.top = <char*> cnp.PyArray_DATA(top) + first * cnp.PyArray_ITEMSIZE(top)
    x.mass = <double*> cnp.PyArray_DATA(mass) + first
    x.n = cnp.PyArray_DIM(top, 1)
    return x


cdef void sum_row(const floating* s, Py_ssize_t n, floating k, floating* top, double* mass) noexcept nogil:
    """Add exp(k s) for s[:n] to a sum."""
    cdef floating[LANES] lane
    cdef Py_ssize_t i = 0, j
    cdef floating high = top[0]
    for j in range(LANES):
        lane[j] = high
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = at_least(k * s[i + j], lane[j])
        i += LANES
    high = max_lanes(lane)
    for j in range(i, n):
        high = at_least(k * s[j], high)
    if high > top[0]:
        mass[0] *= exp_nonpositive(top[0] - high)
        top[0] = high
    for j in range(LANES):
        lane[j] = 0
    i = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += exp_nonpositive(k * s[i + j] - high)
        i += LANES
    for j in range(n - i):
        lane[j] += exp_nonpositive(k * s[i + j] - high)
    mass[0] += ordered_sum(lane, LANES)


cdef void raise_columns(const floating* s, Py_ssize_t n, floating k, floating* top) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        top[j] = at_least(k * s[j], top[j])


cdef void sum_columns(const floating* s, Py_ssize_t n, floating k, const floating* top, floating* sums) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        sums[j] += exp_nonpositive(k * s[j] - top[j])


cdef void add_columns(
    const floating* sums, const floating* old, const floating* top, double* mass, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        mass[j] = mass[j] * exp_nonpositive(old[j] - top[j]) + sums[j]


cdef void add_positives(
    const floating* s, Py_ssize_t n, floating k, double* of_row, double* of_column
) noexcept nogil:
    """Add k s to the sums over positives."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    if n == 0:
        return
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += k * s[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] += k * s[i + j]
    of_row[0] += ordered_sum(lane, LANES)
    if of_column != NULL:
        for j in range(n):
            of_column[j] += k * s[j]


cdef void sum_tile(
    const Tile* tile, floating k, const Sums* row, const Sums* column, floating* scratch
) noexcept nogil:
    """Add a tile to the sums of its rows, and if column.top is not NULL of its columns; scratch holds 4 rows."""
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t n = tile.columns, block, first, stop, i, j, q
    cdef int kind
    cdef floating* s
    cdef floating* old = scratch
    cdef floating* sums = scratch + 2 * n
    cdef floating* row_top = <floating*> row.top
    cdef floating* top = <floating*> column.top
    for block in range((tile.rows + BLOCK - 1) // BLOCK):
        first, stop = block * BLOCK, min((block + 1) * BLOCK, tile.rows)
        for i in range(first, stop):
            s = <floating*> tile.data + i * n
            segments(tile, i, edge)
            set_itself(tile, i, s, <floating> 0)  # a sample is no positive of its own,
            add_positives(
                s + edge[1], edge[2] - edge[1], k, row.mass + 2 * row.n + i,
                NULL if top == NULL else column.mass + 2 * column.n + edge[1]
            )
            set_itself(tile, i, s, <floating> -INFINITY)  # and in no other sum
            for q in range(SEGMENTS):
                kind, j = q % 2, edge[q]
                if j < edge[q + 1]:
                    sum_row(s + j, edge[q + 1] - j, k, row_top + kind * row.n + i, row.mass + kind * row.n + i)
        if top == NULL:
            continue
        for kind in range(2):
            for j in range(n):
                old[kind * n + j] = top[kind * column.n + j]
                sums[kind * n + j] = 0
        for i in range(first, stop):
            segments(tile, i, edge)
            s = <floating*> tile.data + i * n
            for q in range(SEGMENTS):
                raise_columns(s + edge[q], edge[q + 1] - edge[q], k, top + q % 2 * column.n + edge[q])
        for i in range(first, stop):
            segments(tile, i, edge)
            s = <floating*> tile.data + i * n
            for q in range(SEGMENTS):
                kind, j = q % 2, edge[q]
                sum_columns(s + j, edge[q + 1] - j, k, top + kind * column.n + j, sums + kind * n + j)
        for kind in range(2):
            add_columns(
                sums + kind * n, old + kind * n, top + kind * column.n, column.mass + kind * column.n, n
            )


def add_to_sums(
    cnp.ndarray s, double k, Py_ssize_t i0, Py_ssize_t j0, tuple positives, bint alike, tuple rows, tuple columns
):
    """Add a tile to the sums (top, mass) of its rows and, if these are not None, of its columns."""
    cdef Tile tile = tile_of(s, i0, j0, positives, alike)
    cdef Sums row = sums_of(rows, i0), column
    column.top = NULL
    scratch = np.empty(0 if columns is None else 4 * tile.columns, s.dtype)
    cdef void* memory = cnp.PyArray_DATA(scratch)
    if columns is not None:
        column = sums_of(columns, j0)
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        with nogil:
            sum_tile(&tile, <float> k, &row, &column, <float*> memory)
    else:
        with nogil:
            sum_tile(&tile, k, &row, &column, <double*> memory)


# ---------------------------------------------------------------------------------------------------------------------
# Softmax: the slope of the loss by k s_ij is a exp(k s_ij - top) - b, with a, top and b those of row i and the kind of
# the pair, and the same of column j where both directions count.

cdef enum:
    FACTOR
    TOP
    OFFSET
    FIELDS


cdef void slopes_of_row(floating* s, Py_ssize_t n, floating k, floating a, floating top, floating b) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        s[j] = a * exp_nonpositive(k * s[j] - top) - b


cdef void slopes_of_both(
    floating* s, Py_ssize_t n, floating k, floating a, floating top, floating b,
    const floating* column_a, const floating* column_top, const floating* column_b
) noexcept nogil:
    cdef Py_ssize_t j
    cdef floating t
    for j in range(n):
        t = k * s[j]
        s[j] = (a * exp_nonpositive(t - top) - b) + (column_a[j] * exp_nonpositive(t - column_top[j]) - column_b[j])


cdef void slopes_of_tile(
    const Tile* tile, floating k, const floating* row, const floating* column, Py_ssize_t length
) noexcept nogil:
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t i, j, n, q
    cdef const floating* x
    cdef const floating* y
    cdef floating* s
    for i in range(tile.rows):
        s = <floating*> tile.data + i * tile.columns
        segments(tile, i, edge)
        for q in range(SEGMENTS):
            j, n = edge[q], edge[q + 1] - edge[q]
            x = row + q % 2 * FIELDS * length + i
            y = at(column, q % 2 * FIELDS * length + j)
            if y == NULL:
                slopes_of_row(s + j, n, k, x[FACTOR * length], x[TOP * length], x[OFFSET * length])
            else:
                slopes_of_both(
                    s + j, n, k, x[FACTOR * length], x[TOP * length], x[OFFSET * length],
                    y + FACTOR * length, y + TOP * length, y + OFFSET * length
                )
        set_itself(tile, i, s, <floating> 0)


def softmax_slopes(
    cnp.ndarray s, double k, Py_ssize_t i0, Py_ssize_t j0, tuple positives, bint alike,
    cnp.ndarray rows, cnp.ndarray columns
):
    """Put the slopes in place of the similarities; rows and columns have shape (2, FIELDS, n), columns may be None."""
    cdef Tile tile = tile_of(s, i0, j0, positives, alike)
    cdef Py_ssize_t length = cnp.PyArray_DIM(rows, 2)
    cdef void* row = cnp.PyArray_DATA(rows)
    cdef void* column = NULL if columns is None else cnp.PyArray_DATA(columns)
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        with nogil:
            slopes_of_tile(&tile, <float> k, <float*> row + i0, at(<float*> column, j0), length)
    else:
        with nogil:
            slopes_of_tile(&tile, k, <double*> row + i0, at(<double*> column, j0), length)


# ---------------------------------------------------------------------------------------------------------------------
# Sigmoid: softplus(k s + b) of a negative, softplus(-(k s + b)) of a positive.

cdef double sigmoid_segment(
    floating* s, Py_ssize_t n, floating k, floating b, floating sign, floating weight, double* slope
) noexcept nogil:
    """The sum of the losses of a segment, and in place of s the slopes, whose sum is added to `slope`."""
    cdef floating[LANES] loss_lane, slope_lane
    cdef Py_ssize_t i = 0, j
    cdef floating t
    for j in range(LANES):
        loss_lane[j] = slope_lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            t = sign * (k * s[i + j] + b)
            loss_lane[j] += softplus(t)
            s[i + j] = weight * sigmoid(t)
            slope_lane[j] += s[i + j]
        i += LANES
    for j in range(n - i):
        t = sign * (k * s[i + j] + b)
        loss_lane[j] += softplus(t)
        s[i + j] = weight * sigmoid(t)
        slope_lane[j] += s[i + j]
    slope[0] += ordered_sum(slope_lane, LANES)
    return ordered_sum(loss_lane, LANES)


cdef double sigmoid_rows(
    const Tile* tile, floating k, floating b, const double* weight, double* loss, floating* _
) noexcept nogil:
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t i, q
    cdef floating sign
    cdef floating* s
    cdef double slope = 0
    for i in range(tile.rows):
        s = <floating*> tile.data + i * tile.columns
        segments(tile, i, edge)
        for q in range(SEGMENTS):
            sign = -1 if q == POSITIVE else 1
            loss[i] += sigmoid_segment(
                s + edge[q], edge[q + 1] - edge[q], k, b, sign, sign * <floating> weight[i], &slope
            )
    return slope


def sigmoid_tile(
    cnp.ndarray s, double k, double b, Py_ssize_t i0, Py_ssize_t j0, tuple positives,
    cnp.ndarray weight, cnp.ndarray losses
):
    """Add the losses of the rows of a tile, put the slopes in place of the similarities, and return their sum."""
    cdef Tile tile = tile_of(s, i0, j0, positives, False)
    cdef double* w = <double*> cnp.PyArray_DATA(weight) + i0
    cdef double* loss = <double*> cnp.PyArray_DATA(losses) + i0
    cdef double slope
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        with nogil:
            slope = sigmoid_rows(&tile, <float> k, <float> b, w, loss, <float*> NULL)
    else:
        with nogil:
            slope = sigmoid_rows(&tile, k, b, w, loss, <double*> NULL)
    return slope


# ---------------------------------------------------------------------------------------------------------------------
# Mining: the farthest positive and the nearest negative of each sample, by squared distances
# |x_i|^2 + |x_j|^2 - 2 s_ij. Both are the largest of what is compared: of negatives the distance with its sign changed.

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


cdef void mine_tile(
    const Tile* tile, const floating* square, floating* best, int32_t* index, Py_ssize_t length, bint columns
) noexcept nogil:
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t i, j, n, q, row, column
    cdef floating own, sign
    cdef floating* s
    for i in range(tile.rows):
        s = <floating*> tile.data + i * tile.columns
        own = square[tile.i0 + i]
        set_itself(tile, i, s, <floating> INFINITY)  # nearer than any other: never the farthest positive
        segments(tile, i, edge)
        for q in range(SEGMENTS):
            sign = 1 if q == POSITIVE else -1
            j, n = edge[q], edge[q + 1] - edge[q]
            row, column = q % 2 * length + tile.i0 + i, q % 2 * length + tile.j0 + j
            best_of_row(
                s + j, square + tile.j0 + j, n, own, sign, tile.j0 + j, best + row, index + row
            )
            if columns:
                best_of_columns(
                    s + j, square + tile.j0 + j, n, own, sign, <int32_t> (tile.i0 + i), best + column, index + column
                )


def mine(
    cnp.ndarray s, Py_ssize_t i0, Py_ssize_t j0, tuple positives, cnp.ndarray squares, cnp.ndarray best,
    cnp.ndarray index
):
    """Update best and index, of shape (2, n), by a tile of a batch that meets itself: by its rows and its columns."""
    cdef Tile tile = tile_of(s, i0, j0, positives, True)
    cdef void* square = cnp.PyArray_DATA(squares)
    cdef void* top = cnp.PyArray_DATA(best)
    cdef int32_t* at_index = <int32_t*> cnp.PyArray_DATA(index)
    cdef Py_ssize_t n = cnp.PyArray_DIM(best, 1)
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        with nogil:
            mine_tile(&tile, <float*> square, <float*> top, at_index, n, i0 != j0)
    else:
        with nogil:
            mine_tile(&tile, <double*> square, <double*> top, at_index, n, i0 != j0)


cdef void measure(const floating* x, Py_ssize_t n, Py_ssize_t d, const int32_t* index, double* out) noexcept nogil:
    cdef Py_ssize_t i, j, k
    cdef const floating* a
    cdef const floating* b
    cdef double[LANES] lane
    cdef double r
    for i in range(n):
        a, b = x + i * d, x + index[i] * d
        for j in range(LANES):
            lane[j] = 0
        k = 0
        while k + LANES <= d:
            for j in range(LANES):
                r = <double> a[k + j] - <double> b[k + j]
                lane[j] += r * r
            k += LANES
        for j in range(d - k):
            r = <double> a[k + j] - <double> b[k + j]
            lane[j] += r * r
        out[i] = sqrt(ordered_sum(lane, LANES))


cdef void pull_rows(
    const floating* x, Py_ssize_t n, Py_ssize_t d, const int32_t* index, const double* slope, floating* grad
) noexcept nogil:
    cdef Py_ssize_t i, k
    cdef const floating* a
    cdef const floating* b
    cdef floating* of_a
    cdef floating* of_b
    cdef floating c, r
    for i in range(n):
        if slope[i] == 0:
            continue
        c = <floating> slope[i]
        a, b = x + i * d, x + index[i] * d
        of_a, of_b = grad + i * d, grad + index[i] * d
        for k in range(d):
            r = c * (a[k] - b[k])
            of_a[k] += r
            of_b[k] -= r


def distances(cnp.ndarray x, cnp.ndarray index):
    """The Euclidean distance of each row i of x from the row index[i]."""
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), d = cnp.PyArray_DIM(x, 1)
    cdef cnp.ndarray out = np.empty(n)
    cdef void* data = cnp.PyArray_DATA(x)
    cdef int32_t* at_index = <int32_t*> cnp.PyArray_DATA(index)
    cdef double* result = <double*> cnp.PyArray_DATA(out)
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        with nogil:
            measure(<float*> data, n, d, at_index, result)
    else:
        with nogil:
            measure(<double*> data, n, d, at_index, result)
    return out


def pull(cnp.ndarray x, cnp.ndarray index, cnp.ndarray slope, cnp.ndarray grad):
    """Add slope[i] (x_i - x_k) to the gradient of row i, and take it from that of row k = index[i]."""
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), d = cnp.PyArray_DIM(x, 1)
    cdef void* data = cnp.PyArray_DATA(x)
    cdef void* result = cnp.PyArray_DATA(grad)
    cdef int32_t* at_index = <int32_t*> cnp.PyArray_DATA(index)
    cdef double* c = <double*> cnp.PyArray_DATA(slope)
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        with nogil:
            pull_rows(<float*> data, n, d, at_index, c, <float*> result)
    else:
        with nogil:
            pull_rows(<double*> data, n, d, at_index, c, <double*> result)
