// A number that threads count up together.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_COUNTER_H
#define CURTA_COUNTER_H

#include <stdint.h>

/// Adds 1 to *counter; returns what it was.
static inline uint32_t curta_take(uint32_t *counter) {
  return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

#endif
