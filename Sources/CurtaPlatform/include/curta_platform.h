// What the runtime leaves to the operating system: threads, and pages of a file before they
// are read. Replace it on bare metal.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_PLATFORM_H
#define CURTA_PLATFORM_H

#include "curta.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Threads that sleep while there is nothing to do.
typedef struct curta_pool curta_pool;

/// Starts threads - 1 threads (the caller's is the last one). NULL when the system refuses, or
/// `threads` is 0 or above 256.
CURTA_API curta_pool *curta_pool_create(uint32_t threads);
CURTA_API void curta_pool_destroy(curta_pool *pool);

/// A `curta_parallel_function`; `pool` is the context. Parts beyond the number of threads are
/// taken in turn. Used by one caller at a time.
CURTA_API void curta_pool_run(void *pool, curta_task_function task, void *argument, uint32_t parts);

/// A `curta_begin_function` and a `curta_finish_function`; `pool` is the context. What was begun is
/// done by threads that find nothing to do in curta_pool_run. Of the same caller.
CURTA_API void curta_pool_begin(void *pool, curta_task_function task, void *argument,
                                uint32_t parts);
CURTA_API void curta_pool_finish(void *pool);

/// A `curta_prefetch_function` for a file that is mapped (mmap): the system reads it while the
/// processor computes, and where memory is short gives it up first. The context is not looked at.
CURTA_API void curta_prefetch_mapping(void *context, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
