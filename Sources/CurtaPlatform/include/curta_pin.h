// Keeps a thread on one processor: for measurements, no part of libcurta.a.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_PIN_H
#define CURTA_PIN_H

#include "curta_platform.h"

/// Keeps thread `index` of a pool on the processor `cpu`; 0 is the calling thread, all that there
/// is without a pool (NULL). Returns 0 when the system refuses.
int curta_pool_pin(const curta_pool *pool, uint32_t index, uint32_t cpu);

#endif
