// Residual sums and activations with NEON.
// SPDX-License-Identifier: Apache-2.0
//
// SQRDMULH of int32 lanes is round(x * y, 31): round(z * m, s) for y = m * 2^(31-s), 16 <= s <= 31.

#include "../kernels.h"

#if defined(__aarch64__)
#include "../neon.h"
#include "../unroll.h"

/// add_rescaled of any s.
static void add_wide(int32_t *sum, const int32_t *base, const int32_t *z, uint32_t n, uint32_t m,
                     int32_t s) {
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

void curta_add_rescaled__neon(int32_t *sum, const int32_t *base, const int32_t *z, uint32_t n,
                              uint32_t m, int32_t s) {
  // Shifts from 1 to 15 are 16 once z is shifted up, which is exact up to 2^(31 - up).
  const int32_t up = s > 0 && s < 16 ? 16 - s : 0;
  const int is_short =
      s > 0 && s < 32 && (up == 0 || curta_maxabs_i32__neon(z, n / 16 * 16) >> (31 - up) == 0);
  int32_t low = -INT32_MAX;
  __asm__("" : "+r"(low)); // a vector of that constant would be made with FNEG
  const int32x4_t shift = vdupq_n_s32(up), least = vdupq_n_s32(low);
  const int32_t factor = is_short ? (int32_t)(m << (31 - s - up)) : 0;
  uint32_t i = 0;
  for (; is_short && n - i >= 16; i += 16) {
    int32x4_t x[4]; // all before a store, which a load might be of
    CURTA_UNROLL for (uint32_t k = 0; k < 4; k++) x[k] =
        vqrdmulhq_n_s32(vshlq_s32(vld1q_s32(z + i + 4 * k), shift), factor);
    CURTA_UNROLL for (uint32_t k = 0; k < 4; k++) x[k] =
        vmaxq_s32(vqaddq_s32(vld1q_s32(base + i + 4 * k), x[k]), least);
    CURTA_UNROLL for (uint32_t k = 0; k < 4; k++) vst1q_s32(sum + i + 4 * k, x[k]);
  }
  add_wide(sum + i, base + i, z + i, n - i, m, s);
}

/// The four bytes at each lane's distance from `table`.
static inline uint32x4_t bytes_at(const uint16_t *table, uint32x4_t distance) {
  const uint64x2_t two = vreinterpretq_u64_u32(distance);
  const uint64_t a = vgetq_lane_u64(two, 0), b = vgetq_lane_u64(two, 1);
  const uint8_t *bytes = (const uint8_t *)table;
  uint32_t found[4];
  __builtin_memcpy(&found[0], bytes + (uint32_t)a, 4);
  __builtin_memcpy(&found[1], bytes + (a >> 32), 4);
  __builtin_memcpy(&found[2], bytes + (uint32_t)b, 4);
  __builtin_memcpy(&found[3], bytes + (b >> 32), 4);
  return vld1q_u32(found);
}

/// lookup(table, a), 0 <= a <= 2^30.
static inline int32x4_t lookup(const uint16_t *table, int32x4_t a) {
  const uint32x4_t b = vreinterpretq_u32_s32(vminq_s32(a, vdupq_n_s32(1 << 20)));
  const uint32x4_t r = vandq_u32(b, vdupq_n_u32(2047));
  const uint32x4_t two = bytes_at(table, vshrq_n_u32(vsubq_u32(b, r), 10)); // entries i and i + 1
  const int32x4_t low = vreinterpretq_s32_u32(vandq_u32(two, vdupq_n_u32(0xFFFF)));
  const int32x4_t rise = vsubq_s32(vreinterpretq_s32_u32(vshrq_n_u32(two, 16)), low);
  return vrsraq_n_s32(low, vmulq_s32(rise, vreinterpretq_s32_u32(r)), 11);
}

/// clamp(rescale(x * m, s), 2^30); count is SRSHL's.
static inline int32x4_t rescaled(int32x4_t x, int32_t m, int64x2_t count) {
  const int64x2_t low = vrshlq_s64(vmull_n_s32(vget_low_s32(x), m), count);
  const int64x2_t high = vrshlq_s64(vmull_high_n_s32(x, m), count);
  const int32x4_t g = vqmovn_high_s64(vqmovn_s64(low), high);
  return vmaxq_s32(vminq_s32(g, vdupq_n_s32(1 << 30)), vdupq_n_s32(-(1 << 30)));
}

void curta_activate__neon(const int32_t *zg, uint32_t n, uint32_t m, int32_t s,
                          const uint16_t *table, int32_t *a) {
  const int64x2_t count = vdupq_n_s64(rescale_count(s));
  const int is_short = s > 16 && s < 32; // then abs(g) <= 2^30
  const int32_t factor = is_short ? (int32_t)(m << (31 - s)) : 0;
  uint32_t i = 0;
  for (; n - i >= 8; i += 8) {
    int32x4_t g[2];
    CURTA_UNROLL for (uint32_t k = 0; k < 2; k++) g[k] = vld1q_s32(zg + i + 4 * k);
    if (is_short)
      CURTA_UNROLL for (uint32_t k = 0; k < 2; k++) g[k] = vqrdmulhq_n_s32(g[k], factor);
    else
      CURTA_UNROLL for (uint32_t k = 0; k < 2; k++) g[k] = rescaled(g[k], (int32_t)m, count);
    // round(g * f, 15) = g + round(g * (f - 2^15), 15), f - 2^15 from -2^15 to 0.
    CURTA_UNROLL for (uint32_t k = 0; k < 2; k++) {
      const int32x4_t found = lookup(table, vabsq_s32(g[k]));
      const int32x4_t negative = vnegq_s32(found),
                      positive = vsubq_s32(found, vdupq_n_s32(1 << 15));
      const int32x4_t f = vbslq_s32(vcltzq_s32(g[k]), negative, positive);
      g[k] = vaddq_s32(g[k], vqrdmulhq_s32(g[k], vshlq_n_s32(f, 16)));
    }
    CURTA_UNROLL for (uint32_t k = 0; k < 2; k++) vst1q_s32(a + i + 4 * k, g[k]);
  }
  curta_activate__scalar(zg + i, n - i, m, s, table, a + i);
}

#endif
