// Products of nibbles and small codes for many tokens: panels of 16 rows with group scales or none.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX2_SCALED_H
#define CURTA_AVX2_SCALED_H

#include "avx2_panels.h"

enum {
  CURTA_SCALED_STEPS = 8, // of four columns in a block
  // Where in a packed block of 16 rows the scales and the begins are, after the codes.
  CURTA_SCALED_SCALES = CURTA_SCALED_STEPS * 64,
  CURTA_SCALED_BEGINS = CURTA_SCALED_SCALES + 64,
  CURTA_SCALED_BLOCK_BYTES = CURTA_SCALED_BEGINS + 64,
};

/// A chunk of columns of a panel.
typedef struct {
  uint8_t *codes;         // [blocks][CURTA_SCALED_BLOCK_BYTES]
  const uint16_t *places; // [blocks], in a token's row
  uint32_t first;         // place of the chunk
  uint32_t blocks;
  __m256i begins[2]; // what the sums of rows begin at, where those of blocks begin at 0
} curta_scaled_panel;

/// The sums of a chunk for some tokens, turned[block][token][32] of v = q + 128.
typedef void curta_scaled_tile(const curta_scaled_panel *p, const uint8_t *turned,
                               __m256i (*sums)[2]);

/// How the codes of a kind are multiplied.
typedef struct {
  curta_scaled_tile *one, *several; // tokens
  uint32_t tokens;                  // that `several` takes, a divisor of 12
  /// The sums of a block begin at -128 * (sum of c), and scales are int32. Else it is the sums of
  /// rows that begin, and scales are two equal int16.
  int blocks_begin;
} curta_scaled_way;

typedef struct {
  curta_scaled_way nibbles, small;
} curta_scaled_ways;

extern const curta_scaled_ways curta_avx2_scaled_ways, curta_avxvnni_scaled_ways;

/// Whether panels take these rows of the tensor and gain for so many tokens.
int curta_avx2_scaled_fits(const curta_weight *w, uint32_t tokens, uint32_t n0, uint32_t n1);

/// The product of curta_kernels.h of a tensor that fits.
void curta_avx2_scaled(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                       const curta_scaled_ways *ways, void *scratch);

/// The codes of a tile's tokens that block b of the panel meets, in a tile of `tokens`.
CURTA_AVX2_INLINE const uint8_t *curta_scaled_place(const curta_scaled_panel *p,
                                                    const uint8_t *turned, uint32_t b,
                                                    uint32_t tokens) {
  return turned + (p->places[b] - p->first) * (size_t)(tokens * 32);
}

#endif
