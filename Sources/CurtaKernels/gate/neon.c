// Residual sums and activations with NEON.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__aarch64__)
#include "../neon.h"

void curta_add_rescaled__neon(int32_t *sum, const int32_t *base, const int32_t *z, uint32_t n,
                              uint32_t m, int32_t s) {
  const int64x2_t count = vdupq_n_s64(rescale_count(s));
  uint32_t i = 0;
  for (; n - i >= 4; i += 4) {
    const int32x4_t x = vld1q_s32(z + i), old = vld1q_s32(base + i);
    int64x2_t low = vrshlq_s64(vmull_n_s32(vget_low_s32(x), (int32_t)m), count);
    int64x2_t high = vrshlq_s64(vmull_high_n_s32(x, (int32_t)m), count);
    low = vaddw_s32(low, vget_low_s32(old));
    high = vaddw_high_s32(high, old);
    // SQNEG twice: -2^31 becomes -(2^31 - 1).
    const int32x4_t all = vqmovn_high_s64(vqmovn_s64(low), high);
    vst1q_s32(sum + i, vqnegq_s32(vqnegq_s32(all)));
  }
  curta_add_rescaled__scalar(sum + i, base + i, z + i, n - i, m, s);
}

/// lookup(table, a), 0 <= a <= 2^30.
static inline int32x4_t lookup(const uint16_t *table, int32x4_t a) {
  const uint32x4_t b = vreinterpretq_u32_s32(vminq_s32(a, vdupq_n_s32(1 << 20)));
  const uint32x4_t r = vandq_u32(b, vdupq_n_u32(2047));
  const uint32x4_t two = entry_pairs(table, vshrq_n_u32(b, 11));
  const int32x4_t low = vreinterpretq_s32_u32(vandq_u32(two, vdupq_n_u32(0xFFFF)));
  const int32x4_t rise = vsubq_s32(vreinterpretq_s32_u32(vshrq_n_u32(two, 16)), low);
  return vrsraq_n_s32(low, vmulq_s32(rise, vreinterpretq_s32_u32(r)), 11);
}

void curta_activate__neon(const int32_t *zg, uint32_t n, uint32_t m, int32_t s,
                          const uint16_t *table, int32_t *a) {
  const int64x2_t count = vdupq_n_s64(rescale_count(s));
  const int32x4_t most = vdupq_n_s32(1 << 30), least = vdupq_n_s32(-(1 << 30));
  uint32_t i = 0;
  for (; n - i >= 4; i += 4) {
    const int32x4_t x = vld1q_s32(zg + i);
    const int64x2_t low = vrshlq_s64(vmull_n_s32(vget_low_s32(x), (int32_t)m), count);
    const int64x2_t high = vrshlq_s64(vmull_high_n_s32(x, (int32_t)m), count);
    int32x4_t g = vqmovn_high_s64(vqmovn_s64(low), high);
    g = vmaxq_s32(vminq_s32(g, most), least);
    const int32x4_t positive = lookup(table, vabsq_s32(g));
    const int32x4_t negative = vsubq_s32(vdupq_n_s32(1 << 15), positive);
    const int32x4_t f = vbslq_s32(vcltzq_s32(g), negative, positive);
    const int32x2_t first = vrshrn_n_s64(vmull_s32(vget_low_s32(g), vget_low_s32(f)), 15);
    vst1q_s32(a + i, vrshrn_high_n_s64(first, vmull_high_s32(g, f), 15));
  }
  curta_activate__scalar(zg + i, n - i, m, s, table, a + i);
}

#endif
