// Attention scores and weighted sums with SDOT and UDOT, the dot product instructions of ARMv8.2.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__aarch64__)
#define CURTA_NEON_SDOT
#include "../neon.h"
#include "../unroll.h"
#include "neon_scores.h"
#include "neon_sums.h"

CURTA_NEON void curta_scores__neon_dotprod(const int8_t *q, size_t q_stride, uint32_t rows,
                                           const int8_t *k, uint32_t width, uint32_t n, int32_t *a,
                                           size_t a_stride) {
  all_scores(q, q_stride, rows, k, width, n, a, a_stride);
}

CURTA_NEON void curta_weighted_sum__neon_dotprod(const int16_t *c, size_t c_stride, uint32_t rows,
                                                 const int8_t *v, uint32_t width, uint32_t n,
                                                 int64_t *o) {
  weighted_sums(c, c_stride, rows, v, width, n, o);
}

#endif
