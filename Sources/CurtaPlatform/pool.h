// What other files here may know of a pool.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_POOL_H
#define CURTA_POOL_H

#include "curta_platform.h"

#include <pthread.h>

/// Thread `index` of a pool, 1 ... threads - 1.
pthread_t curta_pool_thread(const curta_pool *pool, uint32_t index);

#endif
