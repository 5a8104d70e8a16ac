// The frame of weighted sums, of one query and of four, by what the including file defines.
// SPDX-License-Identifier: Apache-2.0
//
// Before: CURTA_WEIGHTED, the attributes of an inlined function, and
//   add_columns(c, c_stride, count, v, width, n, eights, o): adds the rows 0 ... n-1 of v,
//   weighted, to the columns 0 ... 8 * eights - 1 of `count` sums; count * eights <= 8, both are
//   constants, and eights is 1 or even. n <= 512: an int32 lane's sum is at most 512 * 32767 * 127
//   = 2 130 641 408 < 2^31.

#ifndef CURTA_WEIGHTED_SUM_H
#define CURTA_WEIGHTED_SUM_H

/// Adds the rows 0 ... n-1, n <= 512, to `count` sums, a constant of 1 or 4: the values of four are
/// read and widened once.
CURTA_WEIGHTED void add_values(const int16_t *c, size_t c_stride, uint32_t count, const int8_t *v,
                               uint32_t width, uint32_t n, int64_t *o) {
  uint32_t i = 0;
  if (count == 1) {
    for (; width - i >= 64; i += 64)
      add_columns(c, c_stride, 1, v + i, width, n, 8, o + i);
    for (; width - i >= 32; i += 32)
      add_columns(c, c_stride, 1, v + i, width, n, 4, o + i);
  }
  for (; width - i >= 16; i += 16)
    add_columns(c, c_stride, count, v + i, width, n, 2, o + i);
  for (; width - i >= 8; i += 8)
    add_columns(c, c_stride, count, v + i, width, n, 1, o + i);
  for (; i < width; i++)
    for (uint32_t r = 0; r < count; r++)
      for (uint32_t j = 0; j < n; j++)
        o[(size_t)r * width + i] += c[r * c_stride + j] * v[(size_t)j * width + i];
}

/// weighted_sum of curta_kernels.h.
CURTA_WEIGHTED void weighted_sums(const int16_t *c, size_t c_stride, uint32_t rows, const int8_t *v,
                                  uint32_t width, uint32_t n, int64_t *o) {
  for (size_t i = 0; i < (size_t)rows * width; i++)
    o[i] = 0;
  for (uint32_t j = 0, some; j < n; j += some) {
    some = n - j < 512 ? n - j : 512;
    const int8_t *values = v + (size_t)j * width;
    uint32_t r = 0;
    for (; rows - r >= 4; r += 4)
      add_values(c + r * c_stride + j, c_stride, 4, values, width, some, o + (size_t)r * width);
    for (; r < rows; r++)
      add_values(c + r * c_stride + j, c_stride, 1, values, width, some, o + (size_t)r * width);
  }
}

#endif
