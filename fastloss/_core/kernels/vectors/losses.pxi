"""The math of the losses of vectors.

A loss is a function of the measures of a row. It returns the loss and writes the slopes, its derivatives with respect
to the measures. The measures are one of:

* one distance, between the first and the second vector;
* three distances: first to second, first to third, second to third (a loss of two distances has the first two);
* the cosine, and 1 - cosine, which is computed more accurately than from the cosine. The slope is with respect to the
  cosine.
"""


cdef inline double positive(double x) noexcept nogil: return 0 if x <= 0 else x  # NaN stays NaN
cdef inline double step(double x) noexcept nogil: return 1.0 if x > 0 else 0.0


cdef inline double contrastive(
    const double* measures, double same, const double* parameters, double* slopes
) noexcept nogil:
    cdef double margin = parameters[0], distance = measures[0]
    cdef double gap = positive(margin - distance), pull = distance if same else -gap
    slopes[0] = pull
    return pull * pull / 2

cdef void contrastive_rows(const Job* job, Tile* tile) noexcept nogil:
    find_losses_and_slopes(contrastive, 1, job, tile)
add("contrastive", contrastive_rows, 1)


cdef inline double triplet(
    const double* measures, double label, const double* parameters, double* slopes
) noexcept nogil:
    cdef double margin = parameters[0]
    cdef double loss = positive(measures[0] - measures[1] + margin)
    slopes[0] = step(loss)
    slopes[1] = -slopes[0]
    return loss

cdef void triplet_rows(const Job* job, Tile* tile) noexcept nogil:
    find_losses_and_slopes(triplet, 2, job, tile)
add("triplet", triplet_rows, 2)


cdef inline double triplet_swap(
    const double* measures, double label, const double* parameters, double* slopes
) noexcept nogil:
    cdef double margin = parameters[0], to_anchor = measures[1], to_positive = measures[2]
    cdef double share = 1.0 if to_anchor < to_positive else (0.0 if to_anchor > to_positive else 0.5)
    # NaN if either distance is NaN.
    cdef double nearer = to_anchor if (to_anchor < to_positive) | (to_anchor != to_anchor) else to_positive
    cdef double loss = positive(measures[0] - nearer + margin)
    slopes[0] = step(loss)
    slopes[1] = -slopes[0] * share
    slopes[2] = -slopes[0] * (1 - share)
    return loss

cdef void triplet_swap_rows(const Job* job, Tile* tile) noexcept nogil:
    find_losses_and_slopes(triplet_swap, 3, job, tile)
add("triplet_swap", triplet_swap_rows, 3)


cdef inline double cosine_embedding(
    const double* measures, double label, const double* parameters, double* slopes
) noexcept nogil:
    cdef double margin = parameters[0], cosine = measures[0], one_minus_cosine = measures[1]
    cdef double loss = one_minus_cosine if label > 0 else positive(cosine - margin)
    slopes[0] = -1.0 if label > 0 else step(loss)
    return loss

cdef void cosine_embedding_rows(const Job* job, Tile* tile) noexcept nogil:
    find_losses_and_slopes(cosine_embedding, 1, job, tile)
add("cosine_embedding", cosine_embedding_rows, 0)


cdef inline double cosine_distance(
    const double* measures, double label, const double* parameters, double* slopes
) noexcept nogil:
    cdef double one_minus_cosine = measures[1]
    slopes[0] = -1
    return one_minus_cosine

cdef void cosine_distance_rows(const Job* job, Tile* tile) noexcept nogil:
    find_losses_and_slopes(cosine_distance, 1, job, tile)
add("cosine_distance", cosine_distance_rows, 0)
