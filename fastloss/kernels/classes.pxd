"""Losses of softmax probabilities, as functions of what the driver has summed over the classes of one sample.

ce: the cross-entropy sum_c q_c (-log p_c), q being the weighted, smoothed target; lse: log sum_c exp z_c; mass: the sum
of the weighted target; hit: sum_c q_c p_c; miss: sum_c q_c (1 - p_c). For focal losses, hit is p_t = sum_c t_c p_c of
the target itself, miss is 1 - p_t, ce is -log p_t, and e what a first loop computed of miss. The driver applies the
chain rule through the softmax.
"""

from cython cimport floating
from fastloss.kernels.binary cimport normal

cdef enum:
    LOSS
    BY_CE               # the derivative by ce, but for focal losses
    BY_LSE              # the derivative by lse
    BY_LSE_TWICE        # the second derivative by lse
    BY_LOG_HIT          # the derivative by log hit, for losses that depend on it
    BY_LOG_HIT_TWICE    # the second derivative by log hit
    CLASS_OUTPUTS

cdef enum:
    FAR = 60            # exp(-FAR) + 1 is 1


cdef inline floating nothing(floating miss, const floating* c) noexcept nogil:
    return 0


cdef inline void cross_entropy(
    floating ce, floating lse, floating mass, floating hit, floating miss, floating e,
    const floating* c, floating* out
) noexcept nogil:
    cdef floating z = c[0] * mass  # z_loss
    out[LOSS] = ce + z * lse * lse
    out[BY_CE] = 1
    out[BY_LSE] = 2 * (z * lse)
    out[BY_LSE_TWICE] = 2 * z


cdef inline void poly1_cross_entropy(
    floating ce, floating lse, floating mass, floating hit, floating miss, floating e,
    const floating* c, floating* out
) noexcept nogil:
    """c: epsilon."""
    out[LOSS] = ce + c[0] * miss
    out[BY_CE] = 1
    out[BY_LSE] = out[BY_LSE_TWICE] = 0
    out[BY_LOG_HIT] = out[BY_LOG_HIT_TWICE] = -c[0] * hit


cdef inline void softmax_focal(
    floating ce, floating lse, floating mass, floating hit, floating miss, floating e,
    const floating* c, floating* out
) noexcept nogil:
    """mass m^gamma n, where m = 1 - p_t and n = -log p_t. Where m = 0, n / m is its limit 1.

    e: m^gamma, by one of the functions for focal losses in binary.pxd. c: as there.
    """
    cdef floating one = 1, gamma = c[0]
    cdef floating p = 0 if ce > FAR else hit  # so far out, hit is only an upper bound
    cdef floating weight = mass * e, by_m = 0 if miss == 0 else weight / normal(miss)
    cdef floating ratio = 0 if p == 0 else (p if miss == 0 else ce / miss * p)
    out[LOSS] = 0 if weight == 0 else weight * ce
    out[BY_CE] = out[BY_LSE] = out[BY_LSE_TWICE] = 0
    out[BY_LOG_HIT] = -weight * (one + gamma * ratio)
    out[BY_LOG_HIT_TWICE] = gamma * by_m * (p + p + ratio * ((gamma - one) * p - miss))
