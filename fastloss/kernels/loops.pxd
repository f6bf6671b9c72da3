"""What the drivers of losses made of terms share: the loops over a tile, the domains of operands, and weights."""

from cython cimport floating

from fastloss.kernels.outputs cimport CURVATURE, CURVATURE_2, OUTPUTS, SLOPE, SLOPE_2, VALUE
from fastloss.kernels.tiles cimport LANES, MAX_PARAMETERS, at, stream
from fastloss.kernels.vecmath cimport at_most, fabs
from libc.float cimport DBL_MAX
from libc.string cimport memcpy

cdef enum:                  # places of the derivatives
    GRAD
    HESS
    GRAD_2      # by the second differentiable input
    HESS_2
    DERIVATIVES

cdef struct Tile:
    const void* p
    const void* t
    const void* u
    void* e             # scratch
    Py_ssize_t n
    double scale        # of every derivative
    void* value         # what is not wanted is NULL
    void* out[DERIVATIVES]
    bint stream         # whether gradients go past the caches; not with second derivatives

ctypedef void (*single_loops)(const Tile*, const float*) noexcept nogil
ctypedef void (*double_loops)(const Tile*, const double*) noexcept nogil


cdef inline floating nothing(floating p, floating t, floating u, const floating* c) noexcept nogil:
    return 0


cdef inline void lanes_past_caches(
    void (*loss)(floating, floating, floating, floating, const floating*, floating*) noexcept nogil,
    const floating* p, const floating* t, const floating* u, const floating* e, const floating* c, floating scale,
    floating* value, floating* grad, floating* grad_2, bint pair
) noexcept nogil:
    """The results of LANES elements, by way of registers or nearly so."""
    cdef floating[LANES] values, slopes, slopes_2
    cdef floating[OUTPUTS] out
    cdef Py_ssize_t i
    for i in range(OUTPUTS):
        out[i] = 0
    for i in range(LANES):
        loss(p[i], t[i], u[i], e[i], c, out)
        values[i] = out[VALUE]
        slopes[i] = out[SLOPE] * scale
        if pair:
            slopes_2[i] = out[SLOPE_2] * scale
    if value != NULL:
        memcpy(value, values, sizeof(values))
    stream(grad, slopes, sizeof(slopes))
    if pair:
        stream(grad_2, slopes_2, sizeof(slopes_2))


cdef inline void loops(
    floating (*first)(floating, floating, floating, const floating*) noexcept nogil,
    void (*loss)(floating, floating, floating, floating, const floating*, floating*) noexcept nogil,
    const Tile* x, const floating* parameters, bint pair=False
) noexcept nogil:
    """One loop for each combination of results, so that the compiler drops what that combination does not need.

    What `first` gives for an element reaches `loss` as its argument e, by way of a loop of its own: two short chains of
    dependent instructions overlap where a processor cannot look far enough ahead to overlap long ones. `pair` says that
    the loss has derivatives by a second input too.
    """
    cdef const floating* p = <const floating*> x.p
    cdef const floating* t = <const floating*> x.t
    cdef const floating* u = <const floating*> x.u
    cdef floating* e = <floating*> x.e
    cdef floating* value = <floating*> x.value
    cdef floating* grad = <floating*> x.out[GRAD]
    cdef floating* hess = <floating*> x.out[HESS]
    cdef floating* grad_2 = <floating*> x.out[GRAD_2]
    cdef floating* hess_2 = <floating*> x.out[HESS_2]
    cdef floating scale = <floating> x.scale
    cdef floating[MAX_PARAMETERS] c
    cdef floating[OUTPUTS] out
    cdef Py_ssize_t start = 0, i
    for i in range(MAX_PARAMETERS):
        c[i] = parameters[i]  # a local copy stays in registers: the stores below cannot alias it
    for i in range(OUTPUTS):
        out[i] = 0
    if <void*> first != <void*> nothing[floating]:
        for i in range(x.n):
            e[i] = first(p[i], t[i], u[i], c)
    while x.stream and start + LANES <= x.n:
        lanes_past_caches(
            loss, p + start, t + start, u + start, e + start, c, scale, at(value, start), grad + start,
            at(grad_2, start), pair
        )
        start += LANES
    if hess != NULL:
        for i in range(start, x.n):
            loss(p[i], t[i], u[i], e[i], c, out)
            grad[i] = out[SLOPE] * scale
            hess[i] = out[CURVATURE] * scale
            if pair:
                grad_2[i] = out[SLOPE_2] * scale
                hess_2[i] = out[CURVATURE_2] * scale
    elif grad == NULL:
        for i in range(start, x.n):
            loss(p[i], t[i], u[i], e[i], c, out)
            value[i] = out[VALUE]
    elif value == NULL:
        for i in range(start, x.n):
            loss(p[i], t[i], u[i], e[i], c, out)
            grad[i] = out[SLOPE] * scale
            if pair:
                grad_2[i] = out[SLOPE_2] * scale
    else:
        for i in range(start, x.n):
            loss(p[i], t[i], u[i], e[i], c, out)
            value[i] = out[VALUE]
            grad[i] = out[SLOPE] * scale
            if pair:
                grad_2[i] = out[SLOPE_2] * scale


cdef enum Domain:       # what the elements of an operand may be
    ANY
    UNIT_INTERVAL       # [0, 1]
    PROBABILITY         # [0, 1], or NaN
    NOT_NEGATIVE        # or NaN
    SIGN                # -1 or +1
    ZERO_OR_ONE


cdef inline bint in_unit_interval(floating x) noexcept nogil: return (x >= 0) & (x <= 1)
cdef inline bint is_probability(floating x) noexcept nogil: return not ((x < 0) | (x > 1))
cdef inline bint is_not_negative(floating x) noexcept nogil: return not (x < 0)
cdef inline bint is_sign(floating x) noexcept nogil: return fabs(x) == 1
cdef inline bint is_zero_or_one(floating x) noexcept nogil: return (x == 0) | (x == 1)


cdef inline bint any_outside(
    bint (*allowed)(floating) noexcept nogil, const floating* x, const double* weight, Py_ssize_t n
) noexcept nogil:
    """Whether an element that counts (its weight is not 0) is not allowed."""
    cdef Py_ssize_t i
    cdef int bad = 0
    if weight == NULL:
        for i in range(n):
            bad |= not allowed(x[i])
    else:
        for i in range(n):
            bad |= (weight[i] != 0) & (not allowed(x[i]))
    return bad


cdef inline bint outside(int domain, const floating* x, const double* weight, Py_ssize_t n) noexcept nogil:
    if domain == UNIT_INTERVAL:
        return any_outside(in_unit_interval[floating], x, weight, n)
    if domain == PROBABILITY:
        return any_outside(is_probability[floating], x, weight, n)
    if domain == NOT_NEGATIVE:
        return any_outside(is_not_negative[floating], x, weight, n)
    if domain == SIGN:
        return any_outside(is_sign[floating], x, weight, n)
    if domain == ZERO_OR_ONE:
        return any_outside(is_zero_or_one[floating], x, weight, n)
    return False


cdef inline void weigh(floating* x, const double* weight, double scale, Py_ssize_t n) noexcept nogil:
    """x *= scale * weight, where a weight of 0 gives 0 whatever x is. NULL is passed over."""
    cdef Py_ssize_t i
    for i in range(n if x != NULL else 0):
        x[i] = 0 if weight[i] == 0 else <floating> (x[i] * at_most(scale * weight[i], <double> DBL_MAX))
