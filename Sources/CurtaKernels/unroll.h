// The loops that are written out: those over the rows and tokens of a tile.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_UNROLL_H
#define CURTA_UNROLL_H

#if defined(__clang__)
#define CURTA_UNROLL _Pragma("unroll")
#else
#define CURTA_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
