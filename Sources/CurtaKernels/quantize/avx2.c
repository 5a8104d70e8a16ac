// Blocks, squares and codes of activations with AVX2.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../arithmetic.h"
#include "../avx2.h"

CURTA_AVX2 void curta_centre__avx2(const int32_t *x, uint32_t n, int32_t *y) {
  __m256i lanes = _mm256_setzero_si256();
  uint32_t i = 0;
  for (; n - i >= 8; i += 8)
    lanes = _mm256_add_epi64(lanes, widened(load256(x + i)));
  int64_t sum = sum_of_i64(lanes);
  for (; i < n; i++)
    sum += x[i];
  const int32_t mean = (int32_t)curta_floor_divide(2 * sum + n, 2 * (int64_t)n);
  // Cut off before the difference, which is then within int32.
  const int32_t least = mean > 0 ? mean - INT32_MAX : -INT32_MAX;
  const int32_t most = mean < 0 ? mean + INT32_MAX : INT32_MAX;
  const __m256i low = _mm256_set1_epi32(least), high = _mm256_set1_epi32(most);
  for (i = 0; n - i >= 8; i += 8) {
    const __m256i cut = _mm256_min_epi32(_mm256_max_epi32(load256(x + i), low), high);
    store256(y + i, _mm256_sub_epi32(cut, _mm256_set1_epi32(mean)));
  }
  for (; i < n; i++)
    y[i] = curta_clamp32((int64_t)x[i] - mean);
}

CURTA_AVX2 uint32_t curta_maxabs_i32__avx2(const int32_t *x, uint32_t n) {
  __m256i most = _mm256_setzero_si256();
  uint32_t i = 0;
  for (; n - i >= 8; i += 8)
    most = _mm256_max_epu32(most, _mm256_abs_epi32(load256(x + i)));
  const uint32_t a = largest_u32(most), b = curta_maxabs_i32__scalar(x + i, n - i);
  return a > b ? a : b;
}

/// round(x, s) = (x >> s) + the bit below, which cannot overflow as x + 2^(s-1) can.
CURTA_AVX2_INLINE __m256i rounded(__m256i x, __m256i s, __m256i below, __m256i one) {
  const __m256i bit = _mm256_and_si256(_mm256_srav_epi32(x, below), one);
  return _mm256_add_epi32(_mm256_srav_epi32(x, s), bit);
}

CURTA_AVX2 void curta_narrow__avx2(const int32_t *x, uint32_t n, uint32_t s, int16_t *y) {
  const __m256i shift = _mm256_set1_epi32((int32_t)s);
  const __m256i below = _mm256_set1_epi32((int32_t)s - (s != 0));
  const __m256i one = _mm256_set1_epi32(s != 0), least = _mm256_set1_epi16(-32767);
  uint32_t i = 0;
  for (; n - i >= 16; i += 16) {
    const __m256i a = rounded(load256(x + i), shift, below, one);
    const __m256i b = rounded(load256(x + i + 8), shift, below, one);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
    store256(y + i, _mm256_max_epi16(packed, least));
  }
  curta_narrow__scalar(x + i, n - i, s, y + i);
}

CURTA_AVX2 uint64_t curta_sum_squares__avx2(const int16_t *y, uint32_t n) {
  const __m256i low = _mm256_set1_epi64x(0xFFFFFFFF);
  __m256i sum = _mm256_setzero_si256();
  uint32_t i = 0;
  for (; n - i >= 16; i += 16) {
    const __m256i v = load256(y + i);
    const __m256i pairs = _mm256_madd_epi16(v, v); // uint32: 2 * 32768^2 is 2^31
    sum = _mm256_add_epi64(sum, _mm256_and_si256(pairs, low));
    sum = _mm256_add_epi64(sum, _mm256_srli_epi64(pairs, 32));
  }
  return (uint64_t)sum_of_i64(sum) + curta_sum_squares__scalar(y + i, n - i);
}

CURTA_AVX2 void curta_multiply__avx2(const int16_t *a, const int16_t *b, uint32_t n, int32_t *t) {
  uint32_t i = 0;
  for (; n - i >= 8; i += 8) { // VPMADDWD of (a, 0) and (b, 0)
    const __m256i x = _mm256_cvtepu16_epi32(load128(a + i));
    const __m256i y = _mm256_cvtepu16_epi32(load128(b + i));
    store256(t + i, _mm256_madd_epi16(x, y));
  }
  curta_multiply__scalar(a + i, b + i, n - i, t + i);
}

CURTA_AVX2 uint32_t curta_product_bits__avx2(const int32_t *x, const int16_t *c, uint32_t n) {
  __m256i any = _mm256_setzero_si256();
  uint32_t i = 0;
  for (; n - i >= 8; i += 8) { // VPMULUDQ of the even lanes, then of the odd ones
    const __m256i a = _mm256_abs_epi32(load256(x + i));
    const __m256i b = _mm256_abs_epi32(_mm256_cvtepi16_epi32(load128(c + i)));
    const __m256i even = _mm256_mul_epu32(a, b);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    any = _mm256_or_si256(any, _mm256_or_si256(even, odd));
  }
  const __m128i half = _mm_or_si128(low128(any), high128(any));
  const __m128i all = _mm_or_si128(half, _mm_unpackhi_epi64(half, half));
  const uint32_t a = curta_bits((uint64_t)_mm_cvtsi128_si64(all));
  const uint32_t b = curta_product_bits__scalar(x + i, c + i, n - i);
  return a > b ? a : b;
}

/// round(x * c, s) of eight, which fits int32: the low halves of logical shifts.
CURTA_AVX2_INLINE __m256i rounded_product(const int32_t *x, const int16_t *c, __m256i half,
                                          __m128i s) {
  const __m256i a = load256(x), b = _mm256_cvtepi16_epi32(load128(c));
  const __m256i even = _mm256_mul_epi32(a, b);
  const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
  const __m256i low = _mm256_srl_epi64(_mm256_add_epi64(even, half), s);
  const __m256i high = _mm256_srl_epi64(_mm256_add_epi64(odd, half), s);
  return _mm256_blend_epi32(low, _mm256_slli_epi64(high, 32), 0xAA);
}

CURTA_AVX2 void curta_narrow_product__avx2(const int32_t *x, const int16_t *c, uint32_t n,
                                           uint32_t s, int16_t *y) {
  const __m256i half = _mm256_set1_epi64x(s ? (int64_t)1 << (s - 1) : 0);
  const __m128i shift = _mm_cvtsi32_si128((int32_t)s);
  const __m256i least = _mm256_set1_epi16(-32767);
  uint32_t i = 0;
  for (; n - i >= 16; i += 16) {
    const __m256i a = rounded_product(x + i, c + i, half, shift);
    const __m256i b = rounded_product(x + i + 8, c + i + 8, half, shift);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
    store256(y + i, _mm256_max_epi16(packed, least));
  }
  curta_narrow_product__scalar(x + i, c + i, n - i, s, y + i);
}

CURTA_AVX2 void curta_block_sums__avx2(const int8_t *q, uint32_t n, int16_t *sums) {
  const __m256i flip = _mm256_set1_epi8(-128), zero = _mm256_setzero_si256();
  for (uint32_t j = 0; j < n / 32; j++) { // of q + 128, as bytes
    const __m256i x = _mm256_xor_si256(load256(q + (size_t)j * 32), flip);
    sums[j] = (int16_t)(sum_of_i64(_mm256_sad_epu8(x, zero)) - 32 * 128);
  }
}

#endif
