// Keeps a thread on one processor of Linux.
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "curta_pin.h"

#include <sched.h>

int curta_pin_thread(uint32_t cpu) {
  cpu_set_t set;
  if (cpu >= CPU_SETSIZE)
    return 0;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}
