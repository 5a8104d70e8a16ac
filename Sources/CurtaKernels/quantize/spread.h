// spread by a set's own kernels: for the sets that have no loop of their own for it.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_SPREAD_H
#define CURTA_SPREAD_H

#include "../arithmetic.h"
#include "../kernels.h"

/// p and r of curta-arithmetic.md section 3, quantize, for A = most < 2^15.
static inline uint32_t curta_quantize_shift(uint32_t most) { return 8 + curta_bits(most); }
static inline uint32_t curta_quantize_factor(uint32_t most, uint32_t p) {
  return ((127u << p) + most / 2) / most;
}

#define CURTA_SPREAD_BY(set)                                                                       \
  uint32_t curta_spread__##set(int16_t *y, uint32_t n, uint32_t block, int32_t *wide, int8_t *q) { \
    uint32_t s = 0;                                                                                \
    if (block) {                                                                                   \
      for (uint32_t i = 0; i < n; i++)                                                             \
        wide[i] = y[i];                                                                            \
      for (uint32_t i = 0; i < n; i += block)                                                      \
        curta_hadamard__##set(wide + i, block);                                                    \
      const uint32_t bits = curta_bits(curta_maxabs_i32__##set(wide, n));                          \
      s = bits > 15 ? bits - 15 : 0;                                                               \
      curta_narrow__##set(wide, n, s, y);                                                          \
    }                                                                                              \
    const uint32_t a = curta_maxabs_i16__##set(y, n), most = a ? a : 1;                            \
    const uint32_t p = curta_quantize_shift(most);                                                 \
    curta_quantize__##set(y, n, curta_quantize_factor(most, p), p, q);                             \
    return most | s << 16;                                                                         \
  }

#endif
