// A strip of a masked tensor as a dense one: its weight, and the inputs that it meets.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_MASKED_H
#define CURTA_MASKED_H

#include "tiled.h"
#include <string.h>

/// The surviving blocks of up to four tokens in one chunk.
typedef struct {
  int8_t codes[4][CURTA_CHUNK_BLOCKS * 32];
  int16_t sums[4][CURTA_CHUNK_BLOCKS];
} curta_gathered;

/// The 16 rows of a strip with their surviving blocks as the only columns; rows count from 0.
static inline curta_weight curta_strip(const curta_weight *w, uint32_t strip) {
  curta_weight dense = *w;
  const uint32_t survivors = w->mask_starts[strip + 1] - w->mask_starts[strip];
  const uint32_t block_bytes = w->kind == CURTA_WEIGHT_NIBBLES ? 16 : 32;
  const size_t first = (size_t)w->mask_starts[strip] * CURTA_STRIP_ROWS;
  const uint32_t left = w->rows - strip * CURTA_STRIP_ROWS;
  dense.codes = (const uint8_t *)w->codes + first * block_bytes;
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

/// Copies `count` blocks of token t, and their sums, side by side.
static inline void curta_gather(curta_gathered *to, uint32_t i, const curta_codes *x, uint32_t t,
                                const uint16_t *blocks, uint32_t count) {
  const int8_t *codes = x->codes + (size_t)t * x->stride;
  const int16_t *sums = x->sums + (size_t)t * (x->stride / 32);
  for (uint32_t b = 0; b < count; b++) {
    memcpy(to->codes[i] + b * 32, codes + (size_t)blocks[b] * 32, 32);
    to->sums[i][b] = sums[blocks[b]];
  }
}

#endif
