// What the AVX2 variants share: the function attribute, loads and stores, sums of lanes.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX2_H
#define CURTA_AVX2_H

#include "unroll.h"
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define CURTA_AVX2 __attribute__((target("avx2")))
#define CURTA_AVX2_INLINE static inline __attribute__((always_inline, target("avx2")))

/// Fetches weights well before one token meets them. Left alone a processor fetches them so late
/// that its memory waits for the products: 0.78 of what it can read, 0.87 with 2 560 bytes, 0.94
/// with 6 144 and 0.92 with 16 384 (nibbles, Zen 5).
static inline __attribute__((always_inline)) void fetch_ahead(const void *p) {
  enum { BYTES = 6144 };
  __builtin_prefetch((const char *)p + BYTES);
}

CURTA_AVX2_INLINE __m256i load256(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
CURTA_AVX2_INLINE __m128i load128(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
CURTA_AVX2_INLINE void store256(void *p, __m256i x) { _mm256_storeu_si256((__m256i *)p, x); }
CURTA_AVX2_INLINE void store128(void *p, __m128i x) { _mm_storeu_si128((__m128i *)p, x); }

CURTA_AVX2_INLINE __m128i low128(__m256i x) { return _mm256_castsi256_si128(x); }
CURTA_AVX2_INLINE __m128i high128(__m256i x) { return _mm256_extracti128_si256(x, 1); }

/// Byte k of a shuffle, as the four int16 of an int64.
#define HALF(k) (int64_t)(0x8000800080008000 | (uint64_t)(k)*0x0001000100010001)

/// Sum of the eight int32 lanes, which must fit int32.
CURTA_AVX2_INLINE int32_t sum_of_i32(__m256i x) {
  __m128i a = _mm_add_epi32(low128(x), high128(x));
  a = _mm_add_epi32(a, _mm_unpackhi_epi64(a, a));
  a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 1));
  return _mm_cvtsi128_si32(a);
}

/// The sums of the int32 lanes of x[0 ... 3], which must fit int32.
CURTA_AVX2_INLINE __m128i sums_of_four(const __m256i *x) {
  const __m256i a = _mm256_hadd_epi32(x[0], x[1]), b = _mm256_hadd_epi32(x[2], x[3]);
  const __m256i c = _mm256_hadd_epi32(a, b);
  return _mm_add_epi32(low128(c), high128(c));
}

/// Sum of the four int64 lanes.
CURTA_AVX2_INLINE int64_t sum_of_i64(__m256i x) {
  __m128i a = _mm_add_epi64(low128(x), high128(x));
  a = _mm_add_epi64(a, _mm_unpackhi_epi64(a, a));
  return _mm_cvtsi128_si64(a);
}

/// The eight int32 lanes added by pairs into four int64 lanes.
CURTA_AVX2_INLINE __m256i widened(__m256i x) {
  return _mm256_add_epi64(_mm256_cvtepi32_epi64(low128(x)), _mm256_cvtepi32_epi64(high128(x)));
}

/// floor(x * y / 2^16) of int32 lanes, y < 2^16: of x = 2^16 high + low, high * y and the upper
/// half of low * y.
CURTA_AVX2_INLINE __m256i high_product(__m256i x, __m256i y) {
  const __m256i high = _mm256_mullo_epi32(_mm256_srai_epi32(x, 16), y);
  return _mm256_add_epi32(high, _mm256_mulhi_epu16(x, y));
}

/// The largest of the eight uint32 lanes.
CURTA_AVX2_INLINE uint32_t largest_u32(__m256i x) {
  __m128i a = _mm_max_epu32(low128(x), high128(x));
  a = _mm_max_epu32(a, _mm_unpackhi_epi64(a, a));
  a = _mm_max_epu32(a, _mm_shuffle_epi32(a, 1));
  return (uint32_t)_mm_cvtsi128_si32(a);
}

/// Four codes in each int32 lane.
CURTA_AVX2_INLINE __m256i four_codes(const void *q) {
  int32_t codes;
  __builtin_memcpy(&codes, q, 4);
  return _mm256_set1_epi32(codes);
}

/// Four columns of 8 rows to a vector: x[j] has columns 4 j ... 4 j + 3 of row[r] + at.
CURTA_AVX2_INLINE void turn_rows(const uint8_t *const *row, size_t at, __m256i *x) {
  __m256i a[8], b[8];
  CURTA_UNROLL for (int r = 0; r < 8; r += 2) {
    const __m256i even = load256(row[r] + at), odd = load256(row[r + 1] + at);
    a[r] = _mm256_unpacklo_epi32(even, odd);
    a[r + 1] = _mm256_unpackhi_epi32(even, odd);
  }
  CURTA_UNROLL for (int r = 0; r < 8; r += 4) CURTA_UNROLL for (int i = 0; i < 2; i++) {
    b[r + 2 * i] = _mm256_unpacklo_epi64(a[r + i], a[r + i + 2]);
    b[r + 2 * i + 1] = _mm256_unpackhi_epi64(a[r + i], a[r + i + 2]);
  }
  CURTA_UNROLL for (int j = 0; j < 4; j++) {
    x[j] = _mm256_permute2x128_si256(b[j], b[j + 4], 0x20);
    x[j + 4] = _mm256_permute2x128_si256(b[j], b[j + 4], 0x31);
  }
}

#endif
