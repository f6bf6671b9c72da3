from fastloss._core.request.call cimport Call

cdef int threads_for(Py_ssize_t elements, bint light=*) except -1
cdef bint past_caches(Py_ssize_t nbytes) except -1
cdef double sum_of_weights(Call call) except? -1
