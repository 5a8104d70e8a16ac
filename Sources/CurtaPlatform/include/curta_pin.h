// Keeps a thread on one processor: for measurements, no part of libcurta.a.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_PIN_H
#define CURTA_PIN_H

#include <stdint.h>

/// Keeps the calling thread on the processor `cpu`; 0 when the system refuses.
int curta_pin_thread(uint32_t cpu);

#endif
