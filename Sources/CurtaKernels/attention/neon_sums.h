// Weighted sums of several queries by UDOT, or by UMMLA with CURTA_NEON_MMLA.
// SPDX-License-Identifier: Apache-2.0
//
// A weight is 256 h + l, of bytes h and l, and of a value v the byte is v + 128:
//   sum of c v = 256 * (sum of h (v + 128)) + (sum of l (v + 128)) - 128 * (sum of c).
// A sum over 512 positions is within int32 (weighted_sum.h), so that it is right modulo 2^32. The
// values of 8 columns are transposed once for all queries.

#ifndef CURTA_NEON_SUMS_H
#define CURTA_NEON_SUMS_H

#include "../kernels.h"
#include "../neon.h"
#include "../unroll.h"

enum { MOST_POSITIONS = 512, MOST_QUERIES = 16 };

/// Interleaves what lies in the elements of two vectors.
CURTA_NEON_INLINE void zip16(uint8x16_t *a, uint8x16_t *b) {
  const uint16x8_t x = vreinterpretq_u16_u8(*a), y = vreinterpretq_u16_u8(*b);
  *a = vreinterpretq_u8_u16(vzip1q_u16(x, y));
  *b = vreinterpretq_u8_u16(vzip2q_u16(x, y));
}
CURTA_NEON_INLINE void zip32(uint8x16_t *a, uint8x16_t *b) {
  const uint32x4_t x = vreinterpretq_u32_u8(*a), y = vreinterpretq_u32_u8(*b);
  *a = vreinterpretq_u8_u32(vzip1q_u32(x, y));
  *b = vreinterpretq_u8_u32(vzip2q_u32(x, y));
}

/// Eight columns of eight rows to 64 bytes: [2 fours of rows][column][row], or for UMMLA
/// [column][row].
CURTA_NEON_INLINE void transpose(const int8_t *v, uint32_t width, uint8_t *to) {
  uint8x16_t x[4];
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) {
    const int8_t *row = v + (size_t)(2 * i) * width;
    const uint8x8_t a = vreinterpret_u8_s8(vld1_s8(row));
    const uint8x8_t b = vreinterpret_u8_s8(vld1_s8(row + width));
    const uint8x16_t both = vzip1q_u8(vcombine_u8(a, a), vcombine_u8(b, b));
    x[i] = veorq_u8(both, vdupq_n_u8(128));
  }
  zip16(&x[0], &x[1]);
  zip16(&x[2], &x[3]);
#if defined(CURTA_NEON_MMLA)
  zip32(&x[0], &x[2]);
  zip32(&x[1], &x[3]);
  const uint8x16_t second = x[1];
  x[1] = x[2];
  x[2] = second;
#endif
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) vst1q_u8(to + 16 * i, x[i]);
}

/// Adds eight positions of eight columns to a query's sums; weights are l of each, then h. sums[0]
/// and [1] are those of l, [2] and [3] those of h; for UMMLA each has two columns of both.
CURTA_NEON_INLINE void add_eight(uint32x4_t *sums, const uint8x16_t *v, uint8x16_t weights) {
#if defined(CURTA_NEON_MMLA)
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) sums[i] = vmmlaq_u32(sums[i], weights, v[i]);
#else
  CURTA_UNROLL for (uint32_t i = 0; i < 2; i++) {
    sums[i] = vdotq_laneq_u32(sums[i], v[i], weights, 0);
    sums[i] = vdotq_laneq_u32(sums[i], v[2 + i], weights, 1);
    sums[2 + i] = vdotq_laneq_u32(sums[2 + i], v[i], weights, 2);
    sums[2 + i] = vdotq_laneq_u32(sums[2 + i], v[2 + i], weights, 3);
  }
#endif
}

/// Adds the sums of eight columns to o.
CURTA_NEON_INLINE void store_sums(const uint32x4_t *sums, uint32_t less, int64_t *o) {
  CURTA_UNROLL for (uint32_t i = 0; i < 2; i++) {
#if defined(CURTA_NEON_MMLA)
    const uint64x2_t a = vreinterpretq_u64_u32(sums[2 * i]);
    const uint64x2_t b = vreinterpretq_u64_u32(sums[2 * i + 1]);
    const uint32x4_t low = vreinterpretq_u32_u64(vzip1q_u64(a, b));
    const uint32x4_t high = vreinterpretq_u32_u64(vzip2q_u64(a, b));
#else
    const uint32x4_t low = sums[i], high = sums[2 + i];
#endif
    const uint32x4_t all = vaddq_u32(vshlq_n_u32(high, 8), vsubq_u32(low, vdupq_n_u32(less)));
    const int32x4_t sum = vreinterpretq_s32_u32(all);
    int64_t *at = o + 4 * i;
    vst1q_s64(at, vaddw_s32(vld1q_s64(at), vget_low_s32(sum)));
    vst1q_s64(at + 2, vaddw_high_s32(vld1q_s64(at + 2), sum));
  }
}

/// Adds n positions, a multiple of 8 up to MOST_POSITIONS, of eight columns to the sums of four
/// queries. less[r] is 128 * (sum of c of query r).
CURTA_NEON_INLINE void add_four(const int16_t *c, size_t c_stride, const uint8_t *v, uint32_t n,
                                const uint32_t *less, int64_t *o, uint32_t width) {
  static const uint8_t order[16] = {0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15};
  const uint8x16_t apart = vld1q_u8(order);
  uint32x4_t sums[4][4];
  CURTA_UNROLL for (uint32_t r = 0; r < 4; r++) CURTA_UNROLL for (uint32_t i = 0; i < 4; i++)
      sums[r][i] = vdupq_n_u32(0);
  for (uint32_t j = 0; j < n; j += 8) {
    uint8x16_t x[4];
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) x[i] = vld1q_u8(v + (size_t)j * 8 + 16 * i);
    CURTA_UNROLL for (uint32_t r = 0; r < 4; r++) {
      const uint8x16_t both = vreinterpretq_u8_s16(vld1q_s16(c + r * c_stride + j));
      add_eight(sums[r], x, vqtbl1q_u8(both, apart));
    }
  }
  CURTA_UNROLL for (uint32_t r = 0; r < 4; r++) store_sums(sums[r], less[r], o + (size_t)r * width);
}

/// 128 times the sum of n weights, a multiple of 8.
CURTA_NEON_INLINE uint32_t times128(const int16_t *c, uint32_t n) {
  int32x4_t sum = vdupq_n_s32(0);
  for (uint32_t j = 0; j < n; j += 8)
    sum = vpadalq_s16(sum, vld1q_s16(c + j));
  return (uint32_t)vaddvq_s32(sum) << 7;
}

/// weighted_sum of curta_kernels.h.
CURTA_NEON_INLINE void weighted_sums(const int16_t *c, size_t c_stride, uint32_t rows,
                                     const int8_t *v, uint32_t width, uint32_t n, int64_t *o) {
  const uint32_t fours = width % 8 == 0 ? rows / 4 * 4 : 0, eights = fours ? n / 8 * 8 : 0;
  // The other queries, and of these the last positions.
  curta_weighted_sum__neon(c + fours * c_stride, c_stride, rows - fours, v, width, n,
                           o + (size_t)fours * width);
  curta_weighted_sum__neon(c + eights, c_stride, fours, v + (size_t)eights * width, width,
                           n - eights, o);
  uint8_t turned[MOST_POSITIONS * 8];
  for (uint32_t j = 0, some; j < eights; j += some) {
    some = eights - j < MOST_POSITIONS ? eights - j : MOST_POSITIONS;
    for (uint32_t r = 0, last; r < fours; r = last) {
      last = fours - r < MOST_QUERIES ? fours : r + MOST_QUERIES;
      uint32_t less[MOST_QUERIES];
      for (uint32_t k = r; k < last; k++)
        less[k - r] = times128(c + k * c_stride + j, some);
      for (uint32_t i = 0; i < width; i += 8) {
        for (uint32_t k = 0; k < some; k += 8)
          transpose(v + (size_t)(j + k) * width + i, width, turned + (size_t)k * 8);
        for (uint32_t k = r; k < last; k += 4)
          add_four(c + k * c_stride + j, c_stride, turned, some, less + (k - r),
                   o + (size_t)k * width + i, width);
      }
    }
  }
}

#endif
