// The frame of spread in two passes over a row, by what the including file defines.
// SPDX-License-Identifier: Apache-2.0
//
// Before: CURTA_SPREAD, the attributes of an inlined function; `range`, what has been seen of a
// row, LANES, the int32 numbers of a vector, and of 32 numbers of a row, which is what a part is,
//   measure(y, r): extends the range by numbers as they are;
//   transform(y, wide, block, r): Hadamards of `block` numbers, up to 32, in an order of the set's
//     own; extends the range when block is at most 32;
//   join(at, block, r), where CURTA_SPREAD_JOINS is defined and blocks are over 32: the butterflies
//     of x[k] and x[k + 1], k even, then of x[k] and x[k + 2] when block is at least 128, then of
//     x[k] and x[k + 4] when it is 256, of the eight vectors at[...], in place; extends the range;
//   ends_of(r): the largest number seen in the lower 32 bits, and less the least in the upper ones;
//   scaling, scaling_by(by, is_wide): what codes are made with;
//   store_codes(y, wide, is_wide, by, q): the codes of a part, of y or of wide.

#ifndef CURTA_SPREAD_ROW_H
#define CURTA_SPREAD_ROW_H

#include "spread.h"

/// Numbers that fill the last part of a row.
typedef struct {
  int16_t y[32];
  int32_t wide[32];
  int8_t q[32];
} part_of_row;

#ifdef CURTA_SPREAD_JOINS
/// The rest of a Hadamard of 64 to 256 numbers.
CURTA_SPREAD void join_parts(int32_t *wide, uint32_t block, range *r) {
  const uint32_t second = block >= 128 ? 64 : LANES;
  const uint32_t third = block == 256 ? 128 : block == 128 ? LANES : 2 * LANES;
  for (uint32_t j = 0; j < 32; j += 256 / block * LANES) {
    int32_t *at[8];
    CURTA_UNROLL for (uint32_t k = 0; k < 8; k++) at[k] =
        wide + j + k % 2 * 32 + k / 2 % 2 * second + k / 4 * third;
    join(at, block, r);
  }
}
#endif

/// spread of curta_kernels.h.
CURTA_SPREAD uint32_t spread_row(const int16_t *y, uint32_t n, uint32_t block, int32_t *wide,
                                 int8_t *q) {
  const uint32_t whole = n / 32 * 32;
  part_of_row last; // read only where n is no multiple of 32
  if (whole < n) {
    __builtin_memset(last.y, 0, sizeof last.y);
    __builtin_memcpy(last.y, y + whole, (n - whole) * sizeof *y);
  }
  range r = nothing_seen();
  for (uint32_t i = 0; i < n; i += 32) {
    const int16_t *from = i < whole ? y + i : last.y;
    int32_t *to = i < whole ? wide + i : last.wide;
    __asm__("" : "+r"(from), "+r"(to)); // else the address of each vector is chosen
    if (block == 0)
      measure(from, &r);
    else
      transform(from, to, block, &r);
  }
#ifdef CURTA_SPREAD_JOINS
  for (uint32_t i = 0; block > 32 && i < n; i += block)
    join_parts(wide + i, block, &r);
#endif
  const uint64_t ends = ends_of(&r);
  const spreading by = spreading_of((int32_t)(uint32_t)ends, (int32_t)(ends >> 32));
  const scaling scale = scaling_by(&by, block != 0);
  for (uint32_t i = 0; i < whole; i += 32)
    store_codes(y + i, wide + i, block != 0, &scale, q + i);
  if (whole < n) {
    store_codes(last.y, last.wide, block != 0, &scale, last.q);
    __builtin_memcpy(q + whole, last.q, n - whole);
  }
  return by.most | by.s << 16;
}

#endif
