// What the processor can run: CPUID on x86-64, the auxiliary vector on aarch64.
// SPDX-License-Identifier: Apache-2.0

#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

int curta_cpu_avx2(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return 0;
  if (((c >> 27) & 3) != 3) // OSXSAVE, AVX
    return 0;
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 6) != 6) // the operating system saves XMM and YMM
    return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
    return 0;
  return (b >> 5) & 1;
}

#elif defined(__aarch64__)

#if defined(__ARM_FEATURE_DOTPROD) || defined(__APPLE__)
int curta_cpu_dotprod(void) { return 1; }
#else
/// From libc on Linux; absent on bare metal, where the compiler's target decides.
extern unsigned long getauxval(unsigned long type) __attribute__((weak));

int curta_cpu_dotprod(void) {
  const unsigned long at_hwcap = 16;
  return getauxval ? (int)((getauxval(at_hwcap) >> 20) & 1) : 0;
}
#endif

#endif

// Not an empty file on other architectures.
typedef int curta_cpu_other;
