// Overlays with NEON: sixteen tokens side by side, two values a step.
// SPDX-License-Identifier: Apache-2.0
//
// Two products are abs <= 2 * 127 * 127 < 2^15 in an int16 lane. An int32 lane takes at most 2^17 *
// 127 * 127 = 2 114 060 288 < 2^31; with m and the step a sum is at most A * 127 * 65535 < 2^55.

#include "../kernels.h"
#include "../unroll.h"

#if defined(__aarch64__)
#include "../neon.h"

enum { TOKENS = CURTA_TURNED_TOKENS };

void curta_turn_codes__neon(const int8_t *q, size_t stride, uint32_t rows, uint32_t columns,
                            int8_t *turned) {
  for (uint32_t k = 0; k < columns; k += 16) {
    int8x16_t x[16], y[16];
    for (uint32_t t = 0; t < 16; t++)
      x[t] = t < rows ? vld1q_s8(q + t * stride + k) : vdupq_n_s8(0);
    // A round interleaves row i with row i + 8; after four, byte j of row i is byte i of row j.
    for (int round = 0; round < 2; round++) {
      CURTA_UNROLL for (int i = 0; i < 8; i++) {
        y[2 * i] = vzip1q_s8(x[i], x[i + 8]);
        y[2 * i + 1] = vzip2q_s8(x[i], x[i + 8]);
      }
      CURTA_UNROLL for (int i = 0; i < 8; i++) {
        x[2 * i] = vzip1q_s8(y[i], y[i + 8]);
        x[2 * i + 1] = vzip2q_s8(y[i], y[i + 8]);
      }
    }
    CURTA_UNROLL for (uint32_t i = 0; i < 16; i++)
        vst1q_s8(turned + ((size_t)k + i) * TOKENS, x[i]);
  }
}

/// sums [4] of 4 tokens += a * the codes at p + b * the codes at r.
CURTA_NEON_INLINE void add_pair(int32x4_t *sums, const int8_t *p, const int8_t *r, int8_t a,
                                int8_t b) {
  const int8x16_t x = vld1q_s8(p), y = vld1q_s8(r);
  const int8x8_t va = vdup_n_s8(a), vb = vdup_n_s8(b);
  const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(x), va), vget_low_s8(y), vb);
  const int16x8_t high = vmlal_s8(vmull_s8(vget_high_s8(x), va), vget_high_s8(y), vb);
  sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
  sums[1] = vaddw_high_s16(sums[1], low);
  sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
  sums[3] = vaddw_high_s16(sums[3], high);
}

CURTA_NEON_INLINE void add_columns(const curta_weight *w, uint32_t n, const int8_t *q,
                                   int32x4_t *sums) {
  const int8_t *v = w->outlier_values + (size_t)n * w->outliers;
  const uint32_t *k = w->outlier_columns;
  uint32_t i = 0;
  for (; i + 2 <= w->outliers; i += 2)
    add_pair(sums, q + (size_t)k[i] * TOKENS, q + (size_t)k[i + 1] * TOKENS, v[i], v[i + 1]);
  if (i < w->outliers)
    add_pair(sums, q + (size_t)k[i] * TOKENS, q + (size_t)k[i] * TOKENS, v[i], 0);
}

CURTA_NEON_INLINE void add_entries(const curta_weight *w, uint32_t n, const int8_t *q,
                                   int32x4_t *sums) {
  const uint32_t end = w->residual_starts[n + 1];
  const uint8_t *gaps = w->residual_gaps;
  const int8_t *v = w->residual_values;
  uint32_t i = w->residual_starts[n];
  for (; i + 2 <= end; i += 2) {
    const int8_t *first = q + (size_t)gaps[i] * TOKENS;
    q = first + ((size_t)gaps[i + 1] + 1) * TOKENS;
    add_pair(sums, first, q, v[i], v[i + 1]);
    q += TOKENS;
  }
  if (i < end)
    add_pair(sums, q + (size_t)gaps[i] * TOKENS, q + (size_t)gaps[i] * TOKENS, v[i], 0);
}

/// round((columns * 2^p + entries * 2^p') * m, shift) of two tokens.
CURTA_NEON_INLINE int32x2_t finished(const curta_weight *w, int32x2_t m, int32x2_t columns,
                                     int32x2_t entries) {
  const int64x2_t a = vshlq_s64(vmull_s32(columns, m), vdupq_n_s64(w->outlier_step));
  const int64x2_t b = vshlq_s64(vmull_s32(entries, m), vdupq_n_s64(w->residual_step));
  return vmovn_s64(vrshlq_s64(vaddq_s64(a, b), vdupq_n_s64(-(int64_t)w->shift)));
}

void curta_add_overlays__neon(const curta_weight *w, const int8_t *turned, uint32_t stride,
                              uint32_t tokens, uint32_t n0, uint32_t n1, int32_t *z,
                              size_t z_stride) {
  if (tokens == 1) {
    curta_add_overlays__scalar(w, turned, stride, tokens, n0, n1, z, z_stride);
    return;
  }
  for (uint32_t t = 0; t < tokens; t += TOKENS) {
    const int8_t *q = turned + (size_t)t * stride;
    const uint32_t left = tokens - t < TOKENS ? tokens - t : TOKENS;
    for (uint32_t n = n0; n < n1; n++) {
      int32x4_t columns[4], entries[4];
      CURTA_UNROLL for (int i = 0; i < 4; i++) columns[i] = entries[i] = vdupq_n_s32(0);
      add_columns(w, n, q, columns);
      if (w->residual_starts)
        add_entries(w, n, q, entries);
      const int32x2_t m = vdup_n_s32(w->mantissas[n]);
      int32_t values[TOKENS];
      CURTA_UNROLL for (int i = 0; i < 4; i++) {
        vst1_s32(values + 4 * i,
                 finished(w, m, vget_low_s32(columns[i]), vget_low_s32(entries[i])));
        vst1_s32(values + 4 * i + 2,
                 finished(w, m, vget_high_s32(columns[i]), vget_high_s32(entries[i])));
      }
      int32_t *to = z + t * z_stride + n - n0;
      for (uint32_t i = 0; i < left; i++)
        to[i * z_stride] += values[i];
    }
  }
}

#endif
