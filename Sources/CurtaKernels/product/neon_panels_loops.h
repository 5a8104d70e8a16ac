// The inner loops of panels with SMULL and SMLAL: a chunk of 8 rows with 3 tokens.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_NEON_PANELS_LOOPS_H
#define CURTA_NEON_PANELS_LOOPS_H

#include "neon_panels_frame.h"

enum {
  TOKENS = 3,
  SQUARES = TOKENS * 32, // where a turned block's largest sum of every fourth code's square is
  TURNED = SQUARES + 4,  // bytes of a turned block
};

/// The sums of a chunk. `turned` has blocks of [8][TOKENS][4] codes and squares; the panel's are
/// columns[b] bytes from there. Of columns one more is read, and what is there.
typedef void curta_panel_loop(const panel *p, const int8_t *turned, const uint32_t *columns,
                              int32_t (*sums)[PANEL]);
curta_panel_loop curta_neon_panel_plain, curta_neon_panel_nibbles, curta_neon_panel_small;

#endif
