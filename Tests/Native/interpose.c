// Counts calls that take memory, between curta_count_start and curta_count_stop. For LD_PRELOAD.
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_int counting;
static atomic_ulong calls;

void curta_count_start(void) {
  calls = 0;
  counting = 1;
}

unsigned long curta_count_stop(void) {
  counting = 0;
  return calls;
}

// dlsym itself may call calloc; these bytes are for that, never given back.
static _Alignas(16) unsigned char early[4096];
static size_t early_used;

#define NEXT(name)                                                                                 \
  static __typeof__(name) *next;                                                                   \
  if (next == NULL)                                                                                \
    *(void **)&next = dlsym(RTLD_NEXT, #name);                                                     \
  if (counting)                                                                                    \
  calls++

extern void *malloc(size_t), *calloc(size_t, size_t), *realloc(void *, size_t);
extern void *aligned_alloc(size_t, size_t), *memalign(size_t, size_t);
extern int posix_memalign(void **, size_t, size_t);
extern void free(void *);

void *malloc(size_t size) {
  NEXT(malloc);
  return next(size);
}

void *calloc(size_t count, size_t size) {
  static int resolving;
  if (resolving) {
    void *bytes = early + early_used;
    early_used += (count * size + 15) / 16 * 16;
    return early_used <= sizeof early ? bytes : NULL;
  }
  resolving = 1;
  NEXT(calloc);
  resolving = 0;
  return next(count, size);
}

void *realloc(void *bytes, size_t size) {
  NEXT(realloc);
  return next(bytes, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  NEXT(aligned_alloc);
  return next(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
  NEXT(memalign);
  return next(alignment, size);
}

int posix_memalign(void **bytes, size_t alignment, size_t size) {
  NEXT(posix_memalign);
  return next(bytes, alignment, size);
}

void free(void *bytes) {
  NEXT(free);
  if ((unsigned char *)bytes < early || (unsigned char *)bytes >= early + sizeof early)
    next(bytes);
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
  NEXT(mmap);
  return next(address, size, protection, flags, file, offset);
}

void *mremap(void *address, size_t size, size_t new_size, int flags, ...) {
  NEXT(mremap);
  return next(address, size, new_size, flags);
}

int munmap(void *address, size_t size) {
  NEXT(munmap);
  return next(address, size);
}

int brk(void *end) {
  NEXT(brk);
  return next(end);
}

void *sbrk(intptr_t more) {
  NEXT(sbrk);
  return next(more);
}
