"""What the calls of all families decide alike: threads, stores past the caches, and the sum of the sample weights."""

cimport numpy as cnp

from fastloss._core.calls.kernels import kernels
from fastloss._core.cpu.threads import get_num_threads
from fastloss._core.request import checks
from fastloss._core.request.call cimport Call

cnp.import_array()

# An input of fewer elements runs on the calling thread, which keeps the GIL. To wake other threads, 0.03 ms where they
# sleep, would cost more than they save. If an element is little work beside its memory traffic, twice as many elements
# still run on one thread.
SERIAL = 65536
LIGHT = 2

# Gradients go past the caches if all inputs and gradients of a call together have so many bytes, which is more than
# their likely share of the caches. With 256 MB, that is 1.05 to 1.4 times as fast for most losses and 0.92 for those
# that compute longest. With 48 MB it was up to 1.2 times slower on a machine whose cache holds 480 MB.
STREAM_BYTES = 1 << 26


cdef int threads_for(Py_ssize_t elements, bint light=False) except -1:
    """The number of threads of a call; 0 if it is so small that the GIL is kept."""
    if elements < SERIAL or light and elements < LIGHT * SERIAL:
        return 0
    return get_num_threads()


cdef bint past_caches(Py_ssize_t nbytes) except -1:
    """Whether gradients go past the caches, if all inputs and gradients together have this size."""
    return nbytes >= STREAM_BYTES


cdef double sum_of_weights(Call call) except? -1:
    """The sum of the sample weights over the unreduced loss, after a check of them."""
    cdef double elements = 1, total
    for length in call.shape:
        elements *= length
    if call.weight is None:
        return elements
    total = kernels.weights.sum_weights(call.weight, call.threads)
    if total != total:
        checks.check_elements(call.weight, checks.Domain.WEIGHT, "sample_weight", call.weight)
    return total * (elements / max(1, cnp.PyArray_SIZE(call.weight)))
