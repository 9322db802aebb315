#!/bin/sh
# build.sh PRESET TARGET...: configures and builds a CMake preset. Says how far it is; else only warnings and errors.
set -eu

preset=$1
shift
echo "building $* ($preset)"
mkdir -p build
log=build/$preset.configure.log
# shellcheck disable=SC2046
cmake --preset "$preset" $(tools/venv_flags.sh "$preset") >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
exec python3 tools/progress.py cmake --build --preset "$preset" --target "$@"
