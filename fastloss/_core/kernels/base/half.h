/* Half precision: float16 and bfloat16, by their bits, to float and back.
 *
 * Straight-line code on 32-bit integers, as in vecmath.h: loops over it become vector code at every CPU level. To half,
 * numbers are rounded to the nearest, ties to even. Subnormal numbers and infinities are right to the bit, whether or
 * not the processor flushes subnormal floats to zero. A NaN stays a NaN with its sign.
 *
 * Reading matter: F. Giesen, "Float->half conversions" (float16 by two selects).
 */
#ifndef FASTLOSS_HALF_H
#define FASTLOSS_HALF_H

#include "vecmath.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

/* The exponent bits of a float of 2^n. */
#define VM_POWER_F(n) ((n + 127) << 23)

VM_INLINE float vm_from_float16(uint16_t half) {
    const int32_t bits = (half & 0x7fff) << 13;
    const int32_t normal = bits + VM_POWER_F(112 - 127);
    const int32_t special = normal + VM_POWER_F(112 - 127); /* inf and NaN */
    const float subnormal = vm_from_bits_f((uint32_t)(bits + VM_POWER_F(-14))) - 0x1p-14f;
    const int32_t low = (int32_t)vm_bits_f(subnormal);
    const int32_t finite = bits < 1 << 23 ? low : normal;
    const int32_t result = bits >= 31 << 23 ? special : finite;
    return vm_from_bits_f((uint32_t)result | (uint32_t)(half & 0x8000) << 16);
}

VM_INLINE float vm_from_bfloat16(uint16_t half) { return vm_from_bits_f((uint32_t)half << 16); }

VM_INLINE uint16_t vm_to_float16(float x) {
    const uint32_t sign = vm_bits_f(x) >> 16 & 0x8000;
    const int32_t bits = (int32_t)(vm_bits_f(x) & 0x7fffffff);
    /* Adding 1/2 rounds to multiples of 2^-24, and leaves the result in the low bits. */
    const float shifted = vm_from_bits_f((uint32_t)bits) + 0.5f;
    const int32_t low = (int32_t)vm_bits_f(shifted) - VM_POWER_F(-1);
    const int32_t normal = (bits - VM_POWER_F(112 - 127) + 0xfff + (bits >> 13 & 1)) >> 13; /* may round up to inf */
    const int32_t special = bits > 0x7f800000 ? 0x7e00 : 0x7c00;
    const int32_t finite = bits < VM_POWER_F(-14) ? low : normal;
    const int32_t result = bits >= VM_POWER_F(16) ? special : finite;
    return (uint16_t)((uint32_t)result | sign);
}

/* n numbers at once. The processor's own conversions take a tenth of the time of those above, and GCC 12 does not
 * vectorise loops over _Float16. */
VM_INLINE void vm_load_float16(const uint16_t *half, float *x, ptrdiff_t n) {
    ptrdiff_t i = 0;
#ifdef __AVX512F__
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(x + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(half + i))));
#endif
#ifdef __F16C__
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(half + i))));
#endif
    for (; i < n; i++) x[i] = vm_from_float16(half[i]);
}

VM_INLINE void vm_store_float16(const float *x, uint16_t *half, ptrdiff_t n) {
    ptrdiff_t i = 0;
#ifdef __AVX512F__
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(half + i), _mm512_cvtps_ph(_mm512_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
#ifdef __F16C__
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(half + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; i++) half[i] = vm_to_float16(x[i]);
}

VM_INLINE uint16_t vm_to_bfloat16(float x) {
    const uint32_t bits = vm_bits_f(x);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16; /* may round up to inf */
    return (uint16_t)((int32_t)(bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
}

#endif
