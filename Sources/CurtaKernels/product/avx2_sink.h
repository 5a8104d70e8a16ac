// Where the sums of panels of 16 rows go: into z while chunks are added, rounded after the last
// one. SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX2_SINK_H
#define CURTA_AVX2_SINK_H

#include "avx2_panels.h"

static inline uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// Where the sums of a panel go: into z while chunks are added.
typedef struct {
  __m256i even[2], odd[2]; // mantissas of the rows 0, 2, 4, 6 and 1, 3, 5, 7 of each half
  __m256i there[2];        // masks of the rows
  __m256i half, shift, up; // 32 - shift
  int first, last;         // chunk
} curta_sink;

CURTA_AVX2_INLINE void begin_sink(curta_sink *to, const curta_weight *w, uint32_t n,
                                  uint32_t rows) {
  _Alignas(32) int32_t m[CURTA_PANEL_ROWS] = {0}, there[CURTA_PANEL_ROWS] = {0};
  for (uint32_t r = 0; r < rows; r++) {
    m[r] = w->mantissas[n + r];
    there[r] = -1;
  }
  for (int h = 0; h < 2; h++) {
    to->even[h] = load256(m + 8 * h);
    to->odd[h] = _mm256_srli_epi64(to->even[h], 32);
    to->there[h] = load256(there + 8 * h);
  }
  to->half = _mm256_set1_epi64x(w->shift ? (int64_t)1 << (w->shift - 1) : 0);
  to->shift = _mm256_set1_epi64x(w->shift);
  to->up = _mm256_set1_epi64x(32 - (int64_t)w->shift);
}

/// The products of the even lanes. Else compilers bring m to 64 bits before a loop and know no more
/// in it that its upper halves hold nothing, so that they multiply by those, too.
CURTA_AVX2_INLINE __m256i products(__m256i sum, __m256i m) {
  __asm__("" : "+x"(m) : "x"(sum));
  return _mm256_mul_epi32(sum, m);
}

/// round(sum * m, shift) of eight rows; shift <= 32.
CURTA_AVX2_INLINE __m256i finished(const curta_sink *to, int h, __m256i sum) {
  const __m256i even = products(sum, to->even[h]);
  const __m256i odd = products(_mm256_srli_epi64(sum, 32), to->odd[h]);
  const __m256i low = _mm256_srlv_epi64(_mm256_add_epi64(even, to->half), to->shift);
  const __m256i high = _mm256_sllv_epi64(_mm256_add_epi64(odd, to->half), to->up);
  return _mm256_blend_epi32(low, high, 0xAA);
}

/// Brings the sums of some tokens to where they go.
CURTA_AVX2_INLINE void deliver(const curta_sink *to, uint32_t tokens, const __m256i (*sums)[2],
                               int32_t *z, size_t z_stride, int whole) {
  if (whole && to->first && to->last) {
    for (uint32_t t = 0; t < tokens; t++, z += z_stride)
      CURTA_UNROLL for (int h = 0; h < 2; h++) store256(z + 8 * h, finished(to, h, sums[t][h]));
    return;
  }
  for (uint32_t t = 0; t < tokens; t++, z += z_stride) {
    CURTA_UNROLL for (int h = 0; h < 2; h++) {
      __m256i sum = sums[t][h];
      if (!to->first)
        sum = _mm256_add_epi32(sum, whole ? load256(z + 8 * h)
                                          : _mm256_maskload_epi32(z + 8 * h, to->there[h]));
      if (to->last)
        sum = finished(to, h, sum);
      if (whole)
        store256(z + 8 * h, sum);
      else
        _mm256_maskstore_epi32(z + 8 * h, to->there[h], sum);
    }
  }
}

#endif
