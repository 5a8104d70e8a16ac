// Products for many tokens by panels of rows.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_NEON_PANELS_H
#define CURTA_NEON_PANELS_H

#include "tiled.h"

/// The product of curta_kernels.h of a grid tensor, with SDOT and with SMULL. Returns 0 and does
/// nothing where tiles of neon_tile.h have to do it: few tokens, group offsets, and for SMULL bytes
/// with scales.
int curta_neon_panels_dotprod(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                              uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);
int curta_neon_panels_long(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                           uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);

#endif
