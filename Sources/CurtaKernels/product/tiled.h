// The frame around the vector products of grid tensors: what a tile of an instruction set computes.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_TILED_H
#define CURTA_TILED_H

#include "../include/curta_kernels.h"
#include "../unroll.h"

enum {
  CURTA_CHUNK_BLOCKS = 128, // blocks of 32 columns in a chunk at most
  CURTA_SUMMED_BLOCKS = 8,  // a group of so many blocks or fewer has a sum that fits int16
};

/// Bytes of 32 codes of a grid.
static inline size_t curta_block_bytes(uint32_t kind) {
  return kind == CURTA_WEIGHT_NIBBLES ? 16 : kind == CURTA_WEIGHT_SIXES ? 24 : 32;
}

/// A range of columns of up to four tokens. Int32 lanes hold the sums of a chunk: see each tile.
typedef struct {
  const curta_weight *w;
  /// [blocks][32] codes of each token, from the chunk's first column on. With `places` only some
  /// blocks of it meet the weights' one after the other, w has one block a group or no scales, and
  /// q begins with the first column of all.
  const int8_t *q[4];
  const uint16_t *places; // [blocks], or NULL: all
  uint32_t first;         // block
  uint32_t blocks;        // 1 ... CURTA_CHUNK_BLOCKS
  uint32_t group;         // that the first block is in
  uint32_t groups;        // that have blocks in the chunk, the first and last perhaps in part
  /// Sum of the codes of each group inside the chunk, then zeros up to a multiple of 16. Filled
  /// when the tensor has group scales and groups of at most CURTA_SUMMED_BLOCKS blocks, and
  /// offsets, or tiles with a bias.
  int16_t sums[4][CURTA_CHUNK_BLOCKS + 16];
  /// -bias of the tiles times the sum of all codes of the chunk, filled when there are no scales.
  int32_t corrections[4];
} curta_chunk;

/// Sums over the chunk of scale * code * q for the rows n0 ... n1-1: sums[row - n0][token]. The row
/// after the last may be written too.
typedef void curta_tile(const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t (*sums)[4]);

/// z[t * z_stride + n - n0] = round(sums[n - n0][t] * m[n], shift) of four tokens.
typedef void curta_finish(const curta_weight *w, uint32_t n0, uint32_t n1, const int64_t (*sums)[4],
                          int32_t *z, size_t z_stride);

typedef struct {
  curta_tile *one;  // one token, or NULL: four do
  curta_tile *four; // four tokens
  /// Sum of offsets[g] * sums[g], g < groups.
  int64_t (*offset_dot)(const int16_t *offsets, const int16_t *sums, uint32_t groups);
  uint32_t blocks; // in a chunk at most
  /// The tile's codes are too large by `bias`, which it corrects itself only where `sums` or
  /// `corrections` is filled.
  int32_t bias;
  curta_finish *finish; // or NULL
} curta_tiles;

/// The product of curta_kernels.h by tiles.
void curta_product_tiled(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                         uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                         const curta_tiles *tiles);

/// The product with a wide tensor, by a dot product of `columns` codes.
void curta_product_wide_rows(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                             uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                             int64_t (*dot)(const int16_t *c, const int8_t *q, uint32_t columns));

#endif
