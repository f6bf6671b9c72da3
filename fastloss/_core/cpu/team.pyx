"""How many threads a call gets: a policy that watches what threads bring. `_core/README.md` has a picture of it.

Threads do not pay where other threads hold the cores: those of BLAS, of another OpenMP, of another process. Then a call
ends when its last thread has come, which can be milliseconds later. So each call with threads is timed. Its first
thread knows how many chunks it did in what time, and so what it would have taken alone. A kind of calls for which
threads do not pay runs on one thread. After a while some calls of it try threads again, so rarely that the trials lose
no more than SHARE of the time.

A kind of calls is one kernel and one size. Kinds that share a place in the table share what is learned of them.
"""

cdef extern from *:
    """
    #include <time.h>
    static double fl_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec + 1e-9 * t.tv_nsec;
    }
    static char fl_lock;
    static int fl_try_lock(void) { return !__atomic_test_and_set(&fl_lock, __ATOMIC_ACQUIRE); }
    static void fl_unlock(void) { __atomic_clear(&fl_lock, __ATOMIC_RELEASE); }
    """
    double fl_now() noexcept nogil
    bint try_lock "fl_try_lock" () noexcept nogil
    void unlock "fl_unlock" () noexcept nogil

cdef enum:
    KINDS = 256
    TRIAL = 3               # calls of a trial. The first one wakes the threads.

cdef double SHARE = 0.03    # of the time on one thread: what trials may lose
cdef double FADE = 0.9375   # how much of the past each call with threads keeps
cdef double GAIN = 0.9      # of the time on one thread: what a trial must not exceed
cdef double HOPELESS = 2    # times the time on one thread: a call that takes so long ends the trial

cdef enum State:
    UNKNOWN     # no call yet
    TRYING      # a trial
    PAYS        # calls use threads
    PAYS_NOT    # calls use one thread

cdef struct Kind:
    State state
    int left        # calls of the trial that are left
    double took     # by calls with threads: of the trial, or all with the recent ones weighing most
    double alone    # what one thread would have taken for them
    double lost     # by the trial, or by recent calls
    double wait     # on one thread until the next trial

cdef Kind[KINDS] table
cdef bint adaptive = True


cdef double now() noexcept nogil:
    """The time in seconds since some start. It never goes back."""
    return fl_now()


cdef int team_size(size_t kind, int most) noexcept nogil:
    """The number of threads for a call of this kind: 1 or `most`. `learn` has to follow the call."""
    cdef Kind* this = &table[kind % KINDS]
    cdef int size = most
    if most > 1 and adaptive and try_lock():
        if this.state == UNKNOWN or this.state == PAYS_NOT and this.wait <= 0:
            this.state, this.left, this.took, this.alone, this.lost = TRYING, TRIAL, 0, 0, 0
        if this.state == PAYS_NOT:
            size = 1
        unlock()
    return size


cdef void learn(size_t kind, int threads, double took, double alone) noexcept nogil:
    """Learn from a call: what it took on so many threads, and what one thread would have taken."""
    cdef Kind* this = &table[kind % KINDS]
    if not (adaptive and try_lock()):
        return
    if threads == 1:
        this.wait -= took
    elif this.state == TRYING:
        this.left -= 1
        this.lost += took - alone
        this.took, this.alone = took, alone  # of the last call: the threads are awake
        if this.left == 0 or took > HOPELESS * alone:
            decide(this, this.left == 0 and took < GAIN * alone)
    elif this.state == PAYS:
        this.took = FADE * this.took + took
        this.alone = FADE * this.alone + alone
        this.lost = FADE * this.lost + (took - alone if took > alone else 0)
        if this.took > this.alone:
            decide(this, False)
    unlock()


cdef void decide(Kind* this, bint pays) noexcept nogil:
    this.state = PAYS if pays else PAYS_NOT
    this.wait = max(this.lost, TRIAL * this.alone) / SHARE
    this.lost = 0


def set_adaptive(bint on):
    """Whether calls use one thread where threads do not pay. A change forgets what was learned."""
    global adaptive
    if on == adaptive:
        return
    adaptive = on
    for k in range(KINDS):
        table[k].state = UNKNOWN


def state():
    """What the policy does now, in words."""
    cdef int k, pay = 0, pay_not = 0
    if not adaptive:
        return "False, every call on a large input has all threads"
    for k in range(KINDS):
        pay += table[k].state == PAYS
        pay_not += table[k].state == PAYS_NOT
    return f"True, threads pay for {pay} kinds of calls and not for {pay_not}"


def simulate(int kind, int most, double alone, double took):
    """One call of a kind, as the policy sees it, by a clock of the caller's. Return the number of threads."""
    size = team_size(kind, most)
    if size > 1:
        learn(kind, size, took, alone)
    else:
        learn(kind, 1, alone, alone)
    return size
