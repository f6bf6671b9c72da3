"""The driver of the losses that are sums of terms along a class axis, one for each class. README.md is the way in.

The input is seen as an array (outer, classes, inner), and a sample is a pair (outer, inner). A tile is a number of
samples, and their elements are read in pieces that are contiguous in memory: all of them at once where they are few,
else a part of the classes, or where samples lie side by side, one class of each. The loops of the loss (loops.pxd) do
not see where in a sample an element is. Without weights, and if only the sum is wanted, nobody has to: pieces are read
in the order of memory. Where the target holds class indices and no label smoothing, only one class of each sample has a
term: these are gathered into one piece, and the gradients are zeros with one element written.
"""

from cython cimport floating
from cython.parallel cimport prange
cimport numpy as cnp
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport fmin

from fastloss.kernels.binary cimport exp_minus_abs
from fastloss.kernels.class_axis cimport VECTOR, clear, prefetch_all
from fastloss.kernels.loops cimport (
    ANY, DERIVATIVES, GRAD, HESS, PROBABILITY, UNIT_INTERVAL, Tile, double_loops, loops, nothing, outside,
    single_loops, weigh
)
from fastloss.kernels.terms cimport (
    categorical_cross_entropy, exp_of_gap, exp_of_t, expm1_of_t, gaussian_kl, js_divergence, kl_divergence,
    kl_divergence_log_target, multilabel_soft_margin, nll
)
from fastloss.kernels.tiles cimport (
    LANES, MAX_CHUNKS, MAX_PARAMETERS, TILE, Operand, address, aligned, at, chunk_size, end_stream, expand, grain, load,
    load_labels, operand, ordered_sum, take_parameters, weighted_sum
)

cnp.import_array()

cdef enum:
    MAX_LOSSES = 64
    REACH = 65536           # elements whose gradient a tile of labels writes, about
    STRIP = 4 * TILE        # samples side by side whose gradient is cleared class by class: short stretches cost more

# ---------------------------------------------------------------------------------------------------------------------
# The losses. A line `cdef void ...` makes the loops of one loss over a tile, for float and for double;
# a line `add(...)` puts them into the table.

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


cdef void categorical_cross_entropy_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], categorical_cross_entropy[floating], x, c)
cdef void nll_loops(const Tile* x, const floating* c) noexcept nogil: loops(nothing[floating], nll[floating], x, c)
cdef void multilabel_soft_margin_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_minus_abs[floating], multilabel_soft_margin[floating], x, c)
cdef void kl_divergence_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(nothing[floating], kl_divergence[floating], x, c)
cdef void kl_divergence_log_target_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(exp_of_t[floating], kl_divergence_log_target[floating], x, c)
cdef void js_divergence_loops(const Tile* x, const floating* c) noexcept nogil:
    # Two numbers of each element in a loop of their own: see `loops`.
    cdef const floating* p = <const floating*> x.p
    cdef const floating* t = <const floating*> x.t
    cdef floating* e = <floating*> x.e
    cdef floating[TILE] decay
    cdef Tile y = x[0]
    cdef Py_ssize_t i
    for i in range(x.n):
        decay[i] = exp_of_gap(p[i], t[i], &e[i])
    y.u = decay
    loops(nothing[floating], js_divergence[floating], &y, c, pair=True)
cdef void gaussian_kl_loops(const Tile* x, const floating* c) noexcept nogil:
    loops(expm1_of_t[floating], gaussian_kl[floating], x, c, pair=True)

add("categorical_cross_entropy", categorical_cross_entropy_loops[float], categorical_cross_entropy_loops[double])
add("nll", nll_loops[float], nll_loops[double])
add("multilabel_soft_margin", multilabel_soft_margin_loops[float], multilabel_soft_margin_loops[double])
add("kl_divergence", kl_divergence_loops[float], kl_divergence_loops[double])
add("kl_divergence_log_target", kl_divergence_log_target_loops[float], kl_divergence_log_target_loops[double])
add("js_divergence", js_divergence_loops[float], js_divergence_loops[double])
add("gaussian_kl", gaussian_kl_loops[float], gaussian_kl_loops[double])

# ---------------------------------------------------------------------------------------------------------------------

cdef enum Pass:
    RUN
    MEASURE         # only sum the weights
    CHECK           # that, and check all operands

DOMAINS = {None: ANY, "unit interval": UNIT_INTERVAL, "probability": PROBABILITY}

cdef struct Call:
    int loss
    int stage               # a Pass
    bint one_class          # only the class of the label has a term
    Py_ssize_t outer
    Py_ssize_t classes
    Py_ssize_t inner
    Py_ssize_t blocks       # outer indices in a tile
    bint in_strips          # whether a tile is some of the inner indices of one outer index
    Py_ssize_t width        # inner indices in a tile
    Py_ssize_t tiles
    Operand[2] inputs       # pred, and target unless it holds class indices
    int[2] domains          # of these
    const void* labels      # class indices, or NULL
    int label_type
    long long ignore_index
    Operand weight
    Operand class_weight
    const double* weight_of     # the class weights once more, or NULL
    double[MAX_PARAMETERS] parameters
    double scale
    double scale_unweighted     # the same, but finite in the dtype of pred: 0 times inf would be NaN
    bint sum_values
    void* value
    void* out[DERIVATIVES]
    bint stream             # whether gradients go past the caches

cdef struct Samples:        # of a tile; side by side in an array of the shape of the loss
    Py_ssize_t start        # number of the first
    Py_ssize_t n
    Py_ssize_t first        # the element that is the first class of the first
    Py_ssize_t blocks       # outer indices
    bint weighted           # whether a weight of theirs may be other than 1
    double mass             # the sum of the weights that the targets bring to the mean
    double[TILE] weight     # 0 where the sample does not count
    long long[TILE] place   # the element that is the class of the label
    double[TILE] total      # sum of the terms so far

cdef struct Memory:         # what a thread works with: floating[TILE] each, then doubles
    void* copies[2]         # of the inputs; side by side
    void* value
    void* scratch
    void* out[DERIVATIVES]
    double[TILE] weight     # of the elements of a piece
    double[TILE] class_weight
    Py_ssize_t phase        # the element of an outer index that class_weight begins with, and how many there are
    Py_ssize_t reach


# ---------------------------------------------------------------------------------------------------------------------
# From elements to samples

cdef struct Run:            # of elements in a piece: all of one sample if inner is 1, else of one class
    Py_ssize_t start        # in the piece
    Py_ssize_t n
    Py_ssize_t sample       # of the first element
    Py_ssize_t cls


cdef inline Run first_run(const Call* call, const Samples* s, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """The run that a piece of n elements begins with."""
    cdef Py_ssize_t skip = start - s.first, row = skip // call.inner, lane = skip % call.inner
    cdef Run run
    run.start = 0
    run.cls = row % call.classes
    run.sample = row // call.classes * call.inner + lane
    run.n = min(n, call.classes - run.cls if call.inner == 1 else call.width - lane)
    return run


cdef inline void next_run(const Call* call, Run* run, Py_ssize_t n) noexcept nogil:
    run.start += run.n
    if call.inner == 1:
        run.sample += 1
        run.n = min(n - run.start, call.classes)
    else:
        run.cls += 1
        run.sample += run.n - (call.width if run.cls < call.classes else 0)
        run.cls = 0 if run.cls == call.classes else run.cls
        run.n = min(n - run.start, call.width)


cdef inline const double* weights_of(
    const Call* call, const Samples* s, Memory* memory, Py_ssize_t start, Py_ssize_t n
) noexcept nogil:
    """Of the elements of a piece: the weight of the sample times that of the class, or NULL if there are none."""
    cdef bint by_class = call.class_weight.data != NULL
    cdef double* weight = memory.weight
    cdef Py_ssize_t phase, k
    cdef Run run
    if by_class:
        phase = start % (call.classes * call.inner)
        if phase != memory.phase or n > memory.reach:
            expand(&call.class_weight, start, memory.class_weight, n, <double*> memory.copies[0])  # not yet in use
            memory.phase = phase
            memory.reach = n
    if not s.weighted:
        return memory.class_weight if by_class else NULL
    run = first_run(call, s, start, n)
    while run.start < n:
        if call.inner == 1:
            for k in range(run.n):
                weight[run.start + k] = s.weight[run.sample]
        else:
            for k in range(run.n):
                weight[run.start + k] = s.weight[run.sample + k]
        next_run(call, &run, n)
    if by_class:
        for k in range(n):
            weight[k] *= memory.class_weight[k]
    return weight


cdef inline void add_terms(
    const Call* call, Samples* s, const floating* term, Py_ssize_t start, Py_ssize_t n
) noexcept nogil:
    """Add the terms of a piece to the totals of their samples."""
    cdef Run run = first_run(call, s, start, n)
    cdef double total
    cdef Py_ssize_t k
    while run.start < n:
        if call.inner > 1:
            for k in range(run.n):
                s.total[run.sample + k] += term[run.start + k]
        elif run.n > LANES:
            s.total[run.sample] += ordered_sum(term + run.start, run.n)
        else:
            total = s.total[run.sample]
            for k in range(run.n):
                total += term[run.start + k]
            s.total[run.sample] = total
        next_run(call, &run, n)


# ---------------------------------------------------------------------------------------------------------------------
# Samples and pieces

cdef bint prepare(const Call* call, Samples* s, Memory* memory) noexcept nogil:
    """Weights, and places of the labels, of the samples of a tile; whether a label is not valid."""
    cdef Py_ssize_t per_block = s.n // s.blocks, b, k
    cdef long long invalid = -1 if call.ignore_index != -1 else -2, label, place
    cdef long long bad = 0, dropped = 0, beyond, out
    s.weighted = call.weight.data != NULL
    s.mass = 0
    if call.value != NULL:
        for k in range(s.n):
            s.total[k] = 0
    if call.weight.data != NULL:
        expand(&call.weight, s.start, s.weight, s.n, memory.weight)  # not yet in use
    if call.labels == NULL:
        return False
    if call.weight.data == NULL:
        for k in range(s.n):
            s.weight[k] = 1
    load_labels(call.labels, call.label_type, s.start, s.place, s.n, invalid)
    for k in range(s.n):
        label = s.place[k]
        beyond = (label < 0) | (label >= call.classes)
        bad |= beyond & (label != call.ignore_index)
        # Also in the second pass, after all labels were found valid: another thread may write to the array.
        out = beyond | (label == call.ignore_index)
        dropped |= out
        s.weight[k] = 0 if out else s.weight[k]
        s.place[k] = 0 if out else label
    s.weighted = s.weighted or dropped != 0
    if call.weight_of == NULL:
        s.mass = ordered_sum(s.weight, s.n)
    else:
        for k in range(s.n):
            memory.weight[k] = s.weight[k] * call.weight_of[s.place[k]]
        s.mass = ordered_sum(memory.weight, s.n)
        if call.one_class:
            s.weighted = True
            for k in range(s.n):
                s.weight[k] = memory.weight[k]
    place = s.first
    if call.inner == 1:
        for k in range(s.n):
            s.place[k] += place + k * call.classes
    else:
        for b in range(s.blocks):
            for k in range(b * per_block, (b + 1) * per_block):
                s.place[k] = place + s.place[k] * call.inner + k
            place += call.classes * call.inner - per_block
    return bad


cdef inline bint in_place(const Call* call) noexcept nogil:
    """Whether a derivative is written over an input."""
    cdef int j, k
    for j in range(DERIVATIVES):
        for k in range(2):
            if call.out[j] != NULL and call.out[j] == call.inputs[k].data:
                return True
    return False


cdef inline void clear_derivatives(const Call* call, floating* _, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    cdef int j
    for j in range(DERIVATIVES):
        if call.out[j] != NULL:
            clear(<floating*> call.out[j] + start, n)


cdef inline const floating* read(
    const Call* call, Memory* memory, int k, Py_ssize_t start, Py_ssize_t n, floating* _
) noexcept nogil:
    """Elements of an input: where they lie, or else a copy of them."""
    cdef const Operand* x = &call.inputs[k]
    cdef int j
    cdef bint copied = x.typenum != call.inputs[0].typenum
    # In place, the loops get a copy: the compiler must not fear that a store changes what is still to be read.
    for j in range(DERIVATIVES):
        copied |= x.data == call.out[j]
    if not copied:
        return <const floating*> x.data + start
    load(x.data, x.typenum, start, <floating*> memory.copies[k], n)
    return <const floating*> memory.copies[k]


cdef inline void prefetch_piece(const Call* call, floating* _, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """A piece of the next class: the hardware foresees no more than the page of this one."""
    cdef int k
    for k in range(2):
        if call.inputs[k].data != NULL and call.inputs[k].typenum == call.inputs[0].typenum:
            prefetch_all(<const floating*> call.inputs[k].data + start, n)
    for k in range(DERIVATIVES):
        if call.out[k] != NULL:
            prefetch_all(<const floating*> call.out[k] + start, n)


cdef void run_loops(const Call* call, const Tile* x, floating* _) noexcept nogil:
    cdef floating[MAX_PARAMETERS] parameters
    cdef int k
    for k in range(MAX_PARAMETERS):
        parameters[k] = <floating> call.parameters[k]
    if floating is float:
        SINGLE[call.loss](x, parameters)
    else:
        DOUBLE[call.loss](x, parameters)


cdef double run_piece(
    const Call* call, Samples* s, Memory* memory, floating* _, Py_ssize_t start, Py_ssize_t n, char* bad
) noexcept nogil:
    """Elements start to start + n of all classes: the sum of their weighted terms."""
    cdef const double* weight = weights_of(call, s, memory, start, n)
    cdef const floating* p
    cdef const floating* t
    cdef floating* hot
    cdef Py_ssize_t k, place
    cdef Tile x
    if call.labels == NULL:
        t = read(call, memory, 1, start, n, _)
        bad[0] |= outside(call.domains[1], t, weight, n)
        if call.class_weight.data != NULL:
            s.mass += weighted_sum(t, weight, n)
    else:
        t = hot = <floating*> memory.copies[1]
        for k in range(n):
            hot[k] = 0
        for k in range(s.n):
            place = s.place[k] - start
            if 0 <= place < n:
                hot[place] = 1
    if call.stage == MEASURE:
        return 0
    p = read(call, memory, 0, start, n, _)
    bad[0] |= outside(call.domains[0], p, weight, n)
    if call.stage == CHECK:
        return 0
    x.p = p
    x.t = x.u = t
    x.e = memory.scratch
    x.stream = call.stream and weight == NULL
    x.n = n
    x.scale = call.scale_unweighted if weight == NULL else 1
    x.value = memory.value if call.value != NULL or call.sum_values else NULL
    for k in range(DERIVATIVES):
        x.out[k] = at(<floating*> call.out[k], start)
    run_loops(call, &x, _)
    if weight != NULL:
        for k in range(DERIVATIVES):
            weigh(<floating*> x.out[k], weight, call.scale, n)
    if call.value != NULL:
        if weight != NULL:
            weigh(<floating*> x.value, weight, 1, n)
        add_terms(call, s, <floating*> x.value, start, n)
    if not call.sum_values:
        return 0
    return ordered_sum(<floating*> x.value, n) if weight == NULL else weighted_sum(<floating*> x.value, weight, n)


cdef double run_all_classes(
    const Call* call, Samples* s, Memory* memory, floating* _, char* bad
) noexcept nogil:
    """A tile, piece by piece."""
    cdef Py_ssize_t start = s.first, stop = s.first + s.blocks * call.classes * call.inner, following, c
    cdef double total = 0
    if not call.in_strips:
        while start < stop:
            total += run_piece(call, s, memory, _, start, min(TILE, stop - start), bad)
            start += TILE
    else:
        for c in range(call.classes):
            if call.classes > 1:
                following = start + ((c + 1) * call.inner if c + 1 < call.classes else call.width)
                prefetch_piece(call, _, following, s.n)
            total += run_piece(call, s, memory, _, start + c * call.inner, s.n, bad)
    return total


cdef double run_one_class(const Call* call, Samples* s, Memory* memory, floating* _, char* bad) noexcept nogil:
    """A tile of samples that have a term in the class of their label alone."""
    cdef const floating* pred = <const floating*> call.inputs[0].data
    cdef floating* p = <floating*> memory.copies[0]
    cdef floating* t = <floating*> memory.copies[1]
    cdef const double* weight = s.weight if s.weighted else NULL
    cdef floating* derivative
    cdef Py_ssize_t c, k
    cdef Tile x
    cdef int j
    for k in range(s.n):
        t[k] = 1
        p[k] = pred[s.place[k]]
    bad[0] |= outside(call.domains[0], p, weight, s.n)
    if call.stage == CHECK:
        return 0
    x.p = p
    x.t = x.u = t
    x.e = memory.scratch
    x.stream = False
    x.n = s.n
    x.scale = call.scale_unweighted if weight == NULL else 1
    x.value = memory.value if call.value != NULL or call.sum_values else NULL
    for j in range(DERIVATIVES):
        x.out[j] = NULL if call.out[j] == NULL else memory.out[j]
    run_loops(call, &x, _)
    if not call.in_strips:
        clear_derivatives(call, _, s.first, call.classes * call.inner * s.blocks)
    elif in_place(call):
        for c in range(call.classes):
            clear_derivatives(call, _, s.first + c * call.inner, s.n)
    for j in range(DERIVATIVES):
        if call.out[j] != NULL:
            if weight != NULL:
                weigh(<floating*> x.out[j], weight, call.scale, s.n)
            derivative = <floating*> call.out[j]
            for k in range(s.n):
                derivative[s.place[k]] = (<floating*> x.out[j])[k]
    if call.value != NULL:
        for k in range(s.n):
            s.total[k] = 0 if s.weight[k] == 0 else s.weight[k] * (<floating*> x.value)[k]
    if not call.sum_values:
        return 0
    return ordered_sum(<floating*> x.value, s.n) if weight == NULL else weighted_sum(<floating*> x.value, weight, s.n)


# ---------------------------------------------------------------------------------------------------------------------
# The driver

cdef double run_samples(
    const Call* call, Samples* s, Memory* memory, floating* _, double* mass, char* bad
) noexcept nogil:
    """The sum of the weighted terms of at most TILE samples, or of pieces of at most TILE elements."""
    cdef double total = 0
    cdef Py_ssize_t k
    bad[0] |= prepare(call, s, memory)
    if call.stage == MEASURE and call.labels != NULL:
        pass
    elif call.one_class:
        total = run_one_class(call, s, memory, _, bad)
    else:
        total = run_all_classes(call, s, memory, _, bad)
    mass[0] += s.mass
    if call.value != NULL and call.stage == RUN:
        for k in range(s.n):
            (<floating*> call.value)[s.start + k] = <floating> s.total[k]
    return total


cdef double run_tile(
    const Call* call, Memory* memory, floating* _, Py_ssize_t tile, double* mass, char* bad
) noexcept nogil:
    cdef Py_ssize_t block = call.classes * call.inner, strips, strip, stop, k
    cdef Samples s
    cdef double total = 0
    if not call.in_strips:
        s.blocks = min(call.blocks, call.outer - tile * call.blocks)
        s.n = s.blocks * call.inner
        s.start = tile * call.blocks * call.inner
        s.first = tile * call.blocks * block
        return run_samples(call, &s, memory, _, mass, bad)
    strips = (call.inner + call.width - 1) // call.width
    strip = tile % strips * call.width
    stop = min(strip + call.width, call.inner)
    if call.one_class and call.stage == RUN and not in_place(call):
        for k in range(call.classes):
            clear_derivatives(call, _, tile // strips * block + k * call.inner + strip, stop - strip)
    while strip < stop:
        s.blocks = 1
        s.n = min(TILE, stop - strip)
        s.start = tile // strips * call.inner + strip
        s.first = tile // strips * block + strip
        total += run_samples(call, &s, memory, _, mass, bad)
        strip += s.n
    return total


cdef double run_chunk(
    const Call* call, floating* _, Py_ssize_t start, Py_ssize_t stop, double* mass, char* bad
) noexcept nogil:
    cdef floating[(4 + DERIVATIVES) * TILE + 16] arrays
    cdef floating* array = aligned(arrays)
    cdef Memory memory
    cdef double total = 0
    cdef Py_ssize_t tile
    cdef int k
    for k in range(2):
        memory.copies[k] = array + k * TILE
    memory.value = array + 2 * TILE
    memory.scratch = array + 3 * TILE
    for k in range(DERIVATIVES):
        memory.out[k] = array + (4 + k) * TILE
    memory.phase = memory.reach = 0
    mass[0] = bad[0] = 0
    for tile in range(start, stop):
        total += run_tile(call, &memory, _, tile, mass, bad)
    if call.stream:
        end_stream()
    return total


cdef double run_all(const Call* call, floating* _, int threads, double* mass, char* bad) noexcept nogil:
    """Run all chunks; their sums are added in order, so the result does not depend on the number of threads."""
    cdef double[MAX_CHUNKS] partial
    cdef double[MAX_CHUNKS] partial_mass
    cdef char[MAX_CHUNKS] flag
    cdef Py_ssize_t size = chunk_size(call.tiles, 1), chunks = (call.tiles + size - 1) // size, k
    cdef double total = 0
    if threads <= 1:
        for k in range(chunks):
            partial[k] = run_chunk(call, _, k * size, min(call.tiles, (k + 1) * size), &partial_mass[k], &flag[k])
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain(chunks, threads), num_threads=threads):
            partial[k] = run_chunk(call, _, k * size, min(call.tiles, (k + 1) * size), &partial_mass[k], &flag[k])
    for k in range(chunks):
        total += partial[k]
        mass[0] += partial_mass[k]
        bad[0] |= flag[k]
    return total


cdef void choose_tiles(Call* call) noexcept:
    """The partition into tiles: it depends on what is given and wanted, not on threads."""
    cdef Py_ssize_t strip = STRIP if call.one_class else TILE, block, strips
    if call.labels == NULL and call.weight.data == NULL and call.class_weight.data == NULL and call.value == NULL:
        # No term needs to know its sample: these are the elements, in the order of memory.
        call.inner *= call.outer * call.classes
        call.outer = call.classes = 1
    call.in_strips = call.inner > TILE
    call.width = call.inner
    call.blocks = 1
    if call.in_strips:
        strips = (call.inner + strip - 1) // strip
        call.width = (call.inner + strips - 1) // strips
        call.width = (call.width + VECTOR - 1) // VECTOR * VECTOR
    elif call.inner != 0:
        block = call.classes * call.inner
        call.blocks = max(1, min(TILE // call.inner, REACH // block) if call.one_class else TILE // block)
    if call.outer * call.inner == 0:
        call.tiles = 0
    elif call.in_strips:
        call.tiles = call.outer * ((call.inner + call.width - 1) // call.width)
    else:
        call.tiles = (call.outer + call.blocks - 1) // call.blocks


def run(
    int loss, cnp.ndarray pred, cnp.ndarray target, bint labels, bint one_class, tuple shape, cnp.ndarray weight,
    Py_ssize_t weight_inner, cnp.ndarray class_weight, long long ignore_index, tuple parameters, tuple domains,
    int stage, double scale, bint sum_values, cnp.ndarray value, tuple derivatives, bint stream, int threads
):
    """Run one loss over checked, C-contiguous arrays: the weighted sum, and the weights that the targets bring.

    Or None where an operand is not valid. The weights are those of class indices, and of probabilities with class
    weights. Only a `stage` RUN writes; the others, MEASURE and CHECK, come first where there is something to find out
    before. `shape` is (outer, classes, inner); `class_weight` of float64; `domains` is what is said of pred and
    target; `derivatives` the arrays for the gradient and Hessian by pred, then by target. What there is not is None.
    With `one_class`, labels say which elements of pred count. `stream` says that gradients may go past the caches.
    threads = 0 stands for an input so small that releasing the GIL would cost more than it gives.
    """
    cdef Call call
    cdef bint single = cnp.PyArray_TYPE(pred) == cnp.NPY_FLOAT
    cdef double largest = FLT_MAX if single else DBL_MAX
    cdef char bad = 0
    cdef double total, mass = 0
    cdef int k
    call.loss = loss
    call.stage = stage
    call.one_class = one_class
    call.outer, call.classes, call.inner = shape
    call.inputs[0] = operand(pred, 1)
    call.inputs[1] = operand(None if labels else target, 1)
    for k in range(2):
        call.domains[k] = DOMAINS[domains[k]]
    call.labels = cnp.PyArray_DATA(target) if labels else NULL
    call.label_type = cnp.PyArray_TYPE(target)
    call.ignore_index = ignore_index
    call.weight = operand(weight, weight_inner)
    call.class_weight = operand(class_weight, call.inner)
    call.weight_of = <const double*> address(class_weight)
    take_parameters(call.parameters, parameters, single)
    call.scale = scale
    call.scale_unweighted = fmin(scale, largest)
    call.sum_values = sum_values
    call.value = address(value)
    for k in range(DERIVATIVES):
        call.out[k] = address(derivatives[k])
    choose_tiles(&call)
    call.stream = stream and call.out[GRAD] != NULL and call.out[HESS] == NULL
    if threads == 0:
        total = (
            run_all(&call, <float*> NULL, 0, &mass, &bad) if single else run_all(&call, <double*> NULL, 0, &mass, &bad)
        )
    else:
        with nogil:
            total = (
                run_all(&call, <float*> NULL, threads, &mass, &bad) if single
                else run_all(&call, <double*> NULL, threads, &mass, &bad)
            )
    return None if bad else (total, mass)
