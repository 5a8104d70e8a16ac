#!/usr/bin/env bash
# Tools/check-static must fail on a planted float instruction, symbol and dependency.
# usage: Tests/Native/gate.sh     (after Tools/build-static)
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# planted ARCHITECTURE COMPILER LINKER WHAT EXPECTED SOURCE: builds it into a copy of the library.
planted() {
  local arch=$1 compiler=$2 linker=$3 what=$4 expected=$5 source=$6 output
  rm -rf "$work/$arch"
  mkdir -p "$work/$arch"
  cp -r ".build-static/$arch/lib" ".build-static/$arch/objects" "$work/$arch/"
  printf '%s\n' "$source" | $compiler -O1 -x c -c - -o "$work/planted.o"
  llvm-ar rs "$work/$arch/lib/libcurta.a" "$work/planted.o" 2>/dev/null
  $linker -r "$work/$arch/objects/curta.o" "$work/planted.o" -o "$work/joined.o"
  mv "$work/joined.o" "$work/$arch/objects/curta.o"
  if output=$(Tools/check-static --out "$work" "$arch" 2>&1); then
    echo "$arch: $what passed the gate"
    exit 1
  fi
  grep -q "$expected.*FAILED" <<<"$output" ||
    { echo "$arch: $what was not named:"; echo "$output"; exit 1; }
  echo "$arch: $what is refused"
}

for arch in x86_64 aarch64; do
  compiler=gcc linker=ld
  [ $arch = aarch64 ] && compiler=aarch64-linux-gnu-gcc linker=aarch64-linux-gnu-ld
  planted $arch $compiler $linker "a float multiplication" "floating-point instructions" \
    'float curta_planted(float a, float b) { return a * b; }'
  planted $arch $compiler $linker "a conversion to double" "floating-point instructions" \
    'double curta_planted(int a) { return a; }'
  planted $arch $compiler $linker "a foreign symbol" "visible symbols" 'int planted(void) { return 1; }'
  planted $arch $compiler $linker "a call of malloc" "undefined symbols" \
    'void *malloc(unsigned long); void *curta_planted(void) { return malloc(8); }'
done
