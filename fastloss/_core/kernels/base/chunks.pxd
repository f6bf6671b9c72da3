"""The parallel loop. Every kernel runs through it.

A tile is as much as fits the L1 cache. A chunk is a run of whole tiles that one thread takes at a time; threads take
chunks as they become free. The partition does not depend on the number of threads, and the sums of the chunks are added
in order. So the result has the same bits for any number of threads.
"""

from cython.parallel cimport prange

cdef enum:
    MAX_CHUNKS = 2048   # bounds the memory for partial sums, whatever the size of the input

cdef struct Partial:        # what a chunk adds up
    double loss             # weighted losses
    double target_weight    # weights that the targets bring to the mean
    bint invalid            # whether an element is outside its domain

# Runs items start to stop of a job. `chunk` is the number of this chunk.
ctypedef void (*chunk_function)(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums
) noexcept nogil


cdef inline Py_ssize_t chunk_size(Py_ssize_t n, Py_ssize_t tile) noexcept nogil:
    """The size of a chunk: whole tiles, and at most MAX_CHUNKS chunks for n items."""
    cdef Py_ssize_t tiles = (n + tile - 1) // tile
    return tile * max(1, (tiles + MAX_CHUNKS - 1) // MAX_CHUNKS)


cdef inline void run_one(
    chunk_function run, const void* job, Py_ssize_t n, Py_ssize_t size, Py_ssize_t chunk, Partial* sums
) noexcept nogil:
    sums[0] = Partial(0, 0, False)
    run(job, chunk * size, min(n, (chunk + 1) * size), chunk, sums)


cdef inline Partial run_chunks(
    chunk_function run, const void* job, Py_ssize_t n, Py_ssize_t tile, int threads
) noexcept nogil:
    """Run a job over n items, in chunks of whole tiles. Return the sums over all chunks."""
    cdef Partial[MAX_CHUNKS] partial
    cdef Partial total = Partial(0, 0, False)
    cdef Py_ssize_t size = chunk_size(n, tile), chunks = (n + size - 1) // size, k
    # Chunks handed out at a time: few enough to balance the load, many enough to keep the hand-outs rare.
    cdef Py_ssize_t grain = max(1, chunks // (8 * max(1, threads)))
    if threads <= 1:
        for k in range(chunks):
            run_one(run, job, n, size, k, &partial[k])
    else:
        for k in prange(chunks, schedule="dynamic", chunksize=grain, num_threads=threads):
            run_one(run, job, n, size, k, &partial[k])
    for k in range(chunks):
        total.loss += partial[k].loss
        total.target_weight += partial[k].target_weight
        total.invalid |= partial[k].invalid
    return total


cdef inline Partial run_job(chunk_function run, const void* job, Py_ssize_t n, Py_ssize_t tile, int threads):
    """As run_chunks, for a caller that holds the GIL. It releases the GIL, unless threads is 0.

    threads = 0 stands for an input so small that releasing the GIL would cost more than it gives.
    """
    cdef Partial total
    if threads == 0:
        return run_chunks(run, job, n, tile, 0)
    with nogil:
        total = run_chunks(run, job, n, tile, threads)
    return total
