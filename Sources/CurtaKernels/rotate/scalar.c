// Rotary positions and the Hadamard transform of a head: the definition.
// SPDX-License-Identifier: Apache-2.0

#include "../arithmetic.h"
#include "rotate.h"

/// Turns (*a, *b) by the angle whose cosine and sine are c and s in Q15; 2 * 32767^2 + 2^14 < 2^31.
static inline void turn(int32_t *a, int32_t *b, int32_t c, int32_t s) {
  const int32_t x = *a, y = *b;
  *a = (int32_t)curta_round(x * c - y * s, 15);
  *b = (int32_t)curta_round(x * s + y * c, 15);
}

void curta_rotate_interleaved__scalar(int32_t *y, const int32_t *cosine, const int32_t *sine,
                                      uint32_t pairs) {
  for (uint32_t i = 0; i < pairs; i++)
    turn(&y[2 * i], &y[2 * i + 1], cosine[i], sine[i]);
}

void curta_rotate_half_split__scalar(int32_t *y, const int32_t *cosine, const int32_t *sine,
                                     uint32_t pairs) {
  for (uint32_t i = 0; i < pairs; i++)
    turn(&y[i], &y[i + pairs], cosine[i], sine[i]);
}

void curta_hadamard__scalar(int32_t *y, uint32_t n) {
  for (uint32_t half = 1; half < n; half *= 2)
    for (uint32_t i = 0; i < n; i += 2 * half)
      for (uint32_t j = i; j < i + half; j++) {
        const int32_t a = y[j], b = y[j + half];
        y[j] = a + b;
        y[j + half] = a - b;
      }
}
