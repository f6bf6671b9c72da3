"""Softmax: log sum exp(k s_ij) over the negatives and over the positives of each row and of each column, tile by tile.

A sum is kept as two numbers: `top`, the largest exponent so far, and `sum_exp`, the sum of exp(k s - top). The first
row of both is over the negatives, and the second is over the positives. A third row of `sum_exp` holds the sum of k s
over the positives.

The slope of the loss with respect to k s_ij is a exp(k s_ij - top) - b. a, top and b belong to row i and to the kind of
the pair. If both directions count, the same expression with those of column j is added.
"""

cdef enum:      # coefficients of a slope a exp(k s_ij - top) - b
    FACTOR      # a
    TOP         # top
    OFFSET      # b
    FIELDS


cdef class Totals:
    """The sums of n vectors, and the coefficients of their slopes."""

    cdef cnp.ndarray top        # (2, n): negatives, positives
    cdef cnp.ndarray sum_exp    # (3, n), in double precision: negatives, positives, sum of k s over the positives
    cdef cnp.ndarray slope      # (2, FIELDS, n): negatives, positives

    def __init__(self, Py_ssize_t n, dtype):
        self.top = np.empty((2, n), dtype)
        self.top.fill(-FLT_MAX if cnp.PyArray_TYPE(self.top) == cnp.NPY_FLOAT else -DBL_MAX)
        self.sum_exp = np.zeros((3, n))
        self.slope = np.zeros((2, FIELDS, n), dtype)

    cdef Sums sums(self, Py_ssize_t first):
        cdef Sums x
        x.top = cnp.PyArray_BYTES(self.top) + first * cnp.PyArray_ITEMSIZE(self.top)
        x.sum_exp = <double*> cnp.PyArray_DATA(self.sum_exp) + first
        x.slope = cnp.PyArray_BYTES(self.slope) + first * cnp.PyArray_ITEMSIZE(self.slope)
        x.n = cnp.PyArray_DIM(self.top, 1)
        return x

    def find_losses_and_slopes(
        self, Py_ssize_t first, Py_ssize_t stop, tuple positives, bint alike, cnp.ndarray weight, cnp.ndarray losses,
        double share
    ):
        """Add share times the losses of some vectors to `losses`, and set the slopes of share * weight * losses.

        A loss is log(sum over all) - mean over positives of k s. It is computed as softplus(log sum over negatives -
        log sum over positives) plus a rest that is 0 for a single positive. So a small loss does not cancel.
        """
        cdef Sums x = self.sums(first)
        cdef cnp.ndarray starts = positives[0], stops = positives[1]
        cdef const int64_t* start = <const int64_t*> cnp.PyArray_DATA(starts) + first
        cdef const int64_t* end = <const int64_t*> cnp.PyArray_DATA(stops) + first
        cdef const double* w = <double*> cnp.PyArray_DATA(weight) + first
        cdef double* loss = <double*> cnp.PyArray_DATA(losses) + first
        if cnp.PyArray_TYPE(self.top) == cnp.NPY_FLOAT:
            find_losses_and_slopes_of(&x, <float*> x.slope, start, end, alike, w, loss, share, stop - first)
        else:
            find_losses_and_slopes_of(&x, <double*> x.slope, start, end, alike, w, loss, share, stop - first)


cdef void find_losses_and_slopes_of(
    const Sums* x, floating* slope, const int64_t* start, const int64_t* stop, bint alike, const double* weight,
    double* loss, double share, Py_ssize_t n
) noexcept nogil:
    cdef const floating* top = <const floating*> x.top
    cdef floating* of_negatives = slope
    cdef floating* of_positives = slope + FIELDS * x.n
    cdef double negative, positive, log_positive, gap, w, share_of_negatives
    cdef int64_t count
    cdef Py_ssize_t i
    for i in range(n):
        of_negatives[TOP * x.n + i], of_positives[TOP * x.n + i] = top[i], top[x.n + i]
        count = stop[i] - start[i] - alike
        if count == 0:
            continue
        negative, positive, w = x.sum_exp[i], x.sum_exp[x.n + i], share * weight[i]
        log_positive = top[x.n + i] + log(positive)
        gap = top[i] + log(negative) - log_positive
        share_of_negatives = sigmoid(gap)
        loss[i] += share * ((0 if count == 1 else log_positive - x.sum_exp[2 * x.n + i] / count) + softplus(gap))
        of_negatives[FACTOR * x.n + i] = <floating> (0 if negative == 0 else w * share_of_negatives / negative)
        of_positives[FACTOR * x.n + i] = <floating> (0 if count == 1 else w * sigmoid(-gap) / positive)
        of_positives[OFFSET * x.n + i] = <floating> (w * share_of_negatives if count == 1 else w / count)


cdef void sum_row(const floating* s, Py_ssize_t n, floating k, floating* top, double* sum_exp) noexcept nogil:
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
        sum_exp[0] *= exp_nonpositive(top[0] - high)
        top[0] = high
    if n >= LANES:
        for j in range(LANES):
            lane[j] = exp_nonpositive(k * s[j] - high)
        i = LANES
        while i + LANES <= n:
            for j in range(LANES):
                lane[j] += exp_nonpositive(k * s[i + j] - high)
            i += LANES
        sum_exp[0] += ordered_sum(lane, LANES)
    for j in range(i, n):
        sum_exp[0] += exp_nonpositive(k * s[j] - high)


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
    cdef floating k = <floating> tile.factor, hidden = <floating> (-INFINITY if k > 0 else INFINITY)
    cdef floating* s
    cdef const Sums* row = &tile.row
    for i in range(tile.rows):
        s = data + i * tile.columns
        segments(tile, i, 0, tile.columns, edge)
        set_itself(tile, i, s, <floating> 0)  # a sample is not its own positive
        if edge[1] < edge[2]:
            row.sum_exp[2 * row.n + i] += scaled_sum(s + edge[1], edge[2] - edge[1], k)
        set_itself(tile, i, s, <floating> -INFINITY)  # it is in no other sum; a batch that meets itself has k > 0
        positives = edge[2] - edge[1]
        if positives <= LANES:  # all negatives in one pass: the remainder of a segment takes as long as 100 elements
            for j in range(positives):
                own[j], s[edge[1] + j] = s[edge[1] + j], hidden
            sum_row(s, tile.columns, k, <floating*> row.top + i, row.sum_exp + i)
            for j in range(positives):
                s[edge[1] + j] = own[j]
            edge[0], edge[3] = edge[1], edge[2]
        for q in range(SEGMENTS):
            place = q % 2 * row.n + i
            if edge[q] < edge[q + 1]:
                sum_row(s + edge[q], edge[q + 1] - edge[q], k, <floating*> row.top + place, row.sum_exp + place)


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
    const floating* sums, const floating* old, const floating* top, double* sum_exp, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        sum_exp[j] = sum_exp[j] * exp_nonpositive(old[j] - top[j]) + sums[j]


cdef void sum_columns(const Tile* tile, floating* data, Py_ssize_t first, Py_ssize_t stop) noexcept nogil:
    """Add the columns from first to stop, at most COLUMNS, to their sums."""
    cdef Py_ssize_t[SEGMENTS + 1] edge
    cdef floating[2][COLUMNS] old, sums
    cdef Py_ssize_t top_row = 0, rows, width = stop - first, i, j, q, kind
    cdef floating k = <floating> tile.factor
    cdef floating* s
    cdef floating* top[2]
    cdef double* sum_exp[3]
    for kind in range(3):
        sum_exp[kind] = tile.column.sum_exp + kind * tile.column.n
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
            add_scaled(s + edge[1], edge[2] - edge[1], k, sum_exp[2] + edge[1])
        for kind in range(2):
            add_columns(sums[kind], old[kind], top[kind] + first, sum_exp[kind] + first, width)
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
    cdef floating k = <floating> tile.factor
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
