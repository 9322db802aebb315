#!/bin/sh
# fuzz.sh BUILD SECONDS: runs every fuzzer of the build for that long. The corpus grows in .cache/fuzz.
set -eu

for fuzzer in "$1"/*_fuzz; do
  name=$(basename "$fuzzer")
  corpus=.cache/fuzz/$name
  mkdir -p "$corpus"
  echo "fuzzing $name for $2 s"
  seeds=tests/fuzz/$name
  [ -d "$seeds" ] || seeds=
  log=$corpus.log
  "$fuzzer" -max_total_time="$2" -print_final_stats=1 -artifact_prefix="$corpus/" "$corpus" $seeds >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    exit 1
  }
  grep -E 'number_of_executed_units|peak_rss_mb' "$log"
done
