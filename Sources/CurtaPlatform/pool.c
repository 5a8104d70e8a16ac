// A small pool of threads on pthreads: work split beforehand, nobody waits for who has not begun.
// SPDX-License-Identifier: Apache-2.0
//
// A thread takes the parts of a round that are its own first, those with its number modulo the
// number of threads, and then those that nobody took: a round never waits for a thread to wake up,
// and one may decode weights for a while without holding up the rest. What was begun is done by
// threads that find nothing to do in a round.

#include "pool.h"

#include "wait.h"

#include <stdatomic.h>
#include <stdlib.h>

typedef struct {
  curta_task_function task;
  void *argument;
  uint32_t parts;
} job;

typedef struct {
  curta_pool *pool;
  uint32_t index; // 1 ... threads - 1; the caller is 0
  pthread_t thread;
} worker;

enum { SHARES = 64, SHARE_BITS = 8 }; // more parts are shared out by their number modulo SHARES

struct curta_pool {
  pthread_mutex_t lock;
  pthread_cond_t start;    // something new
  pthread_cond_t finished; // nothing left of a round, or of what was begun
  _Atomic uint32_t news;   // counts rounds, what was begun, and the end
  _Atomic int stopping;
  uint32_t threads;

  job round;
  _Atomic uint64_t current;       // number of the round << SHARE_BITS | how many shares it has
  _Atomic uint64_t taken[SHARES]; // the last round of which somebody took this share
  _Atomic uint32_t undone_shares; // of the round

  job begun;
  _Atomic uint32_t waiting;      // parts of it that nobody took
  _Atomic uint32_t undone_parts; // of it

  worker workers[];
};

/// Returns when *word is another number than `seen`; `condition` is signalled after it was changed.
static void wait_for_change(curta_pool *pool, const _Atomic uint32_t *word, uint32_t seen,
                            pthread_cond_t *condition) {
  if (changes_soon(word, seen))
    return;
  pthread_mutex_lock(&pool->lock);
  while (atomic_load_explicit(word, memory_order_acquire) == seen)
    pthread_cond_wait(condition, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

/// Counts one as done; who does the last one wakes the caller.
static void count_done(curta_pool *pool, _Atomic uint32_t *left) {
  if (atomic_fetch_sub_explicit(left, 1, memory_order_acq_rel) != 1)
    return;
  pthread_mutex_lock(&pool->lock); // who is about to sleep sees the number or is woken
  pthread_cond_signal(&pool->finished);
  pthread_mutex_unlock(&pool->lock);
}

/// Returns when all that `left` counts are done.
static void wait_for_all(curta_pool *pool, const _Atomic uint32_t *left) {
  for (uint32_t n; (n = atomic_load_explicit(left, memory_order_acquire)) != 0;)
    wait_for_change(pool, left, n, &pool->finished);
}

/// Tells the workers that there is something new.
static void tell(curta_pool *pool) {
  pthread_mutex_lock(&pool->lock); // who is about to sleep sees the number or is woken
  atomic_fetch_add_explicit(&pool->news, 1, memory_order_release);
  pthread_cond_broadcast(&pool->start);
  pthread_mutex_unlock(&pool->lock);
}

/// Runs share `k` of round `number` unless somebody took it; returns whether nobody had.
static int take_share(curta_pool *pool, uint32_t k, uint64_t number) {
  uint64_t last = atomic_load_explicit(&pool->taken[k], memory_order_relaxed);
  if (last >= number ||
      !atomic_compare_exchange_strong_explicit(&pool->taken[k], &last, number, memory_order_acq_rel,
                                               memory_order_relaxed))
    return 0;
  const job *round = &pool->round;
  for (uint32_t part = k; part < round->parts; part += SHARES)
    round->task(round->argument, part, round->parts);
  count_done(pool, &pool->undone_shares);
  return 1;
}

/// Runs what thread `index` can take of the round; returns whether there was anything. A round
/// stays what it is until all of its shares are done, and none can be taken afterwards.
static int take_shares(curta_pool *pool, uint32_t index) {
  const uint64_t current = atomic_load_explicit(&pool->current, memory_order_acquire);
  const uint64_t number = current >> SHARE_BITS;
  const uint32_t shares = current & ((1u << SHARE_BITS) - 1);
  int any = 0;
  for (uint32_t k = index; k < shares; k += pool->threads)
    any |= take_share(pool, k, number);
  for (uint32_t k = 0; k < shares; k++)
    any |= take_share(pool, k, number);
  return any;
}

/// Runs a part of what was begun; returns whether there was one. It stays what it is until all of
/// its parts are done.
static int take_begun(curta_pool *pool) {
  uint32_t waiting = atomic_load_explicit(&pool->waiting, memory_order_acquire);
  do {
    if (waiting == 0)
      return 0;
  } while (!atomic_compare_exchange_weak_explicit(&pool->waiting, &waiting, waiting - 1,
                                                  memory_order_acq_rel, memory_order_acquire));
  const job *begun = &pool->begun;
  begun->task(begun->argument, begun->parts - waiting, begun->parts);
  count_done(pool, &pool->undone_parts);
  return 1;
}

static void *work(void *argument) {
  worker *self = argument;
  curta_pool *pool = self->pool;
  for (;;) {
    const uint32_t seen = atomic_load_explicit(&pool->news, memory_order_acquire);
    if (atomic_load_explicit(&pool->stopping, memory_order_acquire))
      return NULL;
    if (!take_shares(pool, self->index) && !take_begun(pool))
      wait_for_change(pool, &pool->news, seen, &pool->start);
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
  atomic_store_explicit(&pool->stopping, 1, memory_order_release);
  tell(pool);
  for (uint32_t i = 1; i < pool->threads; i++)
    pthread_join(pool->workers[i - 1].thread, NULL);
  pthread_cond_destroy(&pool->finished);
  pthread_cond_destroy(&pool->start);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}

pthread_t curta_pool_thread(const curta_pool *pool, uint32_t index) {
  return pool->workers[index - 1].thread;
}

void curta_pool_run(void *context, curta_task_function task, void *argument, uint32_t parts) {
  curta_pool *pool = context;
  const uint32_t shares = parts < SHARES ? parts : SHARES;
  const uint64_t last = atomic_load_explicit(&pool->current, memory_order_relaxed);
  pool->round = (job){task, argument, parts};
  atomic_store_explicit(&pool->undone_shares, shares, memory_order_relaxed);
  atomic_store_explicit(&pool->current, ((last >> SHARE_BITS) + 1) << SHARE_BITS | shares,
                        memory_order_release);
  tell(pool);
  take_shares(pool, 0);
  wait_for_all(pool, &pool->undone_shares);
}

void curta_pool_begin(void *context, curta_task_function task, void *argument, uint32_t parts) {
  curta_pool *pool = context;
  pool->begun = (job){task, argument, parts};
  atomic_store_explicit(&pool->undone_parts, parts, memory_order_relaxed);
  atomic_store_explicit(&pool->waiting, parts, memory_order_release);
  tell(pool);
}

void curta_pool_finish(void *context) {
  curta_pool *pool = context;
  while (take_begun(pool)) {
  }
  wait_for_all(pool, &pool->undone_parts);
}
