// What the AVX-VNNI variants share: the function attribute.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVXVNNI_H
#define CURTA_AVXVNNI_H

#include "avx2.h"

#define CURTA_AVXVNNI_TARGET target("avx2,avxvnni")
#define CURTA_AVXVNNI __attribute__((CURTA_AVXVNNI_TARGET))
#define CURTA_AVXVNNI_INLINE static inline __attribute__((always_inline, CURTA_AVXVNNI_TARGET))

#endif
