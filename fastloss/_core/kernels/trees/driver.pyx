"""The driver of hierarchical softmax: a loss of the binary decisions on the way from the root of a tree to a class.

A decision is a sample with an inner node on the path of its class. The first pass goes over the samples. It walks from
each class up to the root, and computes scores, losses, slopes and the gradient with respect to x. It keeps the slopes.
Then they are sorted by node, and the second pass sums the gradient of each node over its samples, in their order.

All arithmetic is in double precision: rows of x and of the weights are converted as they are read. Memory bounds the
speed, since most nodes on the way are far apart.
"""

from cython cimport floating
cimport numpy as cnp
from libc.float cimport DBL_MAX
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

import numpy as np

from fastloss._core.kernels.base.chunks cimport Partial, run_job
from fastloss._core.kernels.base.job cimport Common, take_call
from fastloss._core.kernels.base.memory cimport address, clear
from fastloss._core.kernels.base.operands cimport TILE, expand, load, load_labels, store, type_of
from fastloss._core.kernels.base.sums cimport LANES
from fastloss._core.kernels.base.vecmath cimport at_most, exp_nonpositive, fabs, sigmoid, softplus, sum_lanes
from fastloss._core.request.call cimport GRAD, GRAD_2, VALUE, Call

cnp.import_array()

cdef enum:
    ROWS = 16               # samples of a tile: their rows of weights are read twice, the second time from the cache
    DECISIONS = 64          # of a tile of the second pass
    DIGIT_BITS = 11         # of the sort
    DIGITS = 1 << DIGIT_BITS
    CLEARED = 1 << 16       # bytes that are cleared at a time

cdef struct Decision:       # of a sample at an inner node
    double slope            # of its loss with respect to its score, weighted
    int32_t sample
    int32_t row             # of the gradient of the weights

cdef struct Job:
    Common common
    const int32_t* up       # 2 parent + bit, for the classes and then for the inner nodes: see calls/trees.pyx
    const int32_t* depth    # the length of the path of a class
    Py_ssize_t classes
    Py_ssize_t longest      # the length of the longest path of a sample
    const void* x
    const void* node_weight
    int typenum, weight_typenum     # of x and of the results, and of node_weight
    Py_ssize_t samples, length
    int64_t* label          # a copy: no one else can change it
    double* weight          # of the samples; 0 for one that is ignored
    int64_t* first          # the number of the first decision of a sample
    Decision* decision      # NULL if no one needs the slopes
    Py_ssize_t decisions


cdef void put(
    const double* x, void* target, int typenum, Py_ssize_t start, Py_ssize_t n, float* scratch
) noexcept nogil:
    """Round n numbers to target[start : start + n]; half precision from float32. `scratch` holds n floats."""
    cdef Py_ssize_t i
    if typenum == cnp.NPY_DOUBLE:
        memcpy(<double*> target + start, x, n * sizeof(double))
        return
    cdef float* y = <float*> target + start if typenum == cnp.NPY_FLOAT else scratch
    for i in range(n):
        y[i] = <float> x[i]
    if typenum != cnp.NPY_FLOAT:
        store(y, target, typenum, start, n)


cdef double product(const double* x, const floating* y, Py_ssize_t n) noexcept nogil:
    """The scalar product of two vectors."""
    cdef double[LANES] lane
    cdef Py_ssize_t i = 0, j
    for j in range(LANES):
        lane[j] = 0
    while i + LANES <= n:
        for j in range(LANES):
            lane[j] += x[i + j] * <double> y[i + j]
        i += LANES
    for j in range(n - i):
        lane[j] += x[i + j] * <double> y[i + j]
    return sum_lanes(lane)


cdef void add_multiple(double* total, double factor, const floating* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        total[i] += factor * <double> x[i]


cdef inline double product_with_row(
    const double* x, const void* rows, int typenum, Py_ssize_t row, Py_ssize_t n, double* scratch
) noexcept nogil:
    """The scalar product of x with a row of n elements of any type. `scratch` holds n numbers."""
    if typenum == cnp.NPY_FLOAT:
        return product(x, <const float*> rows + row * n, n)
    if typenum == cnp.NPY_DOUBLE:
        return product(x, <const double*> rows + row * n, n)
    load(rows, typenum, row * n, scratch, n)
    return product(x, scratch, n)


cdef inline void add_row(
    double* total, double factor, const void* rows, int typenum, Py_ssize_t row, Py_ssize_t n, double* scratch
) noexcept nogil:
    """total += factor times a row of n elements of any type. `scratch` holds n numbers."""
    if typenum == cnp.NPY_FLOAT:
        add_multiple(total, factor, <const float*> rows + row * n, n)
    elif typenum == cnp.NPY_DOUBLE:
        add_multiple(total, factor, <const double*> rows + row * n, n)
    else:
        load(rows, typenum, row * n, scratch, n)
        add_multiple(total, factor, scratch, n)


# ---------------------------------------------------------------------------------------------------------------------
# The first pass: over the samples

cdef bint take_labels(Job* job, const void* target, int typenum) noexcept nogil:
    """Set labels, weights and numbers of decisions. Return whether each label that counts is a class index."""
    cdef long long[TILE] label
    cdef double[TILE] scratch
    cdef Py_ssize_t start = 0, n, i, depth
    cdef bint valid = True, inside
    job.first[0] = job.longest = 0
    while start < job.samples:
        n = min(TILE, job.samples - start)
        load_labels(target, typenum, start, label, n, -1)
        for i in range(n):
            job.weight[start + i] = 1
        if job.common.weight.data != NULL:
            expand(&job.common.weight, start, job.weight + start, n, scratch)
        for i in range(n):
            inside = 0 <= label[i] < job.classes
            valid &= inside | (job.weight[start + i] == 0)
            if not inside or job.weight[start + i] == 0:
                job.weight[start + i] = 0
                label[i] = -1
            job.label[start + i] = label[i]
            depth = 0 if label[i] < 0 else job.depth[label[i]]
            job.longest = max(job.longest, depth)
            job.first[start + i + 1] = job.first[start + i] + depth
        start += n
    return valid


cdef void walk(const Job* job, Py_ssize_t start, Py_ssize_t n, int32_t* step) noexcept nogil:
    """The decisions of samples start to start + n: for each, twice the inner node, plus the bit of the class."""
    cdef Py_ssize_t i
    cdef int64_t k
    cdef int32_t up
    for i in range(start, start + n):
        if job.label[i] < 0:
            continue
        up = job.up[job.label[i]]
        for k in range(job.first[i] - job.first[start], job.first[i + 1] - job.first[start]):
            step[k] = up
            up = job.up[job.classes + (up >> 1)]


cdef void find_losses_and_slopes(const int32_t* step, double* loss, double* slope, Py_ssize_t n) noexcept nogil:
    """From the scores, which are in `slope`."""
    cdef double z
    cdef Py_ssize_t k
    for k in range(n):
        z = -slope[k] if step[k] & 1 else slope[k]
        loss[k] = softplus(z)
        slope[k] = -sigmoid(z) if step[k] & 1 else sigmoid(z)


cdef void run_tile(const Job* job, Py_ssize_t start, Py_ssize_t n, Partial* sums, double* memory) noexcept nogil:
    """Run the first pass over n samples. `memory` is what `memory_of_tile` says."""
    cdef Py_ssize_t length = job.length, i, k, most = ROWS * job.longest
    cdef int64_t first = job.first[start]
    cdef Py_ssize_t decisions = job.first[start + n] - first
    cdef double* row = memory
    cdef double* scratch = row + length
    cdef double* loss = scratch + length
    cdef double* slope = loss + most
    cdef int32_t* step = <int32_t*> (slope + most)
    cdef double[ROWS] value
    cdef float[ROWS] values_scratch
    cdef double weight
    cdef Decision* decision
    walk(job, start, n, step)
    k = 0
    for i in range(start, start + n):
        load(job.x, job.typenum, i * length, row, length)
        while k < job.first[i + 1] - first:
            slope[k] = product_with_row(row, job.node_weight, job.weight_typenum, step[k] >> 1, length, scratch)
            k += 1
    find_losses_and_slopes(step, loss, slope, decisions)
    k = 0
    for i in range(start, start + n):
        value[i - start] = 0
        weight = at_most(job.common.scale * job.weight[i], DBL_MAX)
        clear(row, length)
        while k < job.first[i + 1] - first:
            value[i - start] += loss[k]
            slope[k] *= weight
            if job.decision != NULL:
                add_row(row, slope[k], job.node_weight, job.weight_typenum, step[k] >> 1, length, scratch)
                decision = job.decision + first + k
                decision.slope, decision.sample, decision.row = slope[k], <int32_t> i, step[k] >> 1
            k += 1
        value[i - start] *= job.weight[i]
        if job.common.sum_values:
            sums.loss += value[i - start]
        if job.decision != NULL:
            put(row, job.common.out[GRAD], job.typenum, i * length, length, <float*> scratch)
    if job.common.out[VALUE] != NULL:
        put(value, job.common.out[VALUE], job.typenum, start, n, values_scratch)


cdef Py_ssize_t memory_of_tile(const Job* job) noexcept nogil:
    """Two rows of numbers; and for each decision of a tile, two numbers and a step."""
    return 16 * job.length + 20 * ROWS * job.longest


cdef void run_samples(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    cdef Py_ssize_t i = start
    while i < stop:
        run_tile(<const Job*> job, i, min(ROWS, stop - i), sums, <double*> memory)
        i += ROWS


# ---------------------------------------------------------------------------------------------------------------------
# The second pass: over the nodes

cdef Decision* sort(Decision* decision, Decision* other, Py_ssize_t n, Py_ssize_t rows) noexcept nogil:
    """Sort by row, digit by digit from the lowest, with `other` as scratch. Those of a row keep their order.

    Return where the result is: one of the two arrays.
    """
    cdef Py_ssize_t[DIGITS] place
    cdef Py_ssize_t i, digit, total, count
    cdef int shift = 0
    while rows >> shift > 0:
        for digit in range(DIGITS):
            place[digit] = 0
        for i in range(n):
            place[decision[i].row >> shift & (DIGITS - 1)] += 1
        total = 0
        for digit in range(DIGITS):
            count = place[digit]
            place[digit] = total
            total += count
        for i in range(n):
            digit = decision[i].row >> shift & (DIGITS - 1)
            other[place[digit]] = decision[i]
            place[digit] += 1
        decision, other = other, decision
        shift += DIGIT_BITS
    return decision


cdef bint is_first(const Decision* decision, Py_ssize_t k) noexcept nogil:
    """Whether decision k is the first one of its row."""
    return k == 0 or decision[k].row != decision[k - 1].row


cdef Py_ssize_t count_rows(const Decision* decision, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k, count = 0
    for k in range(n):
        count += is_first(decision, k)
    return count


cdef void number_rows(Decision* decision, Py_ssize_t n, int64_t* row) noexcept nogil:
    """Number the rows from 0 on. Set row[number] to what the row was."""
    cdef Py_ssize_t k, number = -1
    for k in range(n):
        if number < 0 or decision[k].row != row[number]:
            number += 1
            row[number] = decision[k].row
        decision[k].row = <int32_t> number


cdef void sum_rows(
    const void* data, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    """Write the gradients of the rows whose first decision is one of start to stop."""
    cdef const Job* job = <const Job*> data
    cdef Py_ssize_t length = job.length, k = start
    cdef double* total = <double*> memory
    cdef double* scratch = total + length
    cdef Py_ssize_t first
    while k < stop and not is_first(job.decision, k):
        k += 1
    while k < stop:
        first = k
        clear(total, length)
        while k < job.decisions and job.decision[k].row == job.decision[first].row:
            add_row(total, job.decision[k].slope, job.x, job.typenum, job.decision[k].sample, length, scratch)
            k += 1
        put(total, job.common.out[GRAD_2], job.typenum, job.decision[first].row * length, length, <float*> scratch)


cdef struct Bytes:
    char* first
    Py_ssize_t n


cdef void clear_bytes(
    const void* data, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    memset((<const Bytes*> data).first + start, 0, stop - start)


cdef clear_array(cnp.ndarray x, int threads):
    cdef Bytes data = Bytes(<char*> cnp.PyArray_DATA(x), cnp.PyArray_NBYTES(x))
    run_job(clear_bytes, &data, data.n, CLEARED, threads)


# ---------------------------------------------------------------------------------------------------------------------
# The driver

def run(
    Call call, cnp.ndarray up, cnp.ndarray depth, cnp.ndarray x, cnp.ndarray node_weight, cnp.ndarray target,
    bint sparse
):
    """Run the loss over checked, C-contiguous arrays. `up` and `depth` are those of calls/trees.pyx.

    Return the weighted sum of the losses, and the rows of the weights that have a gradient, with their gradients. These
    two are None unless they are `sparse`. Return None if a label is no class index; nothing is written then.
    """
    cdef Job job
    cdef Partial total = Partial(0, 0, False)
    cdef bint gradients = call.wants(GRAD)
    job.typenum, job.weight_typenum = type_of(x), type_of(node_weight)
    take_call(&job.common, call, 0, job.typenum != cnp.NPY_DOUBLE, False)
    job.up, job.depth = <const int32_t*> address(up), <const int32_t*> address(depth)
    job.x, job.node_weight = address(x), address(node_weight)
    job.classes, job.samples, job.length = cnp.PyArray_DIM(depth, 0), cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1)
    cdef cnp.ndarray label = np.empty(job.samples, np.int64), first = np.empty(job.samples + 1, np.int64)
    cdef cnp.ndarray weight = np.empty(job.samples), decisions = None, rows = None, values = None
    job.label, job.first = <int64_t*> address(label), <int64_t*> address(first)
    job.weight = <double*> address(weight)
    cdef const void* labels = address(target)
    cdef int label_type = cnp.PyArray_TYPE(target)
    cdef bint valid
    with nogil:
        valid = take_labels(&job, labels, label_type)
    if not valid:
        return None
    job.decisions = job.first[job.samples]
    if gradients:
        decisions = np.empty((2, job.decisions, sizeof(Decision)), np.uint8)
    job.decision = <Decision*> address(decisions)
    if call.outputs:
        total = run_job(run_samples, &job, job.samples, ROWS, call.threads, memory_of_tile(&job))
    if gradients:
        with nogil:
            job.decision = sort(job.decision, job.decision + job.decisions, job.decisions, job.classes - 1)
        if sparse:
            rows = np.empty(count_rows(job.decision, job.decisions), np.int64)
            number_rows(job.decision, job.decisions, <int64_t*> address(rows))
            values = np.empty((len(rows), job.length), (<object> x).dtype)
            job.common.out[GRAD_2] = address(values)
        elif call.out is not None:
            clear_array(call.grads[1], call.threads)
        run_job(sum_rows, &job, job.decisions, DECISIONS, call.threads, 16 * job.length)
    return total.loss, rows, values


# ---------------------------------------------------------------------------------------------------------------------
# Probabilities of all classes

cdef struct Scores:
    const void* score       # of samples at all inner nodes
    int typenum
    const int32_t* up
    Py_ssize_t classes
    void* probability       # of samples and classes
    int result_typenum


cdef void find_probabilities(
    const void* data, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    """From the root to the leaves: the probability of a node is the product of those of the decisions above it."""
    cdef const Scores* job = <const Scores*> data
    cdef Py_ssize_t classes = job.classes, nodes = classes - 1, i, k
    cdef double* probability = <double*> memory
    cdef double* of_step = probability + classes        # the probability of both children of each node
    cdef double* score = of_step + 2 * nodes
    cdef float* scratch = <float*> (score + nodes)
    cdef double small, large, before
    probability[0] = 1  # of a single class
    for i in range(start, stop):
        load(job.score, job.typenum, i * nodes, score, nodes)
        for k in range(nodes):
            small = exp_nonpositive(-fabs(score[k]))
            large = 1 / (1 + small)
            small *= large
            of_step[2 * k] = small if score[k] > 0 else large
            of_step[2 * k + 1] = large if score[k] > 0 else small
        for k in range(1, nodes):  # parents come before their children
            before = of_step[job.up[classes + k]]
            of_step[2 * k] *= before
            of_step[2 * k + 1] *= before
        if nodes > 0:
            for k in range(classes):
                probability[k] = of_step[job.up[k]]
        put(probability, job.probability, job.result_typenum, i * classes, classes, scratch)


def probabilities(cnp.ndarray score, cnp.ndarray up, cnp.ndarray out, int threads):
    """Write the probabilities of all classes of samples, from their scores at all inner nodes."""
    cdef Scores job
    job.score, job.typenum, job.up = address(score), type_of(score), <const int32_t*> address(up)
    job.classes = cnp.PyArray_DIM(out, 1)
    job.probability, job.result_typenum = address(out), type_of(out)
    run_job(
        find_probabilities, &job, cnp.PyArray_DIM(out, 0), 1, threads,
        8 * (job.classes + 3 * (job.classes - 1)) + 4 * job.classes
    )
