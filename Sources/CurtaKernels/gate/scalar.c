// Residual sums and activations: the definition (curta-arithmetic.md sections 3 and 4).
// SPDX-License-Identifier: Apache-2.0

#include "../arithmetic.h"
#include "../kernels.h"

void curta_add_rescaled__scalar(int32_t *sum, const int32_t *base, const int32_t *z, uint32_t n,
                                uint32_t m, int32_t s) {
  for (uint32_t i = 0; i < n; i++)
    sum[i] = curta_clamp32(base[i] + curta_rescale((int64_t)z[i] * m, s));
}

/// lookup(table, a), a >= 0 in units of 2^-16, in Q15: steps of 1/32 up to 16, interpolated.
static inline int32_t lookup(const uint16_t *table, int32_t a) {
  const int32_t b = a < 1 << 20 ? a : 1 << 20;
  const int32_t i = b >> 11, r = b & 2047;
  const int32_t low = table[i], high = table[i + 1];
  return low + (int32_t)curta_round((high - low) * r, 11);
}

void curta_activate__scalar(const int32_t *zg, uint32_t n, uint32_t m, int32_t s,
                            const uint16_t *table, int32_t *a) {
  for (uint32_t i = 0; i < n; i++) {
    const int32_t g = (int32_t)curta_clamp(curta_rescale((int64_t)zg[i] * m, s), 1 << 30);
    const int32_t f = g < 0 ? (1 << 15) - lookup(table, -g) : lookup(table, g);
    a[i] = (int32_t)curta_round((int64_t)g * f, 15);
  }
}
