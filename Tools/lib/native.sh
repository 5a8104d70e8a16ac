# Builds the C programs of Tests/Native. Source common.sh first; run from the repository's root.
# SPDX-License-Identifier: Apache-2.0

# Where Tools/build-static put the libraries; set it before to link others.
native_static=${native_static:-.build-static}
native_out=$native_static/native

# native_library x86_64|aarch64|hosted: the library to link, built when a source is newer.
native_library() {
  case $1 in
    hosted)
      need_commands convert
      swift_build_quiet release --product CurtaStatic
      ;;
    *)
      local library=$native_static/$1/lib/libcurta.a
      if [ ! -f "$library" ] || [ -n "$(find Sources/C* Tools/build-static -newer "$library" -type f \
        \( -name '*.swift' -o -name '*.[ch]' -o -name '*.inc' -o -name build-static \) \
        -not -path '*/CurtaImport/*' -not -path '*/CurtaQuantize/*' -not -path '*/CurtaCompile/*' \
        -not -path '*/CurtaEvaluate/*' -not -path '*/CurtaWrite/*' -not -path '*/CurtaTensor/*' \
        -print -quit)" ]; then
        say "building libcurta.a for $1"
        Tools/build-static --out "$native_static" "$1" >&2
      fi
      ;;
  esac
}

# native_build x86_64|aarch64|hosted NAME...: programs in $native_out/<first argument>.
# x86_64 and aarch64 link the Embedded libcurta.a, hosted the ordinary Swift runtime.
# The aarch64 ones have no zstd: give them files with codec stored or lz4.
native_build() {
  local kind=$1 out=$native_out/$1 name cc include link source
  local flags=(-std=c11 -O2 -Wall -Wextra -Werror)
  shift
  mkdir -p "$out"
  native_library "$kind"
  case $kind in
    x86_64) cc=(clang) flags+=(-DWITH_ZSTD) include=$native_static/x86_64/include ;;
    aarch64) cc=(aarch64-linux-gnu-gcc -static) include=$native_static/aarch64/include ;;
    hosted) cc=(clang) flags+=(-DWITH_ZSTD) include=Sources/CCurta/include ;;
  esac
  for name in "$@"; do
    case $kind in
      hosted)
        "${cc[@]}" "${flags[@]}" -I"$include" -ISources/CurtaPlatform/include \
          -c "Tests/Native/$name.c" -o "$out/$name.o"
        for source in pool prefetch; do
          clang "${flags[@]}" -ISources/CCurta/include -ISources/CurtaPlatform/include \
            -c Sources/CurtaPlatform/$source.c -o "$out/$source.o"
        done
        swiftc -static-stdlib "$out/$name.o" "$out/pool.o" "$out/prefetch.o" .build/release/libCurtaStatic.a \
          -lzstd -o "$out/$name"
        ;;
      *)
        link=(-L"$native_static/$kind/lib" -lcurta -pthread)
        [ "$kind" = x86_64 ] && link+=(-lzstd)
        "${cc[@]}" "${flags[@]}" -I"$include" "Tests/Native/$name.c" "${link[@]}" -o "$out/$name"
        ;;
    esac
  done
}

# The LD_PRELOAD library that counts allocations.
native_interposer() {
  mkdir -p "$native_out"
  clang -std=c11 -O2 -Wall -Wextra -Werror -fno-builtin -shared -fPIC Tests/Native/interpose.c \
    -o "$native_out/interpose.so" -ldl
}
