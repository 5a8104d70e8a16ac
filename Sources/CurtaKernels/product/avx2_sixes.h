// Packed codes of 6 bits with AVX2 as the bytes u = c + 32.
// SPDX-License-Identifier: Apache-2.0
//
// A block of 32 codes is 16 bytes with fields of 4 bits, then 8 bytes with fields of 2.

#ifndef CURTA_AVX2_SIXES_H
#define CURTA_AVX2_SIXES_H

#include "../avx2.h"

enum { SIX_BLOCKS = 64 }; // in a chunk at most: their sum fits int32

/// The codes of one token in a chunk, as rows meet them.
typedef struct {
  _Alignas(32) int8_t q[SIX_BLOCKS * 32];
  __m256i begins[SIX_BLOCKS / 2]; // of each span's lanes
  __m256i all;                    // their sum
} laid_token;

/// A block.
CURTA_AVX2_INLINE __m256i sixes_of(const uint8_t *block) {
  const __m256i down = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
  const __m256i fields = _mm256_setr_epi64x(0, 2, 4, 6);
  const __m256i four = _mm256_srlv_epi32(_mm256_broadcastsi128_si256(load128(block)), down);
  int64_t both;
  __builtin_memcpy(&both, block + 16, 8);
  const __m256i two = _mm256_srlv_epi64(_mm256_set1_epi64x(both), fields);
  return _mm256_or_si256(_mm256_and_si256(four, _mm256_set1_epi8(15)),
                         _mm256_slli_epi16(_mm256_and_si256(two, _mm256_set1_epi8(3)), 4));
}

/// Two blocks: in u[0] their first halves, in u[1] their second ones.
CURTA_AVX2_INLINE void two_sixes(const uint8_t *row, __m256i *u) {
  const __m256i up = _mm256_setr_epi64x(4, 2, 4, 2), down = _mm256_setr_epi64x(0, 2, 0, 2);
  const __m256i nibble = _mm256_set1_epi8(15), upper = _mm256_set1_epi8(0x30);
  const __m256i four =
      _mm256_inserti128_si256(_mm256_castsi128_si256(load128(row)), load128(row + 24), 1);
  const __m256i two = _mm256_permute4x64_epi64(load256(row + 16), 0xF0);
  u[0] = _mm256_or_si256(_mm256_and_si256(four, nibble),
                         _mm256_and_si256(_mm256_sllv_epi64(two, up), upper));
  u[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(four, 4), nibble),
                         _mm256_and_si256(_mm256_srlv_epi64(two, down), upper));
}

#endif
