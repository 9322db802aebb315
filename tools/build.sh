#!/bin/sh
# build.sh PRESET TARGET...: configures and builds a CMake preset. Silent but for warnings and errors.
set -eu

preset=$1
shift
echo "building $* ($preset)"
mkdir -p build
# shellcheck disable=SC2046
cmake --preset "$preset" $(tools/torch_flags.sh "$preset") >"build/$preset.configure.log" 2>&1 || { cat "build/$preset.configure.log" >&2; exit 1; }
cmake --build --preset "$preset" --target "$@" -- --quiet
