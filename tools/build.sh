#!/bin/sh
# build.sh PRESET TARGET: configures and builds one CMake preset. Silent but for warnings and errors.
set -eu

echo "building $2 ($1)"
mkdir -p build
cmake --preset "$1" >"build/$1.configure.log" 2>&1 || { cat "build/$1.configure.log" >&2; exit 1; }
cmake --build --preset "$1" --target "$2" -- --quiet
