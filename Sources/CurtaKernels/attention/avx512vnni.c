// Attention of one query head over its positions with AVX-512 VNNI: products.
// SPDX-License-Identifier: Apache-2.0
//
// VPDPBUSD takes an unsigned operand. Scores: k + 128 meets q, and 128 * (sum of q) is taken away;
// abs of a lane <= 4 * 255 * 127 for each 64 columns, of the sum 255 * 127 * 128 < 2^22. Weighted
// sums: c is 256 * high + low with 0 <= high < 128 and low < 256; a lane adds four rows a time, abs
// <= 4 * 255 * 127 = 129 540, which for 4096 rows stays below 2^28.

#include "../kernels.h"

#if defined(__x86_64__)
#include "../avx512.h"
#include "../unroll.h"

enum { ROWS = 4096 };

/// Sums of the lanes of 16 vectors, the i-th in lane i.
CURTA_AVX512_INLINE __m512i sums_of_16(const __m512i *x) {
  __m512i pairs[8], fours[4];
  CURTA_UNROLL for (int i = 0; i < 4; i++) { // of the vectors 4 i ... 4 i + 3
    const __m512i *v = x + 4 * i;
    pairs[2 * i] =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    pairs[2 * i + 1] =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    fours[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
                                _mm512_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
  }
  // Each of the four has four parts of 128 bits to be added.
  const __m512i a = _mm512_add_epi32(_mm512_shuffle_i64x2(fours[0], fours[1], 0x88),
                                     _mm512_shuffle_i64x2(fours[0], fours[1], 0xDD));
  const __m512i b = _mm512_add_epi32(_mm512_shuffle_i64x2(fours[2], fours[3], 0x88),
                                     _mm512_shuffle_i64x2(fours[2], fours[3], 0xDD));
  return _mm512_add_epi32(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xDD));
}

/// Scores of n keys, n a multiple of 16, of 64 * parts columns; parts is a constant.
CURTA_AVX512_INLINE void some_scores(const int8_t *q, const int8_t *k, uint32_t parts, uint32_t n,
                                     int32_t *a) {
  const __m512i flip = _mm512_set1_epi8(-128);
  __m512i own[2], sum = _mm512_setzero_si512();
  CURTA_UNROLL for (uint32_t i = 0; i < parts; i++) {
    own[i] = load512(q + 64 * i);
    sum = _mm512_dpbusd_epi32(sum, flip, own[i]); // 128 * q
  }
  const __m512i bias = _mm512_set1_epi32(_mm512_reduce_add_epi32(sum));
  for (uint32_t j = 0; j < n; j += 16) {
    __m512i dots[16];
    CURTA_UNROLL for (uint32_t r = 0; r < 16; r++) {
      const int8_t *row = k + (size_t)(j + r) * parts * 64;
      dots[r] = _mm512_setzero_si512();
      CURTA_UNROLL for (uint32_t i = 0; i < parts; i++) dots[r] =
          _mm512_dpbusd_epi32(dots[r], _mm512_xor_si512(load512(row + 64 * i), flip), own[i]);
    }
    store512(a + j, _mm512_sub_epi32(sums_of_16(dots), bias));
  }
}

CURTA_AVX512 void curta_scores__avx512vnni(const int8_t *q, const int8_t *k, uint32_t width,
                                           uint32_t n, int32_t *a) {
  uint32_t done = n / 16 * 16;
  if (width == 64)
    some_scores(q, k, 1, done, a);
  else if (width == 128)
    some_scores(q, k, 2, done, a);
  else
    done = 0;
  curta_scores__avx2(q, k + (size_t)done * width, width, n - done, a + done);
}

/// Adds the rows 0 ... n-1, n a multiple of 4 up to ROWS, to 64 columns of o.
CURTA_AVX512_INLINE void add_64(const int16_t *c, const int8_t *v, uint32_t width, uint32_t n,
                                int64_t *o) {
  __m512i low[4], high[4];
  CURTA_UNROLL for (int i = 0; i < 4; i++) low[i] = high[i] = _mm512_setzero_si512();
  const __m128i bytes = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, -1, -1, -1, -1, -1, -1, -1, -1);
  for (uint32_t j = 0; j < n; j += 4) {
    const int8_t *row = v + (size_t)j * width;
    const __m512i a = load512(row), b = load512(row + width);
    const __m512i d = load512(row + 2 * (size_t)width), e = load512(row + 3 * (size_t)width);
    const __m512i ab0 = _mm512_unpacklo_epi8(a, b), ab1 = _mm512_unpackhi_epi8(a, b);
    const __m512i de0 = _mm512_unpacklo_epi8(d, e), de1 = _mm512_unpackhi_epi8(d, e);
    // Of each 128 bits 16 columns, four of them in each of these.
    const __m512i x[4] = {_mm512_unpacklo_epi16(ab0, de0), _mm512_unpackhi_epi16(ab0, de0),
                          _mm512_unpacklo_epi16(ab1, de1), _mm512_unpackhi_epi16(ab1, de1)};
    const __m128i halves =
        _mm_shuffle_epi8(_mm_loadl_epi64((const __m128i *)(const void *)(c + j)), bytes);
    const __m512i lower = _mm512_broadcastd_epi32(halves);
    const __m512i upper = _mm512_broadcastd_epi32(_mm_srli_si128(halves, 4));
    CURTA_UNROLL for (int i = 0; i < 4; i++) {
      low[i] = _mm512_dpbusd_epi32(low[i], lower, x[i]);
      high[i] = _mm512_dpbusd_epi32(high[i], upper, x[i]);
    }
  }
  CURTA_UNROLL for (int i = 0; i < 4; i++) {
    const __m512i sums[2] = {
        _mm512_add_epi64(
            _mm512_slli_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(high[i])), 8),
            _mm512_cvtepi32_epi64(_mm512_castsi512_si256(low[i]))),
        _mm512_add_epi64(
            _mm512_slli_epi64(_mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(high[i], 1)), 8),
            _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(low[i], 1)))};
    CURTA_UNROLL for (int part = 0; part < 2; part++) {
      // Four columns from 16 * (2 * part) + 4 * i on, then four 16 further.
      int64_t *at = o + 32 * part + 4 * i;
      store256(at, _mm256_add_epi64(load256(at), _mm512_castsi512_si256(sums[part])));
      store256(at + 16,
               _mm256_add_epi64(load256(at + 16), _mm512_extracti64x4_epi64(sums[part], 1)));
    }
  }
}

CURTA_AVX512 void curta_weighted_sum__avx512vnni(const int16_t *c, const int8_t *v, uint32_t width,
                                                 uint32_t n, int64_t *o) {
  if (width % 64 != 0 || n < 4) {
    curta_weighted_sum__avx2(c, v, width, n, o);
    return;
  }
  for (uint32_t i = 0; i < width; i++)
    o[i] = 0;
  uint32_t j = 0;
  for (uint32_t rows; n - j >= 4; j += rows) {
    rows = (n - j < ROWS ? n - j : ROWS) / 4 * 4;
    for (uint32_t i = 0; i < width; i += 64)
      add_64(c + j, v + (size_t)j * width + i, width, rows, o + i);
  }
  for (; j < n; j++)
    for (uint32_t i = 0; i < width; i++)
      o[i] += c[j] * v[(size_t)j * width + i];
}

#endif
