#!/usr/bin/env bash
# Tools/figures must tell a figure that holds from one that falls short, and read all its files.
# usage: Tests/Native/figures.sh
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/planted"

figure() { # NAME VALUE BOUND
  printf 'what: planted\ncommand: echo %q\nvalue: %s\nbound: %s\n' '{"a": {"b": 3}, "c": 2}' "$2" "$3" \
    >"$work/planted/$1.figure"
}
# status WANTED NAME: what Tools/figures says of one figure.
status() {
  local got=0
  Tools/figures --from "$work" "$2" >"$work/output" 2>&1 || got=$?
  [ $got = "$1" ] || { echo "$2: exit status $got, not $1"; cat "$work/output"; exit 1; }
}

figure holds 'a.b / c - 0.5' '<= 1'
figure short 'a.b * c' '<= 5'
figure absent 'd' '== 0'
figure hostile '__import__("os")' '== 0'
status 0 holds
status 1 short
status 1 absent
status 1 hostile
status 64 nothing
printf 'what: x\ncommand: exit 3\nvalue: exit status\nbound: == 0\n' >"$work/planted/exits.figure"
status 1 exits
grep -q MISSED "$work/output"
mkdir "$work/again"
cp "$work/planted/holds.figure" "$work/again"
status 64 holds
grep -q 'two figures are named holds' "$work/output"
Tools/figures --list >"$work/list"
echo "$(wc -l <"$work/list") figures read, verdicts right"
