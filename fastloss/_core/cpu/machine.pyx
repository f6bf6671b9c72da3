"""What the machine offers: CPU levels and OpenMP threads. Compiled once, for the baseline CPU."""

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define FL_OPENMP _OPENMP
    #else
    #define FL_OPENMP 0
    #define omp_get_max_threads() 1
    #endif

    /* How many of x86-64-v2, -v3, -v4 this CPU and its operating system support. */
    static int fl_x86_levels(void) {
    #ifdef __x86_64__
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))) return 0;
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")))
            return 1;
        if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
              && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
              && __builtin_cpu_supports("avx512vl")))
            return 2;
        return 3;
    #else
        return 0;
    #endif
    }
    """
    int FL_OPENMP
    int omp_get_max_threads() noexcept nogil
    int fl_x86_levels() noexcept nogil

OPENMP_VERSION = FL_OPENMP  # the date of the OpenMP specification, for example 201511; 0: built without


def max_threads():
    """The team size that OpenMP would use now (threadpoolctl changes it)."""
    return omp_get_max_threads()


def x86_levels():
    """How many of the levels x86-64-v2, x86-64-v3, x86-64-v4 this CPU supports, in that order."""
    return fl_x86_levels()
