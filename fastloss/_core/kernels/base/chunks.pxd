"""The parallel loop. Every kernel runs through it.

A tile is as much as fits the L1 cache. A chunk is a run of whole tiles that one thread takes at a time; threads take
chunks as they become free. The partition does not depend on the number of threads, and the sums of the chunks are added
in order. So the result has the same bits for any number of threads.

The stack of a thread may be small: 128 KiB on some systems. So large arrays are in memory that `run_job` allocates.
"""

from cython.parallel cimport prange

from fastloss._core.cpu.team cimport learn, now, team_size
from fastloss._core.kernels.base.memory cimport Block, give_back, take_block

cdef enum:
    MAX_CHUNKS = 512        # bounds the memory for partial sums, whatever the size of the input
    MAX_ON_STACK = 16384    # bytes of memory that a call with the GIL takes from the stack
    LINE = 64               # bytes of a line of the cache

cdef struct Partial:        # what a chunk adds up
    double loss             # weighted losses
    double target_weight    # weights that the targets bring to the mean
    bint invalid            # whether an element is outside its domain

# Runs items start to stop of a job. `chunk` is the number of this chunk. `memory` belongs to the thread.
ctypedef void (*chunk_function)(
    const void* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil


cdef inline Py_ssize_t chunk_size(Py_ssize_t n, Py_ssize_t tile) noexcept nogil:
    """The size of a chunk: whole tiles, and at most MAX_CHUNKS chunks for n items."""
    cdef Py_ssize_t tiles = (n + tile - 1) // tile
    return tile * max(1, (tiles + MAX_CHUNKS - 1) // MAX_CHUNKS)


cdef inline void run_one(
    chunk_function run, const void* job, Py_ssize_t n, Py_ssize_t size, Py_ssize_t chunk, Partial* sums, void* memory
) noexcept nogil:
    sums[0] = Partial(0, 0, False)
    run(job, chunk * size, min(n, (chunk + 1) * size), chunk, sums, memory)


cdef inline void add(Partial* total, const Partial* sums) noexcept nogil:
    total.loss += sums.loss
    total.target_weight += sums.target_weight
    total.invalid |= sums.invalid


cdef extern from *:
    """
    static Py_ssize_t fl_take(Py_ssize_t *next, Py_ssize_t n) {
        return __atomic_fetch_add(next, n, __ATOMIC_RELAXED);
    }
    /* The binary logarithm of n > 0, rounded down. */
    static int fl_log2(Py_ssize_t n) { return 63 - __builtin_clzll((unsigned long long)n); }
    """
    Py_ssize_t take "fl_take" (Py_ssize_t* next, Py_ssize_t n) noexcept nogil
    int log2 "fl_log2" (Py_ssize_t n) noexcept nogil

cdef struct Team:           # what the threads of a call share
    Py_ssize_t next         # the first chunk that nobody has taken
    double alone            # what the first thread would have taken for all chunks


cdef inline void take_chunks(
    chunk_function run, const void* job, Py_ssize_t n, Py_ssize_t size, Py_ssize_t grain, Py_ssize_t chunks,
    Partial* partial, char* memory, Team* team, bint is_first
) noexcept nogil:
    """What one thread of a team does: it takes chunks until none is left."""
    cdef double begin = now() if is_first else 0
    cdef Py_ssize_t first = take(&team.next, grain), done = 0, k
    while first < chunks:
        for k in range(first, min(first + grain, chunks)):
            run_one(run, job, n, size, k, partial + k, memory)
        done += min(grain, chunks - first)
        first = take(&team.next, grain)
    if is_first and done > 0:
        team.alone = (now() - begin) / <double> done * <double> chunks


cdef inline Partial run_chunks(
    chunk_function run, const void* job, Py_ssize_t n, Py_ssize_t tile, int threads, Partial* partial, char* memory,
    Py_ssize_t nbytes
) noexcept nogil:
    """Run a job over n items, in chunks of whole tiles. Return the sums over all chunks.

    `memory` holds `nbytes` for each thread. If there are several, `partial` holds the sums of each chunk.
    """
    cdef Partial total = Partial(0, 0, False), sums
    cdef Py_ssize_t size = chunk_size(n, tile), chunks = (n + size - 1) // size, k
    # Chunks that a thread takes at a time: few enough to balance the load, many enough to take rarely.
    cdef Py_ssize_t grain = max(1, chunks // (8 * max(1, threads)))
    cdef size_t kind = (<size_t> run >> 4) * 64 + log2(n | 1)
    cdef int most = threads
    cdef Team team = Team(0, 0)
    cdef double begin = 0
    if most > 1:
        threads = team_size(kind, most)
        begin = now()
    if threads <= 1:
        for k in range(chunks):
            run_one(run, job, n, size, k, &sums, memory)
            add(&total, &sums)
    else:
        for k in prange(threads, schedule="static", chunksize=1, num_threads=threads):
            take_chunks(run, job, n, size, grain, chunks, partial, memory + k * nbytes, &team, k == 0)
        for k in range(chunks):
            add(&total, partial + k)
    if most > 1:
        learn(kind, threads, now() - begin, team.alone)
    return total


cdef inline char* on_a_line(char* memory) noexcept nogil:
    """The first address from here on that begins a line of the cache."""
    return <char*> ((<size_t> memory + LINE - 1) & ~<size_t> (LINE - 1))


cdef inline Partial run_job(
    chunk_function run, const void* job, Py_ssize_t n, Py_ssize_t tile, int threads, Py_ssize_t nbytes=0
) except *:
    """As run_chunks, for a caller that holds the GIL. Each thread gets `nbytes` of memory, from the start of a line.

    The GIL is released, unless threads is 0. This stands for an input so small that releasing the GIL would cost more
    than it gives. Such a call takes a little memory from the stack, which is quicker.
    """
    cdef char[MAX_ON_STACK + LINE] on_stack
    cdef Partial total
    cdef char* memory
    if threads == 0 and nbytes <= MAX_ON_STACK:
        return run_chunks(run, job, n, tile, 0, NULL, on_a_line(on_stack), 0)
    nbytes = (nbytes + LINE - 1) // LINE * LINE  # no two threads write to the same line
    cdef Block* block = take_block(MAX_CHUNKS * sizeof(Partial) + max(1, threads) * nbytes + LINE)
    if block == NULL:
        raise MemoryError
    cdef Partial* partial = <Partial*> (block + 1)
    memory = on_a_line(<char*> (partial + MAX_CHUNKS))
    if threads == 0:
        total = run_chunks(run, job, n, tile, threads, partial, memory, nbytes)
    else:
        with nogil:
            total = run_chunks(run, job, n, tile, threads, partial, memory, nbytes)
    give_back(block)
    return total
