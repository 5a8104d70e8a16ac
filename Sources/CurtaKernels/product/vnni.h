// The two ways that AVX-512 VNNI multiplies: panels for many tokens, rows for one.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_VNNI_H
#define CURTA_VNNI_H

#include "tiled.h"

/// The product of a grid tensor without offsets, by panels of 16 rows.
void curta_vnni_panels(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);

/// Whether `curta_vnni_rows` takes a grid tensor without offsets.
int curta_vnni_takes_rows(const curta_weight *w);
/// The same product a row and a token at a time.
void curta_vnni_rows(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                     uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride);

#endif
