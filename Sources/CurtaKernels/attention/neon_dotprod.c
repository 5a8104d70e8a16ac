// Attention scores with SDOT, the dot product instruction of ARMv8.2.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__aarch64__)
#include "../neon.h"

#define CURTA_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))

CURTA_DOTPROD static inline int32_t dot(const int8_t *q, const int8_t *k, uint32_t width) {
  int32x4_t lanes = vdupq_n_s32(0);
  uint32_t i = 0;
  for (; width - i >= 16; i += 16)
    lanes = vdotq_s32(lanes, vld1q_s8(q + i), vld1q_s8(k + i));
  int32x2_t half = vdup_n_s32(0);
  if (width - i >= 8) {
    half = vdot_s32(half, vld1_s8(q + i), vld1_s8(k + i));
    i += 8;
  }
  int32_t sum = vaddvq_s32(lanes) + vaddv_s32(half);
  for (; i < width; i++)
    sum += q[i] * k[i];
  return sum;
}

/// The scores of one query.
CURTA_DOTPROD static void row_scores(const int8_t *q, const int8_t *k, uint32_t width, uint32_t n,
                                     int32_t *a) {
  for (uint32_t j = 0; j < n; j++)
    a[j] = dot(q, k + (size_t)j * width, width);
}

void curta_scores__neon_dotprod(const int8_t *q, size_t q_stride, uint32_t rows, const int8_t *k,
                                uint32_t width, uint32_t n, int32_t *a, size_t a_stride) {
  for (uint32_t r = 0; r < rows; r++)
    row_scores(q + r * q_stride, k, width, n, a + r * a_stride);
}

#endif
