// Attention scores and weighted sums with SMMLA and UMMLA, the int8 matrix products of ARMv8.6.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__aarch64__)
#define CURTA_NEON_MMLA
#include "../neon.h"
#include "../unroll.h"
#include "neon_sums.h"

enum { MOST_WIDTH = 256 };

/// Two rows of sixteen codes, by eights in turn.
CURTA_NEON_INLINE void pair(const int8_t *row, const int8_t *next, int8x16_t *both) {
  const int64x2_t x = vreinterpretq_s64_s8(vld1q_s8(row)), y = vreinterpretq_s64_s8(vld1q_s8(next));
  both[0] = vreinterpretq_s8_s64(vzip1q_s64(x, y));
  both[1] = vreinterpretq_s8_s64(vzip2q_s64(x, y));
}

/// Scores of four queries, of which `paired` has [width / 16][2 pairs][32], with four keys.
CURTA_NEON_INLINE void four_scores(const int8_t *paired, const int8_t *k, uint32_t width,
                                   int32_t *a, size_t a_stride) {
  int32x4_t dots[2][2]; // [pair of queries][pair of keys]: [query][key]
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) dots[i / 2][i % 2] = vdupq_n_s32(0);
  for (uint32_t at = 0; at < width; at += 16) {
    int8x16_t y[2][2];
    CURTA_UNROLL for (uint32_t j = 0; j < 2; j++)
        pair(k + (size_t)(2 * j) * width + at, k + (size_t)(2 * j + 1) * width + at, y[j]);
    CURTA_UNROLL for (uint32_t i = 0; i < 8; i++) {
      const int8x16_t x = vld1q_s8(paired + (size_t)at * 4 + (i / 2) * 16);
      int32x4_t *dot = &dots[i / 4][i % 2];
      *dot = vmmlaq_s32(*dot, x, y[i % 2][i / 2 % 2]);
    }
  }
  CURTA_UNROLL for (uint32_t i = 0; i < 2; i++) {
    const int64x2_t x = vreinterpretq_s64_s32(dots[i][0]), y = vreinterpretq_s64_s32(dots[i][1]);
    vst1q_s32(a + 2 * i * a_stride, vreinterpretq_s32_s64(vzip1q_s64(x, y)));
    vst1q_s32(a + (2 * i + 1) * a_stride, vreinterpretq_s32_s64(vzip2q_s64(x, y)));
  }
}

CURTA_NEON void curta_scores__neon_i8mm(const int8_t *q, size_t q_stride, uint32_t rows,
                                        const int8_t *k, uint32_t width, uint32_t n, int32_t *a,
                                        size_t a_stride) {
  const int fits = width % 16 == 0 && width <= MOST_WIDTH;
  const uint32_t fours = fits ? rows / 4 * 4 : 0, keys = fours ? n / 4 * 4 : 0;
  for (uint32_t r = 0; r < fours; r += 4) {
    int8_t paired[4 * MOST_WIDTH];
    for (uint32_t at = 0; at < width; at += 16)
      CURTA_UNROLL for (uint32_t i = 0; i < 2; i++) {
        const int8_t *row = q + (r + 2 * i) * q_stride + at;
        int8x16_t both[2];
        pair(row, row + q_stride, both);
        vst1q_s8(paired + (size_t)at * 4 + 32 * i, both[0]);
        vst1q_s8(paired + (size_t)at * 4 + 32 * i + 16, both[1]);
      }
    for (uint32_t j = 0; j < keys; j += 4)
      four_scores(paired, k + (size_t)j * width, width, a + r * a_stride + j, a_stride);
  }
  // The other keys, and then the other queries.
  curta_scores__neon_dotprod(q, q_stride, fours, k + (size_t)keys * width, width, n - keys,
                             a + keys, a_stride);
  curta_scores__neon_dotprod(q + fours * q_stride, q_stride, rows - fours, k, width, n,
                             a + fours * a_stride, a_stride);
}

CURTA_NEON void curta_weighted_sum__neon_i8mm(const int16_t *c, size_t c_stride, uint32_t rows,
                                              const int8_t *v, uint32_t width, uint32_t n,
                                              int64_t *o) {
  weighted_sums(c, c_stride, rows, v, width, n, o);
}

#endif
