// Heads rotated and quantized, by the kernels that a set has for each step.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_ROTATED_H
#define CURTA_ROTATED_H

#include "../arithmetic.h"
#include "../kernels.h"
#include "../rotate/rotate.h"

/// Defines spread_rotated of curta_kernels.h by a set's kernels; `rotations` is that of its
/// rotations.
#define CURTA_SPREAD_ROTATED(function, rotations, set)                                             \
  uint32_t function(int16_t *y, uint32_t n, const int32_t *cosine, const int32_t *sine,            \
                    uint32_t pairs, uint32_t interleaved, uint32_t block, int32_t *wide,           \
                    int8_t *q) {                                                                   \
    for (uint32_t i = 0; i < n; i++)                                                               \
      wide[i] = y[i];                                                                              \
    if (interleaved)                                                                               \
      curta_rotate_interleaved__##rotations(wide, cosine, sine, pairs);                            \
    else                                                                                           \
      curta_rotate_half_split__##rotations(wide, cosine, sine, pairs);                             \
    for (uint32_t i = 0; block && i < n; i += block)                                               \
      curta_hadamard__##set(wide + i, block);                                                      \
    const uint32_t bits = curta_bits(curta_maxabs_i32__##set(wide, n));                            \
    const uint32_t s = bits > 15 ? bits - 15 : 0;                                                  \
    curta_narrow__##set(wide, n, s, y);                                                            \
    return curta_spread__##set(y, n, 0, wide, q) | s << 16;                                        \
  }

#endif
