// A smaller processor for a program: preloaded, it hides from CPUID what boards do not have.
// SPDX-License-Identifier: Apache-2.0
//
//   cc -O2 -shared -fPIC -o fewer-features.so fewer-features.c
//   CURTA_FEATURES=avx2 LD_PRELOAD=./fewer-features.so PROGRAM
//
// avx2: neither AVX-512, AMX nor AVX-VNNI (Zen 3, Haswell to Alder Lake's predecessors); avxvnni:
// with AVX-VNNI (Alder Lake-N and the like). Linux lets a program make CPUID fault (arch_prctl(2),
// ARCH_SET_CPUID), threads and children inherit it, execve ends it; each CPUID is then answered
// here. Code compiled for more features than it asks for is not stopped. Ends with status 70 where
// the processor cannot do this.

#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { SET_CPUID = 0x1012 }; // ARCH_SET_CPUID of asm/prctl.h
enum { EAX, EBX, ECX, EDX };

static int has_avxvnni;
static struct sigaction before;

static void hide(uint32_t leaf, uint32_t subleaf, unsigned *r) {
  if (leaf == 7 && subleaf == 0) {
    r[EBX] &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 |
                1u << 31);                                           // AVX-512 F to VL
    r[ECX] &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14); // VBMI to VPOPCNTDQ
    r[EDX] &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25); // AMX
  }
  if (leaf == 7 && subleaf == 1) {
    r[EAX] &= has_avxvnni ? 1u << 4 : 0;
    r[EDX] = 0; // AVX-VNNI-INT8 to AVX10
  }
}

static void answer(int number, siginfo_t *about, void *context) {
  greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *at = (const uint8_t *)g[REG_RIP];
  if (about->si_code != SI_KERNEL || at[0] != 0x0F || at[1] != 0xA2) {
    sigaction(number, &before, NULL); // a fault of the program: it comes again
    return;
  }
  unsigned r[4];
  const uint32_t leaf = (uint32_t)g[REG_RAX], subleaf = (uint32_t)g[REG_RCX];
  syscall(SYS_arch_prctl, SET_CPUID, 1);
  __cpuid_count(leaf, subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
  syscall(SYS_arch_prctl, SET_CPUID, 0);
  hide(leaf, subleaf, r);
  g[REG_RAX] = r[EAX];
  g[REG_RBX] = r[EBX];
  g[REG_RCX] = r[ECX];
  g[REG_RDX] = r[EDX];
  g[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
  const char *features = getenv("CURTA_FEATURES");
  if (!features)
    return;
  has_avxvnni = strcmp(features, "avxvnni") == 0;
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, &before);
  if (syscall(SYS_arch_prctl, SET_CPUID, 0) != 0) {
    static const char text[] = "fewer-features: this processor or kernel cannot hide features\n";
    (void)!write(2, text, sizeof text - 1);
    _exit(70);
  }
}
