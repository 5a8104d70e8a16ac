// The primitives of curta-arithmetic.md section 1, as the definitions (scalar.c) use them.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_ARITHMETIC_H
#define CURTA_ARITHMETIC_H

#include <stdint.h>

/// bits(x): the number of binary digits, 0 for 0.
static inline uint32_t curta_bits(uint64_t x) {
  return x == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(x);
}

/// round(x, s): x * 2^-s, half rounds up. 0 <= s <= 62, x + 2^(s-1) fits. SRSHL with -s.
static inline int64_t curta_round(int64_t x, uint32_t s) {
  return s == 0 ? x : (x + ((int64_t)1 << (s - 1))) >> s;
}

/// rescale(x, s): x * 2^-s for any s; abs(x) <= 2^48.
static inline int64_t curta_rescale(int64_t x, int32_t s) {
  if (s >= 0)
    return curta_round(x, s < 62 ? (uint32_t)s : 62);
  return x * ((int64_t)1 << (s > -14 ? -s : 14));
}

/// floor(x / n), n >= 1.
static inline int64_t curta_floor_divide(int64_t x, int64_t n) {
  return x / n - (x % n < 0 ? 1 : 0);
}

/// clamp(x, b) = min(max(x, -b), b).
static inline int64_t curta_clamp(int64_t x, int64_t b) { return x > b ? b : x < -b ? -b : x; }

/// clamp32(x) = clamp(x, 2^31 - 1).
static inline int32_t curta_clamp32(int64_t x) { return (int32_t)curta_clamp(x, INT32_MAX); }

#endif
