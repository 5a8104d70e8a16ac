// Rotary positions and the Hadamard transform of a head with AVX2.
// SPDX-License-Identifier: Apache-2.0

#include "rotate.h"

#if defined(__x86_64__)
#include "../avx2.h"

/// round(x, 15); abs(x) <= 2 * 32767^2.
CURTA_AVX2_INLINE __m256i from_q15(__m256i x) {
  return _mm256_srai_epi32(_mm256_add_epi32(x, _mm256_set1_epi32(1 << 14)), 15);
}

CURTA_AVX2 void curta_rotate_interleaved__avx2(int32_t *y, const int32_t *cosine,
                                               const int32_t *sine, uint32_t pairs) {
  uint32_t i = 0;
  for (; pairs - i >= 4; i += 4) {
    const __m256i ab = load256(y + 2 * i);
    const __m256i ba = _mm256_shuffle_epi32(ab, 0xB1);
    const __m256i c4 = _mm256_cvtepu32_epi64(load128(cosine + i));
    const __m256i s4 = _mm256_cvtepu32_epi64(load128(sine + i));
    const __m256i c = _mm256_shuffle_epi32(c4, 0xA0), s = _mm256_shuffle_epi32(s4, 0xA0);
    const __m256i signs = _mm256_setr_epi32(-1, 1, -1, 1, -1, 1, -1, 1);
    const __m256i straight = _mm256_mullo_epi32(ab, c);
    const __m256i crossed = _mm256_sign_epi32(_mm256_mullo_epi32(ba, s), signs);
    store256(y + 2 * i, from_q15(_mm256_add_epi32(straight, crossed)));
  }
  curta_rotate_interleaved__scalar(y + 2 * i, cosine + i, sine + i, pairs - i);
}

CURTA_AVX2 void curta_rotate_half_split__avx2(int32_t *y, const int32_t *cosine,
                                              const int32_t *sine, uint32_t pairs) {
  uint32_t i = 0;
  for (; pairs - i >= 8; i += 8) {
    const __m256i a = load256(y + i), b = load256(y + pairs + i);
    const __m256i c = load256(cosine + i), s = load256(sine + i);
    store256(y + i, from_q15(_mm256_sub_epi32(_mm256_mullo_epi32(a, c), _mm256_mullo_epi32(b, s))));
    store256(y + pairs + i,
             from_q15(_mm256_add_epi32(_mm256_mullo_epi32(a, s), _mm256_mullo_epi32(b, c))));
  }
  for (; i < pairs; i++) {
    int32_t ab[2] = {y[i], y[pairs + i]};
    curta_rotate_half_split__scalar(ab, cosine + i, sine + i, 1);
    y[i] = ab[0];
    y[pairs + i] = ab[1];
  }
}

/// Butterflies of 1, 2 and 4 inside a vector of eight: (a, b) becomes (a + b, a - b).
CURTA_AVX2_INLINE __m256i hadamard8(__m256i x) {
  const __m256i by1 = _mm256_setr_epi32(1, -1, 1, -1, 1, -1, 1, -1);
  const __m256i by2 = _mm256_setr_epi32(1, 1, -1, -1, 1, 1, -1, -1);
  const __m256i by4 = _mm256_setr_epi32(1, 1, 1, 1, -1, -1, -1, -1);
  x = _mm256_add_epi32(_mm256_shuffle_epi32(x, 0xB1), _mm256_sign_epi32(x, by1));
  x = _mm256_add_epi32(_mm256_shuffle_epi32(x, 0x4E), _mm256_sign_epi32(x, by2));
  return _mm256_add_epi32(_mm256_permute4x64_epi64(x, 0x4E), _mm256_sign_epi32(x, by4));
}

CURTA_AVX2 void curta_hadamard__avx2(int32_t *y, uint32_t n) {
  if (n < 8) {
    curta_hadamard__scalar(y, n);
    return;
  }
  for (uint32_t i = 0; i < n; i += 8)
    store256(y + i, hadamard8(load256(y + i)));
  for (uint32_t half = 8; half < n; half *= 2)
    for (uint32_t i = 0; i < n; i += 2 * half)
      for (uint32_t j = i; j < i + half; j += 8) {
        const __m256i a = load256(y + j), b = load256(y + j + half);
        store256(y + j, _mm256_add_epi32(a, b));
        store256(y + j + half, _mm256_sub_epi32(a, b));
      }
}

#endif
