// Rotary positions and the Hadamard transform of a head: steps of spread and spread_rotated.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_ROTATE_H
#define CURTA_ROTATE_H

#include <stdint.h>

/// Rotates `pairs` pairs in place: interleaved (y[2i], y[2i+1]) or half-split (y[i], y[i+pairs]),
/// by cosines and sines in Q15; abs(y) <= 32767 before.
typedef void curta_rotation(int32_t *y, const int32_t *cosine, const int32_t *sine, uint32_t pairs);
/// y = H y, Sylvester-Hadamard of size n, a power of two up to 256, not normalised.
typedef void curta_transform(int32_t *y, uint32_t n);

extern curta_rotation curta_rotate_interleaved__scalar, curta_rotate_half_split__scalar;
extern curta_rotation curta_rotate_interleaved__avx2, curta_rotate_half_split__avx2;
extern curta_rotation curta_rotate_interleaved__neon, curta_rotate_half_split__neon;
extern curta_transform curta_hadamard__scalar, curta_hadamard__avx2, curta_hadamard__avx512vnni,
    curta_hadamard__neon;

#endif
