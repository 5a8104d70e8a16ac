// Attention of one query head over its positions with AVX2: products. Weights: avx2_weights.c.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../avx2.h"

/// Sum of q * k over the first `width` codes, a multiple of 32. VPMADDUBSW of abs(q) and k with q's
/// sign is exact as codes are within 127.
CURTA_AVX2_INLINE __m256i dot_lanes(const int8_t *q, const int8_t *k, uint32_t width) {
  const __m256i one = _mm256_set1_epi16(1);
  __m256i lanes = _mm256_setzero_si256();
  for (uint32_t i = 0; i < width; i += 32) {
    const __m256i x = load256(q + i), y = load256(k + i);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(y, x));
    lanes = _mm256_add_epi32(lanes, _mm256_madd_epi16(pairs, one));
  }
  return lanes;
}

/// The rest of a row: 16 codes at once, then one at a time.
CURTA_AVX2_INLINE int32_t dot_rest(const int8_t *q, const int8_t *k, uint32_t i, uint32_t width) {
  int32_t dot = 0;
  if (width - i >= 16) {
    const __m256i x = _mm256_cvtepi8_epi16(load128(q + i));
    dot = sum_of_i32(_mm256_madd_epi16(x, _mm256_cvtepi8_epi16(load128(k + i))));
    i += 16;
  }
  for (; i < width; i++)
    dot += q[i] * k[i];
  return dot;
}

/// The scores of one query.
CURTA_AVX2 static void row_scores(const int8_t *q, const int8_t *k, uint32_t width, uint32_t n,
                                  int32_t *a) {
  const uint32_t whole = width / 32 * 32;
  uint32_t j = 0;
  for (; n - j >= 4; j += 4) {
    const int8_t *row = k + (size_t)j * width;
    const __m256i d0 = dot_lanes(q, row, whole);
    const __m256i d1 = dot_lanes(q, row + width, whole);
    const __m256i d2 = dot_lanes(q, row + 2 * (size_t)width, whole);
    const __m256i d3 = dot_lanes(q, row + 3 * (size_t)width, whole);
    const __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(d0, d1), _mm256_hadd_epi32(d2, d3));
    store128(a + j, _mm_add_epi32(low128(all), high128(all)));
    if (whole < width)
      for (uint32_t i = 0; i < 4; i++)
        a[j + i] += dot_rest(q, row + (size_t)i * width, whole, width);
  }
  for (; j < n; j++) {
    const int8_t *row = k + (size_t)j * width;
    a[j] = sum_of_i32(dot_lanes(q, row, whole)) + dot_rest(q, row, whole, width);
  }
}

void curta_scores__avx2(const int8_t *q, size_t q_stride, uint32_t rows, const int8_t *k,
                        uint32_t width, uint32_t n, int32_t *a, size_t a_stride) {
  for (uint32_t r = 0; r < rows; r++)
    row_scores(q + r * q_stride, k, width, n, a + r * a_stride);
}

/// Codes i ... i+7 of two rows in turn, as int16 lanes.
CURTA_AVX2_INLINE __m256i two_rows(__m128i interleaved) {
  return _mm256_cvtepi8_epi16(interleaved);
}

/// Adds eight int32 lanes to o.
CURTA_AVX2_INLINE void flush(int64_t *o, __m256i lanes) {
  store256(o, _mm256_add_epi64(load256(o), _mm256_cvtepi32_epi64(low128(lanes))));
  store256(o + 4, _mm256_add_epi64(load256(o + 4), _mm256_cvtepi32_epi64(high128(lanes))));
}

/// The weights of the rows j and j + 1 in all pairs of int16 lanes; past n - 1 a weight of 0.
CURTA_AVX2_INLINE __m256i two_weights(const int16_t *c, uint32_t j, uint32_t n) {
  const uint32_t next = j + 1 < n ? (uint16_t)c[j + 1] : 0;
  return _mm256_set1_epi32((int32_t)((uint16_t)c[j] | next << 16));
}

/// Adds the rows 0 ... n-1 to the columns 0 ... 8 * eights - 1 of o; eights is 1 or even, constant.
/// n <= 512: a lane's sum is at most 512 * 32767 * 127 = 2 130 641 408 < 2^31.
CURTA_AVX2_INLINE void add_columns(const int16_t *c, const int8_t *v, uint32_t width, uint32_t n,
                                   uint32_t eights, int64_t *o) {
  __m256i lanes[8];
  for (uint32_t i = 0; i < eights; i++)
    lanes[i] = _mm256_setzero_si256();
  for (uint32_t j = 0; j < n; j += 2) {
    const __m256i weights = two_weights(c, j, n);
    const int8_t *row = v + (size_t)j * width, *next = j + 1 < n ? row + width : row;
    if (eights == 1) {
      const __m128i x = _mm_loadl_epi64((const __m128i *)(const void *)row);
      const __m128i y = _mm_loadl_epi64((const __m128i *)(const void *)next);
      const __m256i both = two_rows(_mm_unpacklo_epi8(x, y));
      lanes[0] = _mm256_add_epi32(lanes[0], _mm256_madd_epi16(both, weights));
    } else {
      for (uint32_t i = 0; i < eights; i += 2) {
        const __m128i x = load128(row + 8 * i), y = load128(next + 8 * i);
        const __m256i low = two_rows(_mm_unpacklo_epi8(x, y));
        const __m256i high = two_rows(_mm_unpackhi_epi8(x, y));
        lanes[i] = _mm256_add_epi32(lanes[i], _mm256_madd_epi16(low, weights));
        lanes[i + 1] = _mm256_add_epi32(lanes[i + 1], _mm256_madd_epi16(high, weights));
      }
    }
  }
  for (uint32_t i = 0; i < eights; i++)
    flush(o + 8 * i, lanes[i]);
}

CURTA_AVX2 void curta_weighted_sum__avx2(const int16_t *c, const int8_t *v, uint32_t width,
                                         uint32_t n, int64_t *o) {
  for (uint32_t i = 0; i < width; i++)
    o[i] = 0;
  for (uint32_t j = 0, rows; j < n; j += rows) {
    rows = n - j < 512 ? n - j : 512;
    const int8_t *row = v + (size_t)j * width;
    uint32_t i = 0;
    for (; width - i >= 64; i += 64)
      add_columns(c + j, row + i, width, rows, 8, o + i);
    for (; width - i >= 16; i += 16)
      add_columns(c + j, row + i, width, rows, 2, o + i);
    for (; width - i >= 8; i += 8)
      add_columns(c + j, row + i, width, rows, 1, o + i);
    for (; i < width; i++)
      for (uint32_t r = 0; r < rows; r++)
        o[i] += c[j + r] * row[(size_t)r * width + i];
  }
}

#endif
