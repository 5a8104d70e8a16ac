// Eight rows of a chunk of columns as the tiles of neon_panels.c take them.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_NEON_PANELS_PACK_H
#define CURTA_NEON_PANELS_PACK_H

#include "../neon.h"
#include "masked.h"

enum {
  PANEL = 8,                    // rows
  TILE = 8,                     // tokens
  FEWEST = 5,                   // tokens that pay for packing
  CHUNK = 64,                   // blocks of 32 columns at most: of 8 tokens 16 KiB
  SCALED_BYTES_CHUNK = 16,      // of bytes with scales
  SLAB = 192,                   // packed blocks at most: 48 KiB of codes
  PANELS = 32,                  // in a slab at most
  CHUNKED_PANELS = 4,           // in a slab of several chunks, whose sums wait for the next one
  BLOCK = PANEL * 32,           // codes of a packed block
  EACH = BLOCK + PANEL * 4 + 4, // bytes, with its scales and column
  MORE = PANELS * 4,            // bytes: a column after the last one of each panel
  SUMS = CHUNKED_PANELS * PANEL * (int)sizeof(int64_t), // bytes of each token
};

_Static_assert(MORE + (CHUNK * EACH) + 12 * SUMS <= CURTA_PRODUCT_SCRATCH(12) &&
                   12 * SUMS <= CURTA_PRODUCT_SCRATCH(24) - CURTA_PRODUCT_SCRATCH(12),
               "room for a chunk, and for the sums of all tokens");

/// Eight rows of a chunk of columns.
typedef struct {
  int8_t *codes;            // [blocks][2][2][4][4][4]: 16 columns, 4 rows, 4 columns, row, column
  int32_t (*scales)[PANEL]; // [blocks], less those of the next one
  uint32_t *columns;        // [blocks + 1], in the row of a token
  int64_t (*sums)[PANEL];   // [tokens], of the chunks before
  uint32_t blocks;
  uint32_t row;    // first
  uint32_t rows;   // that are there
  uint32_t chunks; // one at least, which may be empty
  int first, last; // chunk
  int32_t mantissas[PANEL];
} panel;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// What panels are of: the tensor, or a strip of it, whose first row is `top`.
typedef struct {
  curta_weight w;
  const uint16_t *places; // of its blocks, or NULL: side by side
  uint32_t top;
  uint32_t blocks;
} source;

static source source_of(const curta_weight *w, uint32_t row) {
  source of = {*w, 0, 0, (w->columns + 31) / 32};
  if (w->mask_starts) {
    const uint32_t strip = row / CURTA_STRIP_ROWS;
    of.w = curta_strip(w, strip);
    of.places = w->mask_blocks + w->mask_starts[strip];
    of.top = strip * CURTA_STRIP_ROWS;
    of.blocks = of.w.columns / 32;
  }
  return of;
}

/// 32 columns of eight rows, row[r] + at.
CURTA_NEON_INLINE void pack_block(const uint8_t *const *row, size_t at, int nibbles, int8_t *to) {
  for (uint32_t r = 0; r < PANEL; r += 4) {
    int32x4x4_t halves[2];
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) {
      const uint8_t *block = row[r + i] + at;
      int8x16x2_t x;
      if (nibbles) {
        x = unpacked(block);
      } else {
        x.val[0] = vreinterpretq_s8_u8(vld1q_u8(block));
        x.val[1] = vreinterpretq_s8_u8(vld1q_u8(block + 16));
      }
      halves[0].val[i] = vreinterpretq_s32_s8(x.val[0]);
      halves[1].val[i] = vreinterpretq_s32_s8(x.val[1]);
    }
    CURTA_UNROLL for (uint32_t half = 0; half < 2; half++)
        vst4q_s32((int32_t *)(void *)(to + half * 128 + r * 16), halves[half]);
  }
}

/// Packs a chunk of the panel; where rows run out the last one is repeated.
CURTA_NEON static void pack_panel(panel *p, const curta_weight *w, uint32_t chunk) {
  const source of = source_of(w, p->row);
  // Chunks of the same size.
  const uint32_t most = (of.blocks + p->chunks - 1) / p->chunks, first = chunk * most;
  p->blocks = first < of.blocks ? least(of.blocks - first, most) : 0;
  p->first = chunk == 0;
  p->last = chunk + 1 == p->chunks;
  const int nibbles = w->kind == CURTA_WEIGHT_NIBBLES;
  const size_t block_bytes = nibbles ? 16 : 32;
  const uint8_t *row[PANEL], *scales[PANEL];
  for (uint32_t r = 0; r < PANEL; r++) {
    const size_t n = p->row - of.top + least(r, p->rows - 1);
    row[r] = (const uint8_t *)of.w.codes + n * of.w.row_bytes + first * block_bytes;
    scales[r] = of.w.group_scales ? of.w.group_scales + n * of.w.groups : 0;
    p->mantissas[r] = of.w.mantissas[n];
  }
  for (uint32_t b = 0; b < p->blocks; b++) {
    if (nibbles)
      pack_block(row, b * block_bytes, 1, p->codes + b * BLOCK);
    else
      pack_block(row, b * block_bytes, 0, p->codes + b * BLOCK);
    p->columns[b] = 32 * (of.places ? of.places[first + b] : first + b);
    if (!of.w.group_scales)
      continue;
    const uint32_t group = least((first + b) / of.w.group_blocks, of.w.groups - 1);
    for (uint32_t r = 0; r < PANEL; r++) {
      p->scales[b][r] = scales[r][group];
      if (b > 0)
        p->scales[b - 1][r] -= scales[r][group];
    }
  }
  p->columns[p->blocks] = 0; // is loaded, not used
}

#endif
