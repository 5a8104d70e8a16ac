#!/usr/bin/env bash
# A libcurta.a with fewer instruction sets is smaller, gives the same logits, refuses the others.
# usage: Tests/Native/kernels.sh
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/../.."
. Tools/lib/common.sh
. Tools/lib/native.sh

model=$(Tools/model curta-sort w8 stored)
out=.build-static/fewer
if error=$(Tools/build-static --kernels avx2,sse9 2>&1); then exit 1; fi
grep -q 'no instruction set `sse9`: avx2 .* neon_i8mm' <<<"$error" ||
  { echo "sse9 was not named: $error"; exit 1; }
Tools/build-static --out $out --kernels avx2,neon
Tools/check-static --out $out
for arch in x86_64 aarch64; do
  native_build $arch hash
  whole=$(stat -c %s .build-static/$arch/lib/libcurta.a) fewer=$(stat -c %s $out/$arch/lib/libcurta.a)
  [ $((fewer * 10)) -lt $((whole * 9)) ] || { echo "$arch: $fewer bytes, $whole with all"; exit 1; }
  (native_static=$out && . Tools/lib/native.sh && native_build $arch hash)
  run=() absent=3 # AVX-VNNI, SDOT
  [ $arch = x86_64 ] || run=(qemu-aarch64 -cpu max)
  arguments=("$model" 5,3,1,2,4,0 6 4 4 1)
  expected=$("${run[@]}" $native_out/$arch/hash "${arguments[@]}" 0)
  for set in 0 1 2; do
    hash=$("${run[@]}" $out/native/$arch/hash "${arguments[@]}" $set) || {
      status=$?
      [ $status = 3 ] && [ $set = 2 ] && [ $arch = x86_64 ] && continue # no AVX2 here
      exit $status
    }
    [ "$hash" = "$expected" ] || { echo "$arch: set $set gives $hash, all $expected"; exit 1; }
  done
  status=0
  "${run[@]}" $out/native/$arch/hash "${arguments[@]}" $absent 2>/dev/null >&2 || status=$?
  [ $status = 3 ] || { echo "$arch: set $absent, which is left out: status $status"; exit 1; }
done
echo "smaller, the same logits, others refused"
