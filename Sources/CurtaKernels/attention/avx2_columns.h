// Columns of weighted sums for AVX2 and AVX-VNNI, as weighted_sum.h asks.
// SPDX-License-Identifier: Apache-2.0
//
// Before: CURTA_WEIGHTED, and multiply_add(lanes, x, y), which adds the products of int16 lanes by
// pairs.

#ifndef CURTA_AVX2_COLUMNS_H
#define CURTA_AVX2_COLUMNS_H

/// Codes i ... i+7 of two rows in turn, as int16 lanes.
CURTA_AVX2_INLINE __m256i two_rows(__m128i interleaved) {
  return _mm256_cvtepi8_epi16(interleaved);
}

/// Adds eight int32 lanes to o.
CURTA_AVX2_INLINE void flush(int64_t *o, __m256i lanes) {
  store256(o, _mm256_add_epi64(load256(o), _mm256_cvtepi32_epi64(low128(lanes))));
  store256(o + 4, _mm256_add_epi64(load256(o + 4), _mm256_cvtepi32_epi64(high128(lanes))));
}

/// c[0] and c[1] in all pairs of int16 lanes; 0 for c[1] where there is one row.
CURTA_AVX2_INLINE __m256i two_weights(const int16_t *c, int is_one) {
  int32_t both = (uint16_t)c[0];
  if (!is_one)
    __builtin_memcpy(&both, c, 4);
  return _mm256_set1_epi32(both);
}

/// Adds two rows, or one twice with is_one, to the columns of add_columns.
CURTA_WEIGHTED void add_two(__m256i *lanes, const int16_t *c, size_t c_stride, uint32_t count,
                            const int8_t *row, const int8_t *next, uint32_t eights, int is_one) {
  if (eights == 1) {
    const __m128i x = _mm_loadl_epi64((const __m128i *)(const void *)row);
    const __m128i y = _mm_loadl_epi64((const __m128i *)(const void *)next);
    const __m256i both = two_rows(_mm_unpacklo_epi8(x, y));
    CURTA_UNROLL for (uint32_t r = 0; r < count; r++) lanes[r] =
        multiply_add(lanes[r], both, two_weights(c + r * c_stride, is_one));
    return;
  }
  CURTA_UNROLL for (uint32_t i = 0; i < eights; i += 2) {
    const __m128i x = load128(row + 8 * i), y = load128(next + 8 * i);
    const __m256i low = two_rows(_mm_unpacklo_epi8(x, y));
    const __m256i high = two_rows(_mm_unpackhi_epi8(x, y));
    CURTA_UNROLL for (uint32_t r = 0; r < count; r++) {
      const __m256i weights = two_weights(c + r * c_stride, is_one);
      __m256i *sums = lanes + r * eights + i;
      sums[0] = multiply_add(sums[0], low, weights);
      sums[1] = multiply_add(sums[1], high, weights);
    }
  }
}

/// As weighted_sum.h asks.
CURTA_WEIGHTED void add_columns(const int16_t *c, size_t c_stride, uint32_t count, const int8_t *v,
                                uint32_t width, uint32_t n, uint32_t eights, int64_t *o) {
  __m256i lanes[8];
  CURTA_UNROLL for (uint32_t i = 0; i < count * eights; i++) lanes[i] = _mm256_setzero_si256();
  uint32_t j = 0;
  for (; n - j >= 2; j += 2, v += 2 * (size_t)width)
    add_two(lanes, c + j, c_stride, count, v, v + width, eights, 0);
  if (j < n)
    add_two(lanes, c + j, c_stride, count, v, v, eights, 1);
  CURTA_UNROLL for (uint32_t r = 0; r < count; r++)
      CURTA_UNROLL for (uint32_t i = 0; i < eights; i++)
          flush(o + (size_t)r * width + 8 * i, lanes[r * eights + i]);
}

#endif
