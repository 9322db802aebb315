#!/bin/sh
# Compiles the kernels for AArch64: nothing else of spinor depends on the processor. The libraries' headers are the ones
# of this machine; they are the same for every processor.
set -eu

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for source in $(grep -l '^#define HWY_TARGET_INCLUDE' spinor/*/*.cpp) spinor/linalg/cpu.cpp; do
  aarch64-linux-gnu-g++ -std=c++20 -O2 -Wall -Wextra -Wshadow -I. -idirafter /usr/include \
    -c "$source" -o "$out/kernel.o"
  aarch64-linux-gnu-nm -C "$out/kernel.o" | grep -q 'spinor::N_NEON' || case $source in
    spinor/linalg/cpu.cpp) ;;
    *) echo "$source has no kernel for NEON" >&2; exit 1 ;;
  esac
  echo "compiled $source"
done
