// The numbers that a row is quantized with, from the ends of its range.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_SPREAD_H
#define CURTA_SPREAD_H

#include "../arithmetic.h"

/// quantize of curta-arithmetic.md section 1 for a row of block(x): y = round(x, s), of A = most.
/// All times 2^up, for A to have 15 binary digits: then p is 23, and a code is round((y * 2^up) *
/// r, 23). abs(y) <= A, so that abs((y * 2^up) * r) <= 127 * 2^23 + A * 2^up / 2 < 127.002 * 2^23:
/// a code is within 127 as it is. So it is for 32768, which the definition cuts off to A = 32767:
/// 127.004 * 2^23.
typedef struct {
  uint32_t s, up, most, r; // one of s and up is 0; 32512 < r <= 65024
} spreading;

/// For numbers of which `above` is the largest and -below the least, on either side of 0. Narrowing
/// never changes their order.
static inline spreading spreading_of(int32_t above, int32_t below) {
  const uint32_t bits = curta_bits((uint32_t)(above | below)), s = bits > 15 ? bits - 15 : 0;
  const int32_t half = s ? 1 << (s - 1) : 0;
  const int32_t high = (above + half) >> s, low = -((half - below) >> s);
  const int32_t a = high > low ? high : low, most = a == 0 ? 1 : a > 32767 ? 32767 : a;
  const uint32_t up = 15 - curta_bits((uint32_t)most), p = 23 - up;
  const uint32_t r = ((127u << p) + (uint32_t)most / 2) / (uint32_t)most;
  return (spreading){.s = s, .up = up, .most = (uint32_t)most, .r = r};
}

#endif
