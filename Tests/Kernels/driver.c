// Compares every set of kernels that this processor can run with the definition, or times them.
// SPDX-License-Identifier: Apache-2.0
//
// driver [--seed N] [--kernel NAME] [--bench]; exits with 1 when a comparison failed.

#define _POSIX_C_SOURCE 200809L
#include "driver.h"
#include <time.h>

// MARK: - Random numbers

static uint64_t state = 1;

uint64_t random_bits(void) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545F4914F6CDD1D;
}

int64_t sample(enum pattern pattern, size_t i, int64_t low, int64_t high) {
  switch (pattern) {
  case MOST:
    return high;
  case LEAST:
    return low;
  case ALTERNATING:
    return i % 2 ? low : high;
  case ANY_WIDTH: {
    const int64_t x = random_between(low, high);
    return x / ((int64_t)1 << random_below(32));
  }
  case ZERO:
    return 0;
  case BLOCKS: {
    static int64_t value;
    if (i % 32 == 0)
      value = random_below(16) ? (high + (int64_t)random_below(2)) >> (1 + random_below(2)) : high;
    return value < high ? value : high;
  }
  default:
    return random_between(low, high);
  }
}

// MARK: - Buffers

enum { GUARD = 64, MAX_BUFFERS = 256 };
static void *buffers[MAX_BUFFERS];
static int buffer_count;

static uint8_t *keep(size_t bytes) {
  uint8_t *p = malloc(bytes ? bytes : 1);
  if (!p || buffer_count == MAX_BUFFERS) {
    fprintf(stderr, "driver: out of memory or buffers\n");
    exit(2);
  }
  buffers[buffer_count++] = p;
  return p;
}

void *input_buffer(size_t bytes, size_t offset) { return keep(bytes + offset) + offset; }

void *output_buffer(size_t bytes) {
  uint8_t *p = keep(bytes + GUARD);
  memset(p, 0xA5, bytes + GUARD);
  return p;
}

int output_intact(const void *buffer, size_t bytes) {
  const uint8_t *p = (const uint8_t *)buffer + bytes;
  for (int i = 0; i < GUARD; i++)
    if (p[i] != 0xA5)
      return 0;
  return 1;
}

void release_buffers(void) {
  while (buffer_count > 0)
    free(buffers[--buffer_count]);
}

// MARK: - Verdict

static uint64_t passed, failed;

void expect(int ok, const char *format, ...) {
  if (ok) {
    passed++;
    return;
  }
  if (failed++ < 20) {
    va_list arguments;
    va_start(arguments, format);
    printf("FAILED ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
  }
}

// MARK: - Main

double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct {
  const char *name;
  void (*check)(const curta_kernels *set);
  void (*bench)(const curta_kernels *set);
} entry;

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  {#kernel, check_##kernel, bench_##kernel},
static const entry entries[] = {
#include "../../Sources/CurtaKernels/kernels.inc"
};
#undef KERNEL

static uint64_t read_all(const uint64_t *p, size_t words) {
  uint64_t sums[8] = {0};
  for (size_t i = 0; i < words; i += 8)
    for (size_t j = 0; j < 8; j++)
      sums[j] += p[i + j];
  return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}

/// Reads 64 MiB: what a kernel that waits for memory can hope for.
static void bench_memory(void) {
  const size_t words = 8 << 20;
  uint64_t *p = input_buffer(words * 8, 0);
  memset(p, 1, words * 8);
  volatile uint64_t sink = 0;
  BENCH(&curta_kernels_scalar, "read 64 MiB", "GB/s", words * 8, sink = read_all(p, words));
  (void)sink;
  release_buffers();
}

int main(int argc, char **argv) {
  uint64_t seed = 1948;
  const char *only = NULL;
  int bench = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--bench") == 0) {
      bench = 1;
    } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
      seed = strtoull(argv[++i], NULL, 0);
    } else if (strcmp(argv[i], "--kernel") == 0 && i + 1 < argc) {
      only = argv[++i];
    } else {
      fprintf(stderr, "usage: driver [--seed N] [--kernel NAME] [--bench]\n");
      return 2;
    }
  }
  if (bench)
    bench_memory();
  for (size_t k = 0; k < sizeof entries / sizeof *entries; k++) {
    if (only && strcmp(only, entries[k].name) != 0)
      continue;
    for (uint32_t i = 0; i < curta_kernels_count(); i++) {
      const curta_kernels *set = curta_kernels_at(i);
      if (!set)
        continue;
      state = seed ? seed : 1;
      (bench ? entries[k].bench : entries[k].check)(set);
      release_buffers();
    }
  }
  if (bench)
    return 0;
  printf("%llu passed, %llu failed; best set %s; seed %llu\n", (unsigned long long)passed,
         (unsigned long long)failed, curta_kernels_best()->name, (unsigned long long)seed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
