"""The driver of the elementwise losses: tiles, weights, reductions, threads. README.md is the way in."""

from cython cimport floating
from cython.parallel cimport prange
cimport numpy as cnp

from fastloss.kernels.binary cimport (
    binary_cross_entropy, binary_cross_entropy_with_logits, binary_focal, brier, exp_minus_abs, exp_of_margin,
    exponential, focal_weight, focal_weight_any_gamma, hinge, hinge_embedding, log_of_p, logistic, margin_ranking,
    modified_huber, sigmoid_focal, sigmoid_focal_any_gamma, sigmoid_poly1, squared_hinge
)
from fastloss.kernels.loops cimport (
    ANY, DERIVATIVES, GRAD, GRAD_2, HESS, NOT_NEGATIVE, PROBABILITY, SIGN, UNIT_INTERVAL, Tile,
    double_loops, loops, nothing, outside, single_loops, weigh
)
from fastloss.kernels.regression cimport (
    cauchy, difference_of_logarithms, elastic_net, epsilon_insensitive, exp_minus_square, exp_minus_twice,
    exp_of_minus_p, exp_of_multiple, exp_of_p, expectile, fair, gamma_nll, gaussian_nll, geman_mcclure, huber, l1,
    l2, log_cosh, log_factorial, log_of_rate, log_of_var, mae, mape, mse, msle, poisson_nll, poisson_nll_full,
    poisson_nll_of_rate, poisson_nll_of_rate_full, pseudo_huber, quantile, smooth_l1, squared_epsilon_insensitive,
    tukey, tweedie, welsch
)
from fastloss.kernels.tiles cimport (
    MAX_CHUNKS, MAX_PARAMETERS, TILE, Operand, address, aligned, at, chunk_size, end_stream, expand, grain, load,
    operand, ordered_sum, take_parameters, weighted_sum
)
from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, NAN, fmin

import numpy as np

cnp.import_array()

cdef enum:
    MAX_LOSSES = 64

# ---------------------------------------------------------------------------------------------------------------------
# The losses. `cdef void ...` makes the loops of one loss over a tile, for float and for double; `add(...)` puts them
# into the table.

LOSSES = {}  # name -> place in the table

cdef single_loops[MAX_LOSSES] SINGLE
cdef double_loops[MAX_LOSSES] DOUBLE


cdef add(str name, single_loops single, double_loops double_):
    cdef int place = len(LOSSES)
    if place == MAX_LOSSES:
        raise IndexError("the table of losses is full: raise MAX_LOSSES")
    SINGLE[place] = single
    DOUBLE[place] = double_
    LOSSES[name] = place


cdef void mse_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], mse[floating], x, c)
add("mse", mse_loops[float], mse_loops[double])
cdef void mae_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], mae[floating], x, c)
add("mae", mae_loops[float], mae_loops[double])
cdef void mape_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], mape[floating], x, c)
add("mape", mape_loops[float], mape_loops[double])
cdef void msle_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(difference_of_logarithms[floating], msle[floating], x, c)
add("msle", msle_loops[float], msle_loops[double])
cdef void quantile_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], quantile[floating], x, c)
add("quantile", quantile_loops[float], quantile_loops[double])
cdef void expectile_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], expectile[floating], x, c)
add("expectile", expectile_loops[float], expectile_loops[double])
cdef void epsilon_insensitive_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], epsilon_insensitive[floating], x, c)
add("epsilon_insensitive", epsilon_insensitive_loops[float], epsilon_insensitive_loops[double])
cdef void squared_epsilon_insensitive_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], squared_epsilon_insensitive[floating], x, c)
add("squared_epsilon_insensitive", squared_epsilon_insensitive_loops[float], squared_epsilon_insensitive_loops[double])
cdef void huber_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], huber[floating], x, c)
add("huber", huber_loops[float], huber_loops[double])
cdef void smooth_l1_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], smooth_l1[floating], x, c)
add("smooth_l1", smooth_l1_loops[float], smooth_l1_loops[double])
cdef void pseudo_huber_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], pseudo_huber[floating], x, c)
add("pseudo_huber", pseudo_huber_loops[float], pseudo_huber_loops[double])
cdef void log_cosh_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_twice[floating], log_cosh[floating], x, c)
add("log_cosh", log_cosh_loops[float], log_cosh_loops[double])
cdef void fair_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], fair[floating], x, c)
add("fair", fair_loops[float], fair_loops[double])
cdef void cauchy_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], cauchy[floating], x, c)
add("cauchy", cauchy_loops[float], cauchy_loops[double])
cdef void geman_mcclure_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], geman_mcclure[floating], x, c)
add("geman_mcclure", geman_mcclure_loops[float], geman_mcclure_loops[double])
cdef void welsch_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_square[floating], welsch[floating], x, c)
add("welsch", welsch_loops[float], welsch_loops[double])
cdef void tukey_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], tukey[floating], x, c)
add("tukey", tukey_loops[float], tukey_loops[double])
cdef void poisson_nll_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_of_p[floating], poisson_nll[floating], x, c)
add("poisson_nll", poisson_nll_loops[float], poisson_nll_loops[double])
cdef void poisson_nll_of_rate_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(log_of_rate[floating], poisson_nll_of_rate[floating], x, c)
add("poisson_nll_of_rate", poisson_nll_of_rate_loops[float], poisson_nll_of_rate_loops[double])
cdef void poisson_nll_full_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(log_factorial[floating], poisson_nll_full[floating], x, c)
add("poisson_nll_full", poisson_nll_full_loops[float], poisson_nll_full_loops[double])
cdef void poisson_nll_of_rate_full_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(log_factorial[floating], poisson_nll_of_rate_full[floating], x, c)
add("poisson_nll_of_rate_full", poisson_nll_of_rate_full_loops[float], poisson_nll_of_rate_full_loops[double])
cdef void gamma_nll_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_of_minus_p[floating], gamma_nll[floating], x, c)
add("gamma_nll", gamma_nll_loops[float], gamma_nll_loops[double])
cdef void tweedie_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_of_multiple[floating], tweedie[floating], x, c)
add("tweedie", tweedie_loops[float], tweedie_loops[double])
cdef void gaussian_nll_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(log_of_var[floating], gaussian_nll[floating], x, c, pair=True)
add("gaussian_nll", gaussian_nll_loops[float], gaussian_nll_loops[double])
cdef void l1_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], l1[floating], x, c)
add("l1", l1_loops[float], l1_loops[double])
cdef void l2_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], l2[floating], x, c)
add("l2", l2_loops[float], l2_loops[double])
cdef void elastic_net_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], elastic_net[floating], x, c)
add("elastic_net", elastic_net_loops[float], elastic_net_loops[double])
cdef void binary_cross_entropy_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(log_of_p[floating], binary_cross_entropy[floating], x, c)
add("binary_cross_entropy", binary_cross_entropy_loops[float], binary_cross_entropy_loops[double])
cdef void binary_cross_entropy_with_logits_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_abs[floating], binary_cross_entropy_with_logits[floating], x, c)
add(
    "binary_cross_entropy_with_logits", binary_cross_entropy_with_logits_loops[float],
    binary_cross_entropy_with_logits_loops[double]
)
cdef void binary_focal_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(focal_weight[floating], binary_focal[floating], x, c)
add("binary_focal", binary_focal_loops[float], binary_focal_loops[double])
cdef void binary_focal_any_gamma_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(focal_weight_any_gamma[floating], binary_focal[floating], x, c)
add("binary_focal_any_gamma", binary_focal_any_gamma_loops[float], binary_focal_any_gamma_loops[double])
cdef void sigmoid_focal_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_abs[floating], sigmoid_focal[floating], x, c)
add("sigmoid_focal", sigmoid_focal_loops[float], sigmoid_focal_loops[double])
cdef void sigmoid_focal_any_gamma_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_abs[floating], sigmoid_focal_any_gamma[floating], x, c)
add("sigmoid_focal_any_gamma", sigmoid_focal_any_gamma_loops[float], sigmoid_focal_any_gamma_loops[double])
cdef void sigmoid_poly1_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_abs[floating], sigmoid_poly1[floating], x, c)
add("sigmoid_poly1", sigmoid_poly1_loops[float], sigmoid_poly1_loops[double])
cdef void brier_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_abs[floating], brier[floating], x, c)
add("brier", brier_loops[float], brier_loops[double])
cdef void hinge_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], hinge[floating], x, c)
add("hinge", hinge_loops[float], hinge_loops[double])
cdef void margin_ranking_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], margin_ranking[floating], x, c, pair=True)
add("margin_ranking", margin_ranking_loops[float], margin_ranking_loops[double])
cdef void hinge_embedding_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], hinge_embedding[floating], x, c)
add("hinge_embedding", hinge_embedding_loops[float], hinge_embedding_loops[double])
cdef void squared_hinge_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], squared_hinge[floating], x, c)
add("squared_hinge", squared_hinge_loops[float], squared_hinge_loops[double])
cdef void modified_huber_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], modified_huber[floating], x, c)
add("modified_huber", modified_huber_loops[float], modified_huber_loops[double])
cdef void logistic_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_abs[floating], logistic[floating], x, c)
add("logistic", logistic_loops[float], logistic_loops[double])
cdef void exponential_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_of_margin[floating], exponential[floating], x, c)
add("exponential", exponential_loops[float], exponential_loops[double])


# ---------------------------------------------------------------------------------------------------------------------
# The driver

DOMAINS = {
    None: ANY, "unit interval": UNIT_INTERVAL, "probability": PROBABILITY, "not negative": NOT_NEGATIVE, "sign": SIGN
}

cdef float[TILE] SINGLE_ONES    # an operand that there is not
cdef double[TILE] DOUBLE_ONES
for _k in range(TILE):
    SINGLE_ONES[_k] = DOUBLE_ONES[_k] = 1

cdef struct Call:
    int loss
    Operand[3] inputs       # pred, target, third
    int[3] domains          # of these
    bint check_only
    Operand weight
    double[MAX_PARAMETERS] parameters
    double scale
    bint sum_values
    void* value
    void* out[DERIVATIVES]
    bint stream             # whether gradients go past the caches
    double* edges           # four for each chunk: see Rows


cdef inline const void* direct(const Operand* x, const Call* call, floating* _) noexcept nogil:
    """The operand's memory if a tile of it can be used where it lies, else NULL."""
    cdef int typenum = cnp.NPY_DOUBLE
    cdef int k
    if floating is float:
        typenum = cnp.NPY_FLOAT
    if x.typenum != typenum or x.inner != 1 or x.period < call.inputs[0].period:
        return NULL
    # In place, the loops get a copy: the compiler must not fear that a store changes what is still to be read.
    for k in range(DERIVATIVES):
        if x.data == call.out[k]:
            return NULL
    return x.data


cdef struct Rows:           # where the third operand has leading axes of pred alone, an element of it has a row of pred
    Py_ssize_t inner        # the length of a row
    Py_ssize_t first        # the row that this chunk starts in
    Py_ssize_t row          # the row that is being summed
    double[2] total         # of its slopes, of its curvatures
    double* edges           # totals of the first row, then of the last if that is another: chunks may share these


cdef void add_rows(Rows* rows, const Call* call, floating* tile, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """Add the slopes in tile[:n] and the curvatures behind them, of elements start to start + n, to their rows."""
    cdef Py_ssize_t i = 0, row, run
    cdef floating* out
    cdef int k
    while i < n:
        row = (start + i) // rows.inner
        run = min(n - i, (row + 1) * rows.inner - (start + i))
        for k in range(2):
            out = <floating*> call.out[GRAD_2 + k]
            if out != NULL:
                if row != rows.row:
                    if rows.row == rows.first:
                        rows.edges[k] = rows.total[k]
                    else:
                        out[rows.row] = <floating> rows.total[k]
                    rows.total[k] = 0
                rows.total[k] += ordered_sum(tile + k * TILE + i, run)
        rows.row = row
        i += run


cdef void join_rows(const Call* call, floating* _, Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    """Write the sums of the rows that chunks begin and end with, adding their parts in order."""
    cdef Py_ssize_t inner = call.inputs[2].inner, row, start, first, last
    cdef const double* edges
    cdef floating* out
    cdef double total
    cdef int k
    for k in range(2):
        out = <floating*> call.out[GRAD_2 + k]
        if out != NULL:
            edges = call.edges + k
            row = start = 0
            total = 0
            while start < n:
                first = start // inner
                last = (min(n, start + size) - 1) // inner
                total = edges[0] + (total if first == row else 0)
                out[first] = <floating> total
                if last != first:
                    total = edges[2]
                    out[last] = <floating> total
                row = last
                start += size
                edges += 4


cdef double run_chunk(
    const Call* call, floating* _, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, char* bad
) noexcept nogil:
    """Run elements start to stop, tile by tile; the sum of their weighted losses."""
    cdef floating[7 * TILE + 16] memory
    cdef double[TILE] weights
    cdef floating* copies = aligned(memory)  # of the three operands
    cdef floating* value_copy = copies + 3 * TILE
    cdef floating* scratch = copies + 4 * TILE
    cdef floating* by_rows = copies + 5 * TILE
    cdef floating[MAX_PARAMETERS] parameters
    cdef double* weight = NULL if call.weight.data == NULL else weights
    cdef const floating* whole[3]
    cdef const floating* tile[3]
    cdef floating* value
    cdef Rows rows
    cdef Tile x
    cdef double total = 0
    cdef Py_ssize_t i = start
    cdef int k
    for k in range(MAX_PARAMETERS):
        parameters[k] = <floating> call.parameters[k]
    for k in range(3):
        whole[k] = <const floating*> direct(&call.inputs[k], call, _)
    rows.inner = call.inputs[2].inner
    rows.first = rows.row = start // rows.inner
    rows.total = [0, 0]
    rows.edges = at(call.edges, 4 * chunk)
    x.e = scratch
    x.stream = call.stream
    x.scale = call.scale if weight == NULL else 1
    while i < stop:
        x.n = min(TILE, stop - i)
        if weight != NULL:
            expand(&call.weight, i, weight, x.n, <double*> copies)  # not yet in use
        for k in range(3):
            tile[k] = at(whole[k], i)
            if call.inputs[k].data != NULL:
                if whole[k] == NULL:
                    expand(&call.inputs[k], i, copies + k * TILE, x.n, scratch)
                    tile[k] = copies + k * TILE
                bad[0] |= outside(call.domains[k], tile[k], weight, x.n)
            elif floating is float:
                tile[k] = SINGLE_ONES
            else:
                tile[k] = DOUBLE_ONES
        if call.check_only:
            i += x.n
            continue
        x.p = tile[0]
        x.t = tile[1]
        x.u = tile[2]
        value = value_copy if call.value == NULL else <floating*> call.value + i
        x.value = value if call.value != NULL or call.sum_values else NULL
        for k in range(DERIVATIVES):
            x.out[k] = at(<floating*> call.out[k], i)
            if k >= GRAD_2 and call.edges != NULL and call.out[k] != NULL:
                x.out[k] = by_rows + (k - GRAD_2) * TILE
        if floating is float:
            SINGLE[call.loss](&x, parameters)
        else:
            DOUBLE[call.loss](&x, parameters)
        if call.sum_values:
            total += ordered_sum(value, x.n) if weight == NULL else weighted_sum(value, weight, x.n)
        if weight != NULL:
            if call.value != NULL:
                weigh(value, weight, 1, x.n)
            for k in range(DERIVATIVES):
                weigh(<floating*> x.out[k], weight, call.scale, x.n)
        if call.edges != NULL:
            add_rows(&rows, call, by_rows, i, x.n)
        i += x.n
    if call.stream:
        end_stream()
    if call.edges != NULL:
        for k in range(2):
            rows.edges[k if rows.row == rows.first else 2 + k] = rows.total[k]
    return total


cdef double run_all(const Call* call, floating* _, Py_ssize_t n, int threads, char* bad) noexcept nogil:
    """Run all chunks; their sums are added in order, so the result does not depend on the number of threads."""
    cdef double[MAX_CHUNKS] partial
    cdef char[MAX_CHUNKS] flag
    cdef Py_ssize_t size = chunk_size(n, TILE), chunks = (n + size - 1) // size, k
    cdef double total = 0
    if threads <= 1:
        for k in range(chunks):
            flag[k] = 0
            partial[k] = run_chunk(call, _, k * size, min(n, (k + 1) * size), k, &flag[k])
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
            flag[k] = 0
            partial[k] = run_chunk(call, _, k * size, min(n, (k + 1) * size), k, &flag[k])
    for k in range(chunks):
        total += partial[k]
        bad[0] |= flag[k]
    if call.edges != NULL and not call.check_only:
        join_rows(call, _, n, size)
    return total


def run(
    int loss, tuple inputs, Py_ssize_t third_inner, cnp.ndarray weight, Py_ssize_t weight_inner, tuple parameters,
    tuple domains, bint check_only, double scale, bint sum_values, cnp.ndarray value, tuple derivatives, bint stream,
    int threads
):
    """Run one loss over checked, C-contiguous arrays: the weighted sum, or None where an operand is not in its domain.

    `inputs` are pred, target and a third operand, `domains` what is said of these; `derivatives` the arrays for the
    gradient and Hessian by pred, then by the third operand. What there is not is None. An element of the third
    operand has `third_inner` elements of pred; if the loss has derivatives by it, they are sums over these. `stream`
    says that gradients may go past the caches. threads = 0 stands for an input so small that releasing the GIL would
    cost more than it gives.
    """
    cdef Call call
    cdef cnp.ndarray pred = inputs[0]
    cdef cnp.ndarray edges = None
    cdef Py_ssize_t n = cnp.PyArray_SIZE(pred)
    cdef bint single = cnp.PyArray_TYPE(pred) == cnp.NPY_FLOAT
    cdef char bad = 0
    cdef double total
    cdef int k
    call.loss = loss
    for k in range(3):
        call.inputs[k] = operand(inputs[k], third_inner if k == 2 else 1)
        call.domains[k] = DOMAINS[domains[k]]
    call.check_only = check_only
    call.weight = operand(weight, weight_inner)
    take_parameters(call.parameters, parameters, single)
    call.scale = fmin(scale, FLT_MAX) if single and weight is None else scale  # a slope of 0 times inf would be NaN
    call.sum_values = sum_values
    call.value = address(value)
    for k in range(DERIVATIVES):
        call.out[k] = address(derivatives[k])
    call.edges = NULL
    if third_inner != 1 and call.out[GRAD_2] != NULL:
        edges = np.empty(4 * MAX_CHUNKS)
        call.edges = <double*> cnp.PyArray_DATA(edges)
    # What is written once, and by nobody changed after that.
    call.stream = stream and call.out[GRAD] != NULL and call.out[HESS] == NULL and call.edges == NULL and weight is None
    if threads == 0:
        total = run_all(&call, <float*> NULL, n, 0, &bad) if single else run_all(&call, <double*> NULL, n, 0, &bad)
    else:
        with nogil:
            total = (
                run_all(&call, <float*> NULL, n, threads, &bad) if single
                else run_all(&call, <double*> NULL, n, threads, &bad)
            )
    return None if bad else total


cdef double sum_chunk(const void* data, int typenum, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef double[TILE] tile
    cdef double total = 0
    cdef Py_ssize_t i = start, k, n
    while i < stop:
        n = min(TILE, stop - i)
        load(data, typenum, i, tile, n)
        for k in range(n):
            tile[k] = tile[k] if tile[k] >= 0 and tile[k] < INFINITY else NAN
        total += ordered_sum(tile, n)
        i += n
    return total


def sum_weights(cnp.ndarray weight, int threads):
    """The sum of a C-contiguous array of weights; NaN if one of them is negative or not finite."""
    cdef double[MAX_CHUNKS] partial
    cdef Py_ssize_t n = cnp.PyArray_SIZE(weight), size = chunk_size(n, TILE), chunks = (n + size - 1) // size, k
    cdef const void* data = cnp.PyArray_DATA(weight)
    cdef int typenum = cnp.PyArray_TYPE(weight)
    cdef double total = 0
    with nogil:
        if threads <= 1:
            for k in range(chunks):
                partial[k] = sum_chunk(data, typenum, k * size, min(n, (k + 1) * size))
        else:
            for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
                partial[k] = sum_chunk(data, typenum, k * size, min(n, (k + 1) * size))
        for k in range(chunks):
            total += partial[k]
    return total
