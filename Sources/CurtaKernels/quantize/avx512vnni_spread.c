// Rows of activations to codes with AVX-512: transformed and measured, then quantized.
// SPDX-License-Identifier: Apache-2.0
//
// As avx2_spread.c, with two vectors of sixteen for 32 numbers: each exchange of a digit of the
// lane with that of the vector serves the next butterflies. Lane l of vector v has in the end v =
// i4 and l = i3 i1 i0 i2.

#include "../kernels.h"

#if defined(__x86_64__)
#include "../avx512.h"
#include "spread.h"

#define CURTA_SPREAD CURTA_AVX512_INLINE
enum { LANES = 16 };

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

CURTA_AVX512_INLINE void measure(const int16_t *y, range *r) {
  r->narrow = _mm512_max_epi16(r->narrow, _mm512_abs_epi16(load512(y)));
}

/// The butterfly of two vectors.
CURTA_AVX512_INLINE void butterfly(__m512i *x, __m512i *y) {
  const __m512i sum = _mm512_add_epi32(*x, *y);
  *y = _mm512_sub_epi32(*x, *y);
  *x = sum;
}

/// Hadamards of `block` of 32 numbers, up to all.
CURTA_AVX512_INLINE void transformed(const int16_t *y, uint32_t block, __m512i *x) {
  const __m512i v = load512(y);
  const __m512i a = _mm512_madd_epi16(v, _mm512_set1_epi16(1));
  const __m512i b = _mm512_madd_epi16(v, _mm512_set1_epi32((int32_t)0xFFFF0001));
  __m512i z[2];
  z[0] = _mm512_unpacklo_epi32(a, b); // i2 is that of the vector
  z[1] = _mm512_unpackhi_epi32(a, b);
  if (block >= 8)
    butterfly(&z[0], &z[1]);
  x[0] = _mm512_unpacklo_epi32(z[0], z[1]); // i1
  x[1] = _mm512_unpackhi_epi32(z[0], z[1]);
  if (block >= 4)
    butterfly(&x[0], &x[1]);
  z[0] = _mm512_shuffle_i64x2(x[0], x[1], 0x88); // i3
  z[1] = _mm512_shuffle_i64x2(x[0], x[1], 0xDD);
  if (block >= 16)
    butterfly(&z[0], &z[1]);
  x[0] = _mm512_shuffle_i64x2(z[0], z[1], 0x88); // i4
  x[1] = _mm512_shuffle_i64x2(z[0], z[1], 0xDD);
  if (block >= 32)
    butterfly(&x[0], &x[1]);
}

CURTA_AVX512_INLINE void transform(const int16_t *y, int32_t *wide, uint32_t block, range *r) {
  __m512i x[2];
  transformed(y, block, x);
  CURTA_UNROLL for (uint32_t i = 0; i < 2; i++) {
    extend(r, x[i]);
    store512(wide + 16 * i, x[i]);
  }
}

/// The Hadamard of `block` numbers, a constant of 32 to 256, in block / 16 vectors.
CURTA_AVX512_INLINE void whole_block(const int16_t *y, uint32_t block, __m512i *x, range *r) {
  const uint32_t count = block / 16;
  CURTA_UNROLL for (uint32_t i = 0; i < count; i += 2) transformed(y + 16 * i, 32, x + i);
  CURTA_UNROLL for (uint32_t half = 2; half < 16; half *= 2)
      CURTA_UNROLL for (uint32_t i = 0; i < count; i++) if (half < count && (i & half) == 0)
          butterfly(&x[i], &x[i + half]);
  CURTA_UNROLL for (uint32_t i = 0; i < count; i++) extend(r, x[i]);
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

CURTA_AVX512_INLINE void store_codes(const int16_t *y, const int32_t *wide, int is_wide,
                                     const scaling *by, int8_t *q) {
  const __m512i x = is_wide ? narrowed(load512(wide), load512(wide + 16), by) : load512(y);
  store256(q, codes_of(x, by));
}

#include "spread_row.h"

/// What a row is quantized with, of what has been seen of it.
CURTA_AVX512_INLINE spreading spreading_by(const range *r) {
  const uint64_t ends = ends_of(r);
  return spreading_of((int32_t)(uint32_t)ends, (int32_t)(ends >> 32));
}

/// A row of one block of 32 or 64, as heads have, in registers; n is a constant.
CURTA_AVX512_INLINE uint32_t spread_head(const int16_t *y, uint32_t n, int8_t *q) {
  __m512i x[16]; // GCC sees whole_block name more than n takes
  range r = nothing_seen();
  whole_block(y, n, x, &r);
  const spreading by = spreading_by(&r);
  const scaling scale = scaling_by(&by, 1);
  CURTA_UNROLL for (uint32_t i = 0; i < n / 32; i++)
      store256(q + 32 * i, codes_of(narrowed(x[2 * i], x[2 * i + 1], &scale), &scale));
  return by.most | by.s << 16;
}

/// A row of blocks of 64 to 256; block is a constant.
CURTA_AVX512_INLINE uint32_t spread_blocks(const int16_t *y, uint32_t n, uint32_t block,
                                           int32_t *wide, int8_t *q) {
  range r = nothing_seen();
  for (uint32_t i = 0; i < n; i += block) {
    __m512i x[16];
    whole_block(y + i, block, x, &r);
    CURTA_UNROLL for (uint32_t k = 0; k < block / 16; k++) store512(wide + i + 16 * k, x[k]);
  }
  const spreading by = spreading_by(&r);
  const scaling scale = scaling_by(&by, 1);
  for (uint32_t i = 0; i < n; i += 32)
    store_codes(y + i, wide + i, 1, &scale, q + i);
  return by.most | by.s << 16;
}

CURTA_AVX512 uint32_t curta_spread__avx512vnni(int16_t *y, uint32_t n, uint32_t block,
                                               int32_t *wide, int8_t *q) {
  if (n == 64 && block == 64)
    return spread_head(y, 64, q);
  if (n == 32 && block == 32)
    return spread_head(y, 32, q);
  switch (block) {
  case 64:
    return spread_blocks(y, n, 64, wide, q);
  case 128:
    return spread_blocks(y, n, 128, wide, q);
  case 256:
    return spread_blocks(y, n, 256, wide, q);
  default:
    return spread_row(y, n, block, wide, q);
  }
}

#endif
