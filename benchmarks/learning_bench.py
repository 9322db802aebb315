#!/usr/bin/env python3
"""Learning R1 and scales on the shapes of published models: seconds and peak memory.

    learning_bench.py build/spinor [--shapes llama-1b:16:100 llama-8b:3:20] [--directory DIR]

NAME:LAYERS:STEPS takes the first layers of a model and fewer steps. Weights and text are random, so what is learned is
of no use, but takes as long. Needs the disk space of the checkpoint, which is deleted afterwards. Prints markdown.
"""

import argparse
import json
import random
import shutil
from pathlib import Path

import make_checkpoint
from rotate_bench import timed

TOKENS = 16 * 512


def learn(given, model, steps):
    """(seconds, peak MB) with all defaults but the number of steps."""
    recipe, out = given.directory / "learn.json", given.directory / "learned.safetensors"
    modifier = {"transform_type": "random-hadamard", "learnable": True, "learning": {"steps": steps}}
    recipe.write_text(json.dumps({"a_stage": {"a_modifiers": {"SpinQuantModifier": modifier}}}))
    tokens = given.directory / "tokens.json"
    draw = random.Random(1)
    tokens.write_text(json.dumps([draw.randrange(2, 30000) for _ in range(TOKENS)]))
    options = ["--recipe", recipe, "--calibration", tokens, "--force", "--quiet"]
    return timed(given.spinor, "learn", model, out, *options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spinor", type=Path)
    parser.add_argument("--shapes", nargs="+", default=["llama-1b:16:100", "llama-8b:3:20"])
    parser.add_argument("--directory", type=Path, default=Path(".cache/learning-bench"), help="deleted afterwards")
    given = parser.parse_args()
    given.spinor = given.spinor.resolve()
    given.directory.mkdir(parents=True)  # an error if it is there
    print("| shape | layers | steps | s | peak MB |\n|---|---|---|---|---|", flush=True)
    try:
        for shape in given.shapes:
            name, layers, steps = shape.split(":")
            model = given.directory / name
            make_checkpoint.make(name, model, layers=int(layers))
            seconds, peak = learn(given, model, int(steps))
            print(f"| {name} | {layers} | {steps} | {seconds:.0f} | {peak:.0f} |", flush=True)
            shutil.rmtree(model)
    finally:
        shutil.rmtree(given.directory, ignore_errors=True)


if __name__ == "__main__":
    main()
