// The tiles of panels with group scales for AVX-VNNI: 16 rows by 1 token, by 6.
// SPDX-License-Identifier: Apache-2.0
//
// The frame is that of avx2_scaled.c. VPDPBUSD adds four columns to an int32 lane without a step
// between: a block of 32 columns of nibbles is 9 instructions for 256 products.
//
// Proof that no lane overflows, for codes q within 127, v = q + 128, scales s <= 255: VPDPBUSD adds
// modulo 2^32, and a block's lane begins at -128 * (sum of c), so that it ends at the sum of c * q.
//
// nibbles: abs <= 32 * 8 * 127 = 32512 < 2^15: the lower half of the lane holds it, and VPDPWSSD
//   multiplies it by the scale, the upper half by 0.
// small: abs <= 32 * 32 * 127 = 130048, times a scale below 2^25.
//
// Sums of blocks are added modulo 2^32 and end as those of avx2_scaled.c.

#if defined(__x86_64__)
#include "../avxvnni.h"
#include "avx2_scaled.h"

CURTA_AVXVNNI_INLINE void tile(const curta_scaled_panel *p, const uint8_t *turned, int are_nibbles,
                               uint32_t tokens, __m256i (*sums)[2]) {
#define EACH                                                                                       \
  CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) CURTA_UNROLL for (int h = 0; h < 2; h++)
  EACH sums[t][h] = _mm256_setzero_si256();
  const uint8_t *codes = p->codes;
  for (uint32_t b = 0; b < p->blocks; b++, codes += CURTA_SCALED_BLOCK_BYTES) {
    const uint8_t *v = curta_scaled_place(p, turned, b, CURTA_PANEL_TILE);
    __m256i lanes[CURTA_PANEL_TILE][2];
    EACH lanes[t][h] = load256(codes + CURTA_SCALED_BEGINS + 32 * h);
    CURTA_UNROLL for (uint32_t k = 0; k < CURTA_SCALED_STEPS; k++) {
      const __m256i c[2] = {load256(codes + 64 * k), load256(codes + 64 * k + 32)};
      CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) {
        const __m256i own = four_codes(v + 32 * t + 4 * k);
        CURTA_UNROLL for (int h = 0; h < 2; h++) lanes[t][h] =
            _mm256_dpbusd_avx_epi32(lanes[t][h], own, c[h]);
      }
    }
    EACH {
      const __m256i scale = load256(codes + CURTA_SCALED_SCALES + 32 * h);
      sums[t][h] = are_nibbles
                       ? _mm256_dpwssd_avx_epi32(sums[t][h], lanes[t][h], scale)
                       : _mm256_add_epi32(sums[t][h], _mm256_mullo_epi32(lanes[t][h], scale));
    }
  }
#undef EACH
}

#define TILE(name, are_nibbles, tokens)                                                            \
  CURTA_AVXVNNI static void name(const curta_scaled_panel *p, const uint8_t *turned,               \
                                 __m256i(*sums)[2]) {                                              \
    tile(p, turned, are_nibbles, tokens, sums);                                                    \
  }
TILE(nibbles_one, 1, 1)
TILE(nibbles_six, 1, 6)
TILE(small_one, 0, 1)
TILE(small_six, 0, 6)

const curta_scaled_ways curta_avxvnni_scaled_ways = {
    {nibbles_one, nibbles_six, CURTA_PANEL_TILE, 1}, {small_one, small_six, CURTA_PANEL_TILE, 1}};

#endif
