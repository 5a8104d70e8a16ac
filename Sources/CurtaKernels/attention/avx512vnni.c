// Attention of one query head over its positions with AVX-512 VNNI: products.
// SPDX-License-Identifier: Apache-2.0
//
// VPDPBUSD takes an unsigned operand. Scores: k + 128 meets q, and 128 * (sum of q) is taken away;
// abs of a lane <= 4 * 255 * 127 for each 64 columns, of the sum 255 * 127 * 128 < 2^22. Weighted
// sums, by VPDPWSSD: a lane adds one column of up to 512 rows, abs <= 512 * 32767 * 127 =
// 2 130 641 408 < 2^31.

#include "../kernels.h"

#if defined(__x86_64__)
#include "../avx512.h"
#include "../unroll.h"

enum { ROWS = 512 };

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

enum { QUERIES = 16 };

/// 128 * (sum of q) of `rows` queries of 32 * parts columns, QUERIES at most.
CURTA_AVX512_INLINE __m512i biases_of(const int8_t *q, size_t q_stride, uint32_t rows,
                                      uint32_t parts) {
  const __m512i flip = _mm512_set1_epi8(-128);
  __m512i x[QUERIES];
  for (uint32_t r = 0; r < QUERIES; r++) {
    const int8_t *own = q + (r < rows ? r : rows - 1) * q_stride;
    const __m512i codes = parts == 1 ? _mm512_maskz_loadu_epi32(0xFF, own) : load512(own);
    x[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), flip, codes);
  }
  return sums_of_16(x);
}

/// Scores of up to 16 keys of 32 * parts columns, `there` of them, with rows of queries: keys are
/// packed as in the products, four columns of all keys after each other, for as many rows as there
/// are.
CURTA_AVX512_INLINE void scores_of_rows(const int8_t *q, size_t q_stride, uint32_t rows,
                                        const int32_t *biases, const int8_t *k, uint32_t there,
                                        uint32_t parts, int32_t *a, size_t a_stride) {
  const __m512i flip = _mm512_set1_epi8(-128);
  const __mmask16 stored = (__mmask16)((1u << there) - 1);
  const size_t width = 32 * (size_t)parts;
  size_t key[16];
  for (uint32_t j = 0; j < 16; j++)
    key[j] = (j < there ? j : there - 1) * width;
  __m512i u[16];
  CURTA_UNROLL for (uint32_t at = 0; at < 2 * parts; at++) {
    __m512i x[4];
    CURTA_UNROLL for (int i = 0; i < 4; i++) { // keys i, i + 4, i + 8, i + 12
      const int8_t *from = k + 16 * at;
      __m512i four = _mm512_castsi128_si512(load128(from + key[i]));
      four = _mm512_inserti32x4(four, load128(from + key[i + 4]), 1);
      four = _mm512_inserti32x4(four, load128(from + key[i + 8]), 2);
      x[i] = _mm512_xor_si512(_mm512_inserti32x4(four, load128(from + key[i + 12]), 3), flip);
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
    __m512i even = _mm512_setzero_si512(), odd = even;
    CURTA_UNROLL for (uint32_t i = 0; i < 8 * parts; i += 2) {
      even = _mm512_dpbusd_epi32(even, u[i], spread32(q + 4 * i));
      odd = _mm512_dpbusd_epi32(odd, u[i + 1], spread32(q + 4 * i + 4));
    }
    const __m512i both = _mm512_add_epi32(even, odd);
    _mm512_mask_storeu_epi32(a, stored, _mm512_sub_epi32(both, _mm512_set1_epi32(biases[r])));
  }
}

/// Scores of n keys of 32 * parts columns with up to QUERIES queries.
CURTA_AVX512_INLINE void scores_together(const int8_t *q, size_t q_stride, uint32_t rows,
                                         const int8_t *k, uint32_t parts, uint32_t n, int32_t *a,
                                         size_t a_stride) {
  int32_t biases[QUERIES];
  store512(biases, biases_of(q, q_stride, rows, parts));
  for (uint32_t j = 0; j < n; j += 16)
    scores_of_rows(q, q_stride, rows, biases, k + (size_t)j * 32 * parts, n - j < 16 ? n - j : 16,
                   parts, a + j, a_stride);
}

CURTA_AVX512 void curta_scores__avx512vnni(const int8_t *q, size_t q_stride, uint32_t rows,
                                           const int8_t *k, uint32_t width, uint32_t n, int32_t *a,
                                           size_t a_stride) {
  const uint32_t least = 3; // that packing keys pays for
  uint32_t r = 0;
  while ((width == 32 || width == 64) && rows - r >= least) {
    const uint32_t some = rows - r < QUERIES ? rows - r : QUERIES;
    if (width == 32)
      scores_together(q + r * q_stride, q_stride, some, k, 1, n, a + r * a_stride, a_stride);
    else
      scores_together(q + r * q_stride, q_stride, some, k, 2, n, a + r * a_stride, a_stride);
    r += some;
  }
  for (; r < rows; r++)
    row_scores(q + r * q_stride, k, width, n, a + r * a_stride);
}

/// Adds 16 int32 lanes to o.
CURTA_AVX512_INLINE void add_16(int64_t *o, __m512i x) {
  const __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(x));
  const __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(x, 1));
  store512(o, _mm512_add_epi64(load512(o), low));
  store512(o + 8, _mm512_add_epi64(load512(o + 8), high));
}

/// VPDPWSSD as it is: where there are many, LLVM makes two instructions of each.
CURTA_AVX512_INLINE __m512i add_words(__m512i sums, __m512i x, __m512i y) {
  __asm__("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(x), "v"(y));
  return sums;
}

/// Adds two rows, or one twice with is_one, to the columns of add_columns: of each 8 columns the
/// first four to an even vector of sums, the others to the next one.
CURTA_AVX512_INLINE void add_two(__m512i *sums, const int16_t *c, size_t c_stride, uint32_t count,
                                 const int8_t *row, const int8_t *next, uint32_t parts,
                                 int is_one) {
  CURTA_UNROLL for (uint32_t i = 0; i < parts; i++) {
    const __m512i x = _mm512_cvtepi8_epi16(load256(row + 32 * i));
    const __m512i y = _mm512_cvtepi8_epi16(load256(next + 32 * i));
    const __m512i low = _mm512_unpacklo_epi16(x, y), high = _mm512_unpackhi_epi16(x, y);
    CURTA_UNROLL for (uint32_t r = 0; r < count; r++) {
      const int16_t *own = c + r * c_stride;
      const __m512i weights = is_one ? _mm512_set1_epi32((uint16_t)*own) : spread32(own);
      __m512i *at = sums + 2 * (r * parts + i);
      at[0] = add_words(at[0], low, weights);
      at[1] = add_words(at[1], high, weights);
    }
  }
}

/// Adds the rows 0 ... n-1, n up to ROWS, to 32 * parts columns of `count` sums; both are
/// constants.
CURTA_AVX512_INLINE void add_columns(const int16_t *c, size_t c_stride, uint32_t count,
                                     const int8_t *v, uint32_t width, uint32_t n, uint32_t parts,
                                     int64_t *o) {
  __m512i sums[16];
  CURTA_UNROLL for (uint32_t i = 0; i < 2 * count * parts; i++) sums[i] = _mm512_setzero_si512();
  uint32_t j = 0;
  for (; n - j >= 2; j += 2, v += 2 * (size_t)width)
    add_two(sums, c + j, c_stride, count, v, v + width, parts, 0);
  if (j < n)
    add_two(sums, c + j, c_stride, count, v, v, parts, 1);
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i last = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  CURTA_UNROLL for (uint32_t r = 0; r < count; r++)
      CURTA_UNROLL for (uint32_t i = 0; i < parts; i++) {
    const __m512i *of = sums + 2 * (r * parts + i);
    int64_t *at = o + (size_t)r * width + 32 * i;
    add_16(at, _mm512_permutex2var_epi64(of[0], first, of[1]));
    add_16(at + 16, _mm512_permutex2var_epi64(of[0], last, of[1]));
  }
}

/// Adds the rows 0 ... n-1, n up to ROWS, to `count` sums, a constant of 1, 2, 4 or 8: the values
/// are read and widened once.
CURTA_AVX512_INLINE void add_values(const int16_t *c, size_t c_stride, uint32_t count,
                                    const int8_t *v, uint32_t width, uint32_t n, int64_t *o) {
  uint32_t i = 0;
  if (count == 1)
    for (; width - i >= 64; i += 64)
      add_columns(c, c_stride, 1, v + i, width, n, 2, o + i);
  for (; i < width; i += 32)
    add_columns(c, c_stride, count, v + i, width, n, 1, o + i);
}

CURTA_AVX512 void curta_weighted_sum__avx512vnni(const int16_t *c, size_t c_stride, uint32_t rows,
                                                 const int8_t *v, uint32_t width, uint32_t n,
                                                 int64_t *o) {
  if (width % 32 != 0) {
    curta_weighted_sum__avx2(c, c_stride, rows, v, width, n, o);
    return;
  }
  for (size_t i = 0; i < (size_t)rows * width; i++)
    o[i] = 0;
  for (uint32_t j = 0, some; j < n; j += some) {
    some = n - j < ROWS ? n - j : ROWS;
    const int8_t *values = v + (size_t)j * width;
    uint32_t r = 0;
    for (; rows - r >= 8; r += 8)
      add_values(c + r * c_stride + j, c_stride, 8, values, width, some, o + (size_t)r * width);
    for (; rows - r >= 4; r += 4)
      add_values(c + r * c_stride + j, c_stride, 4, values, width, some, o + (size_t)r * width);
    for (; rows - r >= 2; r += 2)
      add_values(c + r * c_stride + j, c_stride, 2, values, width, some, o + (size_t)r * width);
    if (r < rows)
      add_values(c + r * c_stride + j, c_stride, 1, values, width, some, o + (size_t)r * width);
  }
}

#endif
