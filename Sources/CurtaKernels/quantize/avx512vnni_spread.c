// Rows of activations to codes with AVX-512: transformed and measured, then quantized.
// SPDX-License-Identifier: Apache-2.0
//
// As avx2_spread.c, with two vectors of sixteen for 32 numbers: each exchange of a digit of the
// lane with that of the vector serves the next butterflies. Lane l of vector v has in the end v =
// i4 and l = i3 i1 i0 i2.

#include "../kernels.h"

#if defined(__x86_64__)
#include "avx512vnni_spread.h"

#define CURTA_SPREAD CURTA_AVX512_INLINE
enum { LANES = 16 };

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

CURTA_AVX512_INLINE void store_codes(const int16_t *y, const int32_t *wide, int is_wide,
                                     const scaling *by, int8_t *q) {
  const __m512i x = is_wide ? narrowed(load512(wide), load512(wide + 16), by) : load512(y);
  store256(q, codes_of(x, by));
}

#include "spread_row.h"

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

/// A row of n numbers as they are, a constant of 32 to 128, in registers.
CURTA_AVX512_INLINE uint32_t spread_plain_head(const int16_t *y, uint32_t n, int8_t *q) {
  __m512i x[4], all = _mm512_setzero_si512();
  CURTA_UNROLL for (uint32_t i = 0; i < n / 32; i++) {
    x[i] = load512(y + 32 * i);
    all = _mm512_max_epi16(all, _mm512_abs_epi16(x[i]));
  }
  const __m256i half = _mm256_max_epi16(_mm512_castsi512_si256(all), upper_half(all));
  const __m128i few = _mm_max_epi16(low128(half), high128(half));
  // VPHMINPOSUW finds the least of eight.
  const __m128i rest = _mm_minpos_epu16(_mm_xor_si128(few, _mm_set1_epi16(0x7FFF)));
  const uint32_t most = ((uint32_t)_mm_cvtsi128_si32(rest) & 0x7FFF) ^ 0x7FFF;
  const spreading by = spreading_of((int32_t)most, 0);
  const scaling scale = scaling_by(&by, 0);
  CURTA_UNROLL for (uint32_t i = 0; i < n / 32; i++) store256(q + 32 * i, codes_of(x[i], &scale));
  return by.most;
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
  if (n == 64 && block == 0)
    return spread_plain_head(y, 64, q);
  if (n == 128 && block == 0)
    return spread_plain_head(y, 128, q);
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
