cdef int team_size(size_t kind, int most) noexcept nogil
cdef void learn(size_t kind, int threads, double took, double alone) noexcept nogil
cdef double now() noexcept nogil
