// Declares every variant of every kernel, curta_<kernel>__<set>, with the type of its table entry.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_KERNELS_VARIANTS_H
#define CURTA_KERNELS_VARIANTS_H

#include "include/curta_kernels.h"

#define CURTA_VARIANT(kernel, set)                                                                 \
  extern __typeof__(*((curta_kernels *)0)->kernel) curta_##kernel##__##set;

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  CURTA_VARIANT(kernel, scalar)                                                                    \
  CURTA_VARIANT(kernel, avx2)                                                                      \
  CURTA_VARIANT(kernel, avxvnni)                                                                   \
  CURTA_VARIANT(kernel, avx512vnni)                                                                \
  CURTA_VARIANT(kernel, amx)                                                                       \
  CURTA_VARIANT(kernel, neon)                                                                      \
  CURTA_VARIANT(kernel, neon_dotprod)                                                              \
  CURTA_VARIANT(kernel, neon_i8mm)
#include "kernels.inc"
#undef KERNEL
#undef CURTA_VARIANT

#endif
