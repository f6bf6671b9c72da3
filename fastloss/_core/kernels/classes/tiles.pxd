"""Where a tile of softmax and margin losses reads and writes its arrays: in place, or as copies.

A tile of an array is copied if its dtype is not that of the computation, or if the tile is transposed. The copies are
in the memory of the thread. The gradient is written over the copy of pred, and goes to the caller's array at the end.
"""

from cython cimport floating

from fastloss._core.kernels.base.memory cimport at, transpose
from fastloss._core.kernels.base.operands cimport is_half, load, store
from fastloss._core.kernels.classes.layout cimport CURVATURE, PRED, ROWS, TARGET, Job, Samples
from fastloss._core.request.call cimport GRAD, HESS

cdef struct Stretch:        # samples of a tile that lie side by side in the caller's array
    Py_ssize_t n
    Py_ssize_t offset       # the element that is class 0 of the first one


cdef inline Stretch stretch_from(const Job* job, const Samples* samples, Py_ssize_t sample) noexcept nogil:
    """The stretch that begins with this sample of the tile."""
    cdef Py_ssize_t number = samples.start + sample, inside = number % job.inner
    cdef Stretch stretch
    stretch.n = min(samples.n - sample, job.inner - inside)
    stretch.offset = number // job.inner * job.classes * job.inner + inside
    return stretch


cdef inline void copy_in(const Job* job, Samples* samples, const void* x, int typenum, floating* tile) noexcept nogil:
    """Copy a tile of x. Lanes without a sample repeat the last one."""
    cdef const floating* rows
    cdef Stretch stretch
    cdef Py_ssize_t i = 0, c
    if job.layout == ROWS:
        load(x, typenum, samples.offset, tile, samples.n * job.classes)
    elif job.inner == 1:
        rows = <const floating*> x + samples.offset
        if typenum != job.computed:
            load(x, typenum, samples.offset, <floating*> samples.memory, samples.n * job.classes)
            rows = <const floating*> samples.memory
        transpose(rows, job.classes, samples.n, job.classes, tile, job.tile_samples)
    else:
        while i < samples.n:
            stretch = stretch_from(job, samples, i)
            for c in range(job.classes):
                load(x, typenum, stretch.offset + c * job.inner, tile + c * job.tile_samples + i, stretch.n)
            i += stretch.n
    if samples.n < samples.lanes:
        for c in range(job.classes):
            for i in range(samples.n, samples.lanes):
                tile[c * job.tile_samples + i] = tile[c * job.tile_samples + samples.n - 1]


cdef inline void put(const floating* source, void* x, int typenum, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if is_half(typenum):
        store(<const float*> source, x, typenum, start, n)
    else:
        for i in range(n):
            (<floating*> x)[start + i] = source[i]


cdef inline void copy_out(const Job* job, Samples* samples, const floating* tile, void* x) noexcept nogil:
    """Copy derivatives of a tile to x."""
    cdef Stretch stretch
    cdef Py_ssize_t i = 0, c
    if job.layout == ROWS:
        put(tile, x, job.typenum, samples.offset, samples.n * job.classes)
    elif job.inner == 1 and not is_half(job.typenum):
        transpose(tile, job.tile_samples, job.classes, samples.n, <floating*> x + samples.offset, job.classes)
    elif job.inner == 1:
        transpose(tile, job.tile_samples, job.classes, samples.n, <floating*> samples.memory, job.classes)
        put(<floating*> samples.memory, x, job.typenum, samples.offset, samples.n * job.classes)
    else:
        while i < samples.n:
            stretch = stretch_from(job, samples, i)
            for c in range(job.classes):
                put(tile + c * job.tile_samples + i, x, job.typenum, stretch.offset + c * job.inner, stretch.n)
            i += stretch.n


cdef inline void take_target(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Set where the tile reads probabilities."""
    samples.target_stride = job.tile_samples if job.copied[TARGET] else job.inner
    samples.target = at(<const floating*> job.target, samples.offset)
    if job.copied[TARGET]:
        samples.target = samples.memory + job.place[TARGET]
        copy_in(job, samples, job.target, job.target_typenum, <floating*> samples.target)


cdef inline void take_pred(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Set where the tile reads pred, and where it writes derivatives."""
    samples.stride = job.tile_samples if job.copied[PRED] else job.inner
    if not job.copied[PRED]:
        samples.logits = <const floating*> job.pred + samples.offset
        samples.grad = at(<floating*> job.common.out[GRAD], samples.offset)
        samples.hess = at(<floating*> job.common.out[HESS], samples.offset)
        return
    samples.logits = samples.memory + job.place[PRED]
    samples.grad = NULL if job.common.out[GRAD] == NULL else <void*> samples.logits
    samples.hess = NULL if job.common.out[HESS] == NULL else samples.memory + job.place[CURVATURE]
    copy_in(job, samples, job.pred, job.typenum, <floating*> samples.logits)


cdef inline void give_derivatives(const Job* job, Samples* samples, floating* as_type) noexcept nogil:
    """Write the derivatives of a finished tile to the caller's arrays, unless they are there."""
    if job.copied[PRED] and samples.grad != NULL:
        copy_out(job, samples, <const floating*> samples.grad, job.common.out[GRAD])
        if samples.hess != NULL:
            copy_out(job, samples, <const floating*> samples.hess, job.common.out[HESS])
