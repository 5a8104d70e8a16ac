// Products of packed codes of 6 bits with AVX2: rows for one token, and the ways for more.
// SPDX-License-Identifier: Apache-2.0
//
// Proof that no lane overflows: that of avx2.c for small codes, whose steps are these spans.

#include "../kernels.h"
#include "tiled.h"

#if defined(__x86_64__)
#include "avx2_scaled.h"
#include "avx2_tile.h"

#define SIXES CURTA_AVX2
#define SIXES_INLINE CURTA_AVX2_INLINE
#include "avx2_sixes.h"

enum { BIAS = 32, LOG_BIAS = 5 };

/// Adds the span of the blocks b and b + 1 of four, whose scales are `few`.
CURTA_AVX2_INLINE __m256i span(__m256i lanes, const uint8_t *row, const int8_t *q, uint32_t few,
                               uint32_t b, uint32_t step) {
  const int64_t first = HALF(b / step), second = HALF((b + 1) / step);
  const __m256i scale = step == 8
                            ? _mm256_set1_epi16(1)
                            : _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)few),
                                                  _mm256_setr_epi64x(first, first, second, second));
  __m256i u[2];
  two_sixes(row + 24 * b, u);
  const __m256i low = _mm256_maddubs_epi16(u[0], load256(q + 32 * b));
  const __m256i high = _mm256_maddubs_epi16(u[1], load256(q + 32 * b + 32));
  return _mm256_add_epi32(lanes, _mm256_madd_epi16(_mm256_add_epi16(low, high), scale));
}

CURTA_AVX2_INLINE __m256i some_spans(__m256i lanes, const uint8_t *row, const laid_token *token,
                                     size_t s, uint32_t few, uint32_t step, int two) {
  lanes = span(lanes, row, token->q + 64 * s, few, 0, step);
  return two ? span(lanes, row, token->q + 64 * s, few, 2, step) : lanes;
}

CURTA_AVX2_INLINE __m256i begin_row(const curta_chunk *c, uint32_t n, const laid_token *token,
                                    uint32_t step) {
  (void)token;
  __m256i lanes = _mm256_zextsi128_si256(_mm_cvtsi32_si128(c->corrections[0]));
  if (step != 8) {
    lanes = _mm256_setzero_si256();
    subtract_bias(c, &n, 1, 1, LOG_BIAS, &lanes);
  }
  return lanes;
}

CURTA_AVX2_INLINE void begin_token(laid_token *token, uint32_t spans) {
  (void)token;
  (void)spans;
}

#include "avx2_sixes_rows.h"

/// The product by tiles of small codes: so many rows at a time as scratch has room for.
CURTA_AVX2 static void as_small(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                                uint8_t *scratch, uint32_t most) {
  curta_weight small = *w;
  small.kind = CURTA_WEIGHT_SMALL;
  small.codes = scratch;
  small.row_bytes = (w->columns + 31) / 32 * 32;
  for (uint32_t n = n0, rows; n < n1; n += rows) {
    rows = n1 - n < most ? n1 - n : most;
    uint8_t *to = scratch;
    for (uint32_t r = 0; r < rows; r++) {
      const uint8_t *row = (const uint8_t *)w->codes + (size_t)(n + r) * w->row_bytes;
      for (uint32_t at = 0; at < w->row_bytes; at += 24, to += 32)
        store256(to, _mm256_sub_epi8(sixes_of(row + at), _mm256_set1_epi8(BIAS)));
    }
    small.mantissas = w->mantissas + n;
    if (w->group_scales)
      small.group_scales = w->group_scales + (size_t)n * w->groups;
    if (w->group_offsets)
      small.group_offsets = w->group_offsets + (size_t)n * w->groups;
    small.rows = rows;
    curta_avx2_bytes_tiled(&small, x, t0, t1, 0, rows, z + (n - n0), z_stride);
  }
}

void curta_product_sixes__avx2(const curta_weight *w, const curta_codes *x, uint32_t t0,
                               uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                               void *scratch) {
  static const curta_tiles set = {
      curta_avx2_sixes_one, curta_avx2_sixes_four, curta_avx2_offset_dot, SIX_BLOCKS, BIAS,
      curta_avx2_finish};
  static const curta_tiles rows = {
      sixes_one, curta_avx2_sixes_four, curta_avx2_offset_dot, SIX_BLOCKS, BIAS, curta_avx2_finish};
  const uint32_t tokens = t1 - t0;
  const uint32_t most = CURTA_PRODUCT_SCRATCH(tokens) / ((w->columns + 31) / 32 * 32);
  if (curta_avx2_scaled_fits(w, tokens, n0, n1))
    curta_avx2_scaled(w, x, t0, t1, n0, n1, z, z_stride, &curta_avx2_scaled_ways, scratch);
  else if (tokens > 4 && most > 1) // else each four tokens would unpack the codes
    as_small(w, x, t0, t1, n0, n1, z, z_stride, scratch, most);
  else
    curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, takes_sixes(w) ? &rows : &set);
}

#endif
