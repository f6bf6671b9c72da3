# The negative log-likelihood of a linear-chain CRF, and its derivatives.
#
# alpha_t(j) is the logarithm of the sum over all beginnings of paths with tag j at step t. Each step normalises
# its row: the largest alpha is 0. What was subtracted is added to the loss, less the score of the right path. So the
# loss is a sum of small numbers if the right path is likely.
#
# The sum over the previous tag i of exp(alpha(i) + transitions(i, j)) is a product of a vector and a matrix:
#
#     into(j) = sum over i of p(i) odds(i, j),    p = exp(alpha),    odds(i, j) = exp(transitions(i, j) - peak(j))
#
# Neither factor exceeds 1. Factors below 1e-150 become 0, so that no product is subnormal: these are slow. So an `into`
# below TINY may have lost digits, or all that it consists of. Only then its logarithm is computed from alpha and the
# transitions themselves.
#
# gamma_t(j) is the probability of tag j at step t. Going back, no exponential is needed:
#
#     gamma_{t-1}(i) = p(i) sum over j of odds(i, j) gamma_t(j) / into_t(j)

cdef double TINY = 1e-130, NEGLIGIBLE = 1e-150

cdef inline double factor_of(double x) noexcept nogil:
    """x, or 0 if it is negligible; NaN stays."""
    return 0 if x < NEGLIGIBLE else x


cdef void multiply(
    const double* x, Py_ssize_t step, Py_ssize_t n, const double* rows, Py_ssize_t stride, double* product
) noexcept nogil:
    """product[j] = the sum of x[i * step] * rows[i * stride + j] over i in [0, n), for j in [0, stride)."""
    cdef double[LANES] even, odd  # two sums, so that an addition need not wait for the one before
    cdef Py_ssize_t j = 0, i, k
    while j < stride:
        for k in range(LANES):
            even[k] = odd[k] = 0
        i = 0
        while i + 2 <= n:
            for k in range(LANES):
                even[k] = multiply_add(x[i * step], rows[i * stride + j + k], even[k])
            for k in range(LANES):
                odd[k] = multiply_add(x[(i + 1) * step], rows[(i + 1) * stride + j + k], odd[k])
            i += 2
        if i < n:
            for k in range(LANES):
                even[k] = multiply_add(x[i * step], rows[i * stride + j + k], even[k])
        for k in range(LANES):
            product[j + k] = even[k] + odd[k]
        j += LANES


cdef double log_of_sum(const double* alpha, const double* score, double* share, Py_ssize_t stride) noexcept nogil:
    """The logarithm of the sum of exp(alpha + score). `share` becomes the part of each term in the sum."""
    cdef double top, total
    cdef Py_ssize_t i
    for i in range(stride):
        share[i] = alpha[i] + score[i]  # -inf behind the last tag
    top = largest(share, stride)
    if top == -INFINITY:
        return top
    for i in range(stride):
        share[i] = exp_nonpositive(share[i] - top)
    total = ordered_sum(share, stride)
    for i in range(stride):
        share[i] /= total
    return top + log(total)


cdef bint any_tiny(const double* into, Py_ssize_t n) noexcept nogil:
    cdef int found = 0
    cdef Py_ssize_t j
    for j in range(n):
        found |= into[j] < TINY
    return found != 0


cdef void find_alpha(const Job* job, const Chain* chain, Py_ssize_t t) noexcept nogil:
    """The row of alpha of step t, without the scores of last tags, and not normalised."""
    cdef Py_ssize_t stride = job.stride, j
    cdef const double* emission = chain.emission
    cdef const double* before = chain.alpha + (t - 1) * stride
    cdef double* alpha = chain.alpha + t * stride
    cdef double* into = chain.into + t * stride
    if t == 0:
        for j in range(stride):
            alpha[j] = job.start[j] + emission[j]
        return
    multiply(chain.p + (t - 1) * stride, 1, job.tags_known, job.odds, stride, into)
    for j in range(stride):
        alpha[j] = log(into[j]) + job.peak[j] + emission[j]
    if any_tiny(into, job.tags_known):
        for j in range(job.tags_known):
            if into[j] < TINY:
                alpha[j] = log_of_sum(before, job.score_to + j * stride, chain.other, stride) + emission[j]


cdef void normalise(double* alpha, double* p, double top, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(stride):
        alpha[j] -= top
        p[j] = factor_of(exp_nonpositive(alpha[j]))


cdef double crf_value(const Job* job, Chain* chain) noexcept nogil:
    """The loss of a sequence. The rows of its steps are then as the derivatives need them."""
    cdef double loss = 0, top, right
    cdef Py_ssize_t stride = job.stride, t, j
    cdef double* alpha
    for t in range(chain.length):
        load_emissions(job, chain, t)
        find_alpha(job, chain, t)
        alpha = chain.alpha + t * stride
        right = job.start[chain.tag[t]] if t == 0 else job.score[chain.tag[t - 1] * stride + chain.tag[t]]
        right += chain.emission[chain.tag[t]]
        if t == chain.length - 1:
            right += job.end[chain.tag[t]]
            for j in range(stride):
                alpha[j] += job.end[j]
        top = largest(alpha, stride)
        loss += top - right
        normalise(alpha, chain.p + t * stride, top, stride)
    if chain.length > 0:
        loss += log(ordered_sum(chain.p + (chain.length - 1) * stride, stride))
    return at_least(loss, <double> 0)


cdef void add_tiny(const Job* job, const Chain* chain, Py_ssize_t t, double factor, double* before) noexcept nogil:
    """The derivatives by way of those sums that multiply() has lost."""
    cdef Py_ssize_t stride = job.stride, n = job.tags_known, i, j
    cdef const double* into = chain.into + t * stride
    cdef double gamma
    for j in range(n):
        gamma = chain.gamma[j]
        if into[j] < TINY and gamma != 0:
            log_of_sum(chain.alpha + (t - 1) * stride, job.score_to + j * stride, chain.other, stride)
            for i in range(n):
                before[i] += gamma * chain.other[i]
                chain.sums[i * n + j] += factor * (gamma * chain.other[i])


cdef void step_back(const Job* job, const Chain* chain, Py_ssize_t t, double factor) noexcept nogil:
    """Turn gamma of step t into that of step t - 1, and `into` into gamma / into."""
    cdef Py_ssize_t stride = job.stride, j
    cdef double* into = chain.into + t * stride
    cdef double* before = chain.emission  # no one needs the emissions any more
    cdef const double* p = chain.p + (t - 1) * stride
    cdef const double* gamma = chain.gamma
    cdef bint tiny = any_tiny(into, job.tags_known)
    for j in range(stride):
        before[j] = 0
    if tiny:
        add_tiny(job, chain, t, factor, before)
    for j in range(stride):
        into[j] = 0 if into[j] < TINY else gamma[j] / into[j]
    multiply(into, 1, job.tags_known, job.odds_to, stride, chain.other)
    for j in range(stride):
        chain.gamma[j] = factor_of(before[j] + p[j] * chain.other[j])


cdef void crf_derivatives(const Job* job, Chain* chain, double factor) noexcept nogil:
    """Write the gradient with respect to the emissions, and add to the other gradients."""
    cdef Py_ssize_t stride = job.stride, n = job.tags_known, last = chain.length - 1, t = last, i, j
    cdef double* sums = chain.sums
    cdef const double* p = chain.p + last * stride
    cdef double total = ordered_sum(p, stride)
    for j in range(stride):
        chain.gamma[j] = p[j] / total
    while t >= 0:
        for j in range(n):
            chain.other[j] = factor * chain.gamma[j]
        chain.other[chain.tag[t]] = factor * (chain.gamma[chain.tag[t]] - 1)
        write_row(job, chain, t, chain.other)
        if t == last:
            add_row(chain.other, sums + n * n + n, n)
        if t == 0:
            add_row(chain.other, sums + n * n, n)
        else:
            step_back(job, chain, t, factor)
            sums[chain.tag[t - 1] * n + chain.tag[t]] -= factor
        t -= 1
    for i in range(n if last > 0 else 0):
        multiply(chain.p + i, stride, last, chain.into + stride, stride, chain.other)
        for j in range(n):
            sums[i * n + j] += factor * (job.odds[i * stride + j] * chain.other[j])
