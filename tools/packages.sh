#!/bin/sh
# packages.sh NAME...: installs the named Debian packages that are missing. Elsewhere it only says that it cannot.
set -eu

command -v dpkg-query >/dev/null || {
  echo 'not a Debian system: the packages of apt.txt are yours to install' >&2
  exit 0
}

missing=
for package in "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing$missing"
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
install() { $as_root apt-get install -qq --yes --no-install-recommends $missing >/dev/null; }
install || { $as_root apt-get update -qq && install; }
