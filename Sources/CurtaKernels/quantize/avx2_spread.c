// Rows of activations to codes with AVX2: transformed and measured, then quantized.
// SPDX-License-Identifier: Apache-2.0
//
// Index i of a number has the binary digits i3 i2 i1 i0 and those above. Of sixteen numbers
// VPMADDWD makes the sums and the differences of neighbours, the butterflies of i0, as it widens
// them. To butterfly the digits of a lane, unpacking exchanges each with that of the vector, which
// has had its butterflies. So lane l of vector v has in the end v = i3 and l = i1 i0 i2, and stays
// there until the codes are put in order.

#include "../kernels.h"

#if defined(__x86_64__)
#include "../rotate/hadamard256.h"
#include "rotated.h"
#include "spread.h"

#define CURTA_SPREAD_JOINS
#define CURTA_SPREAD CURTA_AVX2_INLINE
enum { LANES = 8 };

/// Largest and least of what has been seen, or the largest of the absolute values of int16.
typedef struct {
  __m256i most, least, narrow;
} range;

CURTA_AVX2_INLINE range nothing_seen(void) {
  const __m256i zero = _mm256_setzero_si256();
  return (range){zero, zero, zero};
}

CURTA_AVX2_INLINE void extend(range *r, __m256i x) {
  r->most = _mm256_max_epi32(r->most, x);
  r->least = _mm256_min_epi32(r->least, x);
}

CURTA_AVX2_INLINE void measure(const int16_t *y, range *r) {
  CURTA_UNROLL for (uint32_t i = 0; i < 32; i += 16) r->narrow =
      _mm256_max_epi16(r->narrow, _mm256_abs_epi16(load256(y + i)));
}

CURTA_AVX2_INLINE void transform(const int16_t *y, int32_t *wide, uint32_t block, range *r) {
  const __m256i sums = _mm256_set1_epi16(1), differences = _mm256_set1_epi32((int32_t)0xFFFF0001);
  __m256i x[4], z[4];
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i += 2) {
    const __m256i v = load256(y + 8 * i);
    const __m256i a = _mm256_madd_epi16(v, sums), b = _mm256_madd_epi16(v, differences);
    x[i] = _mm256_unpacklo_epi32(a, b); // i2 is that of the vector
    x[i + 1] = _mm256_unpackhi_epi32(a, b);
  }
  if (block >= 8)
    butterflies(x, 4, 1);
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i += 2) { // i1
    z[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
    z[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
  }
  if (block >= 4)
    butterflies(z, 4, 1);
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i += 2) { // i3
    x[i] = _mm256_permute2x128_si256(z[i], z[i + 1], 0x20);
    x[i + 1] = _mm256_permute2x128_si256(z[i], z[i + 1], 0x31);
  }
  if (block >= 16)
    butterflies(x, 4, 1);
  if (block >= 32)
    butterflies(x, 4, 2);
  if (block <= 32)
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) extend(r, x[i]);
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) store256(wide + 8 * i, x[i]);
}

CURTA_AVX2_INLINE void join(int32_t *const *at, uint32_t block, range *r) {
  __m256i x[8];
  CURTA_UNROLL for (uint32_t k = 0; k < 8; k++) x[k] = load256(at[k]);
  butterflies(x, 8, 1);
  if (block >= 128)
    butterflies(x, 8, 2);
  if (block == 256)
    butterflies(x, 8, 4);
  CURTA_UNROLL for (uint32_t k = 0; k < 8; k++) {
    extend(r, x[k]);
    store256(at[k], x[k]);
  }
}

CURTA_AVX2_INLINE uint64_t ends_of(const range *r) {
  const __m256i odd = _mm256_srli_epi32(r->narrow, 16);
  const __m256i even = _mm256_and_si256(r->narrow, _mm256_set1_epi32(0xFFFF));
  const __m256i most = _mm256_max_epi32(r->most, _mm256_max_epi32(odd, even));
  const __m256i below = _mm256_sub_epi32(_mm256_setzero_si256(), r->least);
  const __m256i low = _mm256_unpacklo_epi32(most, below);
  const __m256i both = _mm256_max_epi32(low, _mm256_unpackhi_epi32(most, below));
  const __m128i half = _mm_max_epi32(low128(both), high128(both));
  return (uint64_t)_mm_cvtsi128_si64(_mm_max_epi32(half, _mm_unpackhi_epi64(half, half)));
}

/// What a row is quantized with. Of r that which VPMULHW takes, after it is doubled where it is
/// below 2^15, is r - 2^16, so that y is added to the high half of the product. VPMULHRSW by 2^8
/// rounds away 7 digits, by 2^7 one more.
typedef struct {
  __m256i half_s, s, up, factor, round, order;
} scaling;

CURTA_AVX2_INLINE scaling scaling_by(const spreading *by, int is_wide) {
  const int doubles = by->r < 1 << 15;
  const __m256i straight = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m256i turned = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15));
  return (scaling){.half_s = _mm256_set1_epi32(by->s ? 1 << (by->s - 1) : 0),
                   .s = _mm256_set1_epi32((int32_t)by->s),
                   .up = _mm256_set1_epi16((int16_t)(1 << by->up)),
                   .factor = _mm256_set1_epi16((int16_t)(uint16_t)(by->r << doubles)),
                   .round = _mm256_set1_epi16((int16_t)(256 >> doubles)),
                   .order = is_wide ? turned : straight};
}

/// round(x, s) of sixteen numbers, in each half eight of the first eight and then of the last.
CURTA_AVX2_INLINE __m256i narrowed(const int32_t *x, const scaling *by) {
  const __m256i a = _mm256_srav_epi32(_mm256_add_epi32(load256(x), by->half_s), by->s);
  const __m256i b = _mm256_srav_epi32(_mm256_add_epi32(load256(x + 8), by->half_s), by->s);
  return _mm256_packs_epi32(a, b);
}

CURTA_AVX2_INLINE __m256i quantized(__m256i y, const scaling *by) {
  y = _mm256_mullo_epi16(y, by->up);
  return _mm256_mulhrs_epi16(_mm256_add_epi16(_mm256_mulhi_epi16(y, by->factor), y), by->round);
}

CURTA_AVX2_INLINE void store_codes(const int16_t *y, const int32_t *wide, int is_wide,
                                   const scaling *by, int8_t *q) {
  const __m256i a = quantized(is_wide ? narrowed(wide, by) : load256(y), by);
  const __m256i b = quantized(is_wide ? narrowed(wide + 16, by) : load256(y + 16), by);
  const __m256i codes = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xD8);
  store256(q, _mm256_shuffle_epi8(codes, by->order));
}

#include "spread_row.h"

CURTA_AVX2 uint32_t curta_spread__avx2(int16_t *y, uint32_t n, uint32_t block, int32_t *wide,
                                       int8_t *q) {
  return spread_row(y, n, block, wide, q);
}

CURTA_SPREAD_ROTATED(curta_spread_rotated__avx2, avx2, avx2)

#endif
