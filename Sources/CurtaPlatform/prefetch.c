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
  const size_t length = (uintptr_t)bytes + size - start;
  // Where memory is short, pages that were read once are the first to go: else the system looks at
  // each for a second use before it takes it, which took longer than reading them.
  posix_madvise((void *)start, length, POSIX_MADV_SEQUENTIAL);
  posix_madvise((void *)start, length, POSIX_MADV_WILLNEED);
}
