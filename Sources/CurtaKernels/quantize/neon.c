// Blocks, squares and codes of activations with NEON.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__aarch64__)
#include "../arithmetic.h"
#include "../neon.h"
#include "../unroll.h"

void curta_centre__neon(const int32_t *x, uint32_t n, int32_t *y) {
  int64x2_t lanes = vdupq_n_s64(0);
  uint32_t i = 0;
  for (; n - i >= 4; i += 4)
    lanes = vpadalq_s32(lanes, vld1q_s32(x + i));
  int64_t sum = vaddvq_s64(lanes);
  for (; i < n; i++)
    sum += x[i];
  const int32_t mean = (int32_t)curta_floor_divide(2 * sum + n, 2 * (int64_t)n);
  // Cut off before the difference, which is then at least -INT32_MAX. (A vector of that constant
  // would be made with FNEG.)
  const int32x4_t least = vdupq_n_s32(mean > 0 ? mean - INT32_MAX : -INT32_MAX);
  for (i = 0; n - i >= 4; i += 4)
    vst1q_s32(y + i, vqsubq_s32(vmaxq_s32(vld1q_s32(x + i), least), vdupq_n_s32(mean)));
  for (; i < n; i++)
    y[i] = curta_clamp32((int64_t)x[i] - mean);
}

uint32_t curta_maxabs_i32__neon(const int32_t *x, uint32_t n) {
  uint32x4_t most[2] = {vdupq_n_u32(0), vdupq_n_u32(0)};
  uint32_t i = 0;
  for (; n - i >= 16; i += 16)
    CURTA_UNROLL for (uint32_t k = 0; k < 4; k++) {
      const uint32x4_t a = vreinterpretq_u32_s32(vabsq_s32(vld1q_s32(x + i + 4 * k)));
      most[k % 2] = vmaxq_u32(most[k % 2], a);
    }
  const uint32_t a = vmaxvq_u32(vmaxq_u32(most[0], most[1]));
  const uint32_t b = curta_maxabs_i32__scalar(x + i, n - i);
  return a > b ? a : b;
}

void curta_narrow__neon(const int32_t *x, uint32_t n, uint32_t s, int16_t *y) {
  const int32x4_t shift = vdupq_n_s32(-(int32_t)s);
  const int16x8_t least = vdupq_n_s16(-32767);
  uint32_t i = 0;
  for (; n - i >= 16; i += 16) {
    int32x4_t z[4];
    CURTA_UNROLL for (uint32_t k = 0; k < 4; k++) z[k] =
        vrshlq_s32(vld1q_s32(x + i + 4 * k), shift);
    CURTA_UNROLL for (uint32_t k = 0; k < 4; k += 2) {
      const int16x8_t all = vqmovn_high_s32(vqmovn_s32(z[k]), z[k + 1]);
      vst1q_s16(y + i + 4 * k, vmaxq_s16(all, least));
    }
  }
  curta_narrow__scalar(x + i, n - i, s, y + i);
}

uint64_t curta_sum_squares__neon(const int16_t *y, uint32_t n) {
  uint64x2_t sum = vdupq_n_u64(0);
  uint32_t i = 0;
  for (; n - i >= 8; i += 8) {
    const int16x8_t v = vld1q_s16(y + i);
    sum = vpadalq_u32(sum, vreinterpretq_u32_s32(vmull_s16(vget_low_s16(v), vget_low_s16(v))));
    sum = vpadalq_u32(sum, vreinterpretq_u32_s32(vmull_high_s16(v, v)));
  }
  return vaddvq_u64(sum) + curta_sum_squares__scalar(y + i, n - i);
}

void curta_multiply__neon(const int16_t *a, const int16_t *b, uint32_t n, int32_t *t) {
  uint32_t i = 0;
  for (; n - i >= 8; i += 8) {
    const int16x8_t x = vld1q_s16(a + i), y = vld1q_s16(b + i);
    vst1q_s32(t + i, vmull_s16(vget_low_s16(x), vget_low_s16(y)));
    vst1q_s32(t + i + 4, vmull_high_s16(x, y));
  }
  curta_multiply__scalar(a + i, b + i, n - i, t + i);
}

uint32_t curta_product_bits__neon(const int32_t *x, const int16_t *c, uint32_t n) {
  uint64x2_t any = vdupq_n_u64(0);
  uint32_t i = 0;
  for (; n - i >= 4; i += 4) {
    const uint32x4_t a = vreinterpretq_u32_s32(vabsq_s32(vld1q_s32(x + i)));
    const uint32x4_t b = vreinterpretq_u32_s32(vabsq_s32(vmovl_s16(vld1_s16(c + i))));
    any = vorrq_u64(any, vmull_u32(vget_low_u32(a), vget_low_u32(b)));
    any = vorrq_u64(any, vmull_high_u32(a, b));
  }
  const uint32_t a = curta_bits(vgetq_lane_u64(any, 0) | vgetq_lane_u64(any, 1));
  const uint32_t b = curta_product_bits__scalar(x + i, c + i, n - i);
  return a > b ? a : b;
}

/// round(x * c, s) of four, within int32.
static inline int32x4_t rounded_product(const int32_t *x, const int16_t *c, int64x2_t shift) {
  const int32x4_t a = vld1q_s32(x), b = vmovl_s16(vld1_s16(c));
  const int64x2_t low = vrshlq_s64(vmull_s32(vget_low_s32(a), vget_low_s32(b)), shift);
  return vqmovn_high_s64(vqmovn_s64(low), vrshlq_s64(vmull_high_s32(a, b), shift));
}

void curta_narrow_product__neon(const int32_t *x, const int16_t *c, uint32_t n, uint32_t s,
                                int16_t *y) {
  const int64x2_t shift = vdupq_n_s64(-(int64_t)s);
  const int16x8_t least = vdupq_n_s16(-32767);
  uint32_t i = 0;
  for (; n - i >= 8; i += 8) {
    const int16x4_t low = vqmovn_s32(rounded_product(x + i, c + i, shift));
    const int16x8_t all = vqmovn_high_s32(low, rounded_product(x + i + 4, c + i + 4, shift));
    vst1q_s16(y + i, vmaxq_s16(all, least));
  }
  curta_narrow_product__scalar(x + i, c + i, n - i, s, y + i);
}

void curta_block_sums__neon(const int8_t *q, uint32_t n, int16_t *sums) {
  for (uint32_t j = 0; j < n / 32; j++) {
    const int8_t *block = q + (size_t)j * 32;
    const int16x8_t pairs = vpaddlq_s8(vld1q_s8(block));
    sums[j] = vaddvq_s16(vpadalq_s8(pairs, vld1q_s8(block + 16)));
  }
}

#endif
