// What the tiles of AVX2 and AVX-VNNI share: what a bias left too much, offsets, the end of a tile.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX2_TILE_H
#define CURTA_AVX2_TILE_H

#include "../avx2.h"
#include "tiled.h"

enum { CURTA_TILE_SUMS = 8 }; // of rows and tokens in a tile at most

/// Rows and tokens of a tile, as constants of the inlined code.
#define EACH_ROW CURTA_UNROLL for (uint32_t r = 0; r < rows; r++)
#define EACH_TOKEN CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++)

/// 16 scales from `at` on, where the tensor has them.
CURTA_AVX2_INLINE __m256i sixteen_scales(const uint8_t *scales, size_t at, size_t all) {
  if (at + 16 <= all)
    return _mm256_cvtepu8_epi16(load128(scales + at));
  uint8_t copy[16] = {0};
  for (size_t i = 0; i < 16 && at + i < all; i++)
    copy[i] = scales[at + i];
  return _mm256_cvtepu8_epi16(load128(copy));
}

/// Subtracts 2^log_bias * scale * (sum of q); scales past the chunk's groups meet sums of 0.
CURTA_AVX2_INLINE void subtract_bias(const curta_chunk *c, const uint32_t *row, uint32_t rows,
                                     uint32_t tokens, int log_bias, __m256i *lanes) {
  const size_t all = (size_t)c->w->rows * c->w->groups;
  __m256i bias[CURTA_TILE_SUMS];
  EACH_ROW EACH_TOKEN bias[r * tokens + t] = _mm256_setzero_si256();
  for (uint32_t g = 0; g < c->groups; g += 16)
    EACH_ROW {
      const size_t at = (size_t)row[r] * c->w->groups + c->group + g;
      const __m256i scale = sixteen_scales(c->w->group_scales, at, all);
      EACH_TOKEN {
        __m256i *lane = &bias[r * tokens + t];
        *lane = _mm256_add_epi32(*lane, _mm256_madd_epi16(scale, load256(c->sums[t] + g)));
      }
    }
  EACH_ROW EACH_TOKEN {
    const uint32_t at = r * tokens + t;
    lanes[at] = _mm256_sub_epi32(lanes[at], _mm256_slli_epi32(bias[at], log_bias));
  }
}

// What AVX2 has for packed codes of 6 bits beside small ones, with a bias of 32 and chunks of 64
// blocks, and its tiles of bytes.
curta_tile curta_avx2_sixes_one, curta_avx2_sixes_four;
void curta_avx2_bytes_tiled(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                            uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride);

int64_t curta_avx2_offset_dot(const int16_t *offsets, const int16_t *sums, uint32_t groups);
void curta_avx2_finish(const curta_weight *w, uint32_t n0, uint32_t n1, const int64_t (*sums)[4],
                       int32_t *z, size_t z_stride);

#endif
