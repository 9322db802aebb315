#!/bin/sh
# torch_flags.sh PRESET: how CMake finds the libtorch of .venv; nothing where there is none, or where it is not wanted:
# under sanitizers, which it was not built for.
set -eu

case $1 in asan | tsan | fuzz | parsers) exit 0 ;; esac
[ -x .venv/bin/python ] || exit 0
prefix=$(.venv/bin/python -c 'import torch; print(torch.utils.cmake_prefix_path)')
echo "-DSPINOR_TORCH=ON -DCMAKE_PREFIX_PATH=$prefix"
