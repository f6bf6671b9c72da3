"""The negative log-likelihoods. A target of 0 makes its term 0, even where that would be 0 * inf."""


cdef inline floating exp_of_pred(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    return exp(pred)


cdef inline void poisson_nll(
    floating pred, floating target, floating third, floating rate, const floating* parameters, floating* out
) noexcept nogil:
    out[VALUE] = rate if rate == INFINITY else rate - times(target, pred)
    out[GRAD] = rate - target
    out[HESS] = rate

cdef void poisson_nll_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_of_pred[floating], poisson_nll[floating], tile, parameters)
add("poisson_nll", poisson_nll_loops[float], poisson_nll_loops[double])


cdef inline floating log_of_rate(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    cdef floating eps = parameters[0]
    return log(pred + eps)


cdef inline void poisson_nll_of_rate(
    floating pred, floating target, floating third, floating log_rate, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating eps = parameters[0]
    cdef floating rate = pred + eps, scale = 0 if (target == 0) & (rate == rate) else target / rate
    out[VALUE] = pred if pred == INFINITY else pred - times(target, log_rate)
    out[GRAD] = 1 - scale
    out[HESS] = 0 if (target == 0) & (rate == rate) else scale / rate

cdef void poisson_nll_of_rate_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(log_of_rate[floating], poisson_nll_of_rate[floating], tile, parameters)
add("poisson_nll_of_rate", poisson_nll_of_rate_loops[float], poisson_nll_of_rate_loops[double])


cdef inline floating log_factorial_of_target(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    return lgamma1p(target)


cdef inline void poisson_nll_full(
    floating pred, floating target, floating third, floating log_factorial, const floating* parameters, floating* out
) noexcept nogil:
    poisson_nll(pred, target, third, exp(pred), parameters, out)
    out[VALUE] += log_factorial

cdef void poisson_nll_full_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(log_factorial_of_target[floating], poisson_nll_full[floating], tile, parameters)
add("poisson_nll_full", poisson_nll_full_loops[float], poisson_nll_full_loops[double])


cdef inline void poisson_nll_of_rate_full(
    floating pred, floating target, floating third, floating log_factorial, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating eps = parameters[0]
    poisson_nll_of_rate(pred, target, third, log(pred + eps), parameters, out)
    out[VALUE] += log_factorial

cdef void poisson_nll_of_rate_full_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(log_factorial_of_target[floating], poisson_nll_of_rate_full[floating], tile, parameters)
add("poisson_nll_of_rate_full", poisson_nll_of_rate_full_loops[float], poisson_nll_of_rate_full_loops[double])


cdef inline floating ratio_to_mean(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    return times_exp(target, -pred)


cdef inline void gamma_nll(
    floating pred, floating target, floating third, floating ratio, const floating* parameters, floating* out
) noexcept nogil:
    out[VALUE] = ratio if ratio == INFINITY else ratio + pred
    out[GRAD] = 1 - ratio
    out[HESS] = ratio

cdef void gamma_nll_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(ratio_to_mean[floating], gamma_nll[floating], tile, parameters)
add("gamma_nll", gamma_nll_loops[float], gamma_nll_loops[double])


cdef inline floating target_times_exp(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    cdef floating one_minus_power = parameters[0]
    return times_exp_of_product(target, one_minus_power, pred)


cdef inline void tweedie(
    floating pred, floating target, floating third, floating a, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating one_minus_power = parameters[0], two_minus_power = parameters[1]
    cdef floating inverse_one = parameters[2], inverse_two = parameters[3]  # the reciprocals of these
    cdef floating b = exp_of_product(two_minus_power, pred)
    out[VALUE] = b * inverse_two - a * inverse_one
    out[GRAD] = b - a
    out[HESS] = b * two_minus_power - a * one_minus_power

cdef void tweedie_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(target_times_exp[floating], tweedie[floating], tile, parameters)
add("tweedie", tweedie_loops[float], tweedie_loops[double])


cdef inline floating log_of_var(
    floating pred, floating target, floating var, const floating* parameters
) noexcept nogil:
    cdef floating eps = normal(parameters[0])
    return log(at_least(var, eps))


cdef inline void gaussian_nll(
    floating pred, floating target, floating var, floating log_var, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating eps = normal(parameters[0]), constant = parameters[1]
    cdef floating half = <floating> 0.5, r = pred - target, scale = 1 / at_least(var, eps), d = r * scale
    out[VALUE] = half * log_var + half * r * d + constant
    out[GRAD] = d
    out[HESS] = scale
    out[GRAD_2] = 0 if (var < eps) & (d == d) else half * (scale - d * d)
    out[HESS_2] = 0 if (var < eps) & (d == d) else d * (d * scale) - half * scale * scale

cdef void gaussian_nll_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(log_of_var[floating], gaussian_nll[floating], tile, parameters, two_gradients=True)
add("gaussian_nll", gaussian_nll_loops[float], gaussian_nll_loops[double])
