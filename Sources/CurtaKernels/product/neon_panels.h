// Products with SDOT for many tokens.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_NEON_PANELS_H
#define CURTA_NEON_PANELS_H

#include "tiled.h"

/// The product of curta_kernels.h of a grid tensor. Returns 0 and does nothing where tiles of
/// neon_tile.h have to do it: few tokens, group offsets, or sums that may not fit int32.
int curta_neon_panels(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                      uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);

#endif
