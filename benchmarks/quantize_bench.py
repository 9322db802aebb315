#!/usr/bin/env python3
"""Whole checkpoints: `spinor quantize` against `spinor rotate` with the same rotations, in turn; both end in fsync.

    quantize_bench.py build/spinor [--shapes llama-1b ...] [--rounds 3] [--directory DIR] [--peer PYTHON]

Prints markdown. Input in the page cache before every run; ratios are medians of the ratios of neighbours. With --peer,
llm-compressor runs the recipes instead of rotate, once each: it takes minutes.
"""

import argparse
import shutil
import statistics
from pathlib import Path

import make_checkpoint
from rotate_bench import PEER, prepare_cache, timed

ROTATIONS = "SpinQuantModifier: {rotations: [R1, R2], transform_type: random-hadamard}"
QUIP = "QuIPModifier: {rotations: [v, u], transform_type: random-hadamard, targets: Linear, ignore: lm_head}"


def quantization(scheme, more=""):
    more = ", " + more if more else ""
    return f"QuantizationModifier: {{scheme: {scheme}, targets: Linear, ignore: [lm_head]{more}}}"


RECIPES = {
    "W4A16": [ROTATIONS, quantization("W4A16")],
    "W8A8": [ROTATIONS, quantization("W8A8")],
    "FP8_DYNAMIC": [ROTATIONS, quantization("FP8_DYNAMIC")],
    "W4A16, mse": [ROTATIONS, quantization("W4A16", "weight_observer: memoryless_mse")],
    "W8A8, mse": [ROTATIONS, quantization("W8A8", "weight_observer: memoryless_mse")],
}
PEER_RECIPES = {"W4A16": RECIPES["W4A16"], "QuIP v, u, W4A16": [QUIP, quantization("W4A16")]}


def write_recipe(modifiers, path):
    path.write_text("bench_stage:\n  bench_modifiers:\n" + "".join(f"    {modifier}\n" for modifier in modifiers))
    return path


def run(source, out, *command):
    prepare_cache(source, "warm")
    result = timed(*command)
    shutil.rmtree(out)
    return result


def against_rotate(given, source, work):
    out = work / "out"
    rotate = [given.spinor, "rotate", source, out, "--rotations", "R1,R2", "--transform-type", "random-hadamard"]
    print("\n| recipe, after R1, R2 | s | peak MB | rotate s | ratio |\n|---|---|---|---|---|", flush=True)
    for name, modifiers in RECIPES.items():
        recipe = write_recipe(modifiers, work / "recipe.yaml")
        rows = []
        for _ in range(given.rounds):
            seconds, peak = run(source, out, given.spinor, "quantize", source, out, "--recipe", recipe, "--quiet")
            rows.append((seconds, peak, run(source, out, *rotate, "--quiet")[0]))
        seconds, peak, rotated = (statistics.median(column) for column in zip(*rows, strict=True))
        ratio = statistics.median(row[0] / row[2] for row in rows)
        print(f"| {name} | {seconds:.2f} | {peak:.0f} | {rotated:.2f} | {ratio:.2f} |", flush=True)


def against_peer(given, source, work):
    print("\n| recipe | spinor s | peak MB | llm-compressor s | peak MB | times faster |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for name, modifiers in PEER_RECIPES.items():
        recipe, out = write_recipe(modifiers, work / "recipe.yaml"), work / "out"
        seconds, peak = run(source, out, given.spinor, "quantize", source, out, "--recipe", recipe, "--quiet")
        peer_seconds, peer_peak = run(source, out, given.peer, PEER, source, out, recipe)
        print(
            f"| {name} | {seconds:.2f} | {peak:.0f} | {peer_seconds:.1f} | {peer_peak:.0f} | "
            f"{peer_seconds / seconds:.1f} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spinor", type=Path)
    parser.add_argument("--shapes", choices=make_checkpoint.SHAPES, default="llama-1b")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path(".cache/bench"), help="deleted afterwards")
    parser.add_argument("--peer", help="a Python with llm-compressor: compare with it instead of with rotate")
    given = parser.parse_args()
    given.spinor = given.spinor.resolve()
    work = given.directory / "quantize"
    try:
        source = make_checkpoint.make(given.shapes, work / "source")
        (against_peer if given.peer else against_rotate)(given, source, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
