"""Sigmoid: a negative pair costs softplus(k s + b), a positive one softplus(-(k s + b))."""

cdef double sigmoid_segment(
    floating* s, Py_ssize_t n, floating k, floating b, floating sign, floating weight, double* slope
) noexcept nogil:
    """Return the sum of the losses of a segment. Write the slopes over s, and add their sum to `slope`."""
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
    cdef floating k = <floating> tile.factor, b = <floating> tile.bias, sign
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
