"""Kernels over one tile of the similarities of a batch with a batch: what _pairs.py does between matrix products.

A tile holds s_ij, the products of the vectors i0 + i with the vectors j0 + j. The positives of a vector i are a range,
start[i] <= j < stop[i], since samples come sorted by their labels: so a row of a tile falls into up to three segments,
negatives, positives, negatives, and each of them is a plain loop. Where a batch meets itself (`alike`), a sample is no
positive of its own.

They run on the calling thread. The threads of BLAS wait for the next product spinning, and a second team would have to
wait for the cores that they hold. On two cores, calls with two threads of ours in the kernels took 0.93 to 1.09 of the
time at best, and longer in the median ((1024, 128) and (4096, 256), float32); and ours do not spin (see __init__.py).
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_MAX, DBL_MIN, FLT_MAX, FLT_MIN
from libc.math cimport INFINITY, frexp, ldexp, sqrt
from libc.stdint cimport int32_t, int64_t

import numpy as np

from fastloss.kernels.tiles cimport LANES, at, ordered_sum
from fastloss.kernels.vecmath cimport (
    at_least, copysign, exp_nonpositive, fabs, log, max_lanes, sigmoid, softplus, sum_lanes
)

cnp.import_array()

cdef enum:
    # Columns are summed up in blocks that fit the L1 cache: the exponentials of ROWS rows in the dtype of the tile, and
    # these sums in double.
    ROWS = 32
    COLUMNS = 256
    SEGMENTS = 3
    NEGATIVE = 0    # kinds of pairs; of segment q it is q % 2
    POSITIVE = 1

cdef struct Sums:
    # Of softmax, from the first row or column of the tile on: see Totals.
    void* top
    double* mass
    void* slope
    Py_ssize_t n        # the length of a row of these

cdef struct Tile:
    void* data
    Py_ssize_t i0, j0, rows, columns
    const int64_t* start
    const int64_t* stop
    bint alike
    double k, b         # s_ij counts as k s_ij + b
    Sums row, column    # of softmax; column.top is NULL where columns have no sums
    const double* weight
    double* loss
    double* slope       # of sigmoid, the sum of those of each row
    const void* square  # of mining
    void* best
    int32_t* index
    Py_ssize_t length   # of a row of best and index


cdef Tile tile_of(cnp.ndarray s, Py_ssize_t i0, Py_ssize_t j0, tuple positives, bint alike, double k=1, double b=0):
    cdef Tile tile
    cdef cnp.ndarray start = positives[0], stop = positives[1]
    tile.data = cnp.PyArray_DATA(s)
    tile.rows, tile.columns = cnp.PyArray_DIM(s, 0), cnp.PyArray_DIM(s, 1)
    tile.i0, tile.j0, tile.alike, tile.b = i0, j0, alike, b
    # The factor k is not to become inf or 0 in the dtype: times 0 or inf that is NaN.
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        tile.k = copysign(min(max(fabs(k), FLT_MIN), FLT_MAX), k)
    else:
        tile.k = copysign(max(fabs(k), DBL_MIN), k)
    tile.start = <const int64_t*> cnp.PyArray_DATA(start) + i0
    tile.stop = <const int64_t*> cnp.PyArray_DATA(stop) + i0
    return tile


cdef inline void segments(
    const Tile* tile, Py_ssize_t i, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t* edge
) noexcept nogil:
    """Of the columns from first to stop, segment q of row i is [edge[q], edge[q + 1])."""
    edge[0] = first
    edge[1] = min(max(tile.start[i] - tile.j0, first), stop)
    edge[2] = min(max(tile.stop[i] - tile.j0, first), stop)
    edge[3] = stop


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
#
# The slope of the loss by k s_ij is a exp(k s_ij - top) - b, with a, top and b those of row i and the kind of the pair,
# and the same of column j where both directions count.

cdef enum:
    FACTOR
    TOP
    OFFSET
    FIELDS


cdef class Totals:
    """The sums of n vectors, and what follows from them."""

    cdef cnp.ndarray top    # (2, n): a row for each kind
    cdef cnp.ndarray mass   # (3, n)
    cdef cnp.ndarray slope  # (2, FIELDS, n)

    def __init__(self, Py_ssize_t n, dtype):
        self.top = np.empty((2, n), dtype)
        self.top.fill(-FLT_MAX if cnp.PyArray_TYPE(self.top) == cnp.NPY_FLOAT else -DBL_MAX)
        self.mass = np.zeros((3, n))
        self.slope = np.zeros((2, FIELDS, n), dtype)

    cdef Sums sums(self, Py_ssize_t first):
        cdef Sums x
        x.top = cnp.PyArray_BYTES(self.top) + first * cnp.PyArray_ITEMSIZE(self.top)
        x.mass = <double*> cnp.PyArray_DATA(self.mass) + first
        x.slope = cnp.PyArray_BYTES(self.slope) + first * cnp.PyArray_ITEMSIZE(self.slope)
        x.n = cnp.PyArray_DIM(self.top, 1)
        return x

    def settle(
        self, Py_ssize_t first, Py_ssize_t stop, tuple positives, bint alike, cnp.ndarray weight, double scale,
        cnp.ndarray losses, double share
    ):
        """Add share of the losses of some vectors to `losses`, and set the slopes of scale * weight * losses.

        A loss is log(sum over all) - mean over positives of k s. Kept apart as softplus(log sum over negatives - log
        sum over positives), and the rest, which is 0 for a single positive, it does not cancel where it is small.
        """
        cdef Sums x = self.sums(first)
        cdef cnp.ndarray starts = positives[0], stops = positives[1]
        cdef const int64_t* start = <const int64_t*> cnp.PyArray_DATA(starts) + first
        cdef const int64_t* end = <const int64_t*> cnp.PyArray_DATA(stops) + first
        cdef const double* w = <double*> cnp.PyArray_DATA(weight) + first
        cdef double* loss = <double*> cnp.PyArray_DATA(losses) + first
        if cnp.PyArray_TYPE(self.top) == cnp.NPY_FLOAT:
            settle_all(&x, <float*> x.slope, start, end, alike, w, scale, loss, share, stop - first)
        else:
            settle_all(&x, <double*> x.slope, start, end, alike, w, scale, loss, share, stop - first)


cdef void settle_all(
    const Sums* x, floating* slope, const int64_t* start, const int64_t* stop, bint alike, const double* weight,
    double scale, double* loss, double share, Py_ssize_t n
) noexcept nogil:
    cdef const floating* top = <const floating*> x.top
    cdef floating* of_negatives = slope
    cdef floating* of_positives = slope + FIELDS * x.n
    cdef double negative, positive, log_positive, gap, w, of_all
    cdef int64_t count
    cdef Py_ssize_t i
    for i in range(n):
        of_negatives[TOP * x.n + i], of_positives[TOP * x.n + i] = top[i], top[x.n + i]
        count = stop[i] - start[i] - alike
        if count == 0:
            continue
        negative, positive, w = x.mass[i], x.mass[x.n + i], scale * weight[i]
        log_positive = top[x.n + i] + log(positive)
        gap = top[i] + log(negative) - log_positive
        of_all = sigmoid(gap)  # the share of the negatives in the sum
        loss[i] += share * ((0 if count == 1 else log_positive - x.mass[2 * x.n + i] / count) + softplus(gap))
        of_negatives[FACTOR * x.n + i] = <floating> (0 if negative == 0 else w * of_all / negative)
        of_positives[FACTOR * x.n + i] = <floating> (0 if count == 1 else w * sigmoid(-gap) / positive)
        of_positives[OFFSET * x.n + i] = <floating> (w * of_all if count == 1 else w / count)


cdef void sum_row(const floating* s, Py_ssize_t n, floating k, floating* top, double* mass) noexcept nogil:
    """Add exp(k s) for s[:n] to a sum."""
    cdef floating[LANES] lane
    cdef Py_ssize_t i = 0, j
    cdef floating high = top[0]
    if n >= LANES:
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
    if n >= LANES:
        for j in range(LANES):
            lane[j] = exp_nonpositive(k * s[j] - high)
        i = LANES
        while i + LANES <= n:
            for j in range(LANES):
                lane[j] += exp_nonpositive(k * s[i + j] - high)
            i += LANES
        mass[0] += ordered_sum(lane, LANES)
    for j in range(i, n):
        mass[0] += exp_nonpositive(k * s[j] - high)


cdef double scaled_sum(const floating* s, Py_ssize_t n, floating k) noexcept nogil:
    """The sum of k s."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += k * s[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] += k * s[i + j]
    return sum_lanes(lane)


cdef void sum_rows(const Tile* tile, floating* data) noexcept nogil:
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t i, j, place, positives, q
    cdef floating[LANES] own
    cdef floating k = <floating> tile.k, hidden = <floating> (-INFINITY if k > 0 else INFINITY)
    cdef floating* s
    cdef const Sums* row = &tile.row
    for i in range(tile.rows):
        s = data + i * tile.columns
        segments(tile, i, 0, tile.columns, edge)
        set_itself(tile, i, s, <floating> 0)  # a sample is no positive of its own,
        if edge[1] < edge[2]:
            row.mass[2 * row.n + i] += scaled_sum(s + edge[1], edge[2] - edge[1], k)
        set_itself(tile, i, s, <floating> -INFINITY)  # and in no other sum
        positives = edge[2] - edge[1]
        if positives <= LANES:  # the negatives in one go: the remainder of a segment takes as long as 100 elements
            for j in range(positives):
                own[j], s[edge[1] + j] = s[edge[1] + j], hidden
            sum_row(s, tile.columns, k, <floating*> row.top + i, row.mass + i)
            for j in range(positives):
                s[edge[1] + j] = own[j]
            edge[0], edge[3] = edge[1], edge[2]
        for q in range(SEGMENTS):
            place = q % 2 * row.n + i
            if edge[q] < edge[q + 1]:
                sum_row(s + edge[q], edge[q + 1] - edge[q], k, <floating*> row.top + place, row.mass + place)


cdef void raise_columns(const floating* s, Py_ssize_t n, floating k, floating* top) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        top[j] = at_least(k * s[j], top[j])


cdef void add_exponentials(
    const floating* s, Py_ssize_t n, floating k, const floating* top, floating* sums
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        sums[j] += exp_nonpositive(k * s[j] - top[j])


cdef void add_scaled(const floating* s, Py_ssize_t n, floating k, double* sums) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        sums[j] += k * s[j]


cdef void add_columns(
    const floating* sums, const floating* old, const floating* top, double* mass, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        mass[j] = mass[j] * exp_nonpositive(old[j] - top[j]) + sums[j]


cdef void sum_columns(const Tile* tile, floating* data, Py_ssize_t first, Py_ssize_t stop) noexcept nogil:
    """Add the columns from first to stop, at most COLUMNS, to their sums."""
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef floating[2][COLUMNS] old, sums
    cdef Py_ssize_t top_row = 0, rows, width = stop - first, i, j, q, kind
    cdef floating k = <floating> tile.k
    cdef floating* s
    cdef floating* top[2]
    cdef double* mass[3]
    for kind in range(3):
        mass[kind] = tile.column.mass + kind * tile.column.n
    for kind in range(2):
        top[kind] = <floating*> tile.column.top + kind * tile.column.n
    while top_row < tile.rows:
        rows = min(top_row + ROWS, tile.rows)
        for kind in range(2):
            for j in range(width):
                old[kind][j], sums[kind][j] = top[kind][first + j], 0
        for i in range(top_row, rows):
            s = data + i * tile.columns
            segments(tile, i, first, stop, edge)
            for q in range(SEGMENTS):
                raise_columns(s + edge[q], edge[q + 1] - edge[q], k, top[q % 2] + edge[q])
        for i in range(top_row, rows):
            s = data + i * tile.columns
            segments(tile, i, first, stop, edge)
            for q in range(SEGMENTS):
                j = edge[q]
                add_exponentials(s + j, edge[q + 1] - j, k, top[q % 2] + j, sums[q % 2] + j - first)
            add_scaled(s + edge[1], edge[2] - edge[1], k, mass[2] + edge[1])
        for kind in range(2):
            add_columns(sums[kind], old[kind], top[kind] + first, mass[kind] + first, width)
        top_row = rows


cdef void sum_tile(const Tile* tile, floating* data) noexcept nogil:
    cdef Py_ssize_t block
    sum_rows(tile, data)
    for block in range((tile.columns + COLUMNS - 1) // COLUMNS if tile.column.top != NULL else 0):
        sum_columns(tile, data, block * COLUMNS, min((block + 1) * COLUMNS, tile.columns))


def add_to_sums(
    cnp.ndarray s, double k, Py_ssize_t i0, Py_ssize_t j0, tuple positives, bint alike, Totals rows, Totals columns
):
    """Add a tile to the sums of its rows and, if these are not None, of its columns."""
    cdef Tile tile = tile_of(s, i0, j0, positives, alike, k)
    tile.row = rows.sums(i0)
    tile.column.top = NULL
    if columns is not None:
        tile.column = columns.sums(j0)
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        with nogil:
            sum_tile(&tile, <float*> tile.data)
    else:
        with nogil:
            sum_tile(&tile, <double*> tile.data)


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


cdef void set_slopes(const Tile* tile, floating* data) noexcept nogil:
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t i, j, n, q
    cdef Py_ssize_t row_n = tile.row.n, column_n = tile.column.n
    cdef const floating* x
    cdef const floating* y
    cdef floating k = <floating> tile.k
    cdef floating* s
    for i in range(tile.rows):
        s = data + i * tile.columns
        segments(tile, i, 0, tile.columns, edge)
        for q in range(SEGMENTS):
            j, n = edge[q], edge[q + 1] - edge[q]
            x = <floating*> tile.row.slope + q % 2 * FIELDS * row_n + i
            y = at(<floating*> tile.column.slope, q % 2 * FIELDS * column_n + j)
            if y == NULL:
                slopes_of_row(s + j, n, k, x[FACTOR * row_n], x[TOP * row_n], x[OFFSET * row_n])
            else:
                slopes_of_both(
                    s + j, n, k, x[FACTOR * row_n], x[TOP * row_n], x[OFFSET * row_n],
                    y + FACTOR * column_n, y + TOP * column_n, y + OFFSET * column_n
                )
        set_itself(tile, i, s, <floating> 0)


def softmax_slopes(
    cnp.ndarray s, double k, Py_ssize_t i0, Py_ssize_t j0, tuple positives, bint alike, Totals rows, Totals columns
):
    """Put the slopes in place of the similarities; columns may be None."""
    cdef Tile tile = tile_of(s, i0, j0, positives, alike, k)
    tile.row = rows.sums(i0)
    tile.column.slope = NULL
    if columns is not None:
        tile.column = columns.sums(j0)
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        with nogil:
            set_slopes(&tile, <float*> tile.data)
    else:
        with nogil:
            set_slopes(&tile, <double*> tile.data)


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


cdef void sigmoid_rows(const Tile* tile, floating* data) noexcept nogil:
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef Py_ssize_t i, q
    cdef floating k = <floating> tile.k, b = <floating> tile.b, sign
    cdef floating* s
    for i in range(tile.rows):
        s = data + i * tile.columns
        segments(tile, i, 0, tile.columns, edge)
        for q in range(SEGMENTS):
            sign = -1 if q == POSITIVE else 1
            if edge[q] < edge[q + 1]:
                tile.loss[i] += sigmoid_segment(
                    s + edge[q], edge[q + 1] - edge[q], k, b, sign, sign * <floating> tile.weight[i], tile.slope + i
                )


def sigmoid_tile(
    cnp.ndarray s, double k, double b, Py_ssize_t i0, Py_ssize_t j0, tuple positives,
    cnp.ndarray weight, cnp.ndarray losses, cnp.ndarray slopes
):
    """Put the slopes in place of the similarities, and add the sums of losses and slopes over each row."""
    cdef Tile tile = tile_of(s, i0, j0, positives, False, k, b)
    tile.weight = <double*> cnp.PyArray_DATA(weight) + i0
    tile.loss = <double*> cnp.PyArray_DATA(losses) + i0
    tile.slope = <double*> cnp.PyArray_DATA(slopes) + i0
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        with nogil:
            sigmoid_rows(&tile, <float*> tile.data)
    else:
        with nogil:
            sigmoid_rows(&tile, <double*> tile.data)


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


# ---------------------------------------------------------------------------------------------------------------------
# Vectors

cdef double inner(const floating* x, const floating* y, Py_ssize_t n) noexcept nogil:
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += <double> x[i + j] * <double> y[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] += <double> x[i + j] * <double> y[i + j]
    return sum_lanes(lane)


cdef double distance(const floating* x, const floating* y, Py_ssize_t n) noexcept nogil:
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    cdef double r
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            r = <double> x[i + j] - <double> y[i + j]
            lane[j] += r * r
        i += LANES
    for j in range(n - i):
        r = <double> x[i + j] - <double> y[i + j]
        lane[j] += r * r
    return sqrt(sum_lanes(lane))


cdef double largest(const floating* x, Py_ssize_t n) noexcept nogil:
    """The largest absolute value; NaN if a value is not finite."""
    cdef floating[LANES] lane, nothing
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = nothing[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] = at_least(fabs(x[i + j]), lane[j])
            nothing[j] += x[i + j] - x[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] = at_least(fabs(x[i + j]), lane[j])
        nothing[j] += x[i + j] - x[i + j]
    return max_lanes(lane) + ordered_sum(nothing, LANES)


cdef void scale_by_power(const floating* x, Py_ssize_t n, int exponent, floating* out) noexcept nogil:
    """x 2^exponent, in two steps, neither of which overflows."""
    cdef floating first = <floating> ldexp(1, exponent // 2), second = <floating> ldexp(1, exponent - exponent // 2)
    cdef Py_ssize_t j
    for j in range(n):
        out[j] = x[j] * first * second


def inner_product(cnp.ndarray x, cnp.ndarray y):
    """The sum of x y, in double precision."""
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        return inner(<float*> cnp.PyArray_DATA(x), <float*> cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))
    return inner(<double*> cnp.PyArray_DATA(x), <double*> cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))


cdef void to_unit(const floating* x, Py_ssize_t d, floating* unit, double* inverse) noexcept nogil:
    cdef double norm
    cdef Py_ssize_t j
    cdef int exponent = 0
    frexp(largest(x, d), &exponent)
    scale_by_power(x, d, -exponent, unit)  # so squares neither overflow nor vanish
    norm = sqrt(inner(unit, unit, d))
    inverse[0] = 0 if norm == 0 else 1 / norm
    for j in range(d):
        unit[j] = <floating> (inverse[0] * unit[j])
    inverse[0] = ldexp(inverse[0], -exponent)


cdef void to_units(
    const floating* x, const floating* y, Py_ssize_t n, Py_ssize_t d, floating* units, double* inverse
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        to_unit(x + i * d, d, units + 2 * i * d, inverse + 2 * i)
        to_unit(y + i * d, d, units + (2 * i + 1) * d, inverse + 2 * i + 1)


def unit_vectors(cnp.ndarray x, cnp.ndarray y):
    """The rows of x and y in turn, divided by their norms, and one over these; 0 for a zero vector, which stays."""
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), d = cnp.PyArray_DIM(x, 1)
    cdef cnp.ndarray units = np.empty((2 * n, d), x.dtype), inverse = np.empty(2 * n)
    cdef void* a = cnp.PyArray_DATA(x)
    cdef void* b = cnp.PyArray_DATA(y)
    cdef void* u = cnp.PyArray_DATA(units)
    cdef double* v = <double*> cnp.PyArray_DATA(inverse)
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        with nogil:
            to_units(<float*> a, <float*> b, n, d, <float*> u, v)
    else:
        with nogil:
            to_units(<double*> a, <double*> b, n, d, <double*> u, v)
    return units, inverse


cdef void through_unit(
    const floating* slope, const floating* unit, double inverse, Py_ssize_t d, floating* grad
) noexcept nogil:
    cdef floating along = <floating> inner(slope, unit, d)
    cdef Py_ssize_t j
    for j in range(d):
        grad[j] = <floating> (inverse * (slope[j] - along * unit[j]))


cdef void through_units(
    const floating* slope, const floating* unit, const double* inverse, Py_ssize_t n, Py_ssize_t d,
    floating* grad_x, floating* grad_y
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        through_unit(slope + 2 * i * d, unit + 2 * i * d, inverse[2 * i], d, grad_x + i * d)
        through_unit(slope + (2 * i + 1) * d, unit + (2 * i + 1) * d, inverse[2 * i + 1], d, grad_y + i * d)


def gradients_through_units(cnp.ndarray slopes, cnp.ndarray units, cnp.ndarray inverse, cnp.ndarray x, cnp.ndarray y):
    """The gradients by what `unit_vectors` got, into x and y, from those by what it gave."""
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), d = cnp.PyArray_DIM(x, 1)
    cdef void* g = cnp.PyArray_DATA(slopes)
    cdef void* u = cnp.PyArray_DATA(units)
    cdef double* v = <double*> cnp.PyArray_DATA(inverse)
    cdef void* a = cnp.PyArray_DATA(x)
    cdef void* b = cnp.PyArray_DATA(y)
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        with nogil:
            through_units(<float*> g, <float*> u, v, n, d, <float*> a, <float*> b)
    else:
        with nogil:
            through_units(<double*> g, <double*> u, v, n, d, <double*> a, <double*> b)


# ---------------------------------------------------------------------------------------------------------------------
# Triplets

def largest_of(cnp.ndarray x):
    """The largest absolute value; NaN if a value is not finite."""
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        return largest(<float*> cnp.PyArray_DATA(x), cnp.PyArray_SIZE(x))
    return largest(<double*> cnp.PyArray_DATA(x), cnp.PyArray_SIZE(x))


cdef void pull(
    const floating* x, const floating* y, Py_ssize_t d, double slope, floating* of_x, floating* of_y
) noexcept nogil:
    """Add the gradients of slope / 2 |x - y|^2."""
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


# ---------------------------------------------------------------------------------------------------------------------
# Labels

def ranges(cnp.ndarray labels):
    """For each of the sorted labels, where those equal to it begin and end."""
    cdef Py_ssize_t n = cnp.PyArray_DIM(labels, 0), i, first = 0
    cdef cnp.ndarray start = np.empty(n, np.int64), stop = np.empty(n, np.int64)
    cdef cnp.ndarray new = labels[1:] != labels[:max(n - 1, 0)]
    cdef int64_t* a = <int64_t*> cnp.PyArray_DATA(start)
    cdef int64_t* b = <int64_t*> cnp.PyArray_DATA(stop)
    cdef cnp.npy_bool* is_new = <cnp.npy_bool*> cnp.PyArray_DATA(new)
    for i in range(n):
        if i > 0 and is_new[i - 1]:
            first = i
        a[i] = first
    first = n
    for i in range(n - 1, -1, -1):
        b[i] = first
        if i > 0 and is_new[i - 1]:
            first = i
    return start, stop
