/* Elementary functions for loops that the compiler vectorises.
 *
 * Every function is straight-line code: no branch, no table, no call, no conversion between double and int64. A plain
 * loop over any of them becomes vector code at every CPU level. `_f` is float, `_d` is double.
 *
 * What the code relies on:
 *   - Compile with -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off, and never with -ffast-math: adding
 *     1.5 * 2^52 to round, and the hi/lo constants, mean what they say. FMA is explicit, through VM_FMA.
 *   - Arguments out of range are not clamped; they compute garbage (nothing traps) that the last line replaces. That is
 *     off the critical path, and GCC turns a pair of clamps into nine instructions. Every test is false for NaN.
 *   - A power of two is applied by multiplication, not by adding to the exponent bits: a NaN stays NaN.
 *   - Long polynomials are summed in pairs, p0 + z p1 + z^2 p2 + ... with z the square. The chain of dependent steps is
 *     half of Horner's: a processor overlaps only as many iterations as its scheduler holds.
 *
 * Reading matter: Cody & Waite, "Software Manual for the Elementary Functions" (argument reduction in two steps);
 * fdlibm e_exp.c, e_log.c, s_log1p.c, s_expm1.c (forms of log and expm1); Cephes expf.c, logf.c; SLEEF sleefsimdsp.c
 * (branch-free special cases). The polynomials are our own: minimax fits (Remez exchange in 60 digits) of the relative
 * error of the function, rounded to the type. The error given is that after rounding.
 *
 * Errors in ulp: the table at the top of tests/machine/vecmath.py.
 */
#ifndef FASTLOSS_VECMATH_H
#define FASTLOSS_VECMATH_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VM_INLINE static inline __attribute__((always_inline, unused))

/* a * b + c, in one rounding where that is one instruction. Both are accurate enough; a libm call would not be fast. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__FP_FAST_FMA)
#define VM_FMA 1
#define VM_FMA_F(a, b, c) __builtin_fmaf((a), (b), (c))
#define VM_FMA_D(a, b, c) __builtin_fma((a), (b), (c))
#else
#define VM_FMA 0
#define VM_FMA_F(a, b, c) ((a) * (b) + (c))
#define VM_FMA_D(a, b, c) ((a) * (b) + (c))
#endif

VM_INLINE float vm_from_bits_f(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }
VM_INLINE double vm_from_bits_d(uint64_t u) { double x; memcpy(&x, &u, sizeof x); return x; }
VM_INLINE uint32_t vm_bits_f(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
VM_INLINE uint64_t vm_bits_d(double x) { uint64_t u; memcpy(&u, &x, sizeof u); return u; }

VM_INLINE float vm_multiply_add_f(float a, float b, float c) { return VM_FMA_F(a, b, c); }
VM_INLINE double vm_multiply_add_d(double a, double b, double c) { return VM_FMA_D(a, b, c); }
VM_INLINE float vm_fabs_f(float x) { return __builtin_fabsf(x); }
VM_INLINE double vm_fabs_d(double x) { return __builtin_fabs(x); }
VM_INLINE float vm_sqrt_f(float x) { return __builtin_sqrtf(x); }
VM_INLINE double vm_sqrt_d(double x) { return __builtin_sqrt(x); }
VM_INLINE float vm_trunc_f(float x) { return __builtin_truncf(x); }
VM_INLINE double vm_trunc_d(double x) { return __builtin_trunc(x); }
VM_INLINE float vm_copysign_f(float x, float sign) { return __builtin_copysignf(x, sign); }
VM_INLINE double vm_copysign_d(double x, double sign) { return __builtin_copysign(x, sign); }

/* max and min in one or two instructions: a NaN in x passes, one in `bound` is lost. So x is data, `bound` a limit. */
VM_INLINE float vm_at_least_f(float x, float bound) { return x < bound ? bound : x; }
VM_INLINE double vm_at_least_d(double x, double bound) { return x < bound ? bound : x; }
VM_INLINE float vm_at_most_f(float x, float bound) { return x > bound ? bound : x; }
VM_INLINE double vm_at_most_d(double x, double bound) { return x > bound ? bound : x; }

/* a b - p for the rounded product p: its rounding error. Without FMA the factors are cut in half (Dekker), by bits and
 * not by a multiplication, which could overflow. */
VM_INLINE float vm_product_error_f(float a, float b, float p) {
    if (VM_FMA) return VM_FMA_F(a, b, -p);
    const float a_high = vm_from_bits_f(vm_bits_f(a) & ~0xfffu), a_low = a - a_high;
    const float b_high = vm_from_bits_f(vm_bits_f(b) & ~0xfffu), b_low = b - b_high;
    return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low;
}

VM_INLINE double vm_product_error_d(double a, double b, double p) {
    if (VM_FMA) return VM_FMA_D(a, b, -p);
    const double a_high = vm_from_bits_d(vm_bits_d(a) & ~0x7ffffffull), a_low = a - a_high;
    const double b_high = vm_from_bits_d(vm_bits_d(b) & ~0x7ffffffull), b_low = b - b_high;
    return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low;
}


/* ---- exp, expm1 ----------------------------------------------------------------------------------------------------
 *
 * x = n ln2 + r with abs(r) <= ln2 / 2, and e^x = 2^n e^r. Adding 1.5 * 2^23 (2^52) to x / ln2 rounds it to n and
 * leaves n in the low mantissa bits, where a shift makes it the exponent of 2^n. A bias added to the shift constant
 * comes out in those bits for free. ln2 = HI + LO; HI is short enough for n * HI to be exact (Cody & Waite).
 */
#define VM_LOG2E_F 0x1.715476p+0f
#define VM_LN2_HI_F 0x1.63p-1f
#define VM_LN2_LO_F -0x1.bd0106p-13f
#define VM_ROUND_F 0x1.8p+23f

#define VM_LOG2E_D 0x1.71547652b82fep+0
#define VM_LN2_HI_D 0x1.62e42fefa38p-1
#define VM_LN2_LO_D 0x1.ef35793c7673p-45
#define VM_ROUND_D 0x1.8p+52

/* (e^r - 1 - r) / r^2 on [-ln2/2, ln2/2], z = r^2; relative error of e^r - 1: 2^-25.8 and 2^-54.8. */
VM_INLINE float vm_exp_tail_f(float r) {
    float q = 0x1.6bebfep-10f;
    q = VM_FMA_F(q, r, 0x1.1227bp-7f);
    q = VM_FMA_F(q, r, 0x1.555674p-5f);
    q = VM_FMA_F(q, r, 0x1.5554bp-3f);
    return VM_FMA_F(q, r, 0x1.fffffep-2f);
}

VM_INLINE double vm_exp_tail_d(double r, double z) {
    const double p0 = VM_FMA_D(r, 0x1.5555555555539p-3, 0x1.0000000000005p-1);
    const double p1 = VM_FMA_D(r, 0x1.111111111900ep-7, 0x1.555555555228ep-5);
    const double p2 = VM_FMA_D(r, 0x1.a01a0174fbc5bp-13, 0x1.6c16c17ee71f2p-10);
    const double p3 = VM_FMA_D(r, 0x1.71de882372904p-19, 0x1.a019a74a87471p-16);
    const double p4 = VM_FMA_D(r, 0x1.ae6bae8c28464p-26, 0x1.28a2067f05181p-22);
    return VM_FMA_D(z, VM_FMA_D(z, VM_FMA_D(z, VM_FMA_D(z, p4, p3), p2), p1), p0);
}

/* e^r. In float the last two steps are nested, for 1 ulp without fail. */
VM_INLINE float vm_exp_reduced_f(float r) { return VM_FMA_F(r, VM_FMA_F(r, vm_exp_tail_f(r), 1.0f), 1.0f); }
VM_INLINE double vm_exp_reduced_d(double r) { return 1.0 + VM_FMA_D(r * r, vm_exp_tail_d(r, r * r), r); }

/* 2^n spans more than the exponents of the type (subnormal results, and n = 128 or 1024), so two factors: 2^floor(n/2)
 * and the rest. The shift constant carries twice the exponent bias, so that half of it is the bias of each factor.
 * The argument is x + low, for a low that is tiny: what the rounding of x lost. Adding -0 changes nothing. */
VM_INLINE float vm_exp_parts_f(float x, float low, float *half, float *rest) {
    const float shift = VM_ROUND_F + 2 * 127;
    const float t = VM_FMA_F(x, VM_LOG2E_F, shift);
    const float n = t - shift;
    const float r = VM_FMA_F(n, -VM_LN2_LO_F, VM_FMA_F(n, -VM_LN2_HI_F, x)) + low;
    const uint32_t half_bits = (vm_bits_f(t) & ~1u) << 22;
    *half = vm_from_bits_f(half_bits);
    *rest = vm_from_bits_f((vm_bits_f(t) << 23) - half_bits);
    return vm_exp_reduced_f(r);
}

VM_INLINE double vm_exp_parts_d(double x, double low, double *half, double *rest) {
    const double shift = VM_ROUND_D + 2 * 1023;
    const double t = VM_FMA_D(x, VM_LOG2E_D, shift);
    const double n = t - shift;
    const double r = VM_FMA_D(n, -VM_LN2_LO_D, VM_FMA_D(n, -VM_LN2_HI_D, x)) + low;
    const uint64_t half_bits = (vm_bits_d(t) & ~1ull) << 51;
    *half = vm_from_bits_d(half_bits);
    *rest = vm_from_bits_d((vm_bits_d(t) << 52) - half_bits);
    return vm_exp_reduced_d(r);
}

VM_INLINE float vm_exp_sum_f(float x, float low) {
    float half, rest;
    const float result = vm_exp_parts_f(x, low, &half, &rest) * rest * half;
    return x > 89.0f ? INFINITY : (x < -104.0f ? 0.0f : result);
}

VM_INLINE double vm_exp_sum_d(double x, double low) {
    double half, rest;
    const double result = vm_exp_parts_d(x, low, &half, &rest) * rest * half;
    return x > 710.0 ? (double)INFINITY : (x < -746.0 ? 0.0 : result);
}

VM_INLINE float vm_exp_f(float x) { return vm_exp_sum_f(x, -0.0f); }
VM_INLINE double vm_exp_d(double x) { return vm_exp_sum_d(x, -0.0); }

/* e^(a b). Rounding a b alone would cost up to abs(a b) / 2 ulp of the result. */
VM_INLINE float vm_exp_of_product_f(float a, float b) {
    const float p = a * b;
    return vm_exp_sum_f(p, vm_product_error_f(a, b, p));
}

VM_INLINE double vm_exp_of_product_d(double a, double b) {
    const double p = a * b;
    return vm_exp_sum_d(p, vm_product_error_d(a, b, p));
}

/* w e^x, finite also where the exponential overflows: the powers of two come on either side of the product. Beyond the
 * range of these, the result is 0, or inf for any normal w. A w of 0 gives 0. */
VM_INLINE float vm_times_exp_sum_f(float w, float x, float low) {
    float half, rest;
    const float e = vm_exp_parts_f(x, low, &half, &rest), result = w * half * e * rest;
    return x > 176.0f ? (w == 0.0f ? w : w * INFINITY) : (x < -174.0f ? w * 0.0f : result);
}

VM_INLINE double vm_times_exp_sum_d(double w, double x, double low) {
    double half, rest;
    const double e = vm_exp_parts_d(x, low, &half, &rest), result = w * half * e * rest;
    return x > 1418.0 ? (w == 0.0 ? w : w * (double)INFINITY) : (x < -1416.0 ? w * 0.0 : result);
}

VM_INLINE float vm_times_exp_f(float w, float x) { return vm_times_exp_sum_f(w, x, -0.0f); }
VM_INLINE double vm_times_exp_d(double w, double x) { return vm_times_exp_sum_d(w, x, -0.0); }

VM_INLINE float vm_times_exp_of_product_f(float w, float a, float b) {
    const float p = a * b;
    return vm_times_exp_sum_f(w, p, vm_product_error_f(a, b, p));
}

VM_INLINE double vm_times_exp_of_product_d(double w, double a, double b) {
    const double p = a * b;
    return vm_times_exp_sum_d(w, p, vm_product_error_d(a, b, p));
}

/* e^x for x in [-inf, 0] (softmax after the maximum is subtracted, e^-abs(x)). No overflow, and n spans little enough
 * for one factor 2^(n + 64) and the constant 2^-64; it comes last, so that a subnormal result is rounded once. */
VM_INLINE float vm_exp_nonpositive_f(float x) {
    const float shift = VM_ROUND_F + (127 + 64);
    const float t = VM_FMA_F(x, VM_LOG2E_F, shift);
    const float n = t - shift;
    const float r = VM_FMA_F(n, -VM_LN2_LO_F, VM_FMA_F(n, -VM_LN2_HI_F, x));
    const float result = vm_exp_reduced_f(r) * vm_from_bits_f(vm_bits_f(t) << 23) * 0x1p-64f;
    return x < -104.0f ? 0.0f : result;
}

VM_INLINE double vm_exp_nonpositive_d(double x) {
    const double shift = VM_ROUND_D + (1023 + 512);
    const double t = VM_FMA_D(x, VM_LOG2E_D, shift);
    const double n = t - shift;
    const double r = VM_FMA_D(n, -VM_LN2_LO_D, VM_FMA_D(n, -VM_LN2_HI_D, x));
    const double result = vm_exp_reduced_d(r) * vm_from_bits_d(vm_bits_d(t) << 52) * 0x1p-512;
    return x < -746.0 ? 0.0 : result;
}

/* e^(x - y) for x <= y, as softmax needs it. Rounding x - y costs up to abs(x - y) / 2 ulp of the result, so its error is
 * recovered exactly (Knuth's two-sum) and added to the reduced argument. */
VM_INLINE float vm_exp_difference_f(float x, float y) {
    const float d = x - y, v = d - x;
    const float error = (x - (d - v)) - (y + v);
    const float shift = VM_ROUND_F + (127 + 64);
    const float t = VM_FMA_F(d, VM_LOG2E_F, shift);
    const float n = t - shift;
    const float r = VM_FMA_F(n, -VM_LN2_LO_F, VM_FMA_F(n, -VM_LN2_HI_F, d)) + error;
    const float result = vm_exp_reduced_f(r) * vm_from_bits_f(vm_bits_f(t) << 23) * 0x1p-64f;
    return d < -104.0f ? 0.0f : result;
}

VM_INLINE double vm_exp_difference_d(double x, double y) {
    const double d = x - y, v = d - x;
    const double error = (x - (d - v)) - (y + v);
    const double shift = VM_ROUND_D + (1023 + 512);
    const double t = VM_FMA_D(d, VM_LOG2E_D, shift);
    const double n = t - shift;
    const double r = VM_FMA_D(n, -VM_LN2_LO_D, VM_FMA_D(n, -VM_LN2_HI_D, d)) + error;
    const double result = vm_exp_reduced_d(r) * vm_from_bits_d(vm_bits_d(t) << 52) * 0x1p-512;
    return d < -746.0 ? 0.0 : result;
}

/* The same, and 1 - e^(x - y) from the same polynomial. */
VM_INLINE float vm_exp_difference_and_fall_f(float x, float y, float *fall) {
    const float d = x - y, v = d - x;
    const float error = (x - (d - v)) - (y + v);
    const float shift = VM_ROUND_F + (127 + 64);
    const float t = VM_FMA_F(d, VM_LOG2E_F, shift);
    const float n = t - shift;
    const float big = VM_FMA_F(n, -VM_LN2_HI_F, d);
    const float low = VM_FMA_F(n, -VM_LN2_LO_F, error);
    const float r = big + low, tail = vm_exp_tail_f(r);
    const float scaled = vm_from_bits_f(vm_bits_f(t) << 23), s = scaled * 0x1p-64f;
    const float below = VM_FMA_F(s, VM_FMA_F(r * r, tail, low), VM_FMA_F(s, big, s - 1.0f));
    const float result = VM_FMA_F(r, VM_FMA_F(r, tail, 1.0f), 1.0f) * scaled * 0x1p-64f;
    *fall = d < -104.0f ? 1.0f : -below;
    return d < -104.0f ? 0.0f : result;
}

VM_INLINE double vm_exp_difference_and_fall_d(double x, double y, double *fall) {
    const double d = x - y, v = d - x;
    const double error = (x - (d - v)) - (y + v);
    const double shift = VM_ROUND_D + (1023 + 512);
    const double t = VM_FMA_D(d, VM_LOG2E_D, shift);
    const double n = t - shift;
    const double big = VM_FMA_D(n, -VM_LN2_HI_D, d);
    const double low = VM_FMA_D(n, -VM_LN2_LO_D, error);
    const double r = big + low, square = r * r, tail = vm_exp_tail_d(r, square);
    const double scaled = vm_from_bits_d(vm_bits_d(t) << 52), s = scaled * 0x1p-512;
    const double below = VM_FMA_D(s, VM_FMA_D(square, tail, low), VM_FMA_D(s, big, s - 1.0));
    const double result = (1.0 + VM_FMA_D(square, tail, r)) * scaled * 0x1p-512;
    *fall = d < -746.0 ? 1.0 : -below;
    return d < -746.0 ? 0.0 : result;
}

/* (e^x - 1) / 2 = 2^(n-1) (e^r - 1) + (2^(n-1) - 1/2), for x in [-20, 89] ([-40, 710]). Half, because 2^128 (2^1024)
 * overflows. r = big + low, and low is added late: big is exact, and so is its sum with 2^n - 1 where that cancels. */
VM_INLINE float vm_half_expm1_f(float x) {
    const float shift = VM_ROUND_F + 126;
    const float t = VM_FMA_F(x, VM_LOG2E_F, shift);
    const float n = t - shift;
    const float big = VM_FMA_F(n, -VM_LN2_HI_F, x);
    const float low = n * -VM_LN2_LO_F;
    const float r = big + low;
    const float small = VM_FMA_F(r * r, vm_exp_tail_f(r), low);
    const float s = vm_from_bits_f(vm_bits_f(t) << 23);
    return VM_FMA_F(s, small, VM_FMA_F(s, big, s - 0.5f));
}

VM_INLINE double vm_half_expm1_d(double x) {
    const double shift = VM_ROUND_D + 1022;
    const double t = VM_FMA_D(x, VM_LOG2E_D, shift);
    const double n = t - shift;
    const double big = VM_FMA_D(n, -VM_LN2_HI_D, x);
    const double low = n * -VM_LN2_LO_D;
    const double r = big + low;
    const double small = VM_FMA_D(r * r, vm_exp_tail_d(r, r * r), low);
    const double s = vm_from_bits_d(vm_bits_d(t) << 52);
    return VM_FMA_D(s, small, VM_FMA_D(s, big, s - 0.5));
}

/* Doubling is exact, but a subnormal has been rounded when halved, and -0 lost: tiny x is its own result. */
VM_INLINE float vm_expm1_f(float x) {
    const float result = 2.0f * vm_half_expm1_f(x);
    const float in_range = x > 89.0f ? INFINITY : (x < -20.0f ? -1.0f : result);
    return vm_fabs_f(x) < 0x1p-26f ? x : in_range;
}

VM_INLINE double vm_expm1_d(double x) {
    const double result = 2.0 * vm_half_expm1_d(x);
    const double in_range = x > 710.0 ? (double)INFINITY : (x < -40.0 ? -1.0 : result);
    return vm_fabs_d(x) < 0x1p-55 ? x : in_range;
}

/* e^x - 1 from x and e = e^x, whose rounding error at most trebles. */
VM_INLINE float vm_expm1_from_f(float x, float e) {
    return vm_fabs_f(x) < 0.34375f ? x * VM_FMA_F(x, vm_exp_tail_f(x), 1.0f) : e - 1.0f;
}

VM_INLINE double vm_expm1_from_d(double x, double e) {
    return vm_fabs_d(x) < 0.34375 ? x * VM_FMA_D(x, vm_exp_tail_d(x, x * x), 1.0) : e - 1.0;
}

/* e^x - 1 - x from x and e = expm1(x): x^2 Q(x) where the terms would cancel. Relative error 2^-26.5 and 2^-54.2. */
VM_INLINE float vm_expm1_minus_x_f(float x, float e) {
    const float z = x * x;
    const float p0 = VM_FMA_F(x, 0x1.555556p-3f, 0x1p-1f);
    const float p1 = VM_FMA_F(x, 0x1.1110ep-7f, 0x1.55557ap-5f);
    const float p2 = VM_FMA_F(x, 0x1.a028cap-13f, 0x1.6bffbp-10f);
    const float p3 = VM_FMA_F(x, 0x1.7416e8p-19f, 0x1.a9622ap-16f);
    const float small = z * VM_FMA_F(z, VM_FMA_F(z, VM_FMA_F(z, p3, p2), p1), p0);
    return vm_fabs_f(x) < 1.0f ? small : (e < INFINITY ? e - x : e);
}

VM_INLINE double vm_expm1_minus_x_d(double x, double e) {
    const double z = x * x;
    const double p0 = VM_FMA_D(x, 0x1.5555555555555p-3, 0x1p-1);
    const double p1 = VM_FMA_D(x, 0x1.111111111124bp-7, 0x1.5555555555506p-5);
    const double p2 = VM_FMA_D(x, 0x1.a01a019ff4f06p-13, 0x1.6c16c16c20d89p-10);
    const double p3 = VM_FMA_D(x, 0x1.71de3a7237fb7p-19, 0x1.a01a0190d4cd8p-16);
    const double p4 = VM_FMA_D(x, 0x1.ae6442c0e250dp-26, 0x1.27e50672be712p-22);
    const double p5 = VM_FMA_D(x, 0x1.6128d3d99c9c5p-33, 0x1.1ee57747b81bcp-29);
    const double p6 = VM_FMA_D(x, 0x1.b0547cdc7632fp-41, 0x1.997e1f42bbab7p-37);
    const double q = VM_FMA_D(z, VM_FMA_D(z, VM_FMA_D(z, p6, p5), p4), p3);
    const double small = z * VM_FMA_D(z, VM_FMA_D(z, VM_FMA_D(z, q, p2), p1), p0);
    return vm_fabs_d(x) < 1.0 ? small : (e < (double)INFINITY ? e - x : e);
}

/* With h = (e^(2 abs(x)) - 1) / 2: tanh abs(x) = h / (h + 1). The positive exponent damps the error of h; e^(-2 abs(x))
 * would double it. */
VM_INLINE float vm_tanh_f(float x) {
    const float y = 2.0f * vm_fabs_f(x), h = vm_half_expm1_f(y);
    return vm_copysign_f(y > 20.0f ? 1.0f : h / (h + 1.0f), x);
}

VM_INLINE double vm_tanh_d(double x) {
    const double y = 2.0 * vm_fabs_d(x), h = vm_half_expm1_d(y);
    return vm_copysign_d(y > 40.0 ? 1.0 : h / (h + 1.0), x);
}


/* ---- log, log1p ----------------------------------------------------------------------------------------------------
 *
 * x = 2^k (1 + f) with 1 + f in (sqrt(1/2), sqrt(2)], and log x = k ln2 + log(1 + f). Subtracting the bits of x from
 * those of sqrt(2) gives -k in the exponent field. It stays negated, so that k = 0 contributes -0 and log1p(-0) is -0.
 *
 * float: log(1 + f) = f - f^2/2 + f^3 P(f).
 * double: with s = f / (2 + f), log(1 + f) = 2 atanh(s) = f - s (f - s^2 R(s^2)), the shorter of fdlibm's two forms. A
 * polynomial in f would need 20 terms; one division is cheaper.
 * ln2 is one constant: k = -1 or 1 multiplies it exactly, and its error is 2^-28.4 (2^-54.7) of k ln2.
 */
#define VM_LN2_F 0x1.62e43p-1f
#define VM_LN2_D 0x1.62e42fefa39efp-1
#define VM_SQRT2_BITS_F 0x3fb504f3u
#define VM_SQRT2_BITS_D 0x3ff6a09e667f3bcdull

/* log(1 + f) - k ln2 for f in [sqrt(1/2) - 1, sqrt(2) - 1] and the negated k; relative error 2^-27.3 and 2^-59.3. */
VM_INLINE float vm_log_reduced_f(float f, float minus_k) {
    const float z = f * f;
    const float p0 = VM_FMA_F(f, 0x1.555554p-2f, -0.5f);
    const float p1 = VM_FMA_F(f, 0x1.99a008p-3f, -0x1.000226p-2f);
    const float p2 = VM_FMA_F(f, 0x1.22da1cp-3f, -0x1.547244p-3f);
    const float p3 = VM_FMA_F(f, 0x1.055b6ep-3f, -0x1.0d854p-3f);
    const float p = VM_FMA_F(z, VM_FMA_F(z, VM_FMA_F(z, VM_FMA_F(z, -0x1.38b59p-4f, p3), p2), p1), p0);
    return VM_FMA_F(minus_k, -VM_LN2_F, VM_FMA_F(z, p, f));
}

VM_INLINE double vm_log_reduced_d(double f, double minus_k) {
    const double s = f / (2.0 + f), z = s * s, zz = z * z;
    const double p0 = VM_FMA_D(z, 0x1.999999997fee9p-2, 0x1.5555555555592p-1);
    const double p1 = VM_FMA_D(z, 0x1.c71c52164b26fp-3, 0x1.24924941e0c33p-2);
    const double p2 = VM_FMA_D(z, 0x1.39a1fb917f5dbp-3, 0x1.74663c53dfea0p-3);
    const double R = VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, 0x1.2f02e6255b5bap-3, p2), p1), p0);
    return VM_FMA_D(minus_k, -VM_LN2_D, VM_FMA_D(-s, VM_FMA_D(-z, R, f), f));
}

/* The ends of the domain: log 0 = -inf, log of a negative number or NaN = NaN, log inf = inf. */
VM_INLINE float vm_log_ends_f(float x, float result) {
    const float at_most_zero = x == 0.0f ? -INFINITY : NAN;
    return x > 0.0f ? (x < INFINITY ? result : x) : at_most_zero;
}

VM_INLINE double vm_log_ends_d(double x, double result) {
    const double at_most_zero = x == 0.0 ? -(double)INFINITY : (double)NAN;
    return x > 0.0 ? (x < (double)INFINITY ? result : x) : at_most_zero;
}

/* x = m * 2^-minus_k with m in (sqrt(1/2), sqrt(2)]. Subnormals are multiplied by 2^23 (2^52) first. */
VM_INLINE float vm_log_split_f(float x, float *minus_k) {
    const int tiny = x < 0x1p-126f;
    const uint32_t bits = vm_bits_f(tiny ? x * 0x1p23f : x);
    const int32_t k = (int32_t)(VM_SQRT2_BITS_F - bits) >> 23;
    *minus_k = (float)k + (tiny ? 23.0f : 0.0f);
    return vm_from_bits_f(bits + ((uint32_t)k << 23));
}

/* 2^52 with a small integer or-ed into its low bits is 2^52 plus that integer: the conversion to double. */
VM_INLINE double vm_log_split_d(double x, double *minus_k) {
    const int tiny = x < 0x1p-1022;
    const uint64_t bits = vm_bits_d(tiny ? x * 0x1p52 : x);
    const uint64_t biased = VM_SQRT2_BITS_D + (1024ull << 52) - bits;
    *minus_k = vm_from_bits_d(biased >> 52 | 0x433ull << 52) - (tiny ? 0x1p52 + 1024 - 52 : 0x1p52 + 1024);
    return vm_from_bits_d(VM_SQRT2_BITS_D - (biased & 0xfffffffffffffull));
}

VM_INLINE float vm_log_f(float x) {
    float minus_k;
    const float m = vm_log_split_f(x, &minus_k);
    return vm_log_ends_f(x, vm_log_reduced_f(m - 1.0f, minus_k));
}

VM_INLINE double vm_log_d(double x) {
    double minus_k;
    const double m = vm_log_split_d(x, &minus_k);
    return vm_log_ends_d(x, vm_log_reduced_d(m - 1.0, minus_k));
}

/* log x for x in [0, 2] where d = x - 1 is known better than x tells: it takes the place of m - 1 where k = 0, and only
 * there (elsewhere the rounding of x costs at most 1 ulp more). The sum x + d is NaN if either is. */
VM_INLINE float vm_log_near_one_f(float x, float d) {
    float minus_k;
    const float m = vm_log_split_f(x, &minus_k);
    const float result = vm_log_reduced_f(minus_k == 0.0f ? d : m - 1.0f, minus_k);
    return x + d >= -1.0f ? (x > 0.0f ? result : -INFINITY) : NAN;
}

VM_INLINE double vm_log_near_one_d(double x, double d) {
    double minus_k;
    const double m = vm_log_split_d(x, &minus_k);
    const double result = vm_log_reduced_d(minus_k == 0.0 ? d : m - 1.0, minus_k);
    return x + d >= -1.0 ? (x > 0.0 ? result : -(double)INFINITY) : (double)NAN;
}

/* 1 + x = (1 + f) * 2^-minus_k with 1 + f in (top / 2, top]: k from the rounded 1 + x, but f = 2^-k (1 + x) - 1 =
 * 2^-k x - (1 - 2^-k), rounded once. So no correction term is needed. The factor is 4 * 2^-k, because 2^-128 (2^-1024)
 * is subnormal. */
VM_INLINE float vm_log1p_split_f(float x, uint32_t top_bits, float *minus_k) {
    const int32_t k = (int32_t)(top_bits - vm_bits_f(1.0f + x)) >> 23;
    const float s = vm_from_bits_f(((uint32_t)k << 23) + (129u << 23));
    *minus_k = (float)k;
    return 0.25f * VM_FMA_F(x, s, -(4.0f - s));
}

VM_INLINE double vm_log1p_split_d(double x, uint64_t top_bits, double *minus_k) {
    const uint64_t biased = top_bits + (1024ull << 52) - vm_bits_d(1.0 + x);
    const double s = vm_from_bits_d((biased & 0xfff0000000000000ull) + (1ull << 52));
    *minus_k = vm_from_bits_d(biased >> 52 | 0x433ull << 52) - (0x1p52 + 1024);
    return 0.25 * VM_FMA_D(x, s, -(4.0 - s));
}

VM_INLINE float vm_log1p_f(float x) {
    float minus_k;
    const float f = vm_log1p_split_f(x, VM_SQRT2_BITS_F, &minus_k);
    return vm_log_ends_f(1.0f + x, vm_log_reduced_f(f, minus_k));
}

VM_INLINE double vm_log1p_d(double x) {
    double minus_k;
    const double f = vm_log1p_split_d(x, VM_SQRT2_BITS_D, &minus_k);
    return vm_log_ends_d(1.0 + x, vm_log_reduced_d(f, minus_k));
}

/* x - log(1 + x) for x in [0, inf], as (x - k ln2 - f) + (f - log(1 + f)). The first is exactly 0 where k = 0; the
 * second is f^2 P(f), relative error 2^-26.8, or s (f - s^2 R(s^2)), 2^-57.3. With 1 + f in (3/4, 3/2], f is exact
 * where k > 0: its error would count several times, since x - log(1 + x) is much smaller than x there. */
#define VM_THREE_HALVES_BITS_F 0x3fc00000u
#define VM_THREE_HALVES_BITS_D 0x3ff8000000000000ull

/* f - log(1 + f) */
VM_INLINE float vm_log_gap_f(float f) {
    const float z = f * f;
    const float p0 = VM_FMA_F(f, -0x1.555556p-2f, 0.5f);
    const float p1 = VM_FMA_F(f, -0x1.9999a8p-3f, 0x1.00004ap-2f);
    const float p2 = VM_FMA_F(f, -0x1.243df6p-3f, 0x1.55281ep-3f);
    const float p3 = VM_FMA_F(f, -0x1.df8ffp-4f, 0x1.03baf2p-3f);
    const float p4 = VM_FMA_F(f, -0x1.4a2e28p-5f, 0x1.7f8dd6p-4f);
    return z * VM_FMA_F(z, VM_FMA_F(z, VM_FMA_F(z, VM_FMA_F(z, p4, p3), p2), p1), p0);
}

VM_INLINE double vm_log_gap_d(double f) {
    const double s = f / (2.0 + f), z = s * s, zz = z * z;
    const double p0 = VM_FMA_D(z, 0x1.999999999aa6fp-2, 0x1.5555555555554p-1);
    const double p1 = VM_FMA_D(z, 0x1.c71c738e3acc3p-3, 0x1.2492492320fc5p-2);
    const double p2 = VM_FMA_D(z, 0x1.3b2f1a9929269p-3, 0x1.745c82bbcac4fp-3);
    const double p3 = VM_FMA_D(z, 0x1.18e591f975b63p-3, 0x1.0e34619a19bd6p-3);
    const double R = VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, p3, p2), p1), p0);
    return s * VM_FMA_D(-z, R, f);
}

/* log(1 + x) too, to the same accuracy. */
VM_INLINE float vm_log1p_and_gap_f(float x, float *gap) {
    float minus_k;
    const float f = vm_log1p_split_f(x, VM_THREE_HALVES_BITS_F, &minus_k), rest = vm_log_gap_f(f);
    *gap = rest + (VM_FMA_F(minus_k, VM_LN2_F, x) - f);
    return VM_FMA_F(minus_k, -VM_LN2_F, f - rest);
}

VM_INLINE double vm_log1p_and_gap_d(double x, double *gap) {
    double minus_k;
    const double f = vm_log1p_split_d(x, VM_THREE_HALVES_BITS_D, &minus_k), rest = vm_log_gap_d(f);
    *gap = rest + (VM_FMA_D(minus_k, VM_LN2_LO_D, VM_FMA_D(minus_k, VM_LN2_HI_D, x) - f));
    return VM_FMA_D(minus_k, -VM_LN2_D, f - rest);
}

VM_INLINE float vm_x_minus_log1p_f(float x) {
    float gap;
    vm_log1p_and_gap_f(x, &gap);
    return x < INFINITY ? gap : x;
}

VM_INLINE double vm_x_minus_log1p_d(double x) {
    double gap;
    vm_log1p_and_gap_d(x, &gap);
    return x < (double)INFINITY ? gap : x;
}

/* d - log x for normal x in (0, 1], where d = x - 1 is known better than x tells: f is from d, and from x only where it is so
 * small that x tells more. */
VM_INLINE float vm_gap_near_one_f(float x, float d) {
    const int32_t k = (int32_t)(VM_THREE_HALVES_BITS_F - vm_bits_f(x)) >> 23;
    const float minus_k = (float)k, s = vm_from_bits_f(((uint32_t)k << 23) + (127u << 23));
    const float f = VM_FMA_F(x < 0.375f ? x : d, s, x < 0.375f ? -1.0f : s - 1.0f);
    return vm_log_gap_f(f) + (VM_FMA_F(minus_k, VM_LN2_F, d) - f);
}

VM_INLINE double vm_gap_near_one_d(double x, double d) {
    const uint64_t biased = VM_THREE_HALVES_BITS_D + (1024ull << 52) - vm_bits_d(x);
    const double minus_k = vm_from_bits_d(biased >> 52 | 0x433ull << 52) - (0x1p52 + 1024);
    const double s = vm_from_bits_d((biased & 0xfff0000000000000ull) - (1ull << 52));
    const double f = VM_FMA_D(x < 0.375 ? x : d, s, x < 0.375 ? -1.0 : s - 1.0);
    return vm_log_gap_d(f) + (VM_FMA_D(minus_k, VM_LN2_LO_D, VM_FMA_D(minus_k, VM_LN2_HI_D, d) - f));
}

/* log(1 + e) for e in [0, 1], where no reduction is needed. float: e + e^2 Q(e), relative error 2^-27.5; the 2^-100
 * changes no result but keeps e^2 out of the subnormals, which are slow. double: as above, 2^-58.6. */
VM_INLINE float vm_log1p_01_f(float e) {
    const float z = VM_FMA_F(e, e, 0x1p-100f);
    const float p0 = VM_FMA_F(e, 0x1.554ddp-2f, -0x1.ffffd2p-2f);
    const float p1 = VM_FMA_F(e, 0x1.934b54p-3f, -0x1.ff23e6p-3f);
    const float p2 = VM_FMA_F(e, 0x1.b4ae08p-4f, -0x1.3a435ep-3f);
    const float p3 = VM_FMA_F(e, 0x1.4917cep-6f, -0x1.d6b08cp-5f);
    const float q = VM_FMA_F(z, VM_FMA_F(z, VM_FMA_F(z, VM_FMA_F(z, -0x1.af49cep-9f, p3), p2), p1), p0);
    return VM_FMA_F(e * q, e, e);
}

VM_INLINE double vm_log1p_01_d(double e) {
    const double s = e / (2.0 + e), z = s * s, zz = z * z;
    const double p0 = VM_FMA_D(z, 0x1.99999999a06c1p-2, 0x1.5555555555535p-1);
    const double p1 = VM_FMA_D(z, 0x1.c71c741a0654cp-3, 0x1.2492492091136p-2);
    const double p2 = VM_FMA_D(z, 0x1.3b1dd3ac9bb9ep-3, 0x1.745cb459b559dp-3);
    const double p3 = VM_FMA_D(z, 0x1.efd18d177ca39p-4, 0x1.10682edab764fp-3);
    const double p4 = VM_FMA_D(z, 0x1.5c5c21e9817a4p-3, 0x1.55cf594f61216p-4);
    const double R = VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, p4, p3), p2), p1), p0);
    return VM_FMA_D(-s, VM_FMA_D(-z, R, e), e);
}


/* ---- the logistic family ------------------------------------------------------------------------------------------
 *
 * All from e = exp(-abs(x)), so nothing cancels and nothing overflows. Written in one loop over one x, they share it.
 */
VM_INLINE float vm_sigmoid_f(float x) {
    const float e = vm_exp_nonpositive_f(-vm_fabs_f(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

VM_INLINE double vm_sigmoid_d(double x) {
    const double e = vm_exp_nonpositive_d(-vm_fabs_d(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

/* log(1 + e^x) = max(x, 0) + log(1 + e) */
VM_INLINE float vm_softplus_f(float x) {
    return vm_at_least_f(x, 0.0f) + vm_log1p_01_f(vm_exp_nonpositive_f(-vm_fabs_f(x)));
}

VM_INLINE double vm_softplus_d(double x) {
    return vm_at_least_d(x, 0.0) + vm_log1p_01_d(vm_exp_nonpositive_d(-vm_fabs_d(x)));
}

/* log(1 / (1 + e^-x)) = min(x, 0) - log(1 + e) */
VM_INLINE float vm_log_sigmoid_f(float x) {
    return vm_at_most_f(x, -0.0f) - vm_log1p_01_f(vm_exp_nonpositive_f(-vm_fabs_f(x)));
}

VM_INLINE double vm_log_sigmoid_d(double x) {
    return vm_at_most_d(x, -0.0) - vm_log1p_01_d(vm_exp_nonpositive_d(-vm_fabs_d(x)));
}


/* ---- the hyperbolic family -----------------------------------------------------------------------------------------
 *
 * From x and e = exp_nonpositive(-2 abs(x)), which the caller computes: in a loop of its own, if that is faster, and
 * once for both. Where the terms would cancel, a polynomial in x^2 takes over.
 *
 * log cosh x = abs(x) + log(1 + e) - ln2, or x^2/2 + x^4 P(x^2); relative error 2^-27.6 and 2^-57.3.
 */
VM_INLINE float vm_log_cosh_f(float x, float e) {
    const float y = vm_fabs_f(x), z = y * y, zz = z * z;
    const float p0 = VM_FMA_F(z, 0x1.6c012ap-6f, -0x1.55552p-4f);
    const float p1 = VM_FMA_F(z, 0x1.08d818p-9f, -0x1.b73d4p-8f);
    const float p = VM_FMA_F(zz, VM_FMA_F(zz, -0x1.c703f4p-12f, p1), p0);
    const float large = (y - VM_LN2_HI_F) + (vm_log1p_01_f(e) - VM_LN2_LO_F);
    return y < 0.75f ? VM_FMA_F(zz, p, 0.5f * z) : large;
}

VM_INLINE double vm_log_cosh_d(double x, double e) {
    const double y = vm_fabs_d(x), z = y * y, zz = z * z;
    const double p0 = VM_FMA_D(z, 0x1.6c16c16c1686cp-6, -0x1.5555555555554p-4);
    const double p1 = VM_FMA_D(z, 0x1.1ea5d392e53cfp-9, -0x1.ba1ba1b9ee1ecp-8);
    const double p2 = VM_FMA_D(z, 0x1.0d0b2b66d365ep-12, -0x1.833d9a6e0b9c7p-11);
    const double p3 = VM_FMA_D(z, 0x1.12d4d99efe81dp-15, -0x1.7d9f672b4f561p-14);
    const double p4 = VM_FMA_D(z, 0x1.1f480cc6fe953p-18, -0x1.8f5f615e7d14fp-17);
    const double p5 = VM_FMA_D(z, 0x1.9de250fd839a7p-22, -0x1.812888995425dp-20);
    const double q = VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, -0x1.f6252bf1d2d6cp-25, p5), p4), p3);
    const double p = VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, q, p2), p1), p0);
    const double large = (y - VM_LN2_HI_D) + (vm_log1p_01_d(e) - VM_LN2_LO_D);
    return y < 0.75 ? VM_FMA_D(zz, p, 0.5 * z) : large;
}

/* tanh x = (1 - e) / (1 + e), or x + x^3 P(x^2); relative error 2^-30.7 and 2^-56.4. */
VM_INLINE float vm_tanh_from_f(float x, float e) {
    const float y = vm_fabs_f(x), z = y * y;
    const float p0 = VM_FMA_F(z, 0x1.110b6ep-3f, -0x1.55554cp-2f);
    const float p1 = VM_FMA_F(z, 0x1.3d15eep-6f, -0x1.b7fa5ap-5f);
    const float small = VM_FMA_F(y * z, VM_FMA_F(z * z, p1, p0), y);
    return vm_copysign_f(y < 0.3515625f ? small : (1.0f - e) / (1.0f + e), x);
}

VM_INLINE double vm_tanh_from_d(double x, double e) {
    const double y = vm_fabs_d(x), z = y * y, zz = z * z;
    const double p0 = VM_FMA_D(z, 0x1.11111110fcc3p-3, -0x1.55555555554b7p-2);
    const double p1 = VM_FMA_D(z, 0x1.664f3ecdfc363p-6, -0x1.ba1ba19d95c6cp-5);
    const double p2 = VM_FMA_D(z, 0x1.d66c28ae53848p-9, -0x1.226c60545ddc9p-7);
    const double p3 = VM_FMA_D(z, 0x1.f0b4d4a9895f5p-12, -0x1.76ef47260ab0bp-10);
    const double small = VM_FMA_D(y * z, VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, p3, p2), p1), p0), y);
    return vm_copysign_d(y < 0.3515625 ? small : (1.0 - e) / (1.0 + e), x);
}


/* ---- pow -----------------------------------------------------------------------------------------------------------
 *
 * x^y = e^(y log x). An error of log x grows by y, so it is computed with more bits than the type has: float in double,
 * double as the sum of two. With s as in log: log(1 + f) = 2 s + s^3 R(s^2).
 */
VM_INLINE float vm_pow_ends_f(float x, float y, float result) {
    const float end = y == 0.0f && x == x ? 1.0f : x;
    return x > 0.0f && x < INFINITY ? result : end;
}

VM_INLINE double vm_pow_ends_d(double x, double y, double result) {
    const double end = y == 0.0 && x == x ? 1.0 : x;
    return x > 0.0 && x < (double)INFINITY ? result : end;
}

/* x^y for x in [0, inf] and finite y >= 0. Relative error of the logarithm: 2^-37.6. */
VM_INLINE float vm_pow_f(float x, float y) {
    float minus_k;
    const double f = vm_log_split_f(x, &minus_k) - 1.0f;
    const double s = f / (2.0 + f), z = s * s;
    const double p0 = VM_FMA_D(z, 0x1.999a7a1e1f992p-2, 0x1.555554fddf8bap-1);
    const double p1 = VM_FMA_D(z, 0x1.e2f2e04da4735p-3, 0x1.2438f0c3fa99fp-2);
    const double log_x = VM_FMA_D(minus_k, -VM_LN2_D, VM_FMA_D(s * z, VM_FMA_D(z * z, p1, p0), s + s));
    const double product = y * log_x;
    const float high = (float)product;
    return vm_pow_ends_f(x, y, vm_exp_sum_f(high, (float)(product - high)));
}

/* log(1 + f) - k ln2 as a sum: the result and `low`, below 2^-44 max(k, 1). So are s, s^2, R = 2/3 + s^2 P(s^2) and
 * their products. Relative error of the sum: about 2^-64. */
VM_INLINE double vm_log_reduced_twice_d(double f, double minus_k, double *low) {
    const double d = 2.0 + f, inverse = 1.0 / d;
    const double s = f * inverse, sd = s * d;
    const double s_low = inverse * (((f - sd) - vm_product_error_d(s, d, sd)) - s * (f - (d - 2.0)));
    const double z = s * s, zz = z * z;
    const double z_low = VM_FMA_D(s + s, s_low, vm_product_error_d(s, s, z));
    const double p0 = VM_FMA_D(z, 0x1.2492492457fa9p-2, 0x1.9999999999b2fp-2);
    const double p1 = VM_FMA_D(z, 0x1.745ce9f3d8acap-3, 0x1.c71c722d34bb4p-3);
    const double p2 = VM_FMA_D(z, 0x1.0f802b658c7e2p-3, 0x1.3b1ee926985fbp-3);
    const double p = VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, 0x1.0e4056d1e0b82p-3, p2), p1), p0);
    const double zp = z * p;
    const double R = 0x1.5555555555555p-1 + zp;
    const double R_low = ((0x1.5555555555555p-1 - R) + zp) + 0x1.5555555555555p-55;
    const double t = z * R;
    const double t_low = VM_FMA_D(z, R_low, VM_FMA_D(z_low, R, vm_product_error_d(z, R, t)));
    const double u = s * t;
    const double u_low = VM_FMA_D(s, t_low, VM_FMA_D(s_low, t, vm_product_error_d(s, t, u)));
    const double a = minus_k * -VM_LN2_HI_D, b = s + s;
    const double ab = a + b, result = ab + u;
    *low = (((a - ab) + b) + ((ab - result) + u)) + VM_FMA_D(minus_k, -VM_LN2_LO_D, VM_FMA_D(2.0, s_low, u_low));
    return result;
}

VM_INLINE double vm_pow_d(double x, double y) {
    double minus_k, low;
    const double m = vm_log_split_d(x, &minus_k);
    const double log_x = vm_log_reduced_twice_d(m - 1.0, minus_k, &low);
    const double product = y * log_x;
    return vm_pow_ends_d(x, y, vm_exp_sum_d(product, VM_FMA_D(y, low, vm_product_error_d(y, log_x, product))));
}


/* ---- log gamma -----------------------------------------------------------------------------------------------------
 *
 * log(abs(Gamma(1 + t))), of t because 1 + t would round away the digits near the zeros, t = 0 and t = 1.
 *   - t in [-1/2, 5/2): t (t - 1) (7/16 + P(t + 1/2) / Q(t + 1/2)), so both zeros are exact. Relative
 *     error 2^-54.7.
 *   - t >= 5/2: Stirling's t (log t - 1) + log(t) / 2 + log(2 pi) / 2 + C(1 / t^2) / t. Relative error 2^-58.9.
 *   - t < -1/2: Euler's reflection, Gamma(1 + t) Gamma(-t) = -pi / sin(pi t).
 */
VM_INLINE double vm_lgamma1p_small_d(double t) {
    const double x = t + 0.5, z = x * x;
    const double p0 = VM_FMA_D(x, 0x1.bbd993d6ada78p+0, 0x1.4d780c269af4dp-2);
    const double p1 = VM_FMA_D(x, 0x1.0ebba7a1bf1bcp+1, 0x1.9dfeca1922b52p+1);
    const double p2 = VM_FMA_D(x, -0x1.6d003b9e750b8p+0, -0x1.2ec210ea1eddcp-1);
    const double p3 = VM_FMA_D(x, -0x1.efccdd6e37446p-4, -0x1.52b8026503e03p-1);
    const double p4 = VM_FMA_D(x, -0x1.305a35ffbe27ap-13, -0x1.0e5f6e853b0c1p-7);
    const double q0 = VM_FMA_D(x, 0x1.c74d421fa6a34p+2, 1.0);
    const double q1 = VM_FMA_D(x, 0x1.ea939d98e5d3cp+4, 0x1.47652e002241cp+4);
    const double q2 = VM_FMA_D(x, 0x1.877c1411c7f0ep+3, 0x1.9c5300d71289fp+4);
    const double q3 = VM_FMA_D(x, 0x1.a0b1d1f9e820ep-2, 0x1.9463ff47936bp+1);
    const double q4 = VM_FMA_D(x, 0x1.61145058d6cep-12, 0x1.68fd1203bc232p-6);
    const double P = VM_FMA_D(z, VM_FMA_D(z, VM_FMA_D(z, VM_FMA_D(z, p4, p3), p2), p1), p0);
    const double Q = VM_FMA_D(z, VM_FMA_D(z, VM_FMA_D(z, VM_FMA_D(z, q4, q3), q2), q1), q0);
    return VM_FMA_D(t * (t - 1.0), 0.4375 + P / Q, 0.0); /* 0 and not -0 at t = 0 */
}

VM_INLINE double vm_lgamma1p_large_d(double t) {
    double minus_k, low;
    const double m = vm_log_split_d(t, &minus_k);
    const double log_t = vm_log_reduced_twice_d(m - 1.0, minus_k, &low);
    const double u = 1.0 / t, v = u * u, w = v * v;
    const double c0 = VM_FMA_D(v, -0x1.6c16c1680e14dp-9, 0x1.55555555553ffp-4);
    const double c1 = VM_FMA_D(v, -0x1.3810e96434aedp-11, 0x1.a019f8ab87f6dp-11);
    const double c2 = VM_FMA_D(v, -0x1.efd2799b2fc65p-10, 0x1.b8dcf5901f8f3p-11);
    const double c3 = VM_FMA_D(v, -0x1.548f31bd79f8ep-6, 0x1.7fd11c4af85f5p-8);
    const double c4 = VM_FMA_D(v, -0x1.72c5a3c846dadp-3, 0x1.1bab9fb0d411bp-4);
    const double c5 = VM_FMA_D(v, -0x1.009fe63bc0516p-2, 0x1.3ca9c4ef3186ap-2);
    const double C = VM_FMA_D(w, VM_FMA_D(w, VM_FMA_D(w, VM_FMA_D(w, VM_FMA_D(w, c5, c4), c3), c2), c1), c0);
    const double rest = VM_FMA_D(0.5, log_t, VM_FMA_D(u, C, 0x1.d67f1c864beb5p-1));
    const double result = VM_FMA_D(t, log_t - 1.0, VM_FMA_D(t + 0.5, low, rest));
    return t < (double)INFINITY ? result : t;
}

/* log(abs(sin(pi y)) / pi) for y in [1/2, 2^52] */
VM_INLINE double vm_log_sine_d(double y) {
    const double r = y - ((y + 0x1p52) - 0x1p52), z = r * r, zz = z * z;
    const double s0 = VM_FMA_D(z, -0x1.a51a6625307d3p+0, 1.0);
    const double s1 = VM_FMA_D(z, -0x1.86a8e4720895ep-3, 0x1.9f9cb402bc3f2p-1);
    const double s2 = VM_FMA_D(z, -0x1.3381696cda13ep-9, 0x1.ac6805cbdb0f5p-6);
    const double s3 = VM_FMA_D(z, -0x1.d3e33576d30a5p-18, 0x1.374695b206e7dp-13);
    const double s4 = 0x1.070f411880ca1p-22;
    return vm_log_d(vm_fabs_d(r) * VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, VM_FMA_D(zz, s4, s3), s2), s1), s0));
}

VM_INLINE double vm_lgamma1p_d(double t) {
    const double a = t < -0.5 ? -1.0 - t : t;
    const double direct = a < 2.5 ? vm_lgamma1p_small_d(a) : vm_lgamma1p_large_d(a);
    const double reflected = t > -0x1p52 ? -vm_log_sine_d(-t) - direct : (double)INFINITY;
    return t < -0.5 ? reflected : direct;
}

VM_INLINE float vm_lgamma1p_f(float t) { return (float)vm_lgamma1p_d(t); }


/* ---- across lanes --------------------------------------------------------------------------------------------------
 *
 * The sum and the maximum of 32 numbers side by side, where a loop over vectors ends. With vector types (of GCC and
 * clang), because left to itself the compiler may take the numbers one by one, which lasts longer than a short loop.
 */
typedef double vm_double8 __attribute__((vector_size(64)));
typedef double vm_double4 __attribute__((vector_size(32)));
typedef double vm_double2 __attribute__((vector_size(16)));
typedef float vm_float8 __attribute__((vector_size(32)));
typedef int64_t vm_long8 __attribute__((vector_size(64)));
typedef int32_t vm_int8 __attribute__((vector_size(32)));

VM_INLINE double vm_sum_lanes(const double *x) {
    vm_double8 a, b, c, d;
    vm_double4 half[2];
    vm_double2 quarter[2];
    memcpy(&a, x, sizeof a);
    memcpy(&b, x + 8, sizeof b);
    memcpy(&c, x + 16, sizeof c);
    memcpy(&d, x + 24, sizeof d);
    a = (a + b) + (c + d);
    memcpy(half, &a, sizeof a);
    half[0] += half[1];
    memcpy(quarter, half, sizeof quarter);
    quarter[0] += quarter[1];
    return quarter[0][0] + quarter[0][1];
}

/* max(a, b) lane by lane; the conditional operator is not for vectors in C. */
#define VM_MAX8(type, bits, a, b) ((type)(((bits)(a) & ((a) > (b))) | ((bits)(b) & ~((a) > (b)))))
#define VM_MAX(a, b) ((a) > (b) ? (a) : (b))

VM_INLINE float vm_max_lanes_f(const float *x) {
    vm_float8 a[4];
    memcpy(a, x, sizeof a);
    a[0] = VM_MAX8(vm_float8, vm_int8, a[0], a[1]);
    a[2] = VM_MAX8(vm_float8, vm_int8, a[2], a[3]);
    a[0] = VM_MAX8(vm_float8, vm_int8, a[0], a[2]);
    const float p = VM_MAX(a[0][0], a[0][1]), q = VM_MAX(a[0][2], a[0][3]);
    const float r = VM_MAX(a[0][4], a[0][5]), s = VM_MAX(a[0][6], a[0][7]);
    const float t = VM_MAX(p, q), u = VM_MAX(r, s);
    return VM_MAX(t, u);
}

VM_INLINE double vm_max_lanes_d(const double *x) {
    vm_double8 a[4];
    memcpy(a, x, sizeof a);
    a[0] = VM_MAX8(vm_double8, vm_long8, a[0], a[1]);
    a[2] = VM_MAX8(vm_double8, vm_long8, a[2], a[3]);
    a[0] = VM_MAX8(vm_double8, vm_long8, a[0], a[2]);
    const double p = VM_MAX(a[0][0], a[0][1]), q = VM_MAX(a[0][2], a[0][3]);
    const double r = VM_MAX(a[0][4], a[0][5]), s = VM_MAX(a[0][6], a[0][7]);
    const double t = VM_MAX(p, q), u = VM_MAX(r, s);
    return VM_MAX(t, u);
}


/* y[j * y_stride + i] = x[i * x_stride + j] for i and j below 4; loops would take the numbers one by one. */
typedef float vm_float4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t vm_int4 __attribute__((vector_size(16)));
typedef double vm_double2u __attribute__((vector_size(16), aligned(8), may_alias));
typedef int64_t vm_long2 __attribute__((vector_size(16)));

#if defined(__clang__) || __GNUC__ >= 12
#define VM_SHUFFLE(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define VM_SHUFFLE(mask, a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

VM_INLINE void vm_transpose4_f(const float *x, ptrdiff_t x_stride, float *y, ptrdiff_t y_stride) {
    const vm_float4 a = *(const vm_float4 *)x, b = *(const vm_float4 *)(x + x_stride);
    const vm_float4 c = *(const vm_float4 *)(x + 2 * x_stride), d = *(const vm_float4 *)(x + 3 * x_stride);
    const vm_float4 p = VM_SHUFFLE(vm_int4, a, b, 0, 4, 1, 5), q = VM_SHUFFLE(vm_int4, a, b, 2, 6, 3, 7);
    const vm_float4 r = VM_SHUFFLE(vm_int4, c, d, 0, 4, 1, 5), s = VM_SHUFFLE(vm_int4, c, d, 2, 6, 3, 7);
    *(vm_float4 *)y = VM_SHUFFLE(vm_int4, p, r, 0, 1, 4, 5);
    *(vm_float4 *)(y + y_stride) = VM_SHUFFLE(vm_int4, p, r, 2, 3, 6, 7);
    *(vm_float4 *)(y + 2 * y_stride) = VM_SHUFFLE(vm_int4, q, s, 0, 1, 4, 5);
    *(vm_float4 *)(y + 3 * y_stride) = VM_SHUFFLE(vm_int4, q, s, 2, 3, 6, 7);
}

/* In pairs: without AVX, GCC takes vectors of four doubles apart. */
VM_INLINE void vm_transpose2_d(const double *x, ptrdiff_t x_stride, double *y, ptrdiff_t y_stride) {
    const vm_double2u a = *(const vm_double2u *)x, b = *(const vm_double2u *)(x + x_stride);
    *(vm_double2u *)y = VM_SHUFFLE(vm_long2, a, b, 0, 2);
    *(vm_double2u *)(y + y_stride) = VM_SHUFFLE(vm_long2, a, b, 1, 3);
}

VM_INLINE void vm_transpose4_d(const double *x, ptrdiff_t x_stride, double *y, ptrdiff_t y_stride) {
    vm_transpose2_d(x, x_stride, y, y_stride);
    vm_transpose2_d(x + 2, x_stride, y + 2 * y_stride, y_stride);
    vm_transpose2_d(x + 2 * x_stride, x_stride, y + 2, y_stride);
    vm_transpose2_d(x + 2 * x_stride + 2, x_stride, y + 2 * y_stride + 2, y_stride);
}

#endif
