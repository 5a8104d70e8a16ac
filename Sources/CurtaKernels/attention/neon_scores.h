// Attention scores on aarch64, with SDOT or without as neon.h is included.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_NEON_SCORES_H
#define CURTA_NEON_SCORES_H

/// Scores of a key, of any width.
CURTA_NEON_INLINE int32_t one_score(const int8_t *q, const int8_t *k, uint32_t width) {
  int32x4_t lanes = vdupq_n_s32(0);
  uint32_t i = 0;
  for (; width - i >= 16; i += 16)
    lanes = sixteen(lanes, vld1q_s8(q + i), vld1q_s8(k + i));
  if (width - i >= 8) {
    lanes = vpadalq_s16(lanes, vmull_s8(vld1_s8(q + i), vld1_s8(k + i)));
    i += 8;
  }
  int32_t sum = vaddvq_s32(lanes);
  for (; i < width; i++)
    sum += q[i] * k[i];
  return sum;
}

/// Scores of `rows` queries, a constant of 1 or 2: four keys at a time, whose codes are read once.
CURTA_NEON_INLINE void some_scores(const int8_t *q, size_t q_stride, uint32_t rows, const int8_t *k,
                                   uint32_t width, uint32_t n, int32_t *a, size_t a_stride) {
  uint32_t j = 0;
  for (; n - j >= 4 && width % 16 == 0; j += 4) {
    const int8_t *keys = k + (size_t)j * width;
    int32x4_t dots[2][4];
    for (uint32_t r = 0; r < rows; r++)
      for (uint32_t i = 0; i < 4; i++)
        dots[r][i] = vdupq_n_s32(0);
    for (uint32_t at = 0; at < width; at += 16) {
      int8x16_t x[2];
      for (uint32_t r = 0; r < rows; r++)
        x[r] = vld1q_s8(q + r * q_stride + at);
      CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) {
        const int8x16_t y = vld1q_s8(keys + (size_t)i * width + at);
        for (uint32_t r = 0; r < rows; r++)
          dots[r][i] = sixteen(dots[r][i], x[r], y);
      }
    }
    for (uint32_t r = 0; r < rows; r++) {
      const int32x4_t *d = dots[r];
      vst1q_s32(a + r * a_stride + j, vpaddq_s32(vpaddq_s32(d[0], d[1]), vpaddq_s32(d[2], d[3])));
    }
  }
  for (; j < n; j++)
    for (uint32_t r = 0; r < rows; r++)
      a[r * a_stride + j] = one_score(q + r * q_stride, k + (size_t)j * width, width);
}

CURTA_NEON_INLINE void all_scores(const int8_t *q, size_t q_stride, uint32_t rows, const int8_t *k,
                                  uint32_t width, uint32_t n, int32_t *a, size_t a_stride) {
  uint32_t r = 0;
  for (; rows - r >= 2; r += 2)
    some_scores(q + r * q_stride, q_stride, 2, k, width, n, a + r * a_stride, a_stride);
  if (r < rows)
    some_scores(q + r * q_stride, q_stride, 1, k, width, n, a + r * a_stride, a_stride);
}

#endif
