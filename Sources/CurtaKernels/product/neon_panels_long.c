// Tiles of panels with SMULL and SMLAL of the aarch64 baseline: 8 rows by 3 tokens.
// SPDX-License-Identifier: Apache-2.0
//
// The codes of tokens are turned for each tile, or each strip of a masked tensor, so that a load
// brings four columns of three tokens to all lanes.

#include "../kernels.h"

#if defined(__aarch64__)
#include "neon_panels.h"
#include "neon_panels_loops.h"

enum {
  FEWEST = 9,        // tokens that pay for packing
  FEWEST_SCALED = 5, // with scales, or of nibbles, which tiles of neon_tile.h are slower at
  CHUNK = 48,        // blocks at most: of the tokens 4.7 KiB
  OWN_SCRATCH = (CHUNK * TURNED + 16 + 63) / 64 * 64,
};

_Static_assert(SQUARES == 96, "as the loops have it");
_Static_assert(OWN_SCRATCH + 128 + CHUNK * (BLOCK + PANEL * 4 + 4) + 12 * 256 <=
                   CURTA_PRODUCT_SCRATCH(12),
               "room for a chunk");

/// Turns a block of the tokens.
CURTA_NEON_INLINE void turn_block(const int8_t *const *q, size_t column, int8_t *to) {
  int32x4x3_t x[2];
  uint32x4_t most = vdupq_n_u32(0);
  CURTA_UNROLL for (uint32_t t = 0; t < TOKENS; t++) {
    const int8x16_t low = vld1q_s8(q[t] + column), high = vld1q_s8(q[t] + column + 16);
    x[0].val[t] = vreinterpretq_s32_s8(low);
    x[1].val[t] = vreinterpretq_s32_s8(high);
    int16x8_t sums = vmull_s8(vget_low_s8(low), vget_low_s8(low));
    sums = vmlal_high_s8(sums, low, low);
    sums = vmlal_high_s8(vmlal_s8(sums, vget_low_s8(high), vget_low_s8(high)), high, high);
    const uint16x8_t squares = vreinterpretq_u16_s16(sums); // at most 4 * 127 * 127 < 2^16
    most = vmaxq_u32(most, vaddl_u16(vget_low_u16(squares), vget_high_u16(squares)));
  }
  vst3q_s32((int32_t *)(void *)to, x[0]);
  vst3q_s32((int32_t *)(void *)(to + SQUARES / 2), x[1]);
  vst1q_lane_u32((uint32_t *)(void *)(to + SQUARES), vdupq_n_u32(vmaxvq_u32(most)), 0);
}

/// How the tokens of a slab are turned: all their columns at once, or those of a chunk, or where
/// that is masked those of each strip side by side.
typedef enum { ALL, CHUNKS, STRIPS } turning;

/// The panels of a chunk with a tile of tokens.
static void run_tile(const job *j, const panel *panels, uint32_t count, uint32_t chunk, turning how,
                     const int8_t *const *q, uint32_t tokens, const uint32_t *in_order, sink to,
                     int8_t *turned) {
  curta_panel_loop *const loop = j->w->kind == CURTA_WEIGHT_NIBBLES ? curta_neon_panel_nibbles
                                 : j->w->group_scales               ? curta_neon_panel_small
                                                                    : curta_neon_panel_plain;
  int32_t *const z = to.z;
  if (how == ALL)
    for (uint32_t b = 0; b < (j->w->columns + 31) / 32; b++)
      turn_block(q, b * 32, turned + b * TURNED);
  for (const panel *p = panels; p < panels + count; p++) {
    if (chunk >= p->chunks)
      continue;
    const int is_other =
        p == panels || (how == STRIPS && p->row / CURTA_STRIP_ROWS != p[-1].row / CURTA_STRIP_ROWS);
    if (how != ALL && is_other)
      for (uint32_t b = 0; b < p->blocks; b++)
        turn_block(q, p->columns[b] / TURNED * 32, turned + b * TURNED);
    int32_t sums[TOKENS][PANEL] = {0};
    if (p->blocks)
      loop(p, turned, how == ALL ? p->columns : in_order, sums);
    int32x4_t each[TOKENS][2];
    CURTA_UNROLL for (uint32_t t = 0; t < TOKENS; t++) CURTA_UNROLL for (uint32_t i = 0; i < 2; i++)
        each[t][i] = vld1q_s32(sums[t] + 4 * i);
    to.z = z + (p->row - j->n0);
    if (tokens == TOKENS)
      finish_tokens(p, &to, TOKENS, (const int32x4_t(*)[2])each);
    else if (tokens == 2)
      finish_tokens(p, &to, 2, (const int32x4_t(*)[2])each);
    else
      finish_tokens(p, &to, 1, (const int32x4_t(*)[2])each);
  }
}

static void run(const job *j, const panel *panels, uint32_t count, uint32_t chunk, void *more) {
  const turning how = j->w->columns <= CHUNK * 32 ? ALL : j->w->mask_starts ? STRIPS : CHUNKS;
  uint32_t in_order[CHUNK + 1];
  for (uint32_t b = 0; b <= CHUNK; b++)
    in_order[b] = b * TURNED;
  for (uint32_t t = j->t0, tokens; t < j->t1; t += tokens) {
    tokens = least(j->t1 - t, TOKENS);
    const int8_t *q[TOKENS]; // where tokens run out the last one is repeated
    for (uint32_t i = 0; i < TOKENS; i++)
      q[i] = j->x->codes + (size_t)(t + least(i, tokens - 1)) * j->x->stride;
    const uint32_t first = t - j->t0;
    const sink to = {first, j->w->shift, j->z + first * j->z_stride, j->z_stride};
    run_tile(j, panels, count, chunk, how, q, tokens, in_order, to, more);
  }
}

int curta_neon_panels_long(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                           uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch) {
  static const curta_panel_way way = {run, CHUNK, TURNED, OWN_SCRATCH, 1};
  const int is_scaled = w->group_scales || w->kind == CURTA_WEIGHT_NIBBLES;
  if (t1 - t0 < (is_scaled ? FEWEST_SCALED : FEWEST) || w->group_offsets ||
      (w->group_scales && w->kind == CURTA_WEIGHT_BYTES))
    return 0;
  curta_neon_panels(w, x, t0, t1, n0, n1, z, z_stride, &way, scratch);
  return 1;
}

#endif
