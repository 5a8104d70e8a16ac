// Attention of one query head over its positions with AVX-VNNI: products.
// SPDX-License-Identifier: Apache-2.0
//
// Scores of some queries: keys are packed as in the products, four columns of eight keys after each
// other, so that no score ends in a sum across lanes. VPDPBUSD takes an unsigned operand, q + 128;
// a lane begins at -128 * (sum of k), is modulo 2^32, and ends at the sum of q * k.

#include "../kernels.h"

#if defined(__x86_64__)
#include "../avxvnni.h"

enum { KEYS = 8, QUERIES = 16, WIDTH = 128, FEWEST = 3, TOGETHER = 4 };

/// n is a multiple of KEYS, width one of 32.
CURTA_AVXVNNI static void packed_scores(const int8_t *q, size_t q_stride, uint32_t rows,
                                        const int8_t *k, uint32_t width, uint32_t n, int32_t *a,
                                        size_t a_stride) {
  const __m256i bias = _mm256_set1_epi8(-128);
  uint8_t v[QUERIES][WIDTH];
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t i = 0; i < width; i += 32)
      store256(v[r] + i, _mm256_xor_si256(load256(q + r * q_stride + i), bias));
  for (uint32_t j = 0; j < n; j += KEYS) {
    __m256i x[WIDTH / 4], much[4]; // sums of which each waits for itself alone
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) much[i] = _mm256_setzero_si256();
    const uint8_t *key[KEYS];
    for (uint32_t i = 0; i < KEYS; i++)
      key[i] = (const uint8_t *)k + (size_t)(j + i) * width;
    for (uint32_t at = 0; at < width; at += 32) {
      turn_rows(key, at, x + at / 4);
      CURTA_UNROLL for (uint32_t i = 0; i < 8; i++) much[i % 4] =
          _mm256_dpbusd_avx_epi32(much[i % 4], bias, x[at / 4 + i]);
    }
    const __m256i begin = _mm256_sub_epi32(
        _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_add_epi32(much[0], much[1])),
        _mm256_add_epi32(much[2], much[3]));
    for (uint32_t r = 0; r < rows; r += TOGETHER) {
      __m256i lanes[TOGETHER];
      uint32_t at[TOGETHER]; // where queries run out the last one is repeated
      CURTA_UNROLL for (uint32_t t = 0; t < TOGETHER; t++) {
        at[t] = r + t < rows ? r + t : rows - 1;
        lanes[t] = begin;
      }
      for (uint32_t i = 0; i < width; i += 32)
        CURTA_UNROLL for (uint32_t s = 0; s < 8; s++) {
          const __m256i codes = x[i / 4 + s];
          CURTA_UNROLL for (uint32_t t = 0; t < TOGETHER; t++) lanes[t] =
              _mm256_dpbusd_avx_epi32(lanes[t], four_codes(v[at[t]] + i + 4 * s), codes);
        }
      CURTA_UNROLL for (uint32_t t = 0; t < TOGETHER; t++)
          store256(a + at[t] * a_stride + j, lanes[t]);
    }
  }
}

void curta_scores__avxvnni(const int8_t *q, size_t q_stride, uint32_t rows, const int8_t *k,
                           uint32_t width, uint32_t n, int32_t *a, size_t a_stride) {
  uint32_t done = 0;
  if (rows >= FEWEST && width % 32 == 0 && width <= WIDTH) {
    done = n / KEYS * KEYS;
    for (uint32_t r = 0; r < rows; r += QUERIES)
      packed_scores(q + r * q_stride, q_stride, rows - r < QUERIES ? rows - r : QUERIES, k, width,
                    done, a + r * a_stride, a_stride);
  }
  curta_scores__avx2(q, q_stride, rows, k + (size_t)done * width, width, n - done, a + done,
                     a_stride);
}

CURTA_AVXVNNI_INLINE __m256i multiply_add(__m256i lanes, __m256i x, __m256i y) {
  return _mm256_dpwssd_avx_epi32(lanes, x, y);
}

#define CURTA_WEIGHTED CURTA_AVXVNNI_INLINE
#include "avx2_columns.h"
#include "weighted_sum.h"

CURTA_AVXVNNI void curta_weighted_sum__avxvnni(const int16_t *c, size_t c_stride, uint32_t rows,
                                               const int8_t *v, uint32_t width, uint32_t n,
                                               int64_t *o) {
  weighted_sums(c, c_stride, rows, v, width, n, o);
}

#endif
