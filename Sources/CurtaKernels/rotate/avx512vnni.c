// The Hadamard transform of a head with AVX-512: up to 128 numbers in registers.
// SPDX-License-Identifier: Apache-2.0

#include "rotate.h"

#if defined(__x86_64__)
#include "hadamard512.h"

/// The transform of 16 * count numbers; count is a constant power of two up to 8.
CURTA_AVX512_INLINE void transform(int32_t *y, uint32_t count) {
  __m512i x[8];
  CURTA_UNROLL for (uint32_t i = 0; i < count; i++) x[i] = hadamard16(load512(y + 16 * i));
  hadamard_between(x, count);
  CURTA_UNROLL for (uint32_t i = 0; i < count; i++) store512(y + 16 * i, x[i]);
}

CURTA_AVX512 void curta_hadamard__avx512vnni(int32_t *y, uint32_t n) {
  switch (n) {
  case 16:
    return transform(y, 1);
  case 32:
    return transform(y, 2);
  case 64:
    return transform(y, 4);
  case 128:
    return transform(y, 8);
  case 256:
    transform(y, 8);
    transform(y + 128, 8);
    for (uint32_t i = 0; i < 128; i += 16) {
      const __m512i a = load512(y + i), b = load512(y + 128 + i);
      store512(y + i, _mm512_add_epi32(a, b));
      store512(y + 128 + i, _mm512_sub_epi32(a, b));
    }
    return;
  default:
    curta_hadamard__scalar(y, n);
  }
}

#endif
