// Products of nibbles and small codes for many tokens: panels of 16 rows with group scales or none.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX2_SCALED_H
#define CURTA_AVX2_SCALED_H

#include "../include/curta_kernels.h"

/// Whether panels take these rows of the tensor and gain for so many tokens.
int curta_avx2_scaled_fits(const curta_weight *w, uint32_t tokens, uint32_t n0, uint32_t n1);

/// The product of curta_kernels.h of a tensor that fits.
void curta_avx2_scaled(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);

#endif
