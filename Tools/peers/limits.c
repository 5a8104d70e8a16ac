// What this machine can do: bytes read a second, products a second; one JSON object.
// SPDX-License-Identifier: Apache-2.0
//
// limits THREADS [REPEATS]: medians over the repeats (5), of one thread and of all together.
// Seconds are those of the processor, so that neighbours' turns do not count.

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define TARGET(x) __attribute__((target(x), noinline))
#define EACH _Pragma("GCC unroll 12") for (int i = 0; i < 12; i++)
// Keeps the compiler from seeing through a register.
#define OPAQUE(x) __asm__ volatile("" : "+v"(x))
#else
#define TARGET(x) __attribute__((noinline))
#endif

enum { MEMORY = 512 << 20, ROUNDS = 2000000 };

static volatile int32_t sink;

/// Bytes read, as a stream.
TARGET("avx2") static double read_memory(const uint8_t *p) {
#if defined(__x86_64__)
  __m256i a = _mm256_setzero_si256(), b = a;
  for (size_t i = 0; i < MEMORY; i += 64) {
    a = _mm256_xor_si256(a, _mm256_load_si256((const __m256i *)(p + i)));
    b = _mm256_xor_si256(b, _mm256_load_si256((const __m256i *)(p + i + 32)));
  }
  sink = _mm256_extract_epi32(_mm256_xor_si256(a, b), 0);
#else
  uint64_t a = 0;
  for (size_t i = 0; i < MEMORY; i += 8)
    a ^= *(const uint64_t *)(p + i);
  sink = (int32_t)a;
#endif
  return MEMORY;
}

#if defined(__x86_64__)
/// Leaf 7, subleaf 1: what GCC 12 cannot be asked by name.
static int has_avxvnni(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

/// Products of int8, widened at once: VPMADDUBSW, VPMADDWD, VPADDD.
TARGET("avx2") static double int8_products(const uint8_t *p) {
  (void)p;
  __m256i a[12], x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(2), one = _mm256_set1_epi16(1);
  EACH a[i] = _mm256_setzero_si256();
  for (long r = 0; r < ROUNDS; r++)
    EACH {
      OPAQUE(x);
      a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), one));
    }
  EACH sink = _mm256_extract_epi32(a[i], 0);
  return ROUNDS * 12. * 32;
}

/// Products of at most 4 bits by int8, eight added in int16 before they are widened.
TARGET("avx2") static double window_products(const uint8_t *p) {
  (void)p;
  __m256i a[12], x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(2), one = _mm256_set1_epi16(1);
  EACH a[i] = _mm256_setzero_si256();
  for (long r = 0; r < ROUNDS / 8; r++)
    EACH {
      __m256i sum = _mm256_setzero_si256();
      _Pragma("GCC unroll 8") for (int k = 0; k < 8; k++) {
        OPAQUE(x);
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(x, y));
      }
      a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(sum, one));
    }
  EACH sink = _mm256_extract_epi32(a[i], 0);
  return ROUNDS * 12. * 32;
}

/// Products of float32: FMA.
TARGET("avx2,fma") static double float_products(const uint8_t *p) {
  (void)p;
  __m256 a[12], x = _mm256_set1_ps(1.0001f), y = _mm256_set1_ps(1e-9f);
  EACH a[i] = _mm256_setzero_ps();
  for (long r = 0; r < ROUNDS; r++)
    EACH a[i] = _mm256_fmadd_ps(x, y, a[i]);
  EACH sink = (int32_t)_mm256_cvtss_f32(a[i]);
  return ROUNDS * 12. * 8;
}

/// Products of int8 by VPDPBUSD on 512 bits.
TARGET("avx512f,avx512vnni") static double vnni_products(const uint8_t *p) {
  (void)p;
  __m512i a[12], x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(2);
  EACH a[i] = _mm512_setzero_si512();
  for (long r = 0; r < ROUNDS; r++)
    EACH __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(a[i]) : "v"(x), "v"(y)); // GCC copies sums
  EACH sink = _mm512_reduce_add_epi32(a[i]);
  return ROUNDS * 12. * 64;
}

/// The same on 256 bits: AVX-VNNI.
TARGET("avxvnni") static double vnni256_products(const uint8_t *p) {
  (void)p;
  __m256i a[12], x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(2);
  EACH a[i] = _mm256_setzero_si256();
  for (long r = 0; r < ROUNDS; r++)
    EACH __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(a[i]) : "x"(x), "x"(y));
  EACH sink = _mm256_extract_epi32(a[i], 0);
  return ROUNDS * 12. * 32;
}

/// AMX-INT8, where Linux lets this process use tiles: ARCH_REQ_XCOMP_PERM, XTILEDATA.
static int has_amx(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 25 & 1) &&
         syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

/// Products of int8 by TDPBSSD, four tiles of sums.
TARGET("amx-tile,amx-int8") static double amx_products(const uint8_t *p) {
  struct {
    uint8_t palette, start, none[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } of = {1, 0, {0}, {0}, {0}};
  for (int i = 0; i < 8; i++) {
    of.bytes[i] = 64;
    of.rows[i] = 16;
  }
  __asm__ volatile("" ::: "memory"); // GCC does not know what the instruction reads
  _tile_loadconfig(&of);
  _tile_loadd(4, p, 64);
  _tile_loadd(5, p + 1024, 64);
  _tile_loadd(6, p + 2048, 64);
  _tile_loadd(7, p + 3072, 64);
  for (long r = 0; r < ROUNDS / 4; r++) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
  return ROUNDS * 16384.;
}
#endif

typedef double work(const uint8_t *memory);

typedef struct {
  work *run;
  uint8_t *memory;
  int cpu;
  double done, seconds;
  pthread_barrier_t *gate;
} job;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *run_job(void *argument) {
  job *j = argument;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(j->cpu, &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
  pthread_barrier_wait(j->gate);
  const double start = now();
  j->done = j->run(j->memory);
  j->seconds = now() - start;
  return NULL;
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/// Prints the median of 1e9 a second.
static void measure(const char *name, work *run, uint8_t **memory, int threads, int repeats) {
  double values[64];
  for (int r = 0; r < repeats; r++) {
    pthread_t thread[64];
    job jobs[64];
    pthread_barrier_t gate;
    pthread_barrier_init(&gate, NULL, (unsigned)threads);
    double done = 0, seconds = 0;
    for (int i = 0; i < threads; i++) {
      jobs[i] = (job){run, memory[i], i, 0, 0, &gate};
      pthread_create(&thread[i], NULL, run_job, &jobs[i]);
    }
    for (int i = 0; i < threads; i++) {
      pthread_join(thread[i], NULL);
      done += jobs[i].done;
      seconds = jobs[i].seconds > seconds ? jobs[i].seconds : seconds;
    }
    pthread_barrier_destroy(&gate);
    values[r] = done / seconds * 1e-9;
  }
  qsort(values, (size_t)repeats, sizeof *values, ascending);
  printf("\"%s_%d\": %.2f, ", name, threads, values[repeats / 2]);
}

int main(int count, char **arguments) {
  const int most = count > 1 ? atoi(arguments[1]) : 1;
  const int repeats = count > 2 ? atoi(arguments[2]) : 5;
  if (most < 1 || most > 64 || repeats < 1 || repeats > 64) {
    fprintf(stderr, "limits THREADS [REPEATS]: 1 to 64 each\n");
    return 64;
  }
  uint8_t *memory[64];
  for (int i = 0; i < most; i++) {
    memory[i] = aligned_alloc(2 << 20, MEMORY);
    if (!memory[i])
      return 1;
    madvise(memory[i], MEMORY, MADV_HUGEPAGE);
    memset(memory[i], i + 1, MEMORY);
  }
  printf("{");
  for (int threads = 1; threads <= most; threads += most > 1 ? most - 1 : 1) {
    measure("read_gb", read_memory, memory, threads, repeats);
#if defined(__x86_64__)
    measure("int8_gmac", int8_products, memory, threads, repeats);
    measure("window_gmac", window_products, memory, threads, repeats);
    measure("float_gmac", float_products, memory, threads, repeats);
    if (__builtin_cpu_supports("avx512vnni"))
      measure("vnni_gmac", vnni_products, memory, threads, repeats);
    if (has_avxvnni())
      measure("vnni256_gmac", vnni256_products, memory, threads, repeats);
    if (has_amx())
      measure("amx_gmac", amx_products, memory, threads, repeats);
#endif
  }
  printf("\"threads\": %d}\n", most);
  return 0;
}
