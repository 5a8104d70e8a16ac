// How a thread waits for a number that another one will write within microseconds.
// SPDX-License-Identifier: Apache-2.0
//
// An op of a small model takes microseconds, to wake a thread that sleeps tens of them: a thread
// stays awake for some 0.1 ms before it sleeps. A 64-bit ARM halts meanwhile (WFE): it goes on when
// the number's line is written, or at the system's event stream, 10 000 times a second. Elsewhere
// it looks again and again, and lets others run after a while: the one that it waits for may have
// been woken on the same processor.

#ifndef CURTA_WAIT_H
#define CURTA_WAIT_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#if defined(__aarch64__) && defined(__linux__)
enum { LOOKS = 4, LOOKS_ALONE = 1, LOOKS_A_YIELD = 1 };
#else
enum { LOOKS = 1000, LOOKS_ALONE = 500, LOOKS_A_YIELD = 32 };
#endif

/// Waits a moment while *word is `seen`.
static inline void wait_a_moment(const _Atomic uint32_t *word, uint32_t seen) {
#if defined(__aarch64__) && defined(__linux__)
  uint32_t now; // an exclusive load: a write by another processor is an event from here on
  __asm__ volatile("ldaxr %w0, %1" : "=r"(now) : "Q"(*word) : "memory");
  if (now == seen)
    __asm__ volatile("wfe" ::: "memory");
#else
  (void)word;
  (void)seen;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__ARM_ARCH_7A__)
  __asm__ volatile("yield");
#endif
#endif
}

/// Whether *word is another number than `seen`, now or a moment later.
static inline int changes_soon(const _Atomic uint32_t *word, uint32_t seen) {
  for (int i = 0; i < LOOKS; i++) {
    if (atomic_load_explicit(word, memory_order_acquire) != seen)
      return 1;
    wait_a_moment(word, seen);
    if (i >= LOOKS_ALONE && i % LOOKS_A_YIELD == 0)
      sched_yield();
  }
  return atomic_load_explicit(word, memory_order_acquire) != seen;
}

#endif
