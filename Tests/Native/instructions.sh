#!/usr/bin/env bash
# Tools/arm-instructions counts what a program is known to execute; SDOT takes fewer than SMLAL, SMMLA fewer than SDOT.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/../.."
. Tools/lib/common.sh

model=$(Tools/model vit-cifar10 w8 stored)
for cpu in cortex-a53 cortex-a76 max; do
  Tools/arm-instructions "$model" $cpu --json >".build-static/native/$cpu.json"
done
python3 - .build-static/native/{cortex-a53,cortex-a76,max}.json <<'E2'
import json, sys
plain, dot, matrix = (json.load(open(path))["image"] for path in sys.argv[1:])
assert matrix["millions"] < dot["millions"] < plain["millions"], (matrix, dot, plain)
for counts, name in ((plain, "curta_scores__neon"), (dot, "curta_scores__neon_dotprod"),
                     (matrix, "plain_eight")):
    assert 0.9 < sum(counts["share"].values()) <= 1.001 and name in counts["share"], counts
E2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/known.s" <<'E2'
.globl _start
_start:
  mov x1, #1000
1:subs x1, x1, #1
  b.ne 1b
  mov x0, #0
  mov x8, #93
  svc #0
E2
aarch64-linux-gnu-gcc -nostdlib -static "$work/known.s" -o "$work/known"
qemu-aarch64 -plugin "$PWD/.build-static/native/instructions.so,counts=$work/counts" "$work/known"
counted=$(awk '{ all += $2 } END { print all }' "$work/counts")
[ "$counted" = 2004 ] || fail "a program of 2004 instructions has $counted"
echo "2004 of 2004 instructions"
