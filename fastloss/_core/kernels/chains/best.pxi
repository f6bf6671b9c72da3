# The best path (Viterbi), and the structured hinge loss.
#
# alpha_t(j) is the score of the best beginning that ends with tag j at step t. Sums and comparisons in double precision
# alone: ties are ties at every CPU level. Going back, the best previous tag is found again on the best path alone.


cdef void find_best(
    const double* alpha, const double* score, Py_ssize_t n, Py_ssize_t stride, double* best
) noexcept nogil:
    """best[j] = the maximum of alpha[i] + score[i * stride + j] over i in [0, n)."""
    cdef double[LANES] even, odd
    cdef double x
    cdef Py_ssize_t j = 0, i, k
    while j < stride:
        for k in range(LANES):
            even[k] = odd[k] = -INFINITY
        i = 0
        while i + 2 <= n:
            for k in range(LANES):
                x = alpha[i] + score[i * stride + j + k]
                even[k] = x if x > even[k] else even[k]
            for k in range(LANES):
                x = alpha[i + 1] + score[(i + 1) * stride + j + k]
                odd[k] = x if x > odd[k] else odd[k]
            i += 2
        if i < n:
            for k in range(LANES):
                x = alpha[i] + score[i * stride + j + k]
                even[k] = x if x > even[k] else even[k]
        for k in range(LANES):
            best[j + k] = odd[k] if odd[k] > even[k] else even[k]
        j += LANES


cdef Py_ssize_t first_largest(double* row, Py_ssize_t n, Py_ssize_t stride) noexcept nogil:
    """The first of the n tags with the largest number in a row. The numbers behind them are overwritten."""
    cdef double top
    cdef Py_ssize_t j
    for j in range(n, stride):
        row[j] = -INFINITY
    top = largest(row, stride)
    for j in range(n):
        if row[j] == top:
            return j
    return 0  # all are NaN


cdef double find_path(const Job* job, Chain* chain, double margin) noexcept nogil:
    """Set the best path and return its score; NaN if a number that has a part in it is NaN.

    With tags, each wrong tag adds the margin to the score.
    """
    cdef Py_ssize_t stride = job.stride, n = job.tags_known, last = chain.length - 1, t, j
    cdef double* emission = chain.emission
    cdef double* alpha = chain.alpha
    cdef const double* to
    cdef double right, best
    cdef int nan = (last >= 0 and job.nan_at_ends) or (last > 0 and job.nan_between)
    if last < 0:
        return 0
    for t in range(chain.length):
        load_emissions(job, chain, t)
        for j in range(n):
            nan |= emission[j] != emission[j]
        if job.tags != NULL:
            right = emission[chain.tag[t]]
            for j in range(n):
                emission[j] += margin
            emission[chain.tag[t]] = right
        alpha = chain.alpha + t * stride
        if t == 0:
            for j in range(stride):
                alpha[j] = job.start[j] + emission[j]
        else:
            find_best(alpha - stride, job.score, n, stride, alpha)
            for j in range(stride):
                alpha[j] += emission[j]
    for j in range(stride):
        alpha[j] += job.end[j]
    chain.path[last] = first_largest(alpha, n, stride)
    best = alpha[chain.path[last]]
    for t in range(last, 0, -1):
        alpha = chain.alpha + (t - 1) * stride
        to = job.score_to + chain.path[t] * stride
        for j in range(stride):
            chain.other[j] = alpha[j] + to[j]
        chain.path[t - 1] = first_largest(chain.other, n, stride)
    return NAN if nan else best


cdef double hinge_value(const Job* job, Chain* chain) noexcept nogil:
    """The loss of a sequence: differences between the scores of the best path and the right one, step by step."""
    cdef double margin = job.common.parameters[0], loss = 0, best
    cdef Py_ssize_t stride = job.stride, last = chain.length - 1, t, tag, right
    best = find_path(job, chain, margin)
    if best != best:
        return best
    for t in range(chain.length):
        tag, right = chain.path[t], chain.tag[t]
        if t == 0:
            loss += job.start[tag] - job.start[right]
        else:
            loss += job.score[chain.path[t - 1] * stride + tag] - job.score[chain.tag[t - 1] * stride + right]
        loss += emission_of(job, chain, t, tag) - emission_of(job, chain, t, right)
        loss += 0 if tag == right else margin
        if t == last:
            loss += job.end[tag] - job.end[right]
    return at_least(loss, <double> 0)


cdef void hinge_derivatives(const Job* job, Chain* chain, double factor, double loss) noexcept nogil:
    """Write the gradient with respect to the emissions, and add to the other gradients.

    A loss of 0 has the gradient 0. If the loss is NaN, so are the gradients.
    """
    cdef Py_ssize_t n = job.tags_known, last = chain.length - 1, t, j, tag, right, move, right_move
    cdef bint nan = loss != loss
    cdef double* starts = chain.sums + n * n
    cdef double* ends = starts + n
    for t in range(chain.length):
        tag, right = chain.path[t], chain.tag[t]
        for j in range(n):
            chain.other[j] = NAN if nan else 0
        if not nan and loss != 0 and tag != right:
            chain.other[tag] = factor
            chain.other[right] = -factor
        write_row(job, chain, t, chain.other)
        if t == 0:
            add_row(chain.other, starts, n)
        if t == last:
            add_row(chain.other, ends, n)
        if t > 0 and nan:
            for j in range(n * n):
                chain.sums[j] = NAN
        elif t > 0 and loss != 0:
            move, right_move = chain.path[t - 1] * n + tag, chain.tag[t - 1] * n + right
            if move != right_move:
                chain.sums[move] += factor
                chain.sums[right_move] -= factor
