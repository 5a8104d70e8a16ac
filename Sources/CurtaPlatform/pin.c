// Keeps a thread on one processor of Linux.
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "curta_pin.h"

#include "pool.h"

#include <sched.h>

int curta_pool_pin(const curta_pool *pool, uint32_t index, uint32_t cpu) {
  cpu_set_t set;
  if (cpu >= CPU_SETSIZE)
    return 0;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  const pthread_t thread = index == 0 ? pthread_self() : curta_pool_thread(pool, index);
  return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}
