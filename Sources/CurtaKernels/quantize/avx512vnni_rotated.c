// Heads rotated and quantized with AVX-512: in registers where pairs are half-split, as most are.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../rotate/hadamard512.h"
#include "avx512vnni_spread.h"
#include "rotated.h"

static CURTA_SPREAD_ROTATED(by_steps, avx2, avx512vnni)

    /// Int32 lanes of the low halves of x and of those of y above them.
    CURTA_AVX512_INLINE __m512i words_of(__m512i x, __m512i y) {
  return _mm512_mask_blend_epi16(0xAAAAAAAA, x, _mm512_slli_epi32(y, 16));
}

CURTA_AVX512_INLINE __m512i rotated(__m512i words, __m512i by) {
  const __m512i sum = _mm512_dpwssd_epi32(_mm512_set1_epi32(1 << 14), words, by);
  return _mm512_srai_epi32(sum, 15);
}

/// A head of n numbers, a constant of 64 or 128, all in pairs, with a Hadamard of all or none.
CURTA_AVX512_INLINE uint32_t spread_half_split(const int16_t *y, uint32_t n, const int32_t *cosine,
                                               const int32_t *sine, int transforms, int8_t *q) {
  const uint32_t count = n / 16, half = count / 2;
  __m512i x[8];
  CURTA_UNROLL for (uint32_t i = 0; i < half; i++) {
    const __m512i a = _mm512_cvtepi16_epi32(load256(y + 16 * i));
    const __m512i b = _mm512_cvtepi16_epi32(load256(y + 16 * (i + half)));
    const __m512i c = load512(cosine + 16 * i), s = load512(sine + 16 * i);
    const __m512i ab = words_of(a, b);
    x[i] = rotated(ab, words_of(c, _mm512_sub_epi32(_mm512_setzero_si512(), s)));
    x[i + half] = rotated(ab, words_of(s, c));
  }
  if (transforms) {
    CURTA_UNROLL for (uint32_t i = 0; i < count; i++) x[i] = hadamard16(x[i]);
    hadamard_between(x, count);
  }
  range r = nothing_seen();
  CURTA_UNROLL for (uint32_t i = 0; i < count; i++) extend(&r, x[i]);
  const spreading by = spreading_by(&r);
  scaling scale = scaling_by(&by, 1);
  // Of packed words those of the first vector, then those of the second.
  scale.order = _mm512_set_epi16(31, 30, 29, 28, 23, 22, 21, 20, 15, 14, 13, 12, 7, 6, 5, 4, 27, 26,
                                 25, 24, 19, 18, 17, 16, 11, 10, 9, 8, 3, 2, 1, 0);
  CURTA_UNROLL for (uint32_t i = 0; i < count; i += 2)
      store256(q + 16 * i, codes_of(narrowed(x[i], x[i + 1], &scale), &scale));
  return by.most | by.s << 16;
}

CURTA_AVX512 uint32_t curta_spread_rotated__avx512vnni(int16_t *y, uint32_t n,
                                                       const int32_t *cosine, const int32_t *sine,
                                                       uint32_t pairs, uint32_t interleaved,
                                                       uint32_t block, int32_t *wide, int8_t *q) {
  if (!interleaved && 2 * pairs == n && (block == 0 || block == n)) {
    if (n == 64)
      return spread_half_split(y, 64, cosine, sine, block != 0, q);
    if (n == 128)
      return spread_half_split(y, 128, cosine, sine, block != 0, q);
  }
  return by_steps(y, n, cosine, sine, pairs, interleaved, block, wide, q);
}

#endif
