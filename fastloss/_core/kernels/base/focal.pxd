"""m^gamma, the weight of a focal loss, where m = 1 - p_t: for gamma a multiple of 1/2 up to 7.5, and for any gamma.

The parameters of a focal loss:

[0]         gamma
[1]         1 if 2 gamma is odd, else 0
[2], [3]    the weights of a positive and of a negative label
[4] to [6]  whether floor(gamma) contains 1, 2, 4 as a binary digit: 0 if not
[7]         root_at_0: its square stands for weight / m = m^(gamma - 1) at m = 0. It is 0, 1 or inf. take_parameters
            replaces inf by the largest number of the dtype, and the square of that is inf again.

`power` reads only [0]. For a gamma that needs it, [1] and [4] to [6] are 0.
"""

from cython cimport floating

from fastloss._core.kernels.base.vecmath cimport pow, sqrt


cdef inline floating power_by_halves(floating m, const floating* parameters) noexcept nogil:
    cdef floating one = 1, square = m * m
    cdef floating has_half = parameters[1], has_1 = parameters[4], has_2 = parameters[5], has_4 = parameters[6]
    return (
        (sqrt(m) if has_half != 0 else one) * (m if has_1 != 0 else one) * (square if has_2 != 0 else one)
        * (square * square if has_4 != 0 else one)
    )


cdef inline floating power(floating m, const floating* parameters) noexcept nogil:
    cdef floating gamma = parameters[0]
    return pow(m, gamma)
