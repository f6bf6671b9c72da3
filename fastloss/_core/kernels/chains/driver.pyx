"""The driver of the losses of chains: a linear-chain CRF, the structured hinge loss, and decoding.

A sequence is an item of the parallel loop. Everything is computed in double precision. The gradients with respect to
the transitions, and to the scores of first and last tags, are sums over all sequences: each chunk of sequences has its
own sums, which the caller adds in order.
"""

cimport numpy as cnp
from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, NAN
from libc.string cimport memset

import numpy as np

from fastloss._core.kernels.base.chunks cimport Partial, run_job
from fastloss._core.kernels.base.job cimport take_call
from fastloss._core.kernels.base.operands cimport expand, is_half, store, type_of
from fastloss._core.kernels.base.sums cimport LANES, ordered_sum
from fastloss._core.kernels.base.vecmath cimport at_least, at_most, exp_nonpositive, log, multiply_add
from fastloss._core.kernels.chains.paths cimport (
    CHAIN_ROWS, STEP_ROWS, TABLE_ROWS, TABLES, Chain, Job, emission_of, largest, load_emissions, quotient_up,
    read_length, read_tags
)
from fastloss._core.request.call cimport CHECK, GRAD, VALUE, Call

cnp.import_array()

cdef enum:
    CRF
    HINGE

cdef enum:
    # Chunks of sequences: enough for many threads, as long as their sums take no more than 4 MB.
    MOST_CHUNKS = 64
    LEAST_CHUNKS = 8
    SUMS = 1 << 19              # numbers

LOSSES = {"linear_chain_crf": CRF, "structured_hinge": HINGE}


# ---------------------------------------------------------------------------------------------------------------------
# Results

cdef void write_row(const Job* job, const Chain* chain, Py_ssize_t t, const double* row) noexcept nogil:
    """Write the gradient with respect to the emissions of step t."""
    cdef Py_ssize_t n = job.tags_known, start = (chain.first + t) * n, j
    cdef void* out = job.common.out[GRAD]
    cdef float* single = <float*> out + start
    cdef double* wide = <double*> out + start
    if job.typenum == cnp.NPY_DOUBLE:
        for j in range(n):
            wide[j] = row[j]
        return
    if is_half(job.typenum):
        single = chain.rounded
    for j in range(n):
        single[j] = <float> row[j]
    if is_half(job.typenum):
        store(single, out, job.typenum, start, n)


cdef void write_zeros(const Job* job, const Chain* chain, Py_ssize_t t) noexcept nogil:
    """Write a gradient of 0 for all steps of a sequence from t on."""
    cdef Py_ssize_t size = 8 if job.typenum == cnp.NPY_DOUBLE else 4 if job.typenum == cnp.NPY_FLOAT else 2
    size *= job.tags_known
    memset(<char*> job.common.out[GRAD] + (chain.first + t) * size, 0, (job.steps - t) * size)


cdef void write_value(const Job* job, Py_ssize_t n, double value) noexcept nogil:
    cdef float single = <float> value
    if job.typenum == cnp.NPY_DOUBLE:
        (<double*> job.common.out[VALUE])[n] = value
    elif job.typenum == cnp.NPY_FLOAT:
        (<float*> job.common.out[VALUE])[n] = single
    else:
        store(&single, job.common.out[VALUE], job.typenum, n, 1)


cdef void add_row(const double* row, double* sums, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        sums[j] += row[j]


include "crf.pxi"
include "best.pxi"


# ---------------------------------------------------------------------------------------------------------------------
# The driver

cdef Chain chain_in(const Job* job, void* memory) noexcept nogil:
    """A chain without a sequence, in the memory of a thread."""
    cdef Chain chain
    cdef double* rows = <double*> memory
    cdef Py_ssize_t j
    chain.emission, chain.gamma, chain.other = rows, rows + job.stride, rows + 2 * job.stride
    chain.rounded = <float*> (rows + 3 * job.stride)
    chain.alpha = rows + CHAIN_ROWS * job.stride
    chain.tag = <long long*> (chain.alpha + job.steps * job.stride)
    chain.path = chain.tag + job.steps
    chain.p = <double*> (chain.path + job.steps)
    chain.into = chain.p + job.steps * job.stride
    chain.sums = NULL
    chain.first = chain.length = 0
    for j in range(job.stride):
        chain.emission[j] = 0  # behind the last tag as well
    return chain


cdef void run_sequence(const Job* job, Chain* chain, Py_ssize_t n, Partial* sums) noexcept nogil:
    cdef double weight = 1, scratch, loss = 0, factor
    cdef bint valid, hinge = job.common.loss == HINGE, derives = job.common.out[GRAD] != NULL
    if job.common.weight.data != NULL:
        expand(&job.common.weight, n, &weight, 1, &scratch)
    valid = read_length(job, n, chain)
    if weight == 0:
        chain.length = 0
    else:
        sums.invalid |= not (read_tags(job, chain) and valid)
    if job.common.stage == CHECK:
        return
    if chain.length > 0:
        loss = hinge_value(job, chain) if hinge else crf_value(job, chain)
        factor = at_most(job.common.scale * weight, <double> DBL_MAX)
        if derives and hinge:
            hinge_derivatives(job, chain, factor, loss)
        elif derives:
            crf_derivatives(job, chain, factor)
        loss *= weight
    if derives:
        write_zeros(job, chain, chain.length)
    if job.common.out[VALUE] != NULL:
        write_value(job, n, loss)
    if job.common.sum_values:
        sums.loss += loss


cdef void run_chunk(
    const void* untyped, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    """Run sequences start to stop."""
    cdef const Job* job = <const Job*> untyped
    cdef Chain chain = chain_in(job, memory)
    cdef Py_ssize_t size = job.tags_known * (job.tags_known + 2), n
    if job.sums != NULL:
        chain.sums = job.sums + chunk * size
        memset(chain.sums, 0, size * sizeof(double))
    for n in range(start, stop):
        run_sequence(job, &chain, n, sums)


cdef void decode_chunk(
    const void* untyped, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    cdef const Job* job = <const Job*> untyped
    cdef Chain chain = chain_in(job, memory)
    cdef Py_ssize_t n, t
    for n in range(start, stop):
        sums.invalid |= not read_length(job, n, &chain)
        job.best_score[n] = find_path(job, &chain, 0)
        for t in range(job.steps):
            job.best[n * job.steps + t] = chain.path[t] if t < chain.length else 0


cdef bint copy_row(const double* x, double* row, Py_ssize_t n, Py_ssize_t stride, double rest) noexcept:
    """Copy n numbers into a row and fill up the row. Return whether one of them is NaN."""
    cdef bint nan = False
    cdef Py_ssize_t j
    for j in range(stride):
        row[j] = x[j] if j < n else rest
        nan |= row[j] != row[j]
    return nan


cdef void fill_tables(Job* job, double* memory, const double* transitions) noexcept:
    """Set the tables of a job.

    Row i of `score` holds the scores of the moves from tag i, row j of `score_to` those of the moves to tag j. peak(j)
    is the largest of these that is not infinite. `odds` is exp(score - peak), and `odds_to` is its transposed table.
    """
    cdef Py_ssize_t n = job.tags_known, stride = job.stride, i, j
    cdef double* row
    job.score, job.score_to = memory, memory + n * stride
    job.odds, job.odds_to = memory + 2 * n * stride, memory + 3 * n * stride
    job.peak = memory + 4 * n * stride
    job.nan_between = False
    for i in range(n):
        job.nan_between |= copy_row(transitions + i * n, job.score + i * stride, n, stride, 0)
    for j in range(n):
        row = job.score_to + j * stride
        for i in range(stride):
            row[i] = job.score[i * stride + j] if i < n else -INFINITY
        job.peak[j] = largest(row, stride)
        if job.peak[j] == -INFINITY:
            job.peak[j] = 0
        for i in range(n):
            row = job.odds_to + j * stride
            row[i] = factor_of(exp_nonpositive(job.score_to[j * stride + i] - job.peak[j]))
            job.odds[i * stride + j] = row[i]


cdef cnp.ndarray set_job(Job* job, cnp.ndarray emissions, cnp.ndarray lengths, tuple scores):
    """Set all of a job but the common part and what is written. Return the memory of its tables.

    `scores` are those of transitions, of first and of last tags: arrays of float64.
    """
    cdef cnp.ndarray transitions = scores[0], start = scores[1], end = scores[2], memory
    cdef int ndim = cnp.PyArray_NDIM(emissions)
    job.emissions = cnp.PyArray_DATA(emissions)
    job.typenum = type_of(emissions)
    job.steps = cnp.PyArray_DIM(emissions, ndim - 2)
    job.tags_known = cnp.PyArray_DIM(emissions, ndim - 1)
    job.stride = quotient_up(job.tags_known, LANES) * LANES
    job.tags = NULL
    job.lengths = NULL
    if lengths is not None:
        job.lengths = cnp.PyArray_DATA(lengths)
        job.length_type = cnp.PyArray_TYPE(lengths)
    job.sums = NULL
    memory = np.zeros((TABLES * job.tags_known + TABLE_ROWS) * job.stride)
    fill_tables(job, <double*> cnp.PyArray_DATA(memory), <const double*> cnp.PyArray_DATA(transitions))
    job.start, job.end = job.peak + job.stride, job.peak + 2 * job.stride
    job.nan_at_ends = copy_row(
        <const double*> cnp.PyArray_DATA(start), job.start, job.tags_known, job.stride, -INFINITY
    ) | copy_row(<const double*> cnp.PyArray_DATA(end), job.end, job.tags_known, job.stride, 0)
    return memory


cdef Py_ssize_t memory_for(const Job* job, bint crf) noexcept:
    """The bytes that a thread needs."""
    cdef Py_ssize_t rows = CHAIN_ROWS + (STEP_ROWS if crf else 1) * job.steps
    return rows * job.stride * sizeof(double) + 2 * job.steps * sizeof(long long)


cdef Py_ssize_t sequences_in(cnp.ndarray emissions) noexcept:
    cdef Py_ssize_t n = 1
    cdef int k
    for k in range(cnp.PyArray_NDIM(emissions) - 2):
        n *= cnp.PyArray_DIM(emissions, k)
    return n


def run(Call call, int loss, cnp.ndarray emissions, cnp.ndarray tags, cnp.ndarray lengths, tuple scores):
    """Run one loss over checked, C-contiguous arrays. `lengths` may be None.

    Return None if a tag or a length is invalid. Otherwise return the weighted sum of the losses and, if the caller asks
    for a gradient, those with respect to the transitions and to the scores of first and last tags, in one array.
    """
    cdef Job job
    cdef Partial total
    cdef cnp.ndarray sums = None
    cdef Py_ssize_t n, tile, size
    _tables = set_job(&job, emissions, lengths, scores)
    take_call(&job.common, call, loss, job.typenum != cnp.NPY_DOUBLE, False)
    job.tags = cnp.PyArray_DATA(tags)
    job.tag_type = cnp.PyArray_TYPE(tags)
    n = sequences_in(emissions)
    size = job.tags_known * (job.tags_known + 2)
    tile = max(1, quotient_up(n, max(LEAST_CHUNKS, min(MOST_CHUNKS, SUMS // size))))
    if call.wants(GRAD) and call.stage != CHECK:
        sums = np.empty((quotient_up(n, tile), size))
        job.sums = <double*> cnp.PyArray_DATA(sums)
    total = run_job(run_chunk, &job, n, tile, call.threads, memory_for(&job, loss == CRF))
    if total.invalid:
        return None
    return total.loss, None if sums is None else np.add.reduce(sums, axis=0)


def decode(
    cnp.ndarray emissions, cnp.ndarray lengths, tuple scores, cnp.ndarray best, cnp.ndarray best_score, int threads
):
    """Write the best tags (int64) and their score (float64) of each sequence. Return whether all lengths are valid."""
    cdef Job job
    _tables = set_job(&job, emissions, lengths, scores)
    job.best = <long long*> cnp.PyArray_DATA(best)
    job.best_score = <double*> cnp.PyArray_DATA(best_score)
    cdef Py_ssize_t n = sequences_in(emissions)
    total = run_job(decode_chunk, &job, n, max(1, quotient_up(n, MOST_CHUNKS)), threads, memory_for(&job, False))
    return not total.invalid
