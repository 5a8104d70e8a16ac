// A small pool of threads on pthreads: static split of parts, no spinning, asleep when idle.
// SPDX-License-Identifier: Apache-2.0

#include "curta_platform.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct {
  curta_pool *pool;
  uint32_t index; // 1 ... threads - 1; the caller is 0
  pthread_t thread;
} worker;

struct curta_pool {
  pthread_mutex_t lock;
  pthread_cond_t start;    // a new round, or the end
  pthread_cond_t finished; // the last worker of a round is done
  uint64_t round;
  uint32_t threads;
  uint32_t working; // workers that have not finished this round
  int stopping;
  curta_task_function task;
  void *argument;
  uint32_t parts;
  worker workers[];
};

static void run_parts(const curta_pool *pool, uint32_t index) {
  for (uint32_t part = index; part < pool->parts; part += pool->threads)
    pool->task(pool->argument, part, pool->parts);
}

static void *work(void *argument) {
  worker *self = argument;
  curta_pool *pool = self->pool;
  uint64_t seen = 0;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    while (pool->round == seen && !pool->stopping)
      pthread_cond_wait(&pool->start, &pool->lock);
    if (pool->stopping)
      break;
    seen = pool->round;
    pthread_mutex_unlock(&pool->lock);
    run_parts(pool, self->index);
    pthread_mutex_lock(&pool->lock);
    if (--pool->working == 0)
      pthread_cond_signal(&pool->finished);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

curta_pool *curta_pool_create(uint32_t threads) {
  if (threads == 0 || threads > 256)
    return NULL;
  curta_pool *pool = calloc(1, sizeof(curta_pool) + (threads - 1) * sizeof(worker));
  if (pool == NULL)
    return NULL;
  pool->threads = threads;
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->start, NULL);
  pthread_cond_init(&pool->finished, NULL);
  for (uint32_t i = 1; i < threads; i++) {
    worker *w = &pool->workers[i - 1];
    w->pool = pool;
    w->index = i;
    if (pthread_create(&w->thread, NULL, work, w) != 0) {
      pool->threads = i; // join those that did start
      curta_pool_destroy(pool);
      return NULL;
    }
  }
  return pool;
}

void curta_pool_destroy(curta_pool *pool) {
  if (pool == NULL)
    return;
  pthread_mutex_lock(&pool->lock);
  pool->stopping = 1;
  pthread_cond_broadcast(&pool->start);
  pthread_mutex_unlock(&pool->lock);
  for (uint32_t i = 1; i < pool->threads; i++)
    pthread_join(pool->workers[i - 1].thread, NULL);
  pthread_cond_destroy(&pool->finished);
  pthread_cond_destroy(&pool->start);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}

void curta_pool_run(void *context, curta_task_function task, void *argument, uint32_t parts) {
  curta_pool *pool = context;
  pthread_mutex_lock(&pool->lock);
  pool->task = task;
  pool->argument = argument;
  pool->parts = parts;
  pool->working = pool->threads - 1;
  pool->round++;
  pthread_cond_broadcast(&pool->start);
  pthread_mutex_unlock(&pool->lock);
  run_parts(pool, 0);
  pthread_mutex_lock(&pool->lock);
  while (pool->working > 0)
    pthread_cond_wait(&pool->finished, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}
