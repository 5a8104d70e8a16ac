// What the processor can run: CPUID on x86-64, the auxiliary vector on aarch64.
// SPDX-License-Identifier: Apache-2.0

#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

/// Leaf 7 of CPUID when the operating system saves the registers of `state`, bits of XCR0.
static int features(unsigned state, unsigned *b, unsigned *c, unsigned *d) {
  unsigned a = 0;
  if (!__get_cpuid(1, &a, b, c, d))
    return 0;
  if (((*c >> 27) & 3) != 3) // OSXSAVE, AVX
    return 0;
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & state) == state && __get_cpuid_count(7, 0, &a, b, c, d);
}

int curta_cpu_avx2(void) {
  unsigned b = 0, c = 0, d = 0;
  return features(0x06, &b, &c, &d) && ((b >> 5) & 1); // XMM, YMM
}

int curta_cpu_avxvnni(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return curta_cpu_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && ((a >> 4) & 1);
}

int curta_cpu_avx512vnni(void) {
  const unsigned needed = 1u << 5 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; // AVX2, F DQ BW VL
  unsigned b = 0, c = 0, d = 0;
  return features(0xE6, &b, &c, &d) && (b & needed) == needed && ((c >> 11) & 1); // and ZMM
}

/// Linux saves the tiles of processes that have asked for them, arch_prctl(ARCH_REQ_XCOMP_PERM,
/// XFEATURE_XTILEDATA); of other systems none is known to.
static int may_use_tiles(void) {
#if defined(__linux__)
  long result = 158;
  __asm__ volatile("syscall" : "+a"(result) : "D"(0x1023L), "S"(18L) : "rcx", "r11", "memory");
  return result == 0;
#else
  return 0;
#endif
}

int curta_cpu_amx(void) {
  const unsigned needed = 1u << 24 | 1u << 25; // AMX-TILE, AMX-INT8
  unsigned b = 0, c = 0, d = 0;
  return curta_cpu_avx512vnni() && features(0x600E6, &b, &c, &d) && (d & needed) == needed &&
         may_use_tiles(); // and TILECFG, TILEDATA
}

#elif defined(__aarch64__)

#if defined(__APPLE__)
static unsigned long auxiliary(unsigned long type) { return type * 0; }
#else
/// From libc on Linux; absent on bare metal, where the compiler's target decides.
extern unsigned long getauxval(unsigned long type) __attribute__((weak));
static unsigned long auxiliary(unsigned long type) { return getauxval ? getauxval(type) : 0; }
#endif

int curta_cpu_dotprod(void) {
#if defined(__ARM_FEATURE_DOTPROD) || defined(__APPLE__)
  return 1;
#endif
  return (int)((auxiliary(16) >> 20) & 1); // AT_HWCAP
}

int curta_cpu_i8mm(void) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
  return 1;
#endif
  return curta_cpu_dotprod() && ((auxiliary(26) >> 13) & 1); // AT_HWCAP2
}

#endif

// Not an empty file on other architectures.
typedef int curta_cpu_other;
