"""What the losses of chains share: a job, the memory of a thread, one sequence, and loops over rows of tags.

A row holds a number for each tag. Its stride is a multiple of LANES, so that loops over rows vectorise without a rest.
"""

from libc.math cimport INFINITY

from fastloss._core.kernels.base.job cimport Common
from fastloss._core.kernels.base.operands cimport load, load_labels
from fastloss._core.kernels.base.sums cimport LANES
from fastloss._core.kernels.base.vecmath cimport max_lanes, multiply_add

cdef struct Job:
    Common common
    const void* emissions
    int typenum
    const void* tags            # NULL for decoding
    int tag_type
    const void* lengths         # NULL if all sequences have all steps
    int length_type
    Py_ssize_t steps
    Py_ssize_t tags_known       # the number of different tags, K
    Py_ssize_t stride           # of a row
    # Tables of K rows, which `fill_tables` describes, and three rows.
    double* score
    double* score_to
    double* odds
    double* odds_to
    double* peak
    double* start
    double* end
    bint nan_at_ends            # whether a score of a first or a last tag is NaN
    bint nan_between            # whether a transition is NaN
    double* sums                # for each chunk: the gradients of transitions, start and end; NULL without gradients
    long long* best             # for decoding: the best tags and their scores
    double* best_score

cdef struct Chain:              # one sequence, in the memory of a thread
    Py_ssize_t first            # its first step among the steps of all sequences
    Py_ssize_t length
    long long* tag
    long long* path
    double* alpha               # a row for each step: see the losses
    double* p
    double* into
    double* emission            # one row each
    double* gamma
    double* other
    float* rounded
    double* sums                # of the chunk

cdef enum:
    TABLES = 4                  # of a job
    TABLE_ROWS = 3
    STEP_ROWS = 3               # of a chain, for each step
    CHAIN_ROWS = 4


cdef inline Py_ssize_t quotient_up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline double largest(const double* row, Py_ssize_t stride) noexcept nogil:
    """The maximum of a row; numbers that are NaN are skipped."""
    cdef double[LANES] lane
    cdef Py_ssize_t j = 0, k
    for k in range(LANES):
        lane[k] = -INFINITY
    while j < stride:
        for k in range(LANES):
            lane[k] = row[j + k] if row[j + k] > lane[k] else lane[k]
        j += LANES
    return max_lanes(lane)


cdef inline void load_emissions(const Job* job, const Chain* chain, Py_ssize_t t) noexcept nogil:
    load(job.emissions, job.typenum, (chain.first + t) * job.tags_known, chain.emission, job.tags_known)


cdef inline double emission_of(const Job* job, const Chain* chain, Py_ssize_t t, Py_ssize_t tag) noexcept nogil:
    cdef double x
    load(job.emissions, job.typenum, (chain.first + t) * job.tags_known + tag, &x, 1)
    return x


cdef inline bint read_length(const Job* job, Py_ssize_t n, Chain* chain) noexcept nogil:
    """Set where sequence n begins, and its length. Return whether the length is valid; an invalid one becomes 0."""
    cdef long long length = job.steps
    cdef bint valid
    if job.lengths != NULL:
        load_labels(job.lengths, job.length_type, n, &length, 1, -1)
    valid = 0 <= length <= job.steps
    chain.first = n * job.steps
    chain.length = length if valid else 0
    return valid


cdef inline bint read_tags(const Job* job, Chain* chain) noexcept nogil:
    """Load the tags of a sequence. Return whether they are valid; an invalid tag becomes 0."""
    cdef unsigned long long tags_known = job.tags_known
    cdef long long invalid = 0, outside
    cdef Py_ssize_t t
    load_labels(job.tags, job.tag_type, chain.first, chain.tag, chain.length, -1)
    for t in range(chain.length):
        outside = <unsigned long long> chain.tag[t] >= tags_known  # a negative tag becomes huge
        invalid |= outside
        chain.tag[t] = 0 if outside else chain.tag[t]
    return invalid == 0
