// Pages of a mapped file before they are read.
// SPDX-License-Identifier: Apache-2.0

#define _POSIX_C_SOURCE 200809L
#include "curta_platform.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void curta_prefetch_mapping(void *context, const void *bytes, size_t size) {
  (void)context;
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t start = (uintptr_t)bytes & ~(page - 1);
  posix_madvise((void *)start, (uintptr_t)bytes + size - start, POSIX_MADV_WILLNEED);
}
