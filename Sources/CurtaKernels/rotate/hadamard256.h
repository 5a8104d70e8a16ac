// The butterfly of the Hadamard transform in AVX2 registers.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_HADAMARD256_H
#define CURTA_HADAMARD256_H

#include "../avx2.h"
#include "../unroll.h"

/// a + b and a - b in place.
CURTA_AVX2_INLINE void butterfly(__m256i *a, __m256i *b) {
  const __m256i sum = _mm256_add_epi32(*a, *b);
  *b = _mm256_sub_epi32(*a, *b);
  *a = sum;
}

/// Butterflies of x[i] and x[i + half] of `count`, a constant.
CURTA_AVX2_INLINE void butterflies(__m256i *x, uint32_t count, uint32_t half) {
  CURTA_UNROLL for (uint32_t i = 0; i < count; i++) if ((i & half) == 0)
      butterfly(&x[i], &x[i + half]);
}

#endif
