// Weights as AMX meets them: in chunks of steps, each of two tiles.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AMX_H
#define CURTA_AMX_H

#include "../include/curta_kernels.h"

enum {
  CURTA_AMX_SIDE = 16,  // rows, or tokens, of a tile
  CURTA_AMX_STEPS = 12, // in a chunk of columns at most
};

/// What the two tiles of a step are, first and second.
typedef enum {
  CURTA_AMX_ROWS,   // of 32 rows without group scales
  CURTA_AMX_HALVES, // of 16 such rows, each other columns; S = first + second
  /// Of 16 rows with group scales s, already multiplied: of nibbles c * (s mod 16) and
  /// c * floor(s / 16), S = first + 16 * second; of bytes c * s = first + 256 * second.
  CURTA_AMX_PLANES,
} curta_amx_kind;

/// Two tiles of weights: [4 columns][row][4].
typedef struct {
  int8_t tile[2][CURTA_AMX_SIDE][64];
} curta_amx_step;

/// Some columns of 32 or 16 rows, packed.
typedef struct {
  curta_amx_step *step;
  uint32_t steps;
  size_t columns[CURTA_AMX_STEPS][2]; // of the tokens' codes that the tiles meet
  int begins, ends;                   // the rows
  curta_amx_kind kind;
  uint32_t up;               // S = first + 2^up * second
  uint32_t row, rows;        // the first, and how many
  const uint16_t *mantissas; // [rows]
} curta_amx_chunk;

/// 32 or 16 rows that are being packed.
typedef struct {
  curta_weight w;         // of a masked tensor the strip's
  const uint16_t *places; // of its stored blocks in the row, or NULL: all are
  uint32_t blocks;        // stored in a row
  uint32_t next;          // of them to be packed
  curta_amx_kind kind;
  uint32_t row, rows; // of the whole tensor
  const uint16_t *mantissas;
  const uint8_t *codes[2][CURTA_AMX_SIDE], *scales[CURTA_AMX_SIDE]; // of each row
  uint32_t turned;                                                  // sixteen groups, which is in:
  int32_t turned_scales[4][CURTA_AMX_SIDE];                         // [4 groups][row][group]
} curta_amx_panel;

/// Begins with the rows from n on, before n1, of a grid tensor without offsets.
void curta_amx_begin_panel(curta_amx_panel *p, const curta_weight *w, uint32_t n, uint32_t n1);
/// Begins with the panel's next columns.
void curta_amx_begin_chunk(const curta_amx_panel *p, curta_amx_chunk *c);
/// Packs another step of the chunk, if there are columns left.
void curta_amx_pack_step(curta_amx_panel *p, curta_amx_chunk *c);

#endif
