#!/bin/sh
# venv_flags.sh PRESET: how CMake finds what .venv has, libtorch and what builds the Python package; nothing where there
# is no .venv, or under sanitizers, which they were not built for.
set -eu

case $1 in asan | tsan | fuzz | parsers) exit 0 ;; esac
[ -x .venv/bin/python ] || exit 0
prefix=$(.venv/bin/python -c 'import torch; print(torch.utils.cmake_prefix_path)')
echo "-DSPINOR_TORCH=ON -DCMAKE_PREFIX_PATH=$prefix"
case $1 in lto) exit 0 ;; esac  # of programs
if .venv/bin/python -c 'import nanobind' 2>/dev/null; then
  echo "-DSPINOR_PYTHON_MODULE=ON -DPython_EXECUTABLE=$PWD/.venv/bin/python"
fi
