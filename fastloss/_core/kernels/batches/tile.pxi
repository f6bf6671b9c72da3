"""A tile of similarities, and the segments of its rows."""

cdef struct Tile:
    void* data
    Py_ssize_t i0, j0, rows, columns
    const int64_t* start
    const int64_t* stop
    bint alike
    double factor, bias     # the logit of a pair is factor s_ij + bias
    Sums row, column    # of softmax; column.top is NULL if columns have no sums
    const double* weight
    double* loss
    double* slope       # of sigmoid: for each row, the sum of its slopes
    # of mining: arrays of shape (2, length), the first row for negatives
    const void* certain     # bounds on the scores of pairs, each the sum of two of these and a product
    const void* possible
    void* limit             # the largest certain score
    double* best            # the largest score
    int32_t* index          # the other vector of that pair
    const int64_t* order    # the index of a vector among the caller's
    const void* vectors
    Py_ssize_t length, dimensions


cdef Tile tile_of(
    cnp.ndarray s, Py_ssize_t i0, Py_ssize_t j0, tuple positives, bint alike, double factor=1, double bias=0
):
    """A tile of similarities. The fields from `row` on stay unset: a loss sets those that it uses."""
    cdef Tile tile
    cdef cnp.ndarray start = positives[0], stop = positives[1]
    tile.data = cnp.PyArray_DATA(s)
    tile.rows, tile.columns = cnp.PyArray_DIM(s, 0), cnp.PyArray_DIM(s, 1)
    tile.i0, tile.j0, tile.alike, tile.bias = i0, j0, alike, bias
    # The factor must not become inf or 0 in the dtype: times 0 or inf that would be NaN.
    if cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT:
        tile.factor = copysign(min(max(fabs(factor), FLT_MIN), FLT_MAX), factor)
    else:
        tile.factor = copysign(max(fabs(factor), DBL_MIN), factor)
    tile.start = <const int64_t*> cnp.PyArray_DATA(start) + i0
    tile.stop = <const int64_t*> cnp.PyArray_DATA(stop) + i0
    return tile


cdef inline void segments(
    const Tile* tile, Py_ssize_t i, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t* edge
) noexcept nogil:
    """Set the edges of row i between the columns first and stop: segment q is [edge[q], edge[q + 1])."""
    edge[0] = first
    edge[1] = min(max(tile.start[i] - tile.j0, first), stop)
    edge[2] = min(max(tile.stop[i] - tile.j0, first), stop)
    edge[3] = stop


cdef inline void set_itself(const Tile* tile, Py_ssize_t i, floating* s, floating value) noexcept nogil:
    """Set the similarity of the sample of row i with itself, if the batch meets itself."""
    cdef Py_ssize_t j = tile.i0 + i - tile.j0
    if tile.alike and 0 <= j < tile.columns:
        s[j] = value
