// Overlays of a tensor, outlier columns and residual: the definition (curta-arithmetic.md 2).
// SPDX-License-Identifier: Apache-2.0

#include "../arithmetic.h"
#include "../kernels.h"

void curta_turn_codes__scalar(const int8_t *q, size_t stride, uint32_t rows, uint32_t columns,
                              int8_t *turned) {
  for (uint32_t k = 0; k < columns; k++)
    for (uint32_t t = 0; t < CURTA_TURNED_TOKENS; t++)
      turned[(size_t)k * CURTA_TURNED_TOKENS + t] = t < rows ? q[t * stride + k] : 0;
}

/// R of row n for a token whose code of column k is q[k * apart].
static int64_t overlay_sum(const curta_weight *w, uint32_t n, const int8_t *q, size_t apart) {
  int64_t sum = 0;
  const int8_t *v = w->outlier_values + (size_t)n * w->outliers;
  for (uint32_t i = 0; i < w->outliers; i++)
    sum += v[i] * q[w->outlier_columns[i] * apart];
  sum *= (int64_t)1 << w->outlier_step;
  if (!w->residual_starts)
    return sum;
  int64_t entries = 0;
  size_t k = 0;
  for (uint32_t i = w->residual_starts[n]; i < w->residual_starts[n + 1]; i++) {
    k += w->residual_gaps[i];
    entries += w->residual_values[i] * q[k++ * apart];
  }
  return sum + entries * ((int64_t)1 << w->residual_step);
}

void curta_add_overlays__scalar(const curta_weight *w, const int8_t *turned, uint32_t stride,
                                uint32_t tokens, uint32_t n0, uint32_t n1, int32_t *z,
                                size_t z_stride) {
  const uint32_t together = tokens == 1 ? 1 : CURTA_TURNED_TOKENS;
  for (uint32_t t = 0; t < tokens; t++) {
    const int8_t *q = turned + (size_t)(t / together) * stride * together + t % together;
    for (uint32_t n = n0; n < n1; n++)
      z[t * z_stride + n - n0] +=
          (int32_t)curta_round(overlay_sum(w, n, q, together) * w->mantissas[n], w->shift);
  }
}
