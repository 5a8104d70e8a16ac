// What the AVX-512 variants share: the function attribute, loads and stores, sums of lanes.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX512_H
#define CURTA_AVX512_H

#include "avx2.h"

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

#endif
