"""Losses of softmax probabilities, as functions of what the driver has summed over the classes of one sample.

ce: the cross-entropy sum_c q_c (-log p_c), q being the weighted, smoothed target; lse: log sum_c exp z_c; mass: the sum
of the weighted target. The driver applies the chain rule through the softmax.
"""

from cython cimport floating

cdef enum:
    LOSS
    BY_CE           # the derivative by ce
    BY_LSE          # the derivative by lse
    BY_LSE_TWICE    # the second derivative by lse
    CLASS_OUTPUTS


cdef inline void cross_entropy(
    floating ce, floating lse, floating mass, const floating* c, floating* out
) noexcept nogil:
    cdef floating z = c[0] * mass  # z_loss
    out[LOSS] = ce + z * lse * lse
    out[BY_CE] = 1
    out[BY_LSE] = 2 * (z * lse)
    out[BY_LSE_TWICE] = 2 * z
