// Rotary positions and the Hadamard transform of a head with NEON.
// SPDX-License-Identifier: Apache-2.0

#include "rotate.h"

#if defined(__aarch64__)
#include "hadamard_neon.h"

/// (a, b) turned by the angle with cosine c and sine s in Q15.
static inline int32x4x2_t turned(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t s) {
  const int32x4x2_t result = {{vrshrq_n_s32(vmlsq_s32(vmulq_s32(a, c), b, s), 15),
                               vrshrq_n_s32(vmlaq_s32(vmulq_s32(a, s), b, c), 15)}};
  return result;
}

void curta_rotate_interleaved__neon(int32_t *y, const int32_t *cosine, const int32_t *sine,
                                    uint32_t pairs) {
  uint32_t i = 0;
  for (; pairs - i >= 4; i += 4) {
    const int32x4x2_t ab = vld2q_s32(y + 2 * i);
    vst2q_s32(y + 2 * i, turned(ab.val[0], ab.val[1], vld1q_s32(cosine + i), vld1q_s32(sine + i)));
  }
  curta_rotate_interleaved__scalar(y + 2 * i, cosine + i, sine + i, pairs - i);
}

void curta_rotate_half_split__neon(int32_t *y, const int32_t *cosine, const int32_t *sine,
                                   uint32_t pairs) {
  uint32_t i = 0;
  for (; pairs - i >= 4; i += 4) {
    const int32x4x2_t ab = turned(vld1q_s32(y + i), vld1q_s32(y + pairs + i), vld1q_s32(cosine + i),
                                  vld1q_s32(sine + i));
    vst1q_s32(y + i, ab.val[0]);
    vst1q_s32(y + pairs + i, ab.val[1]);
  }
  for (; i < pairs; i++) {
    int32_t ab[2] = {y[i], y[pairs + i]};
    curta_rotate_half_split__scalar(ab, cosine + i, sine + i, 1);
    y[i] = ab[0];
    y[pairs + i] = ab[1];
  }
}

/// Butterflies of 1 and 2 inside each of two vectors.
CURTA_NEON_INLINE void hadamard4(int32x4_t *a, int32x4_t *b) {
  exchange_first(a, b);
  butterfly(a, b);
  exchange_first(a, b);
  exchange_second(a, b);
  butterfly(a, b);
  exchange_second(a, b);
}

/// A transform of 4 * count numbers in registers; count is 2, 4 or 8, a constant.
CURTA_NEON_INLINE void transform(int32_t *y, uint32_t count) {
  int32x4_t x[8];
  CURTA_UNROLL for (uint32_t i = 0; i < count; i += 2) {
    x[i] = vld1q_s32(y + 4 * i);
    x[i + 1] = vld1q_s32(y + 4 * i + 4);
    hadamard4(&x[i], &x[i + 1]);
  }
  CURTA_UNROLL for (uint32_t half = 1; half < count; half *= 2) butterflies(x, count, half);
  CURTA_UNROLL for (uint32_t i = 0; i < count; i++) vst1q_s32(y + 4 * i, x[i]);
}

/// Two stages at once: butterflies at distances of `part` and of 2 * part.
static void two_stages(int32_t *y, uint32_t n, uint32_t part) {
  for (uint32_t i = 0; i < n; i += 4 * part)
    for (uint32_t j = i; j < i + part; j += 4) {
      int32x4_t x[4];
      CURTA_UNROLL for (uint32_t k = 0; k < 4; k++) x[k] = vld1q_s32(y + j + k * part);
      butterflies(x, 4, 1);
      butterflies(x, 4, 2);
      CURTA_UNROLL for (uint32_t k = 0; k < 4; k++) vst1q_s32(y + j + k * part, x[k]);
    }
}

void curta_hadamard__neon(int32_t *y, uint32_t n) {
  switch (n) {
  case 1:
  case 2:
  case 4:
    curta_hadamard__scalar(y, n);
    return;
  case 8:
    transform(y, 2);
    return;
  case 16:
    transform(y, 4);
    return;
  default:
    for (uint32_t i = 0; i < n; i += 32)
      transform(y + i, 8);
  }
  uint32_t part = 32;
  for (; 4 * part <= n; part *= 4)
    two_stages(y, n, part);
  if (part < n)
    for (uint32_t j = 0; j < part; j += 4) {
      int32x4_t a = vld1q_s32(y + j), b = vld1q_s32(y + part + j);
      butterfly(&a, &b);
      vst1q_s32(y + j, a);
      vst1q_s32(y + part + j, b);
    }
}

#endif
