// Products of packed codes of 6 bits with AVX-VNNI for one token.
// SPDX-License-Identifier: Apache-2.0
//
// Proof that no lane overflows: u = c + 32 <= 63. A span's lanes begin at -32 * (sum of q) and end
// at the sum of c * q, abs <= 8 * 32 * 127 = 32512 < 2^15, so that VPACKSSDW of two spans is exact.
// VPDPWSSD adds abs <= 2 * 32512 * 255 to a lane, of 64 blocks 16 times: 265 297 920 < 2^28. The
// lanes' sum is at most 32 * 127 * 255 * 2048 = 2 122 383 360 < 2^31.

#include "../kernels.h"
#include "tiled.h"

#if defined(__x86_64__)
#include "../avxvnni.h"
#include "avx2_scaled.h"
#include "avx2_tile.h"

#define SIXES CURTA_AVXVNNI
#define SIXES_INLINE CURTA_AVXVNNI_INLINE
#include "avx2_sixes.h"

CURTA_AVXVNNI_INLINE void begin_token(laid_token *token, uint32_t spans) {
  const __m256i one = _mm256_set1_epi8(1), zero = _mm256_setzero_si256();
  token->all = zero;
  for (uint32_t s = 0; s < spans; s++) {
    const __m256i low = _mm256_dpbusd_avx_epi32(zero, one, load256(token->q + 64 * s));
    const __m256i sum = _mm256_dpbusd_avx_epi32(low, one, load256(token->q + 64 * s + 32));
    token->begins[s] = _mm256_sub_epi32(zero, _mm256_slli_epi32(sum, 5));
    token->all = _mm256_add_epi32(token->all, token->begins[s]);
  }
}

CURTA_AVXVNNI_INLINE __m256i begin_row(const curta_chunk *c, uint32_t n, const laid_token *token,
                                       uint32_t step) {
  (void)c;
  (void)n;
  return step == 8 ? token->all : _mm256_setzero_si256();
}

/// Adds u * q of the span at `row`, of the token the s-th.
CURTA_AVXVNNI_INLINE __m256i span(__m256i lanes, const uint8_t *row, const laid_token *token,
                                  size_t s) {
  __m256i u[2];
  two_sixes(row, u);
  lanes = _mm256_dpbusd_avx_epi32(lanes, u[0], load256(token->q + 64 * s));
  return _mm256_dpbusd_avx_epi32(lanes, u[1], load256(token->q + 64 * s + 32));
}

CURTA_AVXVNNI_INLINE __m256i some_spans(__m256i lanes, const uint8_t *row, const laid_token *token,
                                        size_t s, uint32_t few, uint32_t step, int two) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i a = span(step == 8 ? lanes : token->begins[s], row, token, s);
  const __m256i b =
      two ? span(step == 8 ? zero : token->begins[s + 1], row + 48, token, s + 1) : zero;
  if (step == 8)
    return _mm256_add_epi32(a, b);
  // Of the blocks 0 and 2, then 1 and 3, as VPACKSSDW has them.
  const __m256i order = _mm256_setr_epi64x(HALF(0), HALF(2 / step), HALF(1 / step), HALF(3 / step));
  const __m256i scale = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)few), order);
  return _mm256_dpwssd_avx_epi32(lanes, _mm256_packs_epi32(a, b), scale);
}

#include "avx2_sixes_rows.h"

void curta_product_sixes__avxvnni(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                  uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                  size_t z_stride, void *scratch) {
  static const curta_tiles rows = {sixes_one,  sixes_one, curta_avx2_offset_dot,
                                   SIX_BLOCKS, 0,         curta_avx2_finish};
  const uint32_t tokens = t1 - t0;
  if (tokens >= 6 && curta_avx2_scaled_fits(w, tokens, n0, n1))
    curta_avx2_scaled(w, x, t0, t1, n0, n1, z, z_stride, &curta_avxvnni_scaled_ways, scratch);
  else if (tokens == 1 && takes_sixes(w))
    curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &rows);
  else
    curta_product_sixes__avx2(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

#endif
