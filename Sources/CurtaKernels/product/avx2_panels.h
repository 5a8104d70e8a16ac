// Products of byte tensors without scales for many tokens: panels of 16 rows by some tokens.
// SPDX-License-Identifier: Apache-2.0
//
// A lane of a panel is a row, so that no tile ends in sums across lanes, which a strip of a masked
// tensor, of six blocks perhaps, would feel. Four columns of all rows lie after each other and meet
// the same four codes of a token, broadcast from memory.

#ifndef CURTA_AVX2_PANELS_H
#define CURTA_AVX2_PANELS_H

#include "../avx2.h"
#include "tiled.h"

enum {
  CURTA_PANEL_ROWS = 16,
  CURTA_PANEL_TILE = 6,      // tokens
  CURTA_PANEL_BYTES = 24576, // of a packed chunk at most
  CURTA_PANEL_TOKENS = 12,   // fewer do not pay for packing
};

/// A chunk of columns of a panel.
typedef struct {
  const uint8_t *codes;   // [blocks][8] steps of four columns, each as `pack` of a way leaves it
  const uint16_t *places; // of the blocks in a token's row, or NULL: side by side
  uint32_t blocks;
  _Alignas(32) int32_t begins[CURTA_PANEL_ROWS]; // what the sums of rows begin at
} curta_panel;

/// sums[token] = what each row's sum begins at and u * q over the chunk.
typedef void curta_panel_tile(const curta_panel *p, const int8_t *const *q, __m256i (*sums)[2]);

/// How codes are multiplied.
typedef struct {
  curta_panel_tile *one, *several; // tokens
  uint32_t tokens;                 // that `several` takes: 4 or CURTA_PANEL_TILE
  /// Packs a block of 16 rows, row[r] + at; adds to what their sums begin at.
  void (*pack)(const uint8_t *const *row, size_t at, uint8_t *to, __m256i *begins);
  uint32_t block_bytes; // packed
} curta_panel_way;

/// The product of curta_kernels.h of a tensor of bytes without group scales.
void curta_avx2_panels(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                       const curta_panel_way *way, void *scratch);

extern const curta_panel_way curta_avx2_bytes_way;

#endif
