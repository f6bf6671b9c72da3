"""From the elements of a piece to the samples that they belong to: weights, and the totals of the terms."""

from cython cimport floating

from fastloss._core.kernels.base.job cimport Common
from fastloss._core.kernels.base.operands cimport TILE, Operand, expand
from fastloss._core.kernels.base.sums cimport LANES, ordered_sum
from fastloss._core.kernels.classes.labels cimport Labels
from fastloss._core.request.call cimport OUTPUTS
from fastloss._core.request.domains cimport Domain

cdef struct Job:
    Common common
    bint one_class              # whether only the class of the label has a term
    Py_ssize_t outer
    Py_ssize_t classes
    Py_ssize_t inner
    Py_ssize_t blocks           # outer indices in a tile
    bint in_strips              # whether a tile is a part of the inner indices of one outer index
    Py_ssize_t width            # inner indices in a tile
    Py_ssize_t tiles
    Operand[2] inputs           # pred, and target unless it holds class indices
    int computed                # the typenum of the computation
    bint half                   # whether pred and all results have half precision
    Py_ssize_t itemsize         # of these
    Domain[2] domains           # of these
    Labels labels
    Operand class_weight
    const double* weight_of     # the class weights, one for each class; or NULL
    bint stream                 # whether gradients go past the caches

cdef struct Samples:        # of a tile; side by side in an array of the shape of the loss
    Py_ssize_t start        # number of the first
    Py_ssize_t n
    Py_ssize_t first        # the element that is the first class of the first sample
    Py_ssize_t blocks       # outer indices
    bint weighted           # whether a sample may have another weight than 1
    double target_weight    # the sum of the weights that the targets bring to the mean
    # TILE of each
    double* weight          # 0 for a sample that is ignored
    long long* place        # the element that is the class of the label
    double* total           # sum of the terms so far

cdef struct Memory:         # of a thread: TILE of each
    void* copies[2]         # of the inputs, side by side, in the dtype of the computation
    void* scratch
    void* out[OUTPUTS]
    double* weight          # of the elements of a piece
    double* class_weight    # holds `reach` weights, from element `phase` of an outer index on
    Py_ssize_t phase
    Py_ssize_t reach

cdef struct Run:            # elements of a piece side by side: all of one sample if inner is 1, else all of one class
    Py_ssize_t start        # in the piece
    Py_ssize_t n
    Py_ssize_t sample       # of the first element
    Py_ssize_t cls


cdef inline Run first_run(const Job* job, const Samples* samples, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """The run that a piece of n elements begins with."""
    cdef Py_ssize_t skip = start - samples.first, row = skip // job.inner, lane = skip % job.inner
    cdef Run run
    run.start = 0
    run.cls = row % job.classes
    run.sample = row // job.classes * job.inner + lane
    run.n = min(n, job.classes - run.cls if job.inner == 1 else job.width - lane)
    return run


cdef inline void next_run(const Job* job, Run* run, Py_ssize_t n) noexcept nogil:
    run.start += run.n
    if job.inner == 1:
        run.sample += 1
        run.n = min(n - run.start, job.classes)
    else:
        run.cls += 1
        run.sample += run.n - (job.width if run.cls < job.classes else 0)
        run.cls = 0 if run.cls == job.classes else run.cls
        run.n = min(n - run.start, job.width)


cdef inline const double* weights_of(
    const Job* job, const Samples* samples, Memory* memory, Py_ssize_t start, Py_ssize_t n
) noexcept nogil:
    """The weights of the elements of a piece, sample weight times class weight; NULL if there are none."""
    cdef bint by_class = job.class_weight.data != NULL
    cdef double* weight = memory.weight
    cdef Py_ssize_t phase, k
    cdef Run run
    if by_class:
        phase = start % (job.classes * job.inner)
        if phase != memory.phase or n > memory.reach:
            expand(&job.class_weight, start, memory.class_weight, n, <double*> memory.copies[0])  # not in use yet
            memory.phase = phase
            memory.reach = n
    if not samples.weighted:
        return memory.class_weight if by_class else NULL
    run = first_run(job, samples, start, n)
    while run.start < n:
        if job.inner == 1:
            for k in range(run.n):
                weight[run.start + k] = samples.weight[run.sample]
        else:
            for k in range(run.n):
                weight[run.start + k] = samples.weight[run.sample + k]
        next_run(job, &run, n)
    if by_class:
        for k in range(n):
            weight[k] *= memory.class_weight[k]
    return weight


cdef inline void add_terms(
    const Job* job, Samples* samples, const floating* term, Py_ssize_t start, Py_ssize_t n
) noexcept nogil:
    """Add the terms of a piece to the totals of their samples."""
    cdef Run run = first_run(job, samples, start, n)
    cdef double total
    cdef Py_ssize_t k
    while run.start < n:
        if job.inner > 1:
            for k in range(run.n):
                samples.total[run.sample + k] += term[run.start + k]
        elif run.n > LANES:
            samples.total[run.sample] += ordered_sum(term + run.start, run.n)
        else:
            total = samples.total[run.sample]
            for k in range(run.n):
                total += term[run.start + k]
            samples.total[run.sample] = total
        next_run(job, &run, n)
