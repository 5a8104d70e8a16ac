// Blocks of activations with AVX-512.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../arithmetic.h"
#include "../avx512.h"

CURTA_AVX512 void curta_centre__avx512vnni(const int32_t *x, uint32_t n, int32_t *y) {
  __m512i lanes = _mm512_setzero_si512();
  uint32_t i = 0;
  for (; n - i >= 16; i += 16)
    lanes = _mm512_add_epi64(lanes, widened512(load512(x + i)));
  int64_t sum = _mm512_reduce_add_epi64(lanes);
  for (; i < n; i++)
    sum += x[i];
  const int32_t mean = (int32_t)curta_floor_divide(2 * sum + n, 2 * (int64_t)n);
  // Cut off before the difference, which is then within int32.
  const __m512i low = _mm512_set1_epi32(mean > 0 ? mean - INT32_MAX : -INT32_MAX);
  const __m512i high = _mm512_set1_epi32(mean < 0 ? mean + INT32_MAX : INT32_MAX);
  for (i = 0; n - i >= 16; i += 16) {
    const __m512i cut = _mm512_min_epi32(_mm512_max_epi32(load512(x + i), low), high);
    store512(y + i, _mm512_sub_epi32(cut, _mm512_set1_epi32(mean)));
  }
  for (; i < n; i++)
    y[i] = curta_clamp32((int64_t)x[i] - mean);
}

CURTA_AVX512 uint32_t curta_maxabs_i32__avx512vnni(const int32_t *x, uint32_t n) {
  __m512i most = _mm512_setzero_si512();
  uint32_t i = 0;
  for (; n - i >= 16; i += 16)
    most = _mm512_max_epu32(most, _mm512_abs_epi32(load512(x + i)));
  const __mmask16 rest = (__mmask16)((1u << (n - i)) - 1);
  most = _mm512_max_epu32(most, _mm512_abs_epi32(_mm512_maskz_loadu_epi32(rest, x + i)));
  return (uint32_t)_mm512_reduce_max_epu32(most);
}

/// round(x, s) = (x >> s) + the bit below, which cannot overflow as x + 2^(s-1) can.
CURTA_AVX512_INLINE __m512i rounded(__m512i x, __m128i s, __m128i below, __m512i one) {
  const __m512i bit = _mm512_and_si512(_mm512_sra_epi32(x, below), one);
  return _mm512_add_epi32(_mm512_sra_epi32(x, s), bit);
}

CURTA_AVX512 void curta_narrow__avx512vnni(const int32_t *x, uint32_t n, uint32_t s, int16_t *y) {
  const __m128i shift = _mm_cvtsi32_si128((int32_t)s);
  const __m128i below = _mm_cvtsi32_si128((int32_t)s - (s != 0));
  const __m512i one = _mm512_set1_epi32(s != 0);
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  uint32_t i = 0;
  for (; n - i >= 32; i += 32) {
    const __m512i a = rounded(load512(x + i), shift, below, one);
    const __m512i b = rounded(load512(x + i + 16), shift, below, one);
    const __m512i packed = _mm512_permutexvar_epi64(order, _mm512_packs_epi32(a, b));
    store512(y + i, _mm512_max_epi16(packed, _mm512_set1_epi16(-32767)));
  }
  curta_narrow__avx2(x + i, n - i, s, y + i);
}

CURTA_AVX512 uint32_t curta_product_bits__avx512vnni(const int32_t *x, const int16_t *c,
                                                     uint32_t n) {
  __m512i any = _mm512_setzero_si512();
  uint32_t i = 0;
  for (; n - i >= 16; i += 16) { // VPMULUDQ of the even lanes, then of the odd ones
    const __m512i a = _mm512_abs_epi32(load512(x + i));
    const __m512i b = _mm512_abs_epi32(_mm512_cvtepi16_epi32(load256(c + i)));
    const __m512i even = _mm512_mul_epu32(a, b);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
    any = _mm512_ternarylogic_epi64(any, even, odd, 0xFE); // of all three
  }
  const uint32_t a = curta_bits((uint64_t)_mm512_reduce_or_epi64(any));
  const uint32_t b = curta_product_bits__scalar(x + i, c + i, n - i);
  return a > b ? a : b;
}

/// round(x * c, s) of sixteen, which fits int32: the low halves of logical shifts.
CURTA_AVX512_INLINE __m512i rounded_product(const int32_t *x, const int16_t *c, __m512i half,
                                            __m128i s) {
  const __m512i a = load512(x), b = _mm512_cvtepi16_epi32(load256(c));
  const __m512i even = _mm512_mul_epi32(a, b);
  const __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
  const __m512i low = _mm512_srl_epi64(_mm512_add_epi64(even, half), s);
  const __m512i high = _mm512_srl_epi64(_mm512_add_epi64(odd, half), s);
  return _mm512_mask_blend_epi32(0xAAAA, low, _mm512_slli_epi64(high, 32));
}

CURTA_AVX512 void curta_narrow_product__avx512vnni(const int32_t *x, const int16_t *c, uint32_t n,
                                                   uint32_t s, int16_t *y) {
  const __m512i half = _mm512_set1_epi64(s ? (int64_t)1 << (s - 1) : 0);
  const __m128i shift = _mm_cvtsi32_si128((int32_t)s);
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  uint32_t i = 0;
  for (; n - i >= 32; i += 32) {
    const __m512i a = rounded_product(x + i, c + i, half, shift);
    const __m512i b = rounded_product(x + i + 16, c + i + 16, half, shift);
    const __m512i packed = _mm512_permutexvar_epi64(order, _mm512_packs_epi32(a, b));
    store512(y + i, _mm512_max_epi16(packed, _mm512_set1_epi16(-32767)));
  }
  curta_narrow_product__avx2(x + i, c + i, n - i, s, y + i);
}

#endif
