// What the AVX-512 variants share: the function attribute, loads and stores, sums of lanes, rows
// turned. SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX512_H
#define CURTA_AVX512_H

#include "avx2.h"
#include "unroll.h"

#define CURTA_AVX512_TARGET target("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#define CURTA_AVX512 __attribute__((CURTA_AVX512_TARGET))
#define CURTA_AVX512_INLINE static inline __attribute__((always_inline, CURTA_AVX512_TARGET))

CURTA_AVX512_INLINE __m512i load512(const void *p) { return _mm512_loadu_si512(p); }
CURTA_AVX512_INLINE void store512(void *p, __m512i x) { _mm512_storeu_si512(p, x); }

/// Four bytes in all int32 lanes.
CURTA_AVX512_INLINE __m512i spread32(const void *p) {
  int32_t x;
  __builtin_memcpy(&x, p, 4);
  return _mm512_set1_epi32(x);
}

/// The sixteen int32 lanes added by pairs into eight int64 lanes.
CURTA_AVX512_INLINE __m512i widened512(__m512i x) {
  return _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(x)),
                          _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(x, 1)));
}

/// rescale(z * m, s) of int32 lanes for s >= 17, abs <= 2^30; see gate/avx2.c.
CURTA_AVX512_INLINE __m512i rescaled32(__m512i z, __m512i m, __m128i less17) {
  const __m512i high = _mm512_mullo_epi32(_mm512_srai_epi32(z, 16), m);
  const __m512i all = _mm512_add_epi32(high, _mm512_mulhi_epu16(z, m));
  const __m512i twice = _mm512_sra_epi32(all, less17);
  return _mm512_srai_epi32(_mm512_add_epi32(twice, _mm512_set1_epi32(1)), 1);
}

/// 16 bytes; of the last groups' scales not all are there.
CURTA_AVX512_INLINE __m128i up_to_sixteen(const uint8_t *p, uint32_t left) {
  return left >= 16 ? load128(p) : _mm_maskz_loadu_epi8((__mmask16)((1u << left) - 1), p);
}

/// Of 16 rows `left` bytes, 16 at most, from `at` on: in out[j] dword j of each row.
CURTA_AVX512_INLINE void transpose(const uint8_t *const *row, size_t at, uint32_t left,
                                   __m512i *out) {
  __m512i x[4];
  CURTA_UNROLL for (int i = 0; i < 4; i++) { // rows i, i + 4, i + 8, i + 12
    const __m128i a = up_to_sixteen(row[i] + at, left);
    const __m128i b = up_to_sixteen(row[i + 4] + at, left);
    const __m128i c = up_to_sixteen(row[i + 8] + at, left);
    const __m128i d = up_to_sixteen(row[i + 12] + at, left);
    const __m256i ab = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
    const __m256i cd = _mm256_inserti128_si256(_mm256_castsi128_si256(c), d, 1);
    x[i] = _mm512_inserti64x4(_mm512_castsi256_si512(ab), cd, 1);
  }
  const __m512i l01 = _mm512_unpacklo_epi32(x[0], x[1]), h01 = _mm512_unpackhi_epi32(x[0], x[1]);
  const __m512i l23 = _mm512_unpacklo_epi32(x[2], x[3]), h23 = _mm512_unpackhi_epi32(x[2], x[3]);
  out[0] = _mm512_unpacklo_epi64(l01, l23);
  out[1] = _mm512_unpackhi_epi64(l01, l23);
  out[2] = _mm512_unpacklo_epi64(h01, h23);
  out[3] = _mm512_unpackhi_epi64(h01, h23);
}

#endif
