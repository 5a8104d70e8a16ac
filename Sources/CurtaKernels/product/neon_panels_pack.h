// Eight rows of a chunk of columns as the tiles of panels take them.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_NEON_PANELS_PACK_H
#define CURTA_NEON_PANELS_PACK_H

#include "masked.h"
#include "neon_panels_frame.h"

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
CURTA_NEON_INLINE void pack_block(const uint8_t *const *row, size_t at, uint32_t kind, int8_t *to) {
  for (uint32_t r = 0; r < PANEL; r += 4) {
    int32x4x4_t halves[2];
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) {
      const uint8_t *block = row[r + i] + at;
      int8x16x2_t x;
      if (kind == CURTA_WEIGHT_NIBBLES) {
        x = unpacked(block);
      } else if (kind == CURTA_WEIGHT_SIXES) {
        x = unpacked_sixes(block);
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

/// The largest sum of q^2 with which sums of c * q fit int16, by the inequality of Cauchy.
static int32_t limit(uint32_t squares) {
  return (int32_t)(32767 * 32767 / (squares ? squares : 1));
}

/// Limits by the largest sums of c^2 in a lane, which has a column of four in one row: of the block
/// and of its halves.
CURTA_NEON_INLINE void measure_block(const int8_t *codes, int32_t *limits) {
  uint32x4_t wholes = vdupq_n_u32(0);
  uint16x8_t halves = vdupq_n_u16(0);
  CURTA_UNROLL for (uint32_t quad = 0; quad < 128; quad += 64) {
    uint16x8_t low[2], high[2]; // at most 4 * 127 * 127 < 2^16
    CURTA_UNROLL for (uint32_t h = 0; h < 2; h++) {
      int16x8_t sums[2] = {vdupq_n_s16(0), vdupq_n_s16(0)};
      CURTA_UNROLL for (uint32_t i = 0; i < 64; i += 16) {
        const int8x16_t c = vld1q_s8(codes + h * 128 + quad + i);
        sums[0] = vmlal_s8(sums[0], vget_low_s8(c), vget_low_s8(c));
        sums[1] = vmlal_high_s8(sums[1], c, c);
      }
      low[h] = vreinterpretq_u16_s16(sums[0]);
      high[h] = vreinterpretq_u16_s16(sums[1]);
      halves = vmaxq_u16(halves, vmaxq_u16(low[h], high[h]));
    }
    wholes = vmaxq_u32(wholes, vaddl_u16(vget_low_u16(low[0]), vget_low_u16(low[1])));
    wholes = vmaxq_u32(wholes, vaddl_high_u16(low[0], low[1]));
    wholes = vmaxq_u32(wholes, vaddl_u16(vget_low_u16(high[0]), vget_low_u16(high[1])));
    wholes = vmaxq_u32(wholes, vaddl_high_u16(high[0], high[1]));
  }
  limits[0] = limit(vmaxvq_u32(wholes));
  limits[1] = limit(vmaxvq_u16(halves));
}

/// The scales of block b, which is in `group`.
static void pack_scales(panel *p, const curta_weight *w, const uint8_t *const *scales,
                        uint32_t group, uint32_t b, int is_long) {
  int16_t *const few = (int16_t *)(void *)p->scales[b];
  for (uint32_t r = 0; r < PANEL; r++) {
    if (is_long) {
      few[r] = w->group_scales ? scales[r][group] : 1;
      continue;
    }
    p->scales[b][r] = scales[r][group];
    if (b > 0)
      p->scales[b - 1][r] -= scales[r][group];
  }
}

/// Packs a chunk of the panel; where rows run out the last one is repeated.
CURTA_NEON static void pack_panel(panel *p, const curta_weight *w, uint32_t chunk,
                                  const curta_panel_way *way) {
  const source of = source_of(w, p->row);
  // Chunks of the same size.
  const uint32_t most = (of.blocks + p->chunks - 1) / p->chunks, first = chunk * most;
  p->blocks = first < of.blocks ? least(of.blocks - first, most) : 0;
  p->first = chunk == 0;
  p->last = chunk + 1 == p->chunks;
  const int nibbles = w->kind == CURTA_WEIGHT_NIBBLES;
  const size_t block_bytes = curta_block_bytes(w->kind);
  const uint8_t *row[PANEL], *scales[PANEL];
  for (uint32_t r = 0; r < PANEL; r++) {
    const size_t n = p->row - of.top + least(r, p->rows - 1);
    row[r] = (const uint8_t *)of.w.codes + n * of.w.row_bytes + first * block_bytes;
    scales[r] = of.w.group_scales ? of.w.group_scales + n * of.w.groups : 0;
    p->mantissas[r] = of.w.mantissas[n];
  }
  for (uint32_t b = 0; b < p->blocks; b++) {
    if (nibbles)
      pack_block(row, b * block_bytes, CURTA_WEIGHT_NIBBLES, p->codes + b * BLOCK);
    else if (w->kind == CURTA_WEIGHT_SIXES)
      pack_block(row, b * block_bytes, CURTA_WEIGHT_SIXES, p->codes + b * BLOCK);
    else
      pack_block(row, b * block_bytes, CURTA_WEIGHT_BYTES, p->codes + b * BLOCK);
    p->columns[b] = way->step * (of.places ? of.places[first + b] : first + b);
    if (of.w.group_scales || (way->is_long && nibbles))
      pack_scales(p, &of.w, scales, least((first + b) / of.w.group_blocks, of.w.groups - 1), b,
                  way->is_long);
    else if (way->is_long)
      measure_block(p->codes + b * BLOCK, p->scales[b]);
  }
  p->columns[p->blocks] = 0; // is loaded, not used
}

#endif
