"""The math of the penalties on weights w."""


cdef inline void l1(
    floating w, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating strength = parameters[0]
    out[VALUE] = strength * fabs(w)
    out[GRAD] = strength * sign(w)
    out[HESS] = 0

cdef void l1_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], l1[floating], tile, parameters)
add("l1", l1_loops[float], l1_loops[double])


cdef inline void l2(
    floating w, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating strength = parameters[0]
    cdef floating slope = strength * w
    out[VALUE] = <floating> 0.5 * slope * w
    out[GRAD] = slope
    out[HESS] = strength

cdef void l2_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], l2[floating], tile, parameters)
add("l2", l2_loops[float], l2_loops[double])


cdef inline void elastic_net(
    floating w, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating of_abs = parameters[0], of_square = parameters[1]
    out[VALUE] = times(of_abs, fabs(w)) + times(times(<floating> 0.5 * of_square, w), w)
    out[GRAD] = of_abs * sign(w) + times(of_square, w)
    out[HESS] = of_square

cdef void elastic_net_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], elastic_net[floating], tile, parameters)
add("elastic_net", elastic_net_loops[float], elastic_net_loops[double])
