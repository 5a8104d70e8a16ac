// Butterflies of the Hadamard transform in NEON registers.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_HADAMARD_NEON_H
#define CURTA_HADAMARD_NEON_H

#include "../neon.h"
#include "../unroll.h"

/// a + b and a - b in place.
CURTA_NEON_INLINE void butterfly(int32x4_t *a, int32x4_t *b) {
  const int32x4_t sum = vaddq_s32(*a, *b);
  *b = vsubq_s32(*a, *b);
  *a = sum;
}

/// Butterflies of x[i] and x[i + half] of `count`, a constant.
CURTA_NEON_INLINE void butterflies(int32x4_t *x, uint32_t count, uint32_t half) {
  CURTA_UNROLL for (uint32_t i = 0; i < count; i++) if ((i & half) == 0)
      butterfly(&x[i], &x[i + half]);
}

/// Exchanges the first digit of a lane's number with that of the vector's.
CURTA_NEON_INLINE void exchange_first(int32x4_t *a, int32x4_t *b) {
  const int32x4_t even = vtrn1q_s32(*a, *b);
  *b = vtrn2q_s32(*a, *b);
  *a = even;
}

/// The second digit.
CURTA_NEON_INLINE void exchange_second(int32x4_t *a, int32x4_t *b) {
  const int64x2_t x = vreinterpretq_s64_s32(*a), y = vreinterpretq_s64_s32(*b);
  *a = vreinterpretq_s32_s64(vtrn1q_s64(x, y));
  *b = vreinterpretq_s32_s64(vtrn2q_s64(x, y));
}

#endif
