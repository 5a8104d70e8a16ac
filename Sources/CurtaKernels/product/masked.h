// A strip of a masked tensor as a dense one of fewer columns.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_MASKED_H
#define CURTA_MASKED_H

#include "tiled.h"

/// The 16 rows of a strip with their surviving blocks as the only columns; rows count from 0.
static inline curta_weight curta_strip(const curta_weight *w, uint32_t strip) {
  curta_weight dense = *w;
  const uint32_t survivors = w->mask_starts[strip + 1] - w->mask_starts[strip];
  const uint32_t block_bytes = (uint32_t)curta_block_bytes(w->kind);
  const size_t first = (size_t)w->mask_starts[strip] * CURTA_STRIP_ROWS;
  const uint32_t left = w->rows - strip * CURTA_STRIP_ROWS;
  dense.codes = (const uint8_t *)w->codes + first * block_bytes;
  dense.mantissas = w->mantissas + strip * CURTA_STRIP_ROWS;
  dense.rows = left < CURTA_STRIP_ROWS ? left : CURTA_STRIP_ROWS;
  dense.columns = survivors * 32;
  dense.row_bytes = survivors * block_bytes;
  dense.groups = w->group_scales ? survivors : 1;
  dense.group_blocks = w->group_scales ? 1 : survivors;
  if (w->group_scales)
    dense.group_scales = w->group_scales + first;
  if (w->group_offsets)
    dense.group_offsets = w->group_offsets + first;
  return dense;
}

/// The sums of `count` blocks side by side.
static inline void curta_gather(int16_t *to, const int16_t *sums, const uint16_t *blocks,
                                uint32_t count) {
  for (uint32_t b = 0; b < count; b++)
    to[b] = sums[blocks[b]];
}

#endif
