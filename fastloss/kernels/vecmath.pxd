"""Elementary functions that vectorise, over float and double: ``from fastloss.kernels.vecmath cimport exp, log1p``."""

from cython cimport floating

cdef extern from "vecmath.h" nogil:
    float vm_exp_f(float x) noexcept
    double vm_exp_d(double x) noexcept
    float vm_exp_nonpositive_f(float x) noexcept
    double vm_exp_nonpositive_d(double x) noexcept
    float vm_exp_difference_f(float x, float y) noexcept
    double vm_exp_difference_d(double x, double y) noexcept
    float vm_expm1_f(float x) noexcept
    double vm_expm1_d(double x) noexcept
    float vm_log_f(float x) noexcept
    double vm_log_d(double x) noexcept
    float vm_log1p_f(float x) noexcept
    double vm_log1p_d(double x) noexcept
    float vm_log1p_01_f(float x) noexcept
    double vm_log1p_01_d(double x) noexcept
    float vm_tanh_f(float x) noexcept
    double vm_tanh_d(double x) noexcept
    float vm_sigmoid_f(float x) noexcept
    double vm_sigmoid_d(double x) noexcept
    float vm_softplus_f(float x) noexcept
    double vm_softplus_d(double x) noexcept
    float vm_log_sigmoid_f(float x) noexcept
    double vm_log_sigmoid_d(double x) noexcept
    float vm_sqrt_f(float x) noexcept
    double vm_sqrt_d(double x) noexcept
    float vm_fabs_f(float x) noexcept
    double vm_fabs_d(double x) noexcept
    float vm_copysign_f(float x, float sign) noexcept
    double vm_copysign_d(double x, double sign) noexcept
    float vm_at_least_f(float x, float bound) noexcept
    double vm_at_least_d(double x, double bound) noexcept
    float vm_at_most_f(float x, float bound) noexcept
    double vm_at_most_d(double x, double bound) noexcept
    double vm_sum_lanes(const double* x) noexcept
    float vm_max_lanes_f(const float* x) noexcept
    double vm_max_lanes_d(const double* x) noexcept


cdef inline floating exp(floating x) noexcept nogil:
    return vm_exp_f(x) if floating is float else vm_exp_d(x)


# exp of x in [-inf, 0] or NaN, cheaper.
cdef inline floating exp_nonpositive(floating x) noexcept nogil:
    return vm_exp_nonpositive_f(x) if floating is float else vm_exp_nonpositive_d(x)


# exp(x - y) for x <= y, without the rounding error of the difference.
cdef inline floating exp_difference(floating x, floating y) noexcept nogil:
    return vm_exp_difference_f(x, y) if floating is float else vm_exp_difference_d(x, y)


cdef inline floating expm1(floating x) noexcept nogil:
    return vm_expm1_f(x) if floating is float else vm_expm1_d(x)


cdef inline floating log(floating x) noexcept nogil:
    return vm_log_f(x) if floating is float else vm_log_d(x)


cdef inline floating log1p(floating x) noexcept nogil:
    return vm_log1p_f(x) if floating is float else vm_log1p_d(x)


# log1p of x in [0, 1] or NaN, cheaper.
cdef inline floating log1p_01(floating x) noexcept nogil:
    return vm_log1p_01_f(x) if floating is float else vm_log1p_01_d(x)


cdef inline floating tanh(floating x) noexcept nogil:
    return vm_tanh_f(x) if floating is float else vm_tanh_d(x)


# sigmoid, softplus and log_sigmoid of one x in one loop share one exp.
cdef inline floating sigmoid(floating x) noexcept nogil:
    return vm_sigmoid_f(x) if floating is float else vm_sigmoid_d(x)


cdef inline floating softplus(floating x) noexcept nogil:
    return vm_softplus_f(x) if floating is float else vm_softplus_d(x)


cdef inline floating log_sigmoid(floating x) noexcept nogil:
    return vm_log_sigmoid_f(x) if floating is float else vm_log_sigmoid_d(x)


cdef inline floating sqrt(floating x) noexcept nogil:
    return vm_sqrt_f(x) if floating is float else vm_sqrt_d(x)


cdef inline floating fabs(floating x) noexcept nogil:
    return vm_fabs_f(x) if floating is float else vm_fabs_d(x)


cdef inline floating copysign(floating x, floating sign) noexcept nogil:
    return vm_copysign_f(x, sign) if floating is float else vm_copysign_d(x, sign)


# max(x, bound) and min(x, bound): a NaN in x passes, one in bound is lost.
cdef inline floating at_least(floating x, floating bound) noexcept nogil:
    return vm_at_least_f(x, bound) if floating is float else vm_at_least_d(x, bound)


cdef inline floating at_most(floating x, floating bound) noexcept nogil:
    return vm_at_most_f(x, bound) if floating is float else vm_at_most_d(x, bound)


# The sum and the maximum of 32 numbers.
cdef inline double sum_lanes(const double* x) noexcept nogil:
    return vm_sum_lanes(x)


cdef inline floating max_lanes(const floating* x) noexcept nogil:
    if floating is float:
        return vm_max_lanes_f(x)
    else:
        return vm_max_lanes_d(x)
