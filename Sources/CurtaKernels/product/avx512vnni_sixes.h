// Packed codes of 6 bits with AVX-512: the bytes u = c + 32 of four blocks.
// SPDX-License-Identifier: Apache-2.0
//
// Four blocks are 24 dwords: of each block four with fields of 4 bits, then two with fields of 2.

#ifndef CURTA_AVX512VNNI_SIXES_H
#define CURTA_AVX512VNNI_SIXES_H

#include "../avx512.h"

/// Of four blocks the fields of 4 bits, 16 bytes each, and those of 2 bits, 8 bytes each, twice.
typedef struct {
  __m512i four, two;
} six_fields;

/// Eight blocks lie in three lines: the first four of them.
CURTA_AVX512_INLINE six_fields first_sixes(const __m512i *x) {
  const __m512i four = _mm512_setr_epi32(0, 1, 2, 3, 6, 7, 8, 9, 12, 13, 14, 15, 18, 19, 20, 21);
  const __m512i two = _mm512_setr_epi32(4, 5, 4, 5, 10, 11, 10, 11, 16, 17, 16, 17, 22, 23, 22, 23);
  return (six_fields){_mm512_permutex2var_epi32(x[0], four, x[1]),
                      _mm512_permutex2var_epi32(x[0], two, x[1])};
}

/// The other four.
CURTA_AVX512_INLINE six_fields second_sixes(const __m512i *x) {
  const __m512i four =
      _mm512_setr_epi32(8, 9, 10, 11, 14, 15, 16, 17, 20, 21, 22, 23, 26, 27, 28, 29);
  const __m512i two =
      _mm512_setr_epi32(12, 13, 12, 13, 18, 19, 18, 19, 24, 25, 24, 25, 30, 31, 30, 31);
  return (six_fields){_mm512_permutex2var_epi32(x[1], four, x[2]),
                      _mm512_permutex2var_epi32(x[1], two, x[2])};
}

/// u of a field of 4 bits, whatever is above it, and one of 2 bits that is in its place.
CURTA_AVX512_INLINE __m512i six_of(__m512i four, __m512i two) {
  const __m512i upper = _mm512_and_si512(two, _mm512_set1_epi8(0x30));
  return _mm512_ternarylogic_epi32(four, _mm512_set1_epi8(15), upper, 0xEA); // (a & b) | c
}

/// The codes 0 ... 15 of each block.
CURTA_AVX512_INLINE __m512i low_sixes(six_fields x) {
  const __m512i up = _mm512_setr_epi64(4, 2, 4, 2, 4, 2, 4, 2);
  return six_of(x.four, _mm512_sllv_epi64(x.two, up));
}

/// The codes 16 ... 31.
CURTA_AVX512_INLINE __m512i high_sixes(six_fields x) {
  const __m512i down = _mm512_setr_epi64(0, 2, 0, 2, 0, 2, 0, 2);
  return six_of(_mm512_srli_epi16(x.four, 4), _mm512_srlv_epi64(x.two, down));
}

/// -32 * (sum of q) in the lanes that meet four blocks: q has their low codes, then their high
/// ones.
CURTA_AVX512_INLINE __m512i begins_of_sixes(const int8_t *q) {
  const __m512i one = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
  const __m512i low = _mm512_dpbusd_epi32(zero, one, load512(q));
  const __m512i all = _mm512_dpbusd_epi32(low, one, load512(q + 64));
  return _mm512_sub_epi32(zero, _mm512_slli_epi32(all, 5));
}

#endif
