// Attention scores with SDOT, the dot product instruction of ARMv8.2.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__aarch64__)
#include "../neon.h"
#include "../unroll.h"

#define CURTA_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#define CURTA_NEON_INLINE                                                                          \
  static inline __attribute__((always_inline, target("arch=armv8.2-a+dotprod")))

CURTA_NEON_INLINE int32x4_t sixteen(int32x4_t dot, int8x16_t x, int8x16_t y) {
  return vdotq_s32(dot, x, y);
}

#include "neon_scores.h"

CURTA_DOTPROD void curta_scores__neon_dotprod(const int8_t *q, size_t q_stride, uint32_t rows,
                                              const int8_t *k, uint32_t width, uint32_t n,
                                              int32_t *a, size_t a_stride) {
  all_scores(q, q_stride, rows, k, width, n, a, a_stride);
}

#endif
