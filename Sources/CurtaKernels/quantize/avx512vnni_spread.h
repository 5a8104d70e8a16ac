// Ends of a row's range and its codes with AVX-512, for rows as they are and for rotated heads.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX512VNNI_SPREAD_H
#define CURTA_AVX512VNNI_SPREAD_H

#include "../avx512.h"
#include "spread.h"

/// Largest and least of what has been seen, or the largest of the absolute values of int16.
typedef struct {
  __m512i most, least, narrow;
} range;

CURTA_AVX512_INLINE range nothing_seen(void) {
  const __m512i zero = _mm512_setzero_si512();
  return (range){zero, zero, zero};
}

CURTA_AVX512_INLINE void extend(range *r, __m512i x) {
  r->most = _mm512_max_epi32(r->most, x);
  r->least = _mm512_min_epi32(r->least, x);
}

CURTA_AVX512_INLINE __m256i upper_half(__m512i x) { return _mm512_extracti64x4_epi64(x, 1); }

CURTA_AVX512_INLINE uint64_t ends_of(const range *r) {
  const __m512i odd = _mm512_srli_epi32(r->narrow, 16);
  const __m512i even = _mm512_and_si512(r->narrow, _mm512_set1_epi32(0xFFFF));
  const __m512i above = _mm512_max_epi32(r->most, _mm512_max_epi32(odd, even));
  const __m512i below = _mm512_sub_epi32(_mm512_setzero_si512(), r->least);
  const __m256i most = _mm256_max_epi32(_mm512_castsi512_si256(above), upper_half(above));
  const __m256i least = _mm256_max_epi32(_mm512_castsi512_si256(below), upper_half(below));
  const __m256i low = _mm256_unpacklo_epi32(most, least);
  const __m256i both = _mm256_max_epi32(low, _mm256_unpackhi_epi32(most, least));
  const __m128i half = _mm_max_epi32(low128(both), high128(both));
  return (uint64_t)_mm_cvtsi128_si64(_mm_max_epi32(half, _mm_unpackhi_epi64(half, half)));
}

/// What a row is quantized with, of what has been seen of it.
CURTA_AVX512_INLINE spreading spreading_by(const range *r) {
  const uint64_t ends = ends_of(r);
  return spreading_of((int32_t)(uint32_t)ends, (int32_t)(ends >> 32));
}

/// What a row is quantized with: see avx2_spread.c.
typedef struct {
  __m512i half_s, up, factor, round, order;
  __m128i s;
} scaling;

CURTA_AVX512_INLINE scaling scaling_by(const spreading *by, int is_wide) {
  const int doubles = by->r < 1 << 15;
  // Packed words are in the order i3 i1 i4 i0 i2.
  const __m512i turned =
      _mm512_set_epi16(31, 29, 23, 21, 30, 28, 22, 20, 15, 13, 7, 5, 14, 12, 6, 4, 27, 25, 19, 17,
                       26, 24, 18, 16, 11, 9, 3, 1, 10, 8, 2, 0);
  (void)is_wide;
  return (scaling){.half_s = _mm512_set1_epi32(by->s ? 1 << (by->s - 1) : 0),
                   .up = _mm512_set1_epi16((int16_t)(1 << by->up)),
                   .factor = _mm512_set1_epi16((int16_t)(uint16_t)(by->r << doubles)),
                   .round = _mm512_set1_epi16((int16_t)(256 >> doubles)),
                   .order = turned,
                   .s = _mm_cvtsi32_si128((int32_t)by->s)};
}

/// The codes of 32 numbers.
CURTA_AVX512_INLINE __m256i codes_of(__m512i y, const scaling *by) {
  y = _mm512_mullo_epi16(y, by->up);
  y = _mm512_add_epi16(_mm512_mulhi_epi16(y, by->factor), y);
  return _mm512_cvtepi16_epi8(_mm512_mulhrs_epi16(y, by->round));
}

/// round(x, s) of 32 numbers in the order of `transformed`, as words in their own.
CURTA_AVX512_INLINE __m512i narrowed(__m512i x, __m512i z, const scaling *by) {
  const __m512i a = _mm512_sra_epi32(_mm512_add_epi32(x, by->half_s), by->s);
  const __m512i b = _mm512_sra_epi32(_mm512_add_epi32(z, by->half_s), by->s);
  return _mm512_permutexvar_epi16(by->order, _mm512_packs_epi32(a, b));
}

#endif
