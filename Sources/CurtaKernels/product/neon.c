// Products with NEON of the aarch64 baseline: SMULL and SMLAL into int16 lanes.
// SPDX-License-Identifier: Apache-2.0
//
// A lane takes 4 products of a block of nibbles, so those of 8 blocks: 32 * 8 * 127 = 32512 < 2^15,
// and those of 2 blocks of sixes: 8 * 32 * 127, too.

#include "../kernels.h"
#include "tiled.h"

#if defined(__aarch64__)
#include "../neon.h"
#include "neon_panels.h"

#define EACH_ROW CURTA_UNROLL for (uint32_t r = 0; r < rows; r++)
#define EACH_TOKEN CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++)

CURTA_NEON_INLINE void nibble_span(const uint8_t *const *row, const int8_t *const *q,
                                   const uint16_t *places, size_t b, uint32_t count, uint32_t rows,
                                   uint32_t tokens, int32x4_t *dots) {
  int16x8_t steps[8];
  EACH_ROW EACH_TOKEN steps[r * tokens + t] = vdupq_n_s16(0);
  for (size_t j = 0; j < count; j++) {
    const size_t i = b + j, at = (places ? places[i] : i) * 32;
    int8x16x2_t c[2];
    EACH_ROW c[r] = unpacked(row[r] + i * 16);
    EACH_TOKEN {
      const int8x16_t x0 = vld1q_s8(q[t] + at), x1 = vld1q_s8(q[t] + at + 16);
      EACH_ROW {
        int16x8_t step = steps[r * tokens + t];
        step = vmlal_s8(step, vget_low_s8(c[r].val[0]), vget_low_s8(x0));
        step = vmlal_high_s8(step, c[r].val[0], x0);
        step = vmlal_s8(step, vget_low_s8(c[r].val[1]), vget_low_s8(x1));
        steps[r * tokens + t] = vmlal_high_s8(step, c[r].val[1], x1);
      }
    }
  }
  EACH_ROW EACH_TOKEN {
    const uint32_t at = r * tokens + t;
    dots[at] = vpadalq_s16(dots[at], steps[at]);
  }
}

/// Adds the products of a block to int16 lanes; `one` token: no half waits for another, for
/// processors in order.
CURTA_NEON_INLINE int16x8_t with_block(int16x8_t step, int8x16x2_t c, const int8_t *q, int one) {
  const int8x16_t x0 = vld1q_s8(q), x1 = vld1q_s8(q + 16);
  int16x8_t low = one ? vmull_s8(vget_low_s8(c.val[0]), vget_low_s8(x0))
                      : vmlal_s8(step, vget_low_s8(c.val[0]), vget_low_s8(x0));
  low = vmlal_high_s8(low, c.val[0], x0);
  int16x8_t high = one ? vmull_s8(vget_low_s8(c.val[1]), vget_low_s8(x1))
                       : vmlal_s8(low, vget_low_s8(c.val[1]), vget_low_s8(x1));
  high = vmlal_high_s8(high, c.val[1], x1);
  if (!one)
    return high;
  __asm__("" : "+w"(low), "+w"(high)); // else clang makes one chain of all of them
  return vaddq_s16(step, vaddq_s16(low, high));
}

/// Adds the products of one or two blocks, of which i is the first.
CURTA_NEON_INLINE void six_blocks(const uint8_t *const *row, const int8_t *const *q, size_t i,
                                  uint32_t blocks, uint32_t rows, uint32_t tokens,
                                  int32x4_t *dots) {
  int16x8_t steps[8];
  EACH_ROW EACH_TOKEN steps[r * tokens + t] = vdupq_n_s16(0);
  CURTA_UNROLL for (size_t b = i; b < i + blocks; b++) {
    int8x16x2_t c[2];
    EACH_ROW c[r] = unpacked_sixes(row[r] + b * 24);
    EACH_TOKEN EACH_ROW {
      int16x8_t *step = &steps[r * tokens + t];
      *step = with_block(*step, c[r], q[t] + b * 32, tokens == 1);
    }
  }
  EACH_ROW EACH_TOKEN {
    const uint32_t at = r * tokens + t;
    dots[at] = vpadalq_s16(dots[at], steps[at]);
  }
}

CURTA_NEON_INLINE void six_span(const uint8_t *const *row, const int8_t *const *q, size_t b,
                                uint32_t count, uint32_t rows, uint32_t tokens, int32x4_t *dots) {
  for (uint32_t j = 0; j + 2 <= count; j += 2)
    six_blocks(row, q, b + j, 2, rows, tokens, dots);
  if (count % 2)
    six_blocks(row, q, b + count - 1, 1, rows, tokens, dots);
}

#include "neon_tile.h"

void curta_product_nibbles__neon(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                 uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                                 void *scratch) {
  if (curta_neon_panels_long(w, x, t0, t1, n0, n1, z, z_stride, scratch))
    return;
  static const curta_tiles set = {nibbles_one, nibbles_four, offset_dot, NIBBLE_CHUNK, 0, finish};
  curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &set);
}

void curta_product_sixes__neon(const curta_weight *w, const curta_codes *x, uint32_t t0,
                               uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                               void *scratch) {
  if (curta_neon_panels_long(w, x, t0, t1, n0, n1, z, z_stride, scratch))
    return;
  static const curta_tiles set = {sixes_one, sixes_four, offset_dot, NIBBLE_CHUNK, 0, finish};
  curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &set);
}

void curta_product_bytes__neon(const curta_weight *w, const curta_codes *x, uint32_t t0,
                               uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                               void *scratch) {
  if (curta_neon_panels_long(w, x, t0, t1, n0, n1, z, z_stride, scratch))
    return;
  static const curta_tiles set = {bytes_one, bytes_four, offset_dot, BYTE_CHUNK, 0, finish};
  curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &set);
}

/// A step adds abs <= 32767 * 127 to each int32 lane: 512 steps are 2 130 641 408 < 2^31.
static int64_t wide_dot(const int16_t *c, const int8_t *q, uint32_t columns) {
  int64_t sum = 0;
  uint32_t k = 0;
  while (columns - k >= 8) {
    int32x4_t low = vdupq_n_s32(0), high = vdupq_n_s32(0);
    for (uint32_t step = 0; step < 512 && columns - k >= 8; step++, k += 8) {
      const int16x8_t a = vld1q_s16(c + k), b = vmovl_s8(vld1_s8(q + k));
      low = vmlal_s16(low, vget_low_s16(a), vget_low_s16(b));
      high = vmlal_high_s16(high, a, b);
    }
    sum += vaddlvq_s32(low) + vaddlvq_s32(high);
  }
  for (; k < columns; k++)
    sum += c[k] * q[k];
  return sum;
}

void curta_product_wide__neon(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                              uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                              void *scratch) {
  (void)scratch;
  curta_product_wide_rows(w, x, t0, t1, n0, n1, z, z_stride, wide_dot);
}

#endif
