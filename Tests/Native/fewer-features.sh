#!/usr/bin/env bash
# Tools/peers/fewer-features hides from a library what it asks the processor for, from its
# constructor on; leaves alone what only has CPUID's bytes, and traps; and refuses what it cannot
# disassemble.
# usage: Tests/Native/fewer-features.sh
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(uname -m)" = x86_64 ] || { echo "SKIPPED: fewer-features is for x86-64"; exit; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# library NAME SOURCE; changed NAME: how many CPUIDs became UD0, or an error.
library() { gcc -O2 -shared -fPIC -x c -o "$work/lib$1.so" - <<<"$2"; }
changed() {
  python3 -B - "$work/lib$1.so" <<'PY'
import importlib.machinery, importlib.util, pathlib, sys
loader = importlib.machinery.SourceFileLoader("fewer_features", "Tools/peers/fewer-features")
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("fewer_features", loader))
loader.exec_module(module)
try:
    print(module.changed(pathlib.Path(sys.argv[1])))
except module.Doubt as doubt:
    sys.exit(f"doubt: {doubt}")
PY
}
refused() { # NAME REASON SOURCE
  library "$1" "$3"
  local before output
  before=$(sha256sum <"$work/lib$1.so")
  if output=$(changed "$1" 2>&1); then
    echo "$1: was changed"
    exit 1
  fi
  grep -q "^doubt: .*$2" <<<"$output" || { echo "$1: not '$2':"; echo "$output"; exit 1; }
  [ "$before" = "$(sha256sum <"$work/lib$1.so")" ] ||
    { echo "$1: was refused and changed"; exit 1; }
}

refused outside "in no function" '
int inside(void) { return 1; }
__asm__(".text\n.globl outside\n.type outside, @function\noutside: cpuid\nret\n");'
refused data "does not disassemble whole" '
int data(void) { __asm__("jmp 1f\n.byte 0x06, 0x0f, 0xa2\n1:"); return 1; }'

library asks '
#include <cpuid.h>
unsigned first[4];
__attribute__((constructor)) static void begin(void) {
  __cpuid_count(7, 0, first[0], first[1], first[2], first[3]);
}
void ask(unsigned leaf, unsigned subleaf, unsigned *r) {
  __cpuid_count(leaf, subleaf, r[0], r[1], r[2], r[3]);
}
unsigned decoy(void) { return 0x12a20f34; }
void trap(void) { __builtin_trap(); }'
[ "$(changed asks)" = 2 ] || { echo "not two CPUIDs were changed"; exit 1; }
gcc -O2 -shared -fPIC -o "$work/fewer-features.so" Tools/peers/fewer-features.c
gcc -O2 -Wall -Werror -x c -o "$work/asks" - <<'C'
#include <cpuid.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

extern volatile unsigned long curta_answered __attribute__((weak));
static sigjmp_buf after;
static void came(int number) { siglongjmp(after, number); }

#define EXPECT(what) ((what) ? 0 : (printf("not so: %s\n", #what), exit(1)))

int main(int count, char **words) {
  EXPECT(count == 3);
  void *library = dlopen(words[1], RTLD_NOW);
  const unsigned vnni = atoi(words[2]), *first = dlsym(library, "first");
  void (*ask)(unsigned, unsigned, unsigned *) = dlsym(library, "ask");
  void (*trap)(void) = dlsym(library, "trap");
  unsigned (*decoy)(void) = dlsym(library, "decoy"), r[4], own[4];
  EXPECT(curta_answered == 1); // the constructor's
  struct sigaction action = {.sa_handler = came}, before;
  sigaction(SIGILL, &action, &before);
  EXPECT(before.sa_handler == SIG_DFL);
  EXPECT(signal(SIGILL, came) == came);

  __cpuid_count(7, 0, own[0], own[1], own[2], own[3]);
  EXPECT(first[0] == own[0] && (first[1] & 1u << 5) == (own[1] & 1u << 5)); // AVX2
  EXPECT((first[1] & 0xDC230000u) == 0 && (first[2] & 0x5842u) == 0);       // AVX-512
  EXPECT((first[3] & 0x03C0010Cu) == 0);                                    // and AMX
  __cpuid_count(7, 1, own[0], own[1], own[2], own[3]);
  ask(7, 1, r);
  EXPECT(r[0] == (own[0] & vnni << 4) && r[3] == 0);
  __cpuid_count(0, 0, own[0], own[1], own[2], own[3]);
  ask(0, 0, r);
  EXPECT(r[0] == own[0] && r[1] == own[1] && r[2] == own[2] && r[3] == own[3]);
  EXPECT(curta_answered == 3 && decoy() == 0x12a20f34);

  const int number = sigsetjmp(after, 1);
  if (number == 0)
    trap();
  EXPECT(number == SIGILL && curta_answered == 3);
}
C
for features in avx2 avxvnni; do
  CURTA_FEATURES=$features LD_PRELOAD="$work/fewer-features.so" \
    "$work/asks" "$work/libasks.so" "$([ $features = avx2 ] && echo 0 || echo 1)"
done
status=0
{ "$work/asks" "$work/libasks.so" 0 || status=$?; } 2>/dev/null
[ $status = 132 ] || { echo "a changed library that nobody answers ends with $status"; exit 1; }
echo "CPUIDs of a library answered for avx2 and avxvnni, two libraries refused"
