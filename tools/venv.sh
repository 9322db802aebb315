#!/bin/sh
# venv.sh DIR REQUIREMENTS: a Python environment with exactly the pinned packages. Done once per content of
# REQUIREMENTS.
# An installed torch of the pinned version is used instead of a second copy; otherwise torch is installed first, alone,
# because it is by far the largest download and everything else must agree with it.
set -eu

dir=$1 requirements=$2
stamp=$dir/$(sha256sum "$requirements" | cut -c1-16)
[ ! -e "$stamp" ] || exit 0

torch=$(grep '^torch==' "$requirements")
has_torch() {
  "$1" -c "import sys, torch; sys.exit(torch.__version__.split('+')[0] != '${torch#torch==}')" 2>/dev/null
}

echo "making $dir from $requirements"
shared=
if has_torch python3; then shared=--system-site-packages; fi
# shellcheck disable=SC2086
python3 -m venv --clear $shared "$dir"
has_torch "$dir/bin/python" || "$dir/bin/python" -m pip install -qq --disable-pip-version-check "$torch"
"$dir/bin/python" -m pip install -qq --disable-pip-version-check -r "$requirements"
touch "$stamp"
