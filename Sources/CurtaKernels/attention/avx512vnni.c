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

/// Sums of the lanes of the halves of 8 vectors: those of the i-th in lanes 2 i and 2 i + 1.
CURTA_AVX512_INLINE __m512i sums_of_halves(const __m512i *x) {
  __m512i fours[2];
  CURTA_UNROLL for (int i = 0; i < 2; i++) { // lane j of 128 bits: of the vector 4 i + j
    const __m512i *v = x + 4 * i;
    const __m512i a =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const __m512i b =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    fours[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  }
  // Parts of 128 bits: lower and upper halves of the first four vectors, then of the others.
  const __m512i both = _mm512_add_epi32(_mm512_shuffle_i64x2(fours[0], fours[1], 0x88),
                                        _mm512_shuffle_i64x2(fours[0], fours[1], 0xDD));
  const __m512i order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
  return _mm512_permutexvar_epi32(order, both);
}

/// Scores of n keys, n a multiple of 16, of 32 columns: two keys in a vector.
CURTA_AVX512_INLINE void scores_of_32(const int8_t *q, const int8_t *k, uint32_t n, int32_t *a) {
  const __m512i flip = _mm512_set1_epi8(-128);
  const __m512i own = _mm512_broadcast_i64x4(load256(q));
  const __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), flip, own); // 128 * q, twice
  const __m512i bias = _mm512_set1_epi32(_mm512_reduce_add_epi32(sum) / 2);
  for (uint32_t j = 0; j < n; j += 16) {
    __m512i dots[8];
    CURTA_UNROLL for (uint32_t r = 0; r < 8; r++) {
      const __m512i keys = _mm512_xor_si512(load512(k + (size_t)(j + 2 * r) * 32), flip);
      dots[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), keys, own);
    }
    store512(a + j, _mm512_sub_epi32(sums_of_halves(dots), bias));
  }
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

/// The scores of one query.
CURTA_AVX512 static void row_scores(const int8_t *q, const int8_t *k, uint32_t width, uint32_t n,
                                    int32_t *a) {
  uint32_t done = n / 16 * 16;
  if (width == 32)
    scores_of_32(q, k, done, a);
  else if (width == 64)
    some_scores(q, k, 1, done, a);
  else if (width == 128)
    some_scores(q, k, 2, done, a);
  else
    done = 0;
  curta_scores__avx2(q, 0, 1, k + (size_t)done * width, width, n - done, a + done, 0);
}

/// Scores of 16 keys of 32 * parts columns with rows of queries: keys are packed as in the
/// products, four columns of all keys after each other, for as many rows as there are.
CURTA_AVX512_INLINE void scores_of_rows(const int8_t *q, size_t q_stride, uint32_t rows,
                                        const int8_t *k, uint32_t parts, int32_t *a,
                                        size_t a_stride) {
  const __m512i flip = _mm512_set1_epi8(-128);
  const size_t width = 32 * (size_t)parts;
  __m512i u[16];
  CURTA_UNROLL for (uint32_t at = 0; at < 2 * parts; at++) {
    __m512i x[4];
    CURTA_UNROLL for (int i = 0; i < 4; i++) { // keys i, i + 4, i + 8, i + 12
      const int8_t *key = k + (size_t)i * width + 16 * at;
      __m512i four = _mm512_castsi128_si512(load128(key));
      four = _mm512_inserti32x4(four, load128(key + 4 * width), 1);
      four = _mm512_inserti32x4(four, load128(key + 8 * width), 2);
      x[i] = _mm512_xor_si512(_mm512_inserti32x4(four, load128(key + 12 * width), 3), flip);
    }
    const __m512i l01 = _mm512_unpacklo_epi32(x[0], x[1]), h01 = _mm512_unpackhi_epi32(x[0], x[1]);
    const __m512i l23 = _mm512_unpacklo_epi32(x[2], x[3]), h23 = _mm512_unpackhi_epi32(x[2], x[3]);
    u[4 * at] = _mm512_unpacklo_epi64(l01, l23);
    u[4 * at + 1] = _mm512_unpackhi_epi64(l01, l23);
    u[4 * at + 2] = _mm512_unpacklo_epi64(h01, h23);
    u[4 * at + 3] = _mm512_unpackhi_epi64(h01, h23);
  }
  // Keys in order: a lane of 128 bits has the keys 4 i ... 4 i + 3.
  for (uint32_t r = 0; r < rows; r++, q += q_stride, a += a_stride) {
    __m512i bias = _mm512_setzero_si512();
    CURTA_UNROLL for (uint32_t i = 0; i < width; i += 64) {
      const __m512i own = parts == 1 ? _mm512_maskz_loadu_epi32(0xFF, q) : load512(q + i);
      bias = _mm512_dpbusd_epi32(bias, flip, own); // 128 * q
    }
    __m512i even = _mm512_setzero_si512(), odd = even;
    CURTA_UNROLL for (uint32_t i = 0; i < 8 * parts; i += 2) {
      even = _mm512_dpbusd_epi32(even, u[i], spread32(q + 4 * i));
      odd = _mm512_dpbusd_epi32(odd, u[i + 1], spread32(q + 4 * i + 4));
    }
    const __m512i less = _mm512_set1_epi32(_mm512_reduce_add_epi32(bias));
    store512(a, _mm512_sub_epi32(_mm512_add_epi32(even, odd), less));
  }
}

CURTA_AVX512 void curta_scores__avx512vnni(const int8_t *q, size_t q_stride, uint32_t rows,
                                           const int8_t *k, uint32_t width, uint32_t n, int32_t *a,
                                           size_t a_stride) {
  uint32_t done = 0;
  if (rows > 2 && (width == 32 || width == 64)) {
    for (; n - done >= 16; done += 16) {
      const int8_t *keys = k + (size_t)done * width;
      if (width == 32)
        scores_of_rows(q, q_stride, rows, keys, 1, a + done, a_stride);
      else
        scores_of_rows(q, q_stride, rows, keys, 2, a + done, a_stride);
    }
  }
  for (uint32_t r = 0; r < rows; r++)
    row_scores(q + r * q_stride, k + (size_t)done * width, width, n - done,
               a + r * a_stride + done);
}

/// Sums of four rows of 64 columns, or of eight of 32, as VPDPBUSD leaves them.
typedef struct {
  __m512i low[4], high[4];
} quads;

/// Adds the products of rows, 64 bytes each, with weights: of a lane's four bytes one a row.
CURTA_AVX512_INLINE void add_quads(quads *s, const __m512i *rows, __m512i lower, __m512i upper) {
  const __m512i ab0 = _mm512_unpacklo_epi8(rows[0], rows[1]);
  const __m512i ab1 = _mm512_unpackhi_epi8(rows[0], rows[1]);
  const __m512i de0 = _mm512_unpacklo_epi8(rows[2], rows[3]);
  const __m512i de1 = _mm512_unpackhi_epi8(rows[2], rows[3]);
  // Of each 128 bits 16 columns, four of them in each of these.
  const __m512i x[4] = {_mm512_unpacklo_epi16(ab0, de0), _mm512_unpackhi_epi16(ab0, de0),
                        _mm512_unpacklo_epi16(ab1, de1), _mm512_unpackhi_epi16(ab1, de1)};
  CURTA_UNROLL for (int i = 0; i < 4; i++) {
    s->low[i] = _mm512_dpbusd_epi32(s->low[i], lower, x[i]);
    s->high[i] = _mm512_dpbusd_epi32(s->high[i], upper, x[i]);
  }
}

/// The int64 sums 256 * high + low of the lower and of the upper half of the i-th vectors.
CURTA_AVX512_INLINE void widen_quads(const quads *s, int i, __m512i *sums) {
  sums[0] = _mm512_add_epi64(
      _mm512_slli_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(s->high[i])), 8),
      _mm512_cvtepi32_epi64(_mm512_castsi512_si256(s->low[i])));
  sums[1] = _mm512_add_epi64(
      _mm512_slli_epi64(_mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(s->high[i], 1)), 8),
      _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(s->low[i], 1)));
}

CURTA_AVX512_INLINE void add_four(int64_t *o, __m256i x) {
  store256(o, _mm256_add_epi64(load256(o), x));
}

/// Adds the rows 0 ... n-1, n up to ROWS, to 64 columns of o.
CURTA_AVX512_INLINE void add_64(const int16_t *c, const int8_t *v, uint32_t width, uint32_t n,
                                int64_t *o) {
  quads s;
  CURTA_UNROLL for (int i = 0; i < 4; i++) s.low[i] = s.high[i] = _mm512_setzero_si512();
  const __m128i bytes = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, -1, -1, -1, -1, -1, -1, -1, -1);
  for (uint32_t j = 0; j < n; j += 4) {
    const uint32_t left = n - j < 4 ? n - j : 4;
    const int8_t *row = v + (size_t)j * width;
    // Past the end the last row, with a weight of 0.
    const __m512i rows[4] = {load512(row), load512(row + (left > 1 ? width : 0)),
                             load512(row + (left > 2 ? 2 * (size_t)width : 0)),
                             load512(row + (left > 3 ? 3 * (size_t)width : 0))};
    const __m128i c4 = left == 4 ? _mm_loadl_epi64((const __m128i *)(const void *)(c + j))
                                 : _mm_maskz_loadu_epi16((__mmask8)((1u << left) - 1), c + j);
    const __m128i halves = _mm_shuffle_epi8(c4, bytes);
    add_quads(&s, rows, _mm512_broadcastd_epi32(halves),
              _mm512_broadcastd_epi32(_mm_srli_si128(halves, 4)));
  }
  CURTA_UNROLL for (int i = 0; i < 4; i++) {
    __m512i sums[2];
    widen_quads(&s, i, sums);
    CURTA_UNROLL for (int part = 0; part < 2; part++) {
      // Four columns from 16 * (2 * part) + 4 * i on, then four 16 further.
      int64_t *at = o + 32 * part + 4 * i;
      add_four(at, _mm512_castsi512_si256(sums[part]));
      add_four(at + 16, _mm512_extracti64x4_epi64(sums[part], 1));
    }
  }
}

/// Adds the rows 0 ... n-1, n up to ROWS, of 32 columns to o: two rows in a vector.
CURTA_AVX512_INLINE void add_32(const int16_t *c, const int8_t *v, uint32_t n, int64_t *o) {
  quads s;
  CURTA_UNROLL for (int i = 0; i < 4; i++) s.low[i] = s.high[i] = _mm512_setzero_si512();
  // Low bytes of the even weights, of the odd ones, then the high bytes.
  const __m128i bytes = _mm_setr_epi8(0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15);
  const __m512i halves = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  for (uint32_t j = 0; j < n; j += 8) {
    const uint32_t left = n - j < 8 ? n - j : 8;
    const int8_t *row = v + (size_t)j * 32;
    __m512i rows[4];
    __m128i c8;
    if (left == 8) {
      CURTA_UNROLL for (int i = 0; i < 4; i++) rows[i] = load512(row + 64 * i);
      c8 = load128(c + j);
    } else {
      const uint32_t there = (1u << 4 * left) - 1; // of 8 bytes each
      CURTA_UNROLL for (int i = 0; i < 4; i++) rows[i] =
          _mm512_maskz_loadu_epi64((__mmask8)(there >> 8 * i), row + 64 * i);
      c8 = _mm_maskz_loadu_epi16((__mmask8)((1u << left) - 1), c + j);
    }
    const __m512i four = _mm512_castsi128_si512(_mm_shuffle_epi8(c8, bytes));
    const __m512i two = _mm512_set1_epi32(2);
    add_quads(&s, rows, _mm512_permutexvar_epi32(halves, four),
              _mm512_permutexvar_epi32(_mm512_add_epi32(halves, two), four));
  }
  CURTA_UNROLL for (int i = 0; i < 4; i++) {
    __m512i sums[2];
    widen_quads(&s, i, sums);
    const __m512i both = _mm512_add_epi64(sums[0], sums[1]);
    add_four(o + 4 * i, _mm512_castsi512_si256(both));
    add_four(o + 16 + 4 * i, _mm512_extracti64x4_epi64(both, 1));
  }
}

CURTA_AVX512 void curta_weighted_sum__avx512vnni(const int16_t *c, const int8_t *v, uint32_t width,
                                                 uint32_t n, int64_t *o) {
  if (width != 32 && width % 64 != 0) {
    curta_weighted_sum__avx2(c, v, width, n, o);
    return;
  }
  for (uint32_t i = 0; i < width; i++)
    o[i] = 0;
  for (uint32_t j = 0, rows; j < n; j += rows) {
    rows = n - j < ROWS ? n - j : ROWS;
    if (width == 32)
      add_32(c + j, v + (size_t)j * width, rows, o);
    for (uint32_t i = 0; i + 64 <= width; i += 64)
      add_64(c + j, v + (size_t)j * width + i, width, rows, o + i);
  }
}

#endif
