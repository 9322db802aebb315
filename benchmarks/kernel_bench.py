#!/usr/bin/env python3
"""Runs every *_bench of a build and prints its figures as markdown. Rates are bytes read plus bytes written.

kernel_bench.py build/release [--filter REGEX]
"""

import argparse
import json
import subprocess
from pathlib import Path


def measured(binary, pattern):
    command = [binary, f"--benchmark_filter={pattern}", "--benchmark_format=json", "--benchmark_min_time=0.1"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["benchmarks"]


def row(figures):
    known = {"bytes_per_second", "items_per_second"}
    rate = f"{figures['bytes_per_second'] / 1e9:.1f}" if "bytes_per_second" in figures else ""
    counters = [
        f"{key} {value:.3g}"
        for key, value in figures.items()
        if isinstance(value, float) and key not in known | {"real_time", "cpu_time"}
    ]
    return f"| {figures['name']} | {figures['real_time']:.4g} {figures['time_unit']} | {rate} | {', '.join(counters)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--filter", default=".")
    given = parser.parse_args()
    for binary in sorted(given.build.glob("*_bench")):
        print(f"\n| {binary.name.removesuffix('_bench')} | time | GB/s | |\n|---|---|---|---|", flush=True)
        for figures in measured(binary, given.filter):
            print(row(figures), flush=True)


if __name__ == "__main__":
    main()
