"""The losses that are sums of terms: the term of one class, and the place of the loss in the table."""


cdef inline floating exp_of_target(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    return exp(target)


cdef inline floating expm1_of_target(
    floating pred, floating target, floating third, const floating* parameters
) noexcept nogil:
    return expm1(target)


# ---------------------------------------------------------------------------------------------------------------------
# Classification. A class without a part in the target adds 0, even if pred is -inf or NaN there.


cdef inline void categorical_cross_entropy(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating kept = parameters[0], uniform = parameters[1]
    cdef floating zero = 0, q = kept * target + uniform, pull = q / normal(pred)
    out[VALUE] = 0 if q == 0 else zero - q * at_least(log(pred), -100)
    out[GRAD] = 0 if q == 0 else -pull
    out[HESS] = 0 if q == 0 else pull / normal(pred)

cdef void categorical_cross_entropy_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], categorical_cross_entropy[floating], tile, parameters)
add("categorical_cross_entropy", categorical_cross_entropy_loops[float], categorical_cross_entropy_loops[double])


cdef inline void nll(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating zero = 0
    out[VALUE] = 0 if target == 0 else zero - target * pred
    out[GRAD] = zero - target
    out[HESS] = 0

cdef void nll_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], nll[floating], tile, parameters)
add("nll", nll_loops[float], nll_loops[double])


cdef inline void multilabel_soft_margin(
    floating logit, floating target, floating third, floating decay, const floating* parameters, floating* out
) noexcept nogil:
    """As binary_cross_entropy_with_logits, with fewer roundings. share: one over the number of classes."""
    cdef floating share = parameters[0]
    cdef floating one = 1, wrong = one - target if logit > 0 else target
    cdef floating agreeing = target if logit > 0 else one - target
    cdef floating r = share / (one + decay), rest = agreeing * decay
    out[VALUE] = share * (log1p_01(decay) + (0 if wrong == 0 else wrong * fabs(logit)))
    out[GRAD] = (wrong - rest if logit > 0 else rest - wrong) * r
    out[HESS] = decay * r / (one + decay)

cdef void multilabel_soft_margin_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_minus_abs[floating], multilabel_soft_margin[floating], tile, parameters)
add("multilabel_soft_margin", multilabel_soft_margin_loops[float], multilabel_soft_margin_loops[double])


# ---------------------------------------------------------------------------------------------------------------------
# Divergences


cdef inline void kl_divergence(
    floating pred, floating target, floating third, floating first, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating zero = 0
    out[VALUE] = 0 if target == 0 else target * (log(target) - pred)
    out[GRAD] = zero - target
    out[HESS] = 0

cdef void kl_divergence_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(nothing[floating], kl_divergence[floating], tile, parameters)
add("kl_divergence", kl_divergence_loops[float], kl_divergence_loops[double])


cdef inline void kl_divergence_log_target(
    floating pred, floating target, floating third, floating probability, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating zero = 0
    out[VALUE] = 0 if probability == 0 else probability * (target - pred)
    out[GRAD] = zero - probability
    out[HESS] = 0

cdef void kl_divergence_log_target_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(exp_of_target[floating], kl_divergence_log_target[floating], tile, parameters)
add("kl_divergence_log_target", kl_divergence_log_target_loops[float], kl_divergence_log_target_loops[double])


cdef inline floating exp_of_gap(floating pred, floating target, floating* fall) noexcept nogil:
    """exp(-abs(pred - target)), and in fall[0] 1 - that. If both are -inf, these are 0 and 1."""
    cdef floating lowest = -<floating> (FLT_MAX if floating is float else DBL_MAX)
    cdef floating top = target if target > pred else pred, bottom = pred if target > pred else target
    return exp_difference_and_fall(bottom, at_least(top, lowest), fall)


cdef inline void js_divergence(
    floating pred, floating target, floating decay, floating fall, const floating* parameters, floating* out
) noexcept nogil:
    """decay: exp(bottom - top). fall: 1 - that. of_target and of_pred: the weights of exp(target) and of exp(pred).

    `top` is the larger of pred and target, with the weight w_top, and `bottom` the other. With exp(m) the weighted
    mean, bottom <= m <= top. The weighted sum of exp(x) is exp(m), so the sum of exp(x) (x - m) is that of
    exp(x) (expm1(m - x) - (m - x)). These terms have the form y - log1p(y), and nothing cancels.
    """
    cdef floating of_target = parameters[0], of_pred = parameters[1]
    cdef floating zero = 0, far = <floating> 1e30, low_gap
    cdef floating top = target if target > pred else pred, bottom = pred if target > pred else target
    cdef floating w_top = of_target if target > pred else of_pred, w_bottom = of_pred if target > pred else of_target
    cdef floating ratio = w_top + w_bottom * decay, drop = -(w_bottom * fall)  # exp(m - top), and that - 1
    cdef floating rise = w_top * (fall / decay)  # expm1(m - bottom)
    cdef floating high_gap = gap_near_one(ratio, drop), above = high_gap - drop  # above: top - m
    cdef floating log_rise = log1p_and_gap(rise, &low_gap)
    cdef floating below = log_rise if rise < far else (top - bottom) - above  # m - bottom
    cdef floating exp_top = exp(top), high = w_top * exp_top, low = w_bottom * (exp_top * decay)
    cdef floating low_below = 0 if low == 0 else low * below
    out[VALUE] = high * high_gap + (low * low_gap if rise < 16 else w_bottom * (high * fall) - low_below)
    out[GRAD] = zero - low_below if target > pred else high * above
    out[GRAD_2] = high * above if target > pred else zero - low_below
    cdef floating by_top = high * (above + w_bottom * decay / ratio)
    cdef floating by_bottom = low * (w_top / ratio) - low_below
    out[HESS] = by_bottom if target > pred else by_top
    out[HESS_2] = by_top if target > pred else by_bottom


cdef void js_divergence_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    # `first` has one number for each element, and this loss needs two: they go to `third` and `first`.
    cdef const floating* pred = <const floating*> tile.pred
    cdef const floating* target = <const floating*> tile.target
    cdef floating* fall = <floating*> tile.first
    cdef floating[TILE] decay
    cdef Tile prepared = tile[0]
    cdef Py_ssize_t i
    for i in range(tile.n):
        decay[i] = exp_of_gap(pred[i], target[i], &fall[i])
    prepared.third = decay
    loops(nothing[floating], js_divergence[floating], &prepared, parameters, two_gradients=True)
add("js_divergence", js_divergence_loops[float], js_divergence_loops[double])


cdef inline void gaussian_kl(
    floating mu, floating log_var, floating third, floating expm1_log_var, const floating* parameters, floating* out
) noexcept nogil:
    cdef floating half = <floating> 0.5
    out[VALUE] = half * (mu * mu + expm1_minus_x(log_var, expm1_log_var))
    out[GRAD] = mu
    out[HESS] = 1
    out[GRAD_2] = half * expm1_log_var
    out[HESS_2] = half * exp(log_var)

cdef void gaussian_kl_loops(const Tile* tile, const floating* parameters) noexcept nogil:
    loops(expm1_of_target[floating], gaussian_kl[floating], tile, parameters, two_gradients=True)
add("gaussian_kl", gaussian_kl_loops[float], gaussian_kl_loops[double])
