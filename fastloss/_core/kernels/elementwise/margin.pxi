"""The losses of a score and a label -1 or +1."""


cdef inline void hinge(
    floating score, floating label, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating margin = parameters[0]
    cdef floating gap = margin - label * score
    out[VALUE] = 0 if gap <= 0 else gap
    out[GRAD] = 0 if gap <= 0 else (-label if gap > 0 else gap)  # gap itself: NaN stays NaN
    out[HESS] = 0

cdef void hinge_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], hinge[floating], tile, parameters)
add("hinge", hinge_loops[float], hinge_loops[double])


cdef inline void margin_ranking(
    floating x1, floating label, floating x2, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating margin = parameters[0]
    cdef floating gap = margin - label * (x1 - x2)
    out[VALUE] = 0 if gap <= 0 else gap
    out[GRAD] = 0 if gap <= 0 else (-label if gap > 0 else gap)  # gap itself: NaN stays NaN
    out[GRAD_2] = 0 - out[GRAD]
    out[HESS] = out[HESS_2] = 0

cdef void margin_ranking_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], margin_ranking[floating], tile, parameters, two_gradients=True)
add("margin_ranking", margin_ranking_loops[float], margin_ranking_loops[double])


cdef inline void hinge_embedding(
    floating x, floating label, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating margin = parameters[0]
    cdef floating gap = margin - x
    out[VALUE] = x if label > 0 else (0 if gap <= 0 else gap)
    # The condition differs from that above: selects that are nested alike become jumps and are not vectorised.
    out[GRAD] = x if x != x else (label if (label > 0) | (gap > 0) else 0)
    out[HESS] = 0

cdef void hinge_embedding_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], hinge_embedding[floating], tile, parameters)
add("hinge_embedding", hinge_embedding_loops[float], hinge_embedding_loops[double])


cdef inline void squared_hinge(
    floating score, floating label, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating margin = parameters[0]
    cdef floating gap = margin - label * score, excess = 0 if gap <= 0 else gap
    out[VALUE] = excess * excess
    out[GRAD] = -2 * (label * excess)
    out[HESS] = 2 if excess > 0 else 0

cdef void squared_hinge_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], squared_hinge[floating], tile, parameters)
add("squared_hinge", squared_hinge_loops[float], squared_hinge_loops[double])


cdef inline void modified_huber(
    floating score, floating label, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating margin = label * score, gap = 1 - margin, excess = 0 if gap <= 0 else gap
    out[VALUE] = -4 * margin if margin < -1 else excess * excess
    out[GRAD] = -4 * label if margin < -1 else -2 * (label * excess)
    out[HESS] = 0 if (margin < -1) | (excess == 0) else 2

cdef void modified_huber_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], modified_huber[floating], tile, parameters)
add("modified_huber", modified_huber_loops[float], modified_huber_loops[double])


cdef inline void logistic(
    floating score, floating label, floating third, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    cdef bint right = label * score > 0
    cdef floating one = 1, r = one / (one + decay)
    out[VALUE] = log1p_01(decay) + (0 if right else fabs(score))
    out[GRAD] = -label * (decay * r if right else r)
    out[HESS] = (decay * r) * r

cdef void logistic_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_minus_abs[floating], logistic[floating], tile, parameters)
add("logistic", logistic_loops[float], logistic_loops[double])


cdef inline floating exp_of_margin(
    floating score, floating label, floating third, const floating* parameters
) noexcept nogil:
    return exp(-label * score)


cdef inline void exponential(
    floating score, floating label, floating third, floating exp_minus_margin, const floating* parameters, floating* out
) noexcept nogil:
    out[VALUE] = exp_minus_margin
    out[GRAD] = -label * exp_minus_margin
    out[HESS] = exp_minus_margin

cdef void exponential_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_of_margin[floating], exponential[floating], tile, parameters)
add("exponential", exponential_loops[float], exponential_loops[double])
