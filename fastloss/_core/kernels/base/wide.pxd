"""Numbers of a wide range: m 2^e, where m is a double near 1, and e is a double that holds an integer.

Probabilities of long sequences leave the range of doubles. Logarithms hold them, but each sum of two takes an
exponential and a logarithm, and rounds by the size of the logarithm. A sum of numbers m 2^e takes a few simple
operations, and its relative error is that of a double.

The number 0 is m = 0 with e = LOWEST. Loops over these functions vectorise.
"""

from fastloss._core.kernels.base.vecmath cimport at_least, at_most, multiply_add

cdef extern from "vecmath.h" nogil:
    unsigned long long bits "vm_bits_d" (double x) noexcept
    double from_bits "vm_from_bits_d" (unsigned long long x) noexcept
    double exp_reduced "vm_exp_reduced_d" (double x) noexcept
    double LOG2_E "VM_LOG2E_D"
    double LN_2_HIGH "VM_LN2_HI_D"
    double LN_2_LOW "VM_LN2_LO_D"
    double SHIFT "VM_ROUND_D"

cdef extern from *:
    # `LEAST_POWER` stands for all smaller powers. It is small beside 1, and products of it are no subnormal numbers,
    # which are slow.
    """
    #define FL_LOWEST -4e307
    #define FL_LEAST_POWER -900.0
    """
    double LOWEST "FL_LOWEST"
    double LEAST_POWER "FL_LEAST_POWER"


cdef inline double power_of_two(double e) noexcept nogil:
    """2^e of an integer e <= 1023; 2^LEAST_POWER if e is smaller than that."""
    return from_bits(bits(at_least(e, LEAST_POWER) + (SHIFT + 1023)) << 52)


cdef inline void wide_exp_difference(double x, double y, double* m, double* e) noexcept nogil:
    """m 2^e = exp(x - y) of x <= y, with m between 0.7 and 1.5. Differences below -1e305 stand for -inf."""
    cdef double d = x - y, v = d - x
    cdef double error = (x - (d - v)) - (y + v)
    cdef double n = (d * LOG2_E + SHIFT) - SHIFT
    cdef double r = multiply_add(n, -LN_2_LOW, multiply_add(n, -LN_2_HIGH, d)) + error
    # The limits matter only where a unit in the last place of d is more than 0.35.
    r = exp_reduced(at_most(at_least(r, <double> -0.35), <double> 0.35))
    m[0] = 0 if d < -1e305 else r
    e[0] = LOWEST if d < -1e305 else n


cdef inline void normalize(double* m, double* e) noexcept nogil:
    """Bring a positive m, which is no subnormal number, into [1, 2). 0 stays."""
    cdef unsigned long long x = bits(m[0])
    cdef double power = from_bits(x >> 52 | bits(4503599627370496.0)) - (4503599627370496.0 + 1023)  # 2^52
    e[0] = e[0] if m[0] == 0 else e[0] + power
    m[0] = 0 if m[0] == 0 else from_bits(x << 12 >> 12 | bits(1.0))
