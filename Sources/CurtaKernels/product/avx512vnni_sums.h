// Where the sums of AVX-512 VNNI's tiles go: into z while chunks are added, then rounded.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX512VNNI_SUMS_H
#define CURTA_AVX512VNNI_SUMS_H

#include "avx512vnni_pack.h"

/// How sums that fit are rounded: a shift below 17 is 17 once the sum is shifted up, which is exact
/// up to 2^(31 - up). Of a sum of 2^31 at most, floor(sum * m / 2^16) is 2^31 - 2^15 - 2 at most,
/// so that half of the last bit can be added: shifts are 32 at most.
typedef struct {
  __m512i m, half;
  __m128i up, down;
} rounding;

/// Where the sums of one or two panels go: into z while chunks are added, their lower 16 bits when
/// they are wide.
typedef struct {
  int32_t *z; // of the first panel's first row and the tile's first token
  size_t z_stride;
  int32_t (*upper)[PANEL]; // sums of what is above 16 bits of one panel, or NULL
  rounding by[2];          // of each panel
  __mmask16 rows[2];
  int first, last; // chunk
  int fits;        // every sum is below 2^(31 - up)
} sink;

static uint32_t up_by(const curta_weight *w) { return w->shift < 17 ? 17 - w->shift : 0; }

/// What no sum is above.
static uint64_t largest_sum(const curta_weight *w) {
  const uint64_t code = w->kind == CURTA_WEIGHT_NIBBLES ? 8
                        : w->kind == CURTA_WEIGHT_SMALL ? 32
                                                        : 127;
  return code * 127 * (w->group_scales ? 255 : 1) * w->columns;
}

/// The sink of `rows` rows from n on, in two panels at most; what changes from chunk to chunk is
/// left to the caller.
CURTA_AVX512 static void begin_rows(sink *to, const curta_weight *w, uint32_t n, uint32_t rows) {
  const uint32_t up = up_by(w);
  for (uint32_t p = 0; p < 2; p++) {
    const uint32_t there = rows > p * PANEL ? least(rows - p * PANEL, PANEL) : 0;
    to->rows[p] = (__mmask16)((1u << there) - 1);
    const __m256i m = _mm256_maskz_loadu_epi16(to->rows[p], w->mantissas + n + p * PANEL);
    to->by[p] = (rounding){
        _mm512_cvtepu16_epi32(m), _mm512_set1_epi32((int32_t)(1u << (w->shift + up - 17))),
        _mm_cvtsi32_si128((int32_t)up), _mm_cvtsi32_si128((int32_t)(w->shift + up) - 16)};
  }
  to->fits = largest_sum(w) << up >> 31 == 0;
}

CURTA_AVX512_INLINE __m512i rounded(const rounding *by, __m512i sum) {
  const __m512i x = _mm512_sll_epi32(sum, by->up);
  const __m512i high = _mm512_mullo_epi32(_mm512_srai_epi32(x, 16), by->m);
  const __m512i all = _mm512_add_epi32(high, _mm512_mulhi_epu16(x, by->m));
  return _mm512_sra_epi32(_mm512_add_epi32(all, by->half), by->down);
}

CURTA_AVX512_INLINE __m512i half_of(__m512i x, int upper) {
  return _mm512_cvtepi32_epi64(upper ? _mm512_extracti64x4_epi64(x, 1) : _mm512_castsi512_si256(x));
}

/// round(s * m, shift) of 16 sums s = 2^16 * upper + lower.
CURTA_AVX512_INLINE __m512i finish_wide(const curta_weight *w, __m512i upper, __m512i lower,
                                        __m512i m) {
  const __m512i up = _mm512_set1_epi64(w->shift ? (int64_t)1 << (w->shift - 1) : 0);
  const __m128i shift = _mm_cvtsi32_si128((int32_t)w->shift);
  __m256i y[2];
  CURTA_UNROLL for (int i = 0; i < 2; i++) {
    const __m512i high = _mm512_slli_epi64(half_of(upper, i), 16);
    const __m512i sum = _mm512_add_epi64(high, half_of(lower, i));
    const __m512i product = _mm512_mullo_epi64(sum, half_of(m, i));
    y[i] = _mm512_cvtepi64_epi32(_mm512_sra_epi64(_mm512_add_epi64(product, up), shift));
  }
  return _mm512_inserti64x4(_mm512_castsi256_si512(y[0]), y[1], 1);
}

/// Brings the sums of panel p and the tokens from i on to where they go; they are overwritten.
CURTA_AVX512 static void deliver(const chunk *c, uint32_t p, uint32_t i, uint32_t tokens,
                                 __m512i *sums, const sink *to) {
  const curta_weight *w = c->w;
  const __mmask16 rows = to->rows[p];
  const size_t z_stride = to->z_stride;
  const rounding *by = &to->by[p];
  int32_t *const first = to->z + i * z_stride + p * PANEL;
  if (to->upper) {
    for (uint32_t k = 0; k < tokens; k++) {
      int32_t *z = first + k * z_stride, *at = to->upper[i + k];
      __m512i upper = _mm512_srai_epi32(sums[k], 16);
      __m512i lower = _mm512_and_si512(sums[k], _mm512_set1_epi32(0xFFFF));
      if (!to->first) {
        upper = _mm512_add_epi32(upper, load512(at));
        lower = _mm512_add_epi32(lower, _mm512_maskz_loadu_epi32(rows, z));
      }
      if (to->last)
        lower = finish_wide(w, upper, lower, by->m);
      else
        store512(at, upper);
      _mm512_mask_storeu_epi32(z, rows, lower);
    }
    return;
  }
  if (to->last) {
    // Of the sums and of their complements that which is not negative.
    __m512i digits = _mm512_setzero_si512();
    for (uint32_t k = 0; k < tokens; k++)
      digits = _mm512_or_si512(digits, _mm512_xor_si512(sums[k], _mm512_srai_epi32(sums[k], 31)));
    const __m512i beyond = _mm512_set1_epi32((int32_t)(UINT32_MAX << (31 - up_by(w))));
    if (_mm512_test_epi32_mask(digits, beyond) == 0)
      for (uint32_t k = 0; k < tokens; k++)
        sums[k] = rounded(by, sums[k]);
    else
      for (uint32_t k = 0; k < tokens; k++)
        sums[k] = finish_wide(w, _mm512_srai_epi32(sums[k], 16),
                              _mm512_and_si512(sums[k], _mm512_set1_epi32(0xFFFF)), by->m);
  }
  for (uint32_t k = 0; k < tokens; k++)
    _mm512_mask_storeu_epi32(first + k * z_stride, rows, sums[k]);
}

#endif
