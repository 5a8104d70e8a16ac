// Butterflies of the Hadamard transform in AVX-512 registers.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_HADAMARD512_H
#define CURTA_HADAMARD512_H

#include "../avx512.h"
#include "../unroll.h"

/// Butterflies inside a vector: (a, b) becomes (a + b, a - b); `swapped` has b, a.
CURTA_AVX512_INLINE __m512i butterfly(__m512i x, __m512i swapped, __mmask16 second) {
  return _mm512_mask_sub_epi32(_mm512_add_epi32(x, swapped), second, swapped, x);
}

CURTA_AVX512_INLINE __m512i hadamard16(__m512i x) {
  x = butterfly(x, _mm512_shuffle_epi32(x, (_MM_PERM_ENUM)0xB1), 0xAAAA);
  x = butterfly(x, _mm512_shuffle_epi32(x, (_MM_PERM_ENUM)0x4E), 0xCCCC);
  x = butterfly(x, _mm512_shuffle_i64x2(x, x, 0xB1), 0xF0F0);
  return butterfly(x, _mm512_shuffle_i64x2(x, x, 0x4E), 0xFF00);
}

/// Those between vectors; count is a constant power of two up to 8.
CURTA_AVX512_INLINE void hadamard_between(__m512i *x, uint32_t count) {
  CURTA_UNROLL for (uint32_t half = 1; half < 8; half *= 2)
      CURTA_UNROLL for (uint32_t i = 0; i < count; i++) if (half < count && (i & half) == 0) {
    const __m512i a = x[i], b = x[i + half];
    x[i] = _mm512_add_epi32(a, b);
    x[i + half] = _mm512_sub_epi32(a, b);
  }
}

#endif
