// What the NEON variants share. `round(x, s)` is SRSHL by -s, exact for any x and s.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_NEON_H
#define CURTA_NEON_H

#include <arm_neon.h>
#include <stdint.h>

/// Attributes of functions; a file for SDOT, of ARMv8.2, defines CURTA_NEON_SDOT before, one for
/// SMMLA, of ARMv8.6, CURTA_NEON_MMLA.
#if defined(CURTA_NEON_MMLA)
#define CURTA_NEON __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))
#elif defined(CURTA_NEON_SDOT)
#define CURTA_NEON __attribute__((target("arch=armv8.2-a+dotprod")))
#else
#define CURTA_NEON
#endif
#define CURTA_NEON_INLINE CURTA_NEON static inline __attribute__((always_inline))

/// Adds the products of 16 codes within 127 to the int32 lanes of dot. Without SDOT an int16 lane
/// takes two of them, 2 * 127 * 127 = 32258 < 2^15.
CURTA_NEON_INLINE int32x4_t sixteen(int32x4_t dot, int8x16_t x, int8x16_t y) {
#if defined(CURTA_NEON_SDOT)
  return vdotq_s32(dot, x, y);
#else
  return vpadalq_s16(dot, vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(y)), x, y));
#endif
}

/// The 16 codes of the low and of the high half of a block of nibbles.
static inline __attribute__((always_inline)) int8x16x2_t unpacked(const uint8_t *block) {
  const int8x16_t c = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(block), vdupq_n_u8(0x88)));
  const int8x16x2_t halves = {{vshrq_n_s8(vshlq_n_s8(c, 4), 4), vshrq_n_s8(c, 4)}};
  return halves;
}

/// The same of packed codes of 6 bits, whose code + 32 with bit 5 turned is the code in 6 bits: put
/// into the upper bits of a byte, and shifted down with its sign.
static inline __attribute__((always_inline)) int8x16x2_t unpacked_sixes(const uint8_t *block) {
  const uint8x16_t four = vld1q_u8(block);
  const uint8x8_t fields = veor_u8(vld1_u8(block + 16), vdup_n_u8(0xAA));
  // In bits 0 and 1 those of the low half, in bits 4 and 5 those of the high one.
  const uint8x16_t two = vcombine_u8(fields, vshr_n_u8(fields, 2));
  const uint8x16_t low = vsliq_n_u8(vshlq_n_u8(four, 2), two, 6);
  const uint8x16_t high = vsriq_n_u8(vshlq_n_u8(two, 2), four, 2);
  const int8x16x2_t halves = {
      {vshrq_n_s8(vreinterpretq_s8_u8(low), 2), vshrq_n_s8(vreinterpretq_s8_u8(high), 2)}};
  return halves;
}

/// SRSHL's count for rescale(., s).
static inline int32_t rescale_count(int32_t s) { return s < -14 ? 14 : s > 62 ? -62 : -s; }

#endif
