// Rows of activations to codes with AVX-512: transformed and measured, then quantized.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../rotate/hadamard512.h"
#include "spread.h"

/// Largest and least of what has been seen.
typedef struct {
  __m512i most, least;
} range;

CURTA_AVX512_INLINE void extend(range *r, __m512i x) {
  r->most = _mm512_max_epi32(r->most, x);
  r->least = _mm512_min_epi32(r->least, x);
}

CURTA_AVX512_INLINE __m512i sixteen(const int16_t *y) { return _mm512_cvtepi16_epi32(load256(y)); }

/// A Hadamard of 16 * count numbers; count is a constant.
CURTA_AVX512_INLINE void transform(const int16_t *y, uint32_t count, int32_t *wide, range *r) {
  __m512i x[8];
  CURTA_UNROLL for (uint32_t i = 0; i < count; i++) x[i] = hadamard16(sixteen(y + 16 * i));
  hadamard_between(x, count);
  CURTA_UNROLL for (uint32_t i = 0; i < count; i++) {
    extend(r, x[i]);
    store512(wide + 16 * i, x[i]);
  }
}

CURTA_AVX512_INLINE void transform_256(const int16_t *y, int32_t *wide, range *r) {
  range unused = *r;
  transform(y, 8, wide, &unused);
  transform(y + 128, 8, wide + 128, &unused);
  for (uint32_t i = 0; i < 128; i += 16) {
    const __m512i a = load512(wide + i), b = load512(wide + 128 + i);
    const __m512i sum = _mm512_add_epi32(a, b), difference = _mm512_sub_epi32(a, b);
    extend(r, sum);
    extend(r, difference);
    store512(wide + i, sum);
    store512(wide + 128 + i, difference);
  }
}

/// round(x, s), abs(x) < 2^30, then round(y * r, p): the numbers that a row is quantized with.
typedef struct {
  __m512i half_s, r, half_p;
  __m128i s, p;
} quantizing;

CURTA_AVX512_INLINE __m512i narrowed(__m512i x, const quantizing *by) {
  return _mm512_sra_epi32(_mm512_add_epi32(x, by->half_s), by->s);
}

/// Codes of numbers that are narrow. With abs(y) <= A a code is within 127 as it is: y * r is below
/// 127.5 * 2^p. So it is for 32768, which the definition cuts off to A = 32767: 127.004 * 2^23.
CURTA_AVX512_INLINE __m512i quantized(__m512i y, const quantizing *by) {
  return _mm512_sra_epi32(_mm512_add_epi32(_mm512_mullo_epi32(y, by->r), by->half_p), by->p);
}

CURTA_AVX512_INLINE __m512i code(const int16_t *y, const int32_t *wide, uint32_t i, int is_wide,
                                 const quantizing *by) {
  return quantized(is_wide ? narrowed(load512(wide + i), by) : sixteen(y + i), by);
}

/// n codes, a multiple of 16, of y or of wide.
CURTA_AVX512_INLINE void store_codes(const int16_t *y, const int32_t *wide, uint32_t n, int is_wide,
                                     const quantizing *by, int8_t *q) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  uint32_t i = 0;
  for (; n - i >= 64; i += 64) {
    const __m512i a =
        _mm512_packs_epi32(code(y, wide, i, is_wide, by), code(y, wide, i + 16, is_wide, by));
    const __m512i b =
        _mm512_packs_epi32(code(y, wide, i + 32, is_wide, by), code(y, wide, i + 48, is_wide, by));
    store512(q + i, _mm512_permutexvar_epi32(order, _mm512_packs_epi16(a, b)));
  }
  for (; i < n; i += 16)
    store128(q + i, _mm512_cvtepi32_epi8(code(y, wide, i, is_wide, by)));
}

/// The largest lane of most in the lower 32 bits, and that of -least in the upper ones.
CURTA_AVX512_INLINE uint64_t ends_of(const range *r) {
  const __m512i below = _mm512_sub_epi32(_mm512_setzero_si512(), r->least);
  const __m512i low = _mm512_unpacklo_epi32(r->most, below);
  const __m512i both = _mm512_max_epi32(low, _mm512_unpackhi_epi32(r->most, below));
  const __m256i half =
      _mm256_max_epi32(_mm512_castsi512_si256(both), _mm512_extracti64x4_epi64(both, 1));
  const __m128i quarter = _mm_max_epi32(low128(half), high128(half));
  return (uint64_t)_mm_cvtsi128_si64(_mm_max_epi32(quarter, _mm_unpackhi_epi64(quarter, quarter)));
}

CURTA_AVX512 uint32_t curta_spread__avx512vnni(int16_t *y, uint32_t n, uint32_t block,
                                               int32_t *wide, int8_t *q) {
  if (n % 16 != 0 || (block != 0 && block < 16))
    return curta_spread__avx2(y, n, block, wide, q);
  range r = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  if (block == 0) {
    for (uint32_t i = 0; i < n; i += 16)
      extend(&r, sixteen(y + i));
  } else {
    for (uint32_t i = 0; i < n; i += block)
      switch (block) {
      case 16:
        transform(y + i, 1, wide + i, &r);
        break;
      case 32:
        transform(y + i, 2, wide + i, &r);
        break;
      case 64:
        transform(y + i, 4, wide + i, &r);
        break;
      case 128:
        transform(y + i, 8, wide + i, &r);
        break;
      default:
        transform_256(y + i, wide + i, &r);
      }
  }
  // The ends are on either side of 0; narrowing never changes their order.
  const uint64_t ends = ends_of(&r);
  const int32_t above = (int32_t)(uint32_t)ends, below = (int32_t)(ends >> 32);
  const uint32_t bits = curta_bits((uint32_t)(above | below)), s = bits > 15 ? bits - 15 : 0;
  const int32_t half_s = s ? 1 << (s - 1) : 0;
  quantizing by = {.half_s = _mm512_set1_epi32(half_s), .s = _mm_cvtsi32_si128((int32_t)s)};
  const int32_t high = (above + half_s) >> s, low = -((half_s - below) >> s);
  uint32_t most = (uint32_t)(high > low ? high : low);
  most = most == 0 ? 1 : most > 32767 ? 32767 : most;
  const uint32_t p = curta_quantize_shift(most);
  by.r = _mm512_set1_epi32((int32_t)curta_quantize_factor(most, p));
  by.half_p = _mm512_set1_epi32(1 << (p - 1));
  by.p = _mm_cvtsi32_si128((int32_t)p);
  if (block == 0)
    store_codes(y, wide, n, 0, &by, q);
  else
    store_codes(y, wide, n, 1, &by, q);
  return most | s << 16;
}

#endif
