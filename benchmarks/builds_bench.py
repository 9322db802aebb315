#!/usr/bin/env python3
"""Two builds of spinor in turn: the same jobs by an earlier program and by this one. Nothing may get slower.

    builds_bench.py OLD/spinor build/spinor [--rounds 5] [--calibration TEXT] [--text TEXT]

Prints markdown: medians of both, and the median of the ratios of neighbours, so a slow minute hits both sides. Inputs
are in the page cache. Rotating and quantizing take the shapes of Llama-3.2-1B with random weights, what runs a model
SmolLM2-135M-Instruct in float32.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

import make_checkpoint
import smollm2
from calibration_bench import text_of, write_recipe
from rotate_bench import prepare_cache, timed

ROTATIONS = ["--rotations", "R1,R2", "--transform-type", "random-hadamard", "--quiet"]


def jobs(given, work):
    """(what, model, arguments without OUT, whether it writes OUT)"""
    large = make_checkpoint.make("llama-1b", work / "source")
    small = smollm2.checkpoint("float32")
    recipe = write_recipe(work / "recipe.yaml")
    calibration, text = text_of(given, "calibration", work), text_of(given, "text", work)
    samples = ["--calibration-samples", 8, "--calibration-context", 512]
    yield "rotate R1, R2, 1B", large, ["rotate", large], [*ROTATIONS]
    for scheme in ("W4A16", "W8A8"):
        yield f"quantize {scheme}, R1, R2, 1B", large, ["quantize", large], ["--scheme", scheme, *ROTATIONS]
    yield (
        "GPTQ, SmolLM2, 8 x 512",
        small,
        ["quantize", small],
        ["--recipe", recipe, "--calibration", calibration, *samples, "--quiet"],
    )
    yield "eval, SmolLM2, 8 x 512", small, ["eval", small], ["--text", text, "--context", 512, "--samples", 8]


def run(program, start, options, out):
    shutil.rmtree(out, ignore_errors=True)
    return timed(program, *start, *([out] if start[0] != "eval" else []), *options)


def pairs(given, source, start, options, out):
    """Rows of (seconds, peak MB) of either build; who goes first alternates."""
    rows = []
    for number in range(given.rounds):
        row = {}
        for program in [given.old, given.new][:: 1 if number % 2 else -1]:
            prepare_cache(source, "warm")
            row[program] = run(program, start, options, out)
        rows.append((row[given.old], row[given.new]))
    return rows


def report(what, rows):
    old, new = ([statistics.median(row[side][part] for row in rows) for part in (0, 1)] for side in (0, 1))
    ratio = statistics.median(new[0] / old[0] for old, new in rows)
    print(f"| {what} | {old[0]:.2f} s | {new[0]:.2f} s | {ratio:.2f} | {old[1]:.0f} MB | {new[1]:.0f} MB |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--text", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=smollm2.CACHE.parent) as directory:
        work = Path(directory)
        print("| job | earlier | now | ratio | peak, earlier | peak, now |\n|---|---|---|---|---|---|", flush=True)
        for what, source, start, options in jobs(given, work):
            report(what, pairs(given, source, start, options, work / "out"))


if __name__ == "__main__":
    main()
