// A small pool of threads on pthreads: static split of parts, asleep when idle.
// SPDX-License-Identifier: Apache-2.0
//
// A thread looks for the next round for some 0.1 ms before it sleeps: an op of a small model takes
// microseconds, to wake a thread tens of them. On a virtual machine of two processors, two threads
// that slept at once ran DeiT-S at half of the rate of two that look, SmolLM2 one token at a time
// at a third, vit-cifar10 at a twelfth, all slower than one thread. While it looks it lets others
// run: the one that it waits for may have been woken on the same processor. Between steps all
// sleep.

#include "curta_platform.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { LOOKS = 4000, LOOKS_ALONE = 500 }; // some 0.1 ms; how many before it lets others run

typedef struct {
  curta_pool *pool;
  uint32_t index; // 1 ... threads - 1; the caller is 0
  pthread_t thread;
} worker;

struct curta_pool {
  pthread_mutex_t lock;
  pthread_cond_t start;    // a new round, or the end
  pthread_cond_t finished; // the last worker of a round is done
  _Atomic uint32_t round;  // counts them, modulo 2^32
  uint32_t threads;
  _Atomic uint32_t working; // workers that have not finished this round
  _Atomic int stopping;
  curta_task_function task;
  void *argument;
  uint32_t parts;
  worker workers[];
};

/// Between two looks, the i-th of which was just taken.
static void pause_a_moment(int i) {
  if (i >= LOOKS_ALONE && i % 32 == 0) {
    sched_yield();
    return;
  }
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__ARM_ARCH_7A__)
  __asm__ volatile("yield");
#endif
}

static int has_news(curta_pool *pool, uint32_t seen) {
  return atomic_load_explicit(&pool->round, memory_order_acquire) != seen ||
         atomic_load_explicit(&pool->stopping, memory_order_acquire);
}

static int is_finished(curta_pool *pool) {
  return atomic_load_explicit(&pool->working, memory_order_acquire) == 0;
}

static void run_parts(const curta_pool *pool, uint32_t index) {
  for (uint32_t part = index; part < pool->parts; part += pool->threads)
    pool->task(pool->argument, part, pool->parts);
}

static void *work(void *argument) {
  worker *self = argument;
  curta_pool *pool = self->pool;
  for (uint32_t seen = 0;; seen++) {
    for (int i = 0; i < LOOKS && !has_news(pool, seen); i++)
      pause_a_moment(i);
    if (!has_news(pool, seen)) {
      pthread_mutex_lock(&pool->lock);
      while (!has_news(pool, seen))
        pthread_cond_wait(&pool->start, &pool->lock);
      pthread_mutex_unlock(&pool->lock);
    }
    if (pool->stopping)
      return NULL;
    run_parts(pool, self->index);
    if (atomic_fetch_sub_explicit(&pool->working, 1, memory_order_acq_rel) == 1) {
      pthread_mutex_lock(&pool->lock); // the caller looks at `working` and sleeps under it
      pthread_cond_signal(&pool->finished);
      pthread_mutex_unlock(&pool->lock);
    }
  }
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
  pool->task = task;
  pool->argument = argument;
  pool->parts = parts;
  atomic_store_explicit(&pool->working, pool->threads - 1, memory_order_relaxed);
  pthread_mutex_lock(&pool->lock); // who is about to sleep sees the round before or is woken
  atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
  pthread_cond_broadcast(&pool->start);
  pthread_mutex_unlock(&pool->lock);
  run_parts(pool, 0);
  for (int i = 0; i < LOOKS && !is_finished(pool); i++)
    pause_a_moment(i);
  if (is_finished(pool))
    return;
  pthread_mutex_lock(&pool->lock);
  while (!is_finished(pool))
    pthread_cond_wait(&pool->finished, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}
