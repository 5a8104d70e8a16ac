# Shared by the scripts in Tools: what a command needs and how to get it.
# SPDX-License-Identifier: Apache-2.0

# The version that curta.h states.
curta_version() {
  awk '/define CURTA_VERSION_/ { v = v s $3; s = "." } END { print v }' \
    Sources/CCurta/include/curta.h
}

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
  $sudo apt-get update -qq >/dev/null
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null || fail "apt-get could not install: ${missing[*]}"
}

# Python packages, in a private environment under .build-python; prints nothing when present.
need_python() {
  [ -x .build-python/bin/python ] || {
    need_packages python3 python3-venv
    say "making a Python environment in .build-python"
    python3 -m venv .build-python
  }
  export PATH="$PWD/.build-python/bin:$PATH"
  local missing=() package
  for package in "$@"; do
    python3 -c "import importlib.metadata as m; m.version('$package')" 2>/dev/null ||
      missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing Python packages: ${missing[*]}"
  python3 -m pip install -q --disable-pip-version-check "${missing[@]}" ||
    fail "pip could not install: ${missing[*]}"
}

need_swift() {
  command -v swift >/dev/null || fail "Swift 6.3 is needed: https://www.swift.org/install/linux/"
}

# What each kind of work needs.
need_commands() {
  need_swift
  case $1 in
    convert) need_packages pkg-config libzstd-dev liblz4-dev libopenblas-dev ;;
    build-static)
      need_packages binutils-aarch64-linux-gnu gcc-aarch64-linux-gnu libc6-dev-arm64-cross
      ;;
    qemu) need_packages qemu-user ;;
  esac
}
