// A smaller processor for a program: preloaded, it hides from CPUID what boards do not have.
// SPDX-License-Identifier: Apache-2.0
//
// Of libraries whose CPUID instructions Tools/peers/fewer-features has made UD0: the processor does
// not know it, Linux sends SIGILL, which is answered here as CPUID would be, less what is hidden.
// By CURTA_FEATURES: avx2 hides AVX-512, AMX and AVX-VNNI (Zen 3, Haswell to Alder Lake's
// predecessors); avxvnni leaves AVX-VNNI (Alder Lake-N and the like). Code compiled for more
// features than it asks for is not stopped, nor is libc, which asks earlier: it copies memory by
// what there is. The libraries must be loaded after this one, as by dlopen. Handlers of SIGILL that
// come later get what is not ours.

#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { EAX, EBX, ECX, EDX };
typedef int set_action(int, const struct sigaction *, struct sigaction *);

/// How many have been answered: none, and nothing was hidden.
volatile unsigned long curta_answered;

static int has_avxvnni, answers;
static struct sigaction other; // the program's own for SIGILL

static int set(int number, const struct sigaction *action, struct sigaction *before) {
  return ((set_action *)dlsym(RTLD_NEXT, "sigaction"))(number, action, before);
}

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
  if (about->si_code <= 0 || at[0] != 0x0F || at[1] != 0xFF) {
    set(number, &other, NULL); // one of the program: it comes again
    return;
  }
  unsigned r[4];
  const uint32_t leaf = (uint32_t)g[REG_RAX], subleaf = (uint32_t)g[REG_RCX];
  __cpuid_count(leaf, subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
  hide(leaf, subleaf, r);
  g[REG_RAX] = r[EAX];
  g[REG_RBX] = r[EBX];
  g[REG_RCX] = r[ECX];
  g[REG_RDX] = r[EDX];
  g[REG_RIP] += 2;
  __atomic_fetch_add(&curta_answered, 1, __ATOMIC_RELAXED);
}

/// In place of libc's: of SIGILL it keeps what comes after us behind us.
int sigaction(int number, const struct sigaction *action, struct sigaction *before) {
  if (number != SIGILL || !answers)
    return set(number, action, before);
  if (before)
    *before = other;
  if (action)
    other = *action;
  return 0;
}

sighandler_t signal(int number, sighandler_t handler) {
  const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  struct sigaction before;
  return sigaction(number, &action, &before) == 0 ? before.sa_handler : SIG_ERR;
}

__attribute__((constructor)) static void begin(void) {
  const char *features = getenv("CURTA_FEATURES");
  if (!features)
    return;
  has_avxvnni = strcmp(features, "avxvnni") == 0;
  const struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  answers = set(SIGILL, &action, &other) == 0;
}
