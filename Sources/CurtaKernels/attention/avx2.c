// Attention of one query head over its positions with AVX2: products. Weights: avx2_weights.c.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../avx2.h"
#include "../unroll.h"

/// Adds 32 products q * k to lanes. VPMADDUBSW of abs(q) and k with q's sign is exact as codes are
/// within 127.
CURTA_AVX2_INLINE __m256i add_dot(__m256i lanes, __m256i q, __m256i k) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(k, q));
  return _mm256_add_epi32(lanes, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/// Sum of q * k over the first `width` codes, a multiple of 32.
CURTA_AVX2_INLINE __m256i dot_lanes(const int8_t *q, const int8_t *k, uint32_t width) {
  __m256i lanes = _mm256_setzero_si256();
  for (uint32_t i = 0; i < width; i += 32)
    lanes = add_dot(lanes, load256(q + i), load256(k + i));
  return lanes;
}

/// Scores of n keys, n a multiple of 4, of 32 * parts columns, a constant up to 4: the query stays
/// in registers.
CURTA_AVX2_INLINE void some_scores(const int8_t *q, const int8_t *k, uint32_t parts, uint32_t n,
                                   int32_t *a) {
  __m256i own[4];
  CURTA_UNROLL for (uint32_t i = 0; i < parts; i++) own[i] = load256(q + 32 * i);
  for (uint32_t j = 0; j < n; j += 4) {
    __m256i dots[4];
    CURTA_UNROLL for (uint32_t r = 0; r < 4; r++) {
      const int8_t *row = k + (size_t)(j + r) * parts * 32;
      dots[r] = _mm256_setzero_si256();
      CURTA_UNROLL for (uint32_t i = 0; i < parts; i++) dots[r] =
          add_dot(dots[r], own[i], load256(row + 32 * i));
    }
    store128(a + j, sums_of_four(dots));
  }
}

/// The rest of a row: 16 codes at once, then one at a time.
CURTA_AVX2_INLINE int32_t dot_rest(const int8_t *q, const int8_t *k, uint32_t i, uint32_t width) {
  int32_t dot = 0;
  if (width - i >= 16) {
    const __m256i x = _mm256_cvtepi8_epi16(load128(q + i));
    dot = sum_of_i32(_mm256_madd_epi16(x, _mm256_cvtepi8_epi16(load128(k + i))));
    i += 16;
  }
  for (; i < width; i++)
    dot += q[i] * k[i];
  return dot;
}

/// The scores of one query.
CURTA_AVX2 static void row_scores(const int8_t *q, const int8_t *k, uint32_t width, uint32_t n,
                                  int32_t *a) {
  const uint32_t whole = width / 32 * 32, fours = n / 4 * 4;
  uint32_t j = fours;
  if (width == 32)
    some_scores(q, k, 1, fours, a);
  else if (width == 64)
    some_scores(q, k, 2, fours, a);
  else if (width == 128)
    some_scores(q, k, 4, fours, a);
  else
    j = 0;
  for (; n - j >= 4; j += 4) {
    const int8_t *row = k + (size_t)j * width;
    __m256i dots[4];
    CURTA_UNROLL for (uint32_t r = 0; r < 4; r++) dots[r] =
        dot_lanes(q, row + (size_t)r * width, whole);
    store128(a + j, sums_of_four(dots));
    if (whole < width)
      for (uint32_t i = 0; i < 4; i++)
        a[j + i] += dot_rest(q, row + (size_t)i * width, whole, width);
  }
  for (; j < n; j++) {
    const int8_t *row = k + (size_t)j * width;
    a[j] = sum_of_i32(dot_lanes(q, row, whole)) + dot_rest(q, row, whole, width);
  }
}

void curta_scores__avx2(const int8_t *q, size_t q_stride, uint32_t rows, const int8_t *k,
                        uint32_t width, uint32_t n, int32_t *a, size_t a_stride) {
  for (uint32_t r = 0; r < rows; r++)
    row_scores(q + r * q_stride, k, width, n, a + r * a_stride);
}

CURTA_AVX2_INLINE __m256i multiply_add(__m256i lanes, __m256i x, __m256i y) {
  return _mm256_add_epi32(lanes, _mm256_madd_epi16(x, y));
}

#define CURTA_WEIGHTED CURTA_AVX2_INLINE
#include "avx2_columns.h"
#include "weighted_sum.h"

CURTA_AVX2 void curta_weighted_sum__avx2(const int16_t *c, size_t c_stride, uint32_t rows,
                                         const int8_t *v, uint32_t width, uint32_t n, int64_t *o) {
  weighted_sums(c, c_stride, rows, v, width, n, o);
}

#endif
