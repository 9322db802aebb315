#!/usr/bin/env python3
"""Perplexity with fewer bits: nearest codes, with scales by mse and by imatrix, and GPTQ; unrotated, R1+R2, R1-R4.

    results.py build/spinor --calibration TEXT --text TEXT [--model DIRECTORY]
               [--seeds 3] [--samples 32] [--context 512]

Of SmolLM2-135M-Instruct in bfloat16, or of another model. Prints the table of docs/results.md: medians, and (least to
most). Weights are symmetric per output channel, the observer is mse unless it is imatrix_mse; GPTQ takes the most
active columns first; activations per token and the KV cache per token and head are asymmetric, while the model runs. A
seed is that of the rotations and of what is drawn from the calibration text. Weights do not depend on how activations
are quantized, so what is calibrated runs once for all rows of the same weights.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

import smollm2
from runtime_bench import spinor_json

ROTATIONS = {"unrotated": [], "R1+R2": ["R1", "R2"], "R1-R4": ["R1", "R2", "R3", "R4"]}
SCHEMES = {  # bits of weights, how they are run
    "W4A16": (4, []),
    "W4A8KV8": (4, ["--activations", 8, "--kv", 8]),
    "W4A4KV4": (4, ["--activations", 4, "--kv", 4]),
    "W3A16": (3, []),
}
METHODS = {  # modifier, observer, whether they take data
    "RTN": ("QuantizationModifier", "memoryless_mse", False),
    "imatrix": ("QuantizationModifier", "imatrix_mse", True),
    "GPTQ": ("GPTQModifier", "memoryless_mse", True),
}
RECIPE = """\
quant_stage:
  quant_modifiers:
{rotations}    {modifier}:
      ignore: [lm_head]
      config_groups:
        group_0:
          targets: [Linear]
          weights: {{num_bits: {bits}, type: int, symmetric: true, strategy: channel, observer: {observer}}}
"""
ROTATED = "    SpinQuantModifier: {{rotations: [{}], transform_type: random-hadamard, seed: {}}}\n"


def write_recipe(path, method, bits, rotations, seed):
    rotated = ROTATED.format(", ".join(rotations), seed) if rotations else ""
    modifier, observer, _ = METHODS[method]
    path.write_text(RECIPE.format(rotations=rotated, modifier=modifier, observer=observer, bits=bits))
    return path


def perplexity(given, model, *more):
    measure = ["--text", given.text, "--context", given.context, "--samples", given.windows]
    return spinor_json(given.spinor, "eval", model, *measure, *more)["perplexity"]


def measure(given, method, rotation, bits, seed):
    """{scheme: perplexity} of all schemes with weights of so many bits."""
    recipe = write_recipe(given.directory / "recipe.yaml", method, bits, ROTATIONS[rotation], seed)
    model, more = given.model, ["--recipe", recipe]
    if METHODS[method][2]:
        model, more = given.directory / "out", []
        shutil.rmtree(model, ignore_errors=True)
        command = [given.spinor, "quantize", given.model, model, "--recipe", recipe, "--calibration", given.calibration]
        command += ["--calibration-samples", given.samples, "--calibration-context", given.context]
        command += ["--calibration-seed", seed, "--quiet"]
        subprocess.run(list(map(str, command)), check=True)
    return {name: perplexity(given, model, *how, *more) for name, (of, how) in SCHEMES.items() if of == bits}


def cell(values):
    span = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.2f}{span}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spinor", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    for name, default in {"seeds": 3, "samples": 32, "context": 512, "windows": 20}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--directory", type=Path, default=Path(".cache/results"), help="deleted afterwards")
    given = parser.parse_args()
    given.spinor, given.model = given.spinor.resolve(), given.model or smollm2.checkpoint("bfloat16")
    given.directory.mkdir(parents=True, exist_ok=True)
    found = {}
    try:
        for bits in sorted({bits for bits, _ in SCHEMES.values()}, reverse=True):
            for rotation in ROTATIONS:
                for method in METHODS:
                    once = method == "RTN" and rotation == "unrotated"
                    for seed in range(1, 2 if once else given.seeds + 1):
                        for scheme, value in measure(given, method, rotation, bits, seed).items():
                            found.setdefault((scheme, method, rotation), []).append(value)
                            print(f"{scheme} {method} {rotation} seed {seed}: {value:.3f}", file=sys.stderr, flush=True)
        print(f"Not quantized: {perplexity(given, given.model):.2f}.\n")
    finally:
        shutil.rmtree(given.directory, ignore_errors=True)
    print("| | | " + " | ".join(ROTATIONS) + " |\n|---|---|" + "---|" * len(ROTATIONS))
    for scheme in SCHEMES:
        for method in METHODS:
            cells = [cell(found[scheme, method, rotation]) for rotation in ROTATIONS]
            print(f"| {scheme} | {method} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
