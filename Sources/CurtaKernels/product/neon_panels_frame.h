// What the frame of panels and the tiles of its two ways, SDOT and SMULL, tell each other.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_NEON_PANELS_FRAME_H
#define CURTA_NEON_PANELS_FRAME_H

#include "../neon.h"
#include "tiled.h"

enum {
  PANEL = 8,          // rows
  BLOCK = PANEL * 32, // codes of a packed block
};

static inline uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// Eight rows of a chunk of columns.
typedef struct {
  int8_t *codes; // [blocks][2][2][4][4][4]: 16 columns, 4 rows, 4 columns, row, column
  /// [blocks], of SDOT less those of the next one; of SMULL int16, which take half of the room, or
  /// where there are none the limits that curta_panel_way speaks of.
  int32_t (*scales)[PANEL];
  uint32_t *columns;      // [blocks + 1], by curta_panel_way.step
  int64_t (*sums)[PANEL]; // [tokens], of the chunks before
  uint32_t blocks;
  uint32_t row;    // first
  uint32_t rows;   // that are there
  uint32_t chunks; // one at least, which may be empty
  int first, last; // chunk
  int32_t mantissas[PANEL];
} panel;

/// A call.
typedef struct {
  const curta_weight *w;
  const curta_codes *x;
  uint32_t t0, t1;
  uint32_t n0, n1;
  int32_t *z; // of t0 and n0
  size_t z_stride;
} job;

/// Where the results of some tokens go.
typedef struct {
  uint32_t first; // of all tokens
  uint32_t shift;
  int32_t *z; // of the first token and the panel's first row
  size_t z_stride;
} sink;

/// How panels are multiplied.
typedef struct {
  /// A chunk of some packed panels with all tokens; `more` is what the way asks for.
  void (*run)(const job *j, const panel *panels, uint32_t count, uint32_t chunk, void *more);
  uint32_t chunk; // blocks of 32 columns at most
  uint32_t step;  // from block to block of a token
  uint32_t more;  // bytes, a multiple of 64
  /// Whether int16 lanes take products: then panels of bytes and small codes without scales
  /// have two limits for each block: the largest sums of squares of a token's codes with which a
  /// lane holds the products of the block, and of half of it.
  int is_long;
} curta_panel_way;

/// The product of curta_kernels.h of a grid tensor without offsets.
void curta_neon_panels(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                       const curta_panel_way *way, void *scratch);

/// The sums of token t in one of several chunks, or of fewer rows than a panel has.
void curta_neon_panels_deliver(const panel *p, const sink *to, uint32_t t, const int32_t *sums);

/// round(sum * m, shift) of four rows; count is -shift.
CURTA_NEON_INLINE int32x4_t finished(int32x4_t sum, int32x4_t m, int64x2_t count) {
  const int64x2_t low = vmull_s32(vget_low_s32(sum), vget_low_s32(m));
  const int64x2_t high = vmull_high_s32(sum, m);
  return vmovn_high_s64(vmovn_s64(vrshlq_s64(low, count)), vrshlq_s64(high, count));
}

/// Brings the sums of some tokens to where they go; `tokens` is a constant.
CURTA_NEON_INLINE void finish_tokens(const panel *p, const sink *to, uint32_t tokens,
                                     const int32x4_t (*sums)[2]) {
  if (p->rows == PANEL && p->chunks == 1) {
    const int32x4_t low = vld1q_s32(p->mantissas), high = vld1q_s32(p->mantissas + 4);
    const int64x2_t count = vdupq_n_s64(-(int64_t)to->shift);
    CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) {
      int32_t *z = to->z + t * to->z_stride;
      vst1q_s32(z, finished(sums[t][0], low, count));
      vst1q_s32(z + 4, finished(sums[t][1], high, count));
    }
    return;
  }
  int32_t each[8][PANEL];
  CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) {
    vst1q_s32(each[t], sums[t][0]);
    vst1q_s32(each[t] + 4, sums[t][1]);
  }
  for (uint32_t t = 0; t < tokens; t++)
    curta_neon_panels_deliver(p, to, t, each[t]);
}

#endif
