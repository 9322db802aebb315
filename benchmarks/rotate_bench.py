#!/usr/bin/env python3
"""Whole checkpoints: `spinor rotate` against `cp` of as many bytes as it writes, in turn, both ending in fsync.

    rotate_bench.py build/spinor [--shapes llama-1b ...] [--layers N] [--rounds 5] [--directory DIR] [--peer PYTHON]

Prints markdown. "cold" evicts the input of either from the page cache before each run, "warm" reads it first. The ratio
is the median of the ratios of neighbours, so a slow minute of the disk hits both sides. Peak memory: /usr/bin/time.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import make_checkpoint

R1R2 = ["--rotations", "R1,R2", "--transform-type"]
PEER = Path(__file__).resolve().with_name("peer_oneshot.py")


def files(directory):
    return [path for path in Path(directory).rglob("*") if path.is_file()]


def size(directory):
    return sum(path.stat().st_size for path in files(directory))


def sync(directory):
    for path in files(directory):
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def prepare_cache(directory, state):
    """Both sides start with their input in the same state: all of it in the page cache, or none."""
    for path in files(directory):
        with open(path, "rb") as file:
            if state == "cold":
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while file.read(1 << 24):
                    pass


def timed(*command):
    """(seconds, peak MB) of a command."""
    start = time.perf_counter()
    done = subprocess.run(["/usr/bin/time", "-q", "-f", "%M", *map(str, command)], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return seconds, int(done.stderr.splitlines()[-1]) * 1024 / 1e6


def copy(source, out):
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    subprocess.run(["cp", "-r", source, out], check=True)
    sync(out)
    return time.perf_counter() - start


class Rotation:
    """One way to make OUT from MODEL, repeatable."""

    def __init__(self, spinor, source, out, transform_type):
        self.command = [spinor, "rotate", source, out, *R1R2, transform_type, "--quiet"]
        self.out = out

    def run(self):
        shutil.rmtree(self.out, ignore_errors=True)
        return timed(*self.command)


def paired(rotation, source, copied, state, rounds):
    """Rows of (cp seconds, rotate seconds, peak MB). What cp copies is an earlier OUT: as many bytes as are written."""
    original = rotation.out.with_name("original")
    rotation.run()
    shutil.rmtree(original, ignore_errors=True)
    rotation.out.rename(original)
    rows = []
    for _ in range(rounds):
        prepare_cache(original, state)
        cp = copy(original, copied)
        shutil.rmtree(copied)
        prepare_cache(source, state)
        seconds, peak = rotation.run()
        rows.append((cp, seconds, peak))
    shutil.rmtree(original)
    return rows


def report_pairs(name, transform_type, state, source, out, rows):
    cp, seconds, peak = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(rotate / copied for copied, rotate, _ in rows)
    print(
        f"| {name} | {transform_type} | {state} | {size(source) / 1e9:.2f} / {size(out) / 1e9:.2f} | {cp:.2f} | "
        f"{seconds:.2f} | {ratio:.2f} | {size(out) / seconds / 1e9:.2f} | {peak:.0f} |",
        flush=True,
    )


def against_cp(given, work):
    print("\n| checkpoint | type | input | GB in / out | cp s | rotate s | ratio | GB/s | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in given.shapes:
        source = make_checkpoint.make(name, work / "source", given.layers)
        sync(source)
        for state in given.cache:
            rotation = Rotation(given.spinor, source, work / "out", "random-hadamard")
            rows = paired(rotation, source, work / "copy", state, given.rounds)
            report_pairs(name, "random-hadamard", state, source, work / "out", rows)
        shutil.rmtree(work)


def peer_recipe(transform_type, path):
    path.write_text(
        "bench_stage:\n  bench_modifiers:\n"
        f"    SpinQuantModifier: {{rotations: [R1, R2], transform_type: {transform_type}}}\n"
    )
    return path


def against_peer(given, work):
    pairs = [("random-hadamard", "random-hadamard"), ("random-orthogonal", "random-matrix")]
    print("\n| checkpoint | ours | s | peak MB | llm-compressor's | s | peak MB | times faster |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in given.shapes:
        source = make_checkpoint.make(name, work / "source")
        for ours, theirs in pairs:
            rotation = Rotation(given.spinor, source, work / "out", ours)
            prepare_cache(source, "warm")
            seconds, peak = rotation.run()
            shutil.rmtree(work / "out")
            prepare_cache(source, "warm")
            peer_seconds, peer_peak = timed(
                given.peer, PEER, source, work / "peer", peer_recipe(theirs, work / "recipe.yaml")
            )
            shutil.rmtree(work / "peer")
            print(
                f"| {name} | {ours} | {seconds:.2f} | {peak:.0f} | {theirs} | {peer_seconds:.1f} | {peer_peak:.0f} | "
                f"{peer_seconds / seconds:.1f} |",
                flush=True,
            )
        shutil.rmtree(work)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spinor", type=Path)
    parser.add_argument("--shapes", nargs="+", choices=make_checkpoint.SHAPES, default=["llama-1b"])
    parser.add_argument("--layers", type=int, help="fewer than the model has, to save time and disk")
    parser.add_argument("--cache", nargs="+", choices=["cold", "warm"], default=["cold", "warm"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path(".cache/bench"), help="deleted afterwards")
    parser.add_argument("--peer", help="a Python with llm-compressor: compare with it instead of with cp")
    given = parser.parse_args()
    given.spinor = given.spinor.resolve()
    work = given.directory / "rotate"
    try:
        (against_peer if given.peer else against_cp)(given, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
