// What the parts of the kernel driver share: random numbers, guarded buffers, the verdict.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_DRIVER_H
#define CURTA_DRIVER_H

#include "../../Sources/CurtaKernels/kernels.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// MARK: - Random numbers

/// The next 64 random bits (xorshift64*, seeded by main).
uint64_t random_bits(void);

/// A random integer of 0 ... n-1.
static inline uint32_t random_below(uint32_t n) { return (uint32_t)((random_bits() >> 32) % n); }

/// A random integer of low ... high.
static inline int64_t random_between(int64_t low, int64_t high) {
  return low + (int64_t)(random_bits() % (uint64_t)(high - low + 1));
}

/// How a buffer of integers is filled.
/// BLOCKS: 32 that are equal, all, half or less of what is the most; in order from a multiple
/// of 32.
enum pattern { RANDOM, MOST, LEAST, ALTERNATING, ANY_WIDTH, ZERO, BLOCKS, PATTERNS };

/// Element i of such a buffer, between low <= 0 and high >= 0.
int64_t sample(enum pattern pattern, size_t i, int64_t low, int64_t high);

// MARK: - Buffers

/// `bytes` bytes with nothing after them that the allocator would not notice, at an address that
/// is odd by `offset`.
void *input_buffer(size_t bytes, size_t offset);
/// `bytes` bytes followed by guard bytes.
void *output_buffer(size_t bytes);
/// 1 when the guard bytes are as they were.
int output_intact(const void *buffer, size_t bytes);
/// Frees all buffers.
void release_buffers(void);

// MARK: - Verdict

/// Counts a comparison; prints a line when it failed.
void expect(int ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// Counts the comparison of an output with the definition's.
static inline void expect_same(const void *got, const void *want, size_t bytes, const char *set,
                               const char *kernel, size_t n) {
  expect(memcmp(got, want, bytes) == 0 && output_intact(got, bytes), "%s %s n=%zu", set, kernel, n);
}

// MARK: - Benchmark

/// Seconds that the processor worked for this thread: neighbours' turns do not count.
double seconds(void);

/// Runs `statement` for about 0.2 s after a warm-up; `per_call` is in units of 1e-9 a second.
#define BENCH(set, label, unit, per_call, statement)                                               \
  do {                                                                                             \
    statement;                                                                                     \
    double best_ = 0;                                                                              \
    const double end_ = seconds() + 0.2;                                                           \
    for (int runs_ = 1; seconds() < end_;) {                                                       \
      const double start_ = seconds();                                                             \
      for (int i_ = 0; i_ < runs_; i_++) {                                                         \
        statement;                                                                                 \
      }                                                                                            \
      const double took_ = seconds() - start_;                                                     \
      const double rate_ = (double)(per_call)*runs_ / took_ * 1e-9;                                \
      best_ = took_ > 1e-4 && rate_ > best_ ? rate_ : best_;                                       \
      runs_ = took_ < 2e-3 ? runs_ * 2 : runs_;                                                    \
    }                                                                                              \
    printf("%-14s %-42s %8.2f %s\n", (set)->name, label, best_, unit);                             \
  } while (0)

// Every kernel has a check against the definition and a benchmark.
#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  void check_##kernel(const curta_kernels *set);                                                   \
  void bench_##kernel(const curta_kernels *set);
#include "../../Sources/CurtaKernels/kernels.inc"
#undef KERNEL

#endif
