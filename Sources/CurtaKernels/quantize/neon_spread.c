// Rows of activations to codes with NEON: transformed and measured, then quantized.
// SPDX-License-Identifier: Apache-2.0
//
// Index i of a number has the binary digits i3 i2 i1 i0 and those above. Sums and differences of
// eights, the butterflies of i3, widen them. To butterfly the digits of a lane, transposing
// exchanges each with that of the vector, which has had its butterflies: lane l of vector v of
// sixteen numbers has in the end v = i3 i1 and l = i0 i2, and stays there until the codes are put
// in order.

#include "../kernels.h"

#if defined(__aarch64__)
#include "../rotate/hadamard_neon.h"
#include "rotated.h"
#include "spread.h"

#define CURTA_SPREAD_JOINS
#define CURTA_SPREAD CURTA_NEON_INLINE
enum { LANES = 4 };

/// Largest and least of what has been seen, and the largest of the absolute values of int16.
typedef struct {
  int32x4_t most, least;
  int16x8_t narrow;
} range;

CURTA_NEON_INLINE range nothing_seen(void) {
  return (range){vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s16(0)};
}

CURTA_NEON_INLINE void extend(range *r, int32x4_t x) {
  r->most = vmaxq_s32(r->most, x);
  r->least = vminq_s32(r->least, x);
}

CURTA_NEON_INLINE void measure(const int16_t *y, range *r) {
  CURTA_UNROLL for (uint32_t i = 0; i < 32; i += 8) r->narrow =
      vmaxq_s16(r->narrow, vabsq_s16(vld1q_s16(y + i)));
}

/// Sixteen numbers, with the butterflies of i3 where there are any.
CURTA_NEON_INLINE void widen(const int16_t *y, uint32_t block, int32x4_t *x) {
  const int16x8_t a = vld1q_s16(y), b = vld1q_s16(y + 8);
  if (block >= 16) {
    x[0] = vaddl_s16(vget_low_s16(a), vget_low_s16(b));
    x[1] = vaddl_high_s16(a, b);
    x[2] = vsubl_s16(vget_low_s16(a), vget_low_s16(b));
    x[3] = vsubl_high_s16(a, b);
  } else {
    x[0] = vmovl_s16(vget_low_s16(a));
    x[1] = vmovl_high_s16(a);
    x[2] = vmovl_s16(vget_low_s16(b));
    x[3] = vmovl_high_s16(b);
  }
}

CURTA_NEON_INLINE void transform(const int16_t *y, int32_t *wide, uint32_t block, range *r) {
  int32x4_t x[8];
  widen(y, block, x);
  widen(y + 16, block, x + 4);
  if (block >= 8)
    butterflies(x, 8, 1); // i2
  CURTA_UNROLL for (uint32_t i = 0; i < 8; i += 2) exchange_first(&x[i], &x[i + 1]);
  butterflies(x, 8, 1); // i0
  CURTA_UNROLL for (uint32_t i = 0; i < 8; i += 2) exchange_second(&x[i], &x[i + 1]);
  if (block >= 4)
    butterflies(x, 8, 1); // i1
  if (block >= 32)
    butterflies(x, 8, 4);
  if (block <= 32)
    CURTA_UNROLL for (uint32_t i = 0; i < 8; i++) extend(r, x[i]);
  CURTA_UNROLL for (uint32_t i = 0; i < 8; i++) vst1q_s32(wide + 4 * i, x[i]);
}

CURTA_NEON_INLINE void join(int32_t *const *at, uint32_t block, range *r) {
  int32x4_t x[8];
  CURTA_UNROLL for (uint32_t k = 0; k < 8; k++) x[k] = vld1q_s32(at[k]);
  butterflies(x, 8, 1);
  if (block >= 128)
    butterflies(x, 8, 2);
  if (block == 256)
    butterflies(x, 8, 4);
  CURTA_UNROLL for (uint32_t k = 0; k < 8; k++) {
    extend(r, x[k]);
    vst1q_s32(at[k], x[k]);
  }
}

CURTA_NEON_INLINE uint64_t ends_of(const range *r) {
  const int32_t wide = vmaxvq_s32(r->most), narrow = vmaxvq_s16(r->narrow);
  return (uint32_t)(wide > narrow ? wide : narrow) | (uint64_t) - (int64_t)vminvq_s32(r->least)
                                                         << 32;
}

/// What a row is quantized with: round(y * r, 23) is the high half of 2 * y * (r - 2^16), plus 2 *
/// y, less 8 digits. Where r < 2^15 it is r, and no y is added.
typedef struct {
  int32x4_t wide;   // of numbers in int32: left, or right when it is negative
  int16x8_t narrow; // of those in int16
  int16_t factor, more;
  uint8x16_t order;
} scaling;

CURTA_NEON_INLINE scaling scaling_by(const spreading *by, int is_wide) {
  static const uint8_t straight[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  static const uint8_t turned[16] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
  return (scaling){.wide = vdupq_n_s32((int32_t)by->up - (int32_t)by->s),
                   .narrow = vdupq_n_s16((int16_t)by->up),
                   .factor = (int16_t)(uint16_t)by->r,
                   .more = by->r < 1 << 15 ? 0 : 2,
                   .order = vld1q_u8(is_wide ? turned : straight)};
}

CURTA_NEON_INLINE int16x8_t narrowed(const int32_t *x, const scaling *by) {
  const int16x4_t low = vqmovn_s32(vrshlq_s32(vld1q_s32(x), by->wide));
  return vqmovn_high_s32(low, vrshlq_s32(vld1q_s32(x + 4), by->wide));
}

CURTA_NEON_INLINE int16x8_t scaled(int16x8_t y, const scaling *by) {
  return vmlaq_n_s16(vqdmulhq_n_s16(y, by->factor), y, by->more);
}

CURTA_NEON_INLINE void store_codes(const int16_t *y, const int32_t *wide, int is_wide,
                                   const scaling *by, int8_t *q) {
  int16x8_t x[4];
  if (is_wide)
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) x[i] = narrowed(wide + 8 * i, by);
  else
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) x[i] =
        vshlq_s16(vld1q_s16(y + 8 * i), by->narrow);
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i += 2) {
    const int8x8_t low = vrshrn_n_s16(scaled(x[i], by), 8);
    const int8x16_t codes = vrshrn_high_n_s16(low, scaled(x[i + 1], by), 8);
    vst1q_s8(q + 8 * i, vqtbl1q_s8(codes, by->order));
  }
}

#include "spread_row.h"

uint32_t curta_spread__neon(int16_t *y, uint32_t n, uint32_t block, int32_t *wide, int8_t *q) {
  return spread_row(y, n, block, wide, q);
}

CURTA_SPREAD_ROTATED(curta_spread_rotated__neon, neon, neon)

#endif
