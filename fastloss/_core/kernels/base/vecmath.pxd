"""Elementary functions for float and double. Loops over them vectorise."""

from cython cimport floating
from libc.float cimport DBL_MIN, FLT_MIN

cdef extern from "vecmath.h" nogil:
    bint FMA "VM_FMA"  # whether multiply_add rounds once
    float vm_exp_f(float x) noexcept
    double vm_exp_d(double x) noexcept
    float vm_exp_nonpositive_f(float x) noexcept
    double vm_exp_nonpositive_d(double x) noexcept
    float vm_exp_difference_f(float x, float y) noexcept
    double vm_exp_difference_d(double x, double y) noexcept
    float vm_exp_difference_and_fall_f(float x, float y, float* fall) noexcept
    double vm_exp_difference_and_fall_d(double x, double y, double* fall) noexcept
    float vm_exp_of_product_f(float a, float b) noexcept
    double vm_exp_of_product_d(double a, double b) noexcept
    float vm_times_exp_f(float w, float x) noexcept
    double vm_times_exp_d(double w, double x) noexcept
    float vm_times_exp_of_product_f(float w, float a, float b) noexcept
    double vm_times_exp_of_product_d(double w, double a, double b) noexcept
    float vm_expm1_f(float x) noexcept
    double vm_expm1_d(double x) noexcept
    float vm_expm1_from_f(float x, float e) noexcept
    double vm_expm1_from_d(double x, double e) noexcept
    float vm_expm1_minus_x_f(float x, float e) noexcept
    double vm_expm1_minus_x_d(double x, double e) noexcept
    float vm_log_f(float x) noexcept
    double vm_log_d(double x) noexcept
    float vm_log_near_one_f(float x, float d) noexcept
    double vm_log_near_one_d(double x, double d) noexcept
    float vm_log1p_f(float x) noexcept
    double vm_log1p_d(double x) noexcept
    float vm_x_minus_log1p_f(float x) noexcept
    double vm_x_minus_log1p_d(double x) noexcept
    float vm_log1p_and_gap_f(float x, float* gap) noexcept
    double vm_log1p_and_gap_d(double x, double* gap) noexcept
    float vm_gap_near_one_f(float x, float d) noexcept
    double vm_gap_near_one_d(double x, double d) noexcept
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
    float vm_log_cosh_f(float x, float e) noexcept
    double vm_log_cosh_d(double x, double e) noexcept
    float vm_tanh_from_f(float x, float e) noexcept
    double vm_tanh_from_d(double x, double e) noexcept
    float vm_pow_f(float x, float y) noexcept
    double vm_pow_d(double x, double y) noexcept
    float vm_lgamma1p_f(float t) noexcept
    double vm_lgamma1p_d(double t) noexcept
    float vm_multiply_add_f(float a, float b, float c) noexcept
    double vm_multiply_add_d(double a, double b, double c) noexcept
    float vm_sqrt_f(float x) noexcept
    double vm_sqrt_d(double x) noexcept
    float vm_fabs_f(float x) noexcept
    double vm_fabs_d(double x) noexcept
    float vm_trunc_f(float x) noexcept
    double vm_trunc_d(double x) noexcept
    float vm_copysign_f(float x, float sign) noexcept
    double vm_copysign_d(double x, double sign) noexcept
    float vm_at_least_f(float x, float bound) noexcept
    double vm_at_least_d(double x, double bound) noexcept
    float vm_at_most_f(float x, float bound) noexcept
    double vm_at_most_d(double x, double bound) noexcept
    void vm_transpose4_f(const float* x, Py_ssize_t x_stride, float* y, Py_ssize_t y_stride) noexcept
    void vm_transpose4_d(const double* x, Py_ssize_t x_stride, double* y, Py_ssize_t y_stride) noexcept
    double vm_sum_lanes(const double* x) noexcept
    float vm_max_lanes_f(const float* x) noexcept
    double vm_max_lanes_d(const double* x) noexcept


cdef inline floating exp(floating x) noexcept nogil:
    return vm_exp_f(x) if floating is float else vm_exp_d(x)


cdef inline floating exp_nonpositive(floating x) noexcept nogil:
    """exp of x in [-inf, 0] or NaN, cheaper."""
    return vm_exp_nonpositive_f(x) if floating is float else vm_exp_nonpositive_d(x)


cdef inline floating exp_difference(floating x, floating y) noexcept nogil:
    """exp(x - y) for x <= y, without the rounding error of the difference."""
    return vm_exp_difference_f(x, y) if floating is float else vm_exp_difference_d(x, y)


cdef inline floating exp_difference_and_fall(floating x, floating y, floating* fall) noexcept nogil:
    """exp(x - y) for x <= y, and in fall[0] 1 - exp(x - y)."""
    if floating is float:
        return vm_exp_difference_and_fall_f(x, y, fall)
    else:
        return vm_exp_difference_and_fall_d(x, y, fall)


cdef inline floating exp_of_product(floating a, floating b) noexcept nogil:
    """exp(a b), without the rounding error of the product."""
    return vm_exp_of_product_f(a, b) if floating is float else vm_exp_of_product_d(a, b)


cdef inline floating times_exp(floating weight, floating x) noexcept nogil:
    """weight * exp(x), but 0 for a weight of 0 and an infinite x. exp(x) may be out of range if the product is not.

    A subnormal weight may lose digits.
    """
    return vm_times_exp_f(weight, x) if floating is float else vm_times_exp_d(weight, x)


cdef inline floating times_exp_of_product(floating weight, floating a, floating b) noexcept nogil:
    """times_exp(weight, a b), without the rounding error of a b."""
    if floating is float:
        return vm_times_exp_of_product_f(weight, a, b)
    else:
        return vm_times_exp_of_product_d(weight, a, b)


cdef inline floating expm1(floating x) noexcept nogil:
    return vm_expm1_f(x) if floating is float else vm_expm1_d(x)


cdef inline floating expm1_from(floating x, floating e) noexcept nogil:
    """exp(x) - 1 from x and e = exp(x)."""
    return vm_expm1_from_f(x, e) if floating is float else vm_expm1_from_d(x, e)


cdef inline floating expm1_minus_x(floating x, floating e) noexcept nogil:
    """exp(x) - 1 - x from x and e = expm1(x)."""
    return vm_expm1_minus_x_f(x, e) if floating is float else vm_expm1_minus_x_d(x, e)


cdef inline floating log(floating x) noexcept nogil:
    return vm_log_f(x) if floating is float else vm_log_d(x)


cdef inline floating log_near_one(floating x, floating d) noexcept nogil:
    """log of x in [0, 2], with d = x - 1 more accurate than x is."""
    return vm_log_near_one_f(x, d) if floating is float else vm_log_near_one_d(x, d)


cdef inline floating log1p(floating x) noexcept nogil:
    return vm_log1p_f(x) if floating is float else vm_log1p_d(x)


cdef inline floating x_minus_log1p(floating x) noexcept nogil:
    """x - log1p(x) of x in [0, inf] or NaN."""
    return vm_x_minus_log1p_f(x) if floating is float else vm_x_minus_log1p_d(x)


cdef inline floating log1p_and_gap(floating x, floating* gap) noexcept nogil:
    """log1p(x) of x in [0, inf) or NaN, and in gap[0] x - log1p(x)."""
    if floating is float:
        return vm_log1p_and_gap_f(x, gap)
    else:
        return vm_log1p_and_gap_d(x, gap)


cdef inline floating gap_near_one(floating x, floating d) noexcept nogil:
    """d - log(x) of normal x in (0, 1] or NaN, with d = x - 1 more accurate than x is."""
    return vm_gap_near_one_f(x, d) if floating is float else vm_gap_near_one_d(x, d)


cdef inline floating log1p_01(floating x) noexcept nogil:
    """log1p of x in [0, 1] or NaN, cheaper."""
    return vm_log1p_01_f(x) if floating is float else vm_log1p_01_d(x)


cdef inline floating tanh(floating x) noexcept nogil:
    return vm_tanh_f(x) if floating is float else vm_tanh_d(x)


cdef inline floating sigmoid(floating x) noexcept nogil:
    """1 / (1 + exp(-x)). In one loop, sigmoid, softplus and log_sigmoid of the same x share one exp."""
    return vm_sigmoid_f(x) if floating is float else vm_sigmoid_d(x)


cdef inline floating softplus(floating x) noexcept nogil:
    """log(1 + exp(x))."""
    return vm_softplus_f(x) if floating is float else vm_softplus_d(x)


cdef inline floating log_sigmoid(floating x) noexcept nogil:
    """-log(1 + exp(-x))."""
    return vm_log_sigmoid_f(x) if floating is float else vm_log_sigmoid_d(x)


cdef inline floating log_cosh(floating x, floating e) noexcept nogil:
    """log(cosh(x)), from e = exp_nonpositive(-2 abs(x))."""
    return vm_log_cosh_f(x, e) if floating is float else vm_log_cosh_d(x, e)


cdef inline floating tanh_from(floating x, floating e) noexcept nogil:
    """tanh(x), from e = exp_nonpositive(-2 abs(x))."""
    return vm_tanh_from_f(x, e) if floating is float else vm_tanh_from_d(x, e)


cdef inline floating pow(floating x, floating y) noexcept nogil:
    """x^y for x in [0, inf] or NaN, and finite y >= 0."""
    return vm_pow_f(x, y) if floating is float else vm_pow_d(x, y)


cdef inline floating lgamma1p(floating t) noexcept nogil:
    """log(abs(Gamma(1 + t))) of every t; inf at the poles."""
    return vm_lgamma1p_f(t) if floating is float else vm_lgamma1p_d(t)


cdef inline floating multiply_add(floating a, floating b, floating c) noexcept nogil:
    """a b + c, rounded once where the processor can."""
    return vm_multiply_add_f(a, b, c) if floating is float else vm_multiply_add_d(a, b, c)


cdef inline floating sqrt(floating x) noexcept nogil:
    return vm_sqrt_f(x) if floating is float else vm_sqrt_d(x)


cdef inline floating fabs(floating x) noexcept nogil:
    return vm_fabs_f(x) if floating is float else vm_fabs_d(x)


cdef inline floating trunc(floating x) noexcept nogil:
    return vm_trunc_f(x) if floating is float else vm_trunc_d(x)


cdef inline floating copysign(floating x, floating sign) noexcept nogil:
    return vm_copysign_f(x, sign) if floating is float else vm_copysign_d(x, sign)


cdef inline floating at_least(floating x, floating bound) noexcept nogil:
    """max(x, bound). A NaN in x passes; a NaN in bound is lost."""
    return vm_at_least_f(x, bound) if floating is float else vm_at_least_d(x, bound)


cdef inline floating at_most(floating x, floating bound) noexcept nogil:
    """min(x, bound), with the same rule for NaN."""
    return vm_at_most_f(x, bound) if floating is float else vm_at_most_d(x, bound)


cdef inline floating times(floating weight, floating x) noexcept nogil:
    """weight * x, but 0 for a weight of 0 and an infinite x."""
    return 0 if (weight == 0) & (x == x) else weight * x


cdef inline double sum_lanes(const double* x) noexcept nogil:
    """The sum of 32 numbers."""
    return vm_sum_lanes(x)


cdef inline floating max_lanes(const floating* x) noexcept nogil:
    """The maximum of 32 numbers."""
    if floating is float:
        return vm_max_lanes_f(x)
    else:
        return vm_max_lanes_d(x)


cdef inline void transpose4(const floating* x, Py_ssize_t x_stride, floating* y, Py_ssize_t y_stride) noexcept nogil:
    """y[j * y_stride + i] = x[i * x_stride + j] for i and j below 4."""
    if floating is float:
        vm_transpose4_f(x, x_stride, y, y_stride)
    else:
        vm_transpose4_d(x, x_stride, y, y_stride)


cdef inline floating normal(floating x) noexcept nogil:
    """x, but at least the smallest normal number, so that a quotient by it is finite."""
    if floating is float:
        return at_least(x, <float> FLT_MIN)
    else:
        return at_least(x, <double> DBL_MIN)
