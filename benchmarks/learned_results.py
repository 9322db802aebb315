#!/usr/bin/env python3
"""What learned rotations give: random Hadamard, learned R1, learned R1 with exact scales; weights at 16 bits and GPTQ.

    learned_results.py build/spinor --calibration TEXT --text TEXT [--other TEXT] [--seeds 1 2 3]

Of SmolLM2-135M-Instruct in bfloat16. Learns and calibrates on one text, measures on the first 20 windows of 512 tokens
of another, on the 40 after them, and on 10 of another domain (Debian's licences). A seed is that of the random Hadamard
matrices, of learning and of what GPTQ is calibrated on. Prints markdown: the median perplexity over seeds, and for all
but the first 20 windows the KL divergence from the original as a part of the same seed's with Hadamard matrices, mean.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

import smollm2
import transformers
from runtime_bench import spinor_json

CONTEXT = 512
ROTATIONS = {"rotations": ["R1", "R2", "R3", "R4"], "transform_type": "random-hadamard"}
LEARNING = {"unrotated": None, "hadamard": None, "learned R1": {"scales": []}, "learned R1, scales": {}}
GPTQ = {
    "GPTQModifier": {
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {
                    "num_bits": 4,
                    "type": "int",
                    "symmetric": True,
                    "strategy": "channel",
                    "observer": "memoryless_mse",
                },
            }
        },
    }
}
FP4 = {
    name: {"GPTQModifier": {"targets": "Linear", "ignore": ["lm_head"], "scheme": name}} for name in ("NVFP4", "MXFP4")
}
# How weights are quantized, and the bits that activations and cache are run with where the checkpoint does not say it.
RUN = {
    "W16A4KV4": ({}, 4, 4),
    "W4A16": (GPTQ, None, None),
    "W4A8KV8": (GPTQ, 8, 8),
    "W4A4KV4": (GPTQ, 4, 4),
    "NVFP4": (FP4["NVFP4"], None, None),
    "MXFP4": (FP4["MXFP4"], None, None),
}


def tokens_of(given, text):
    return transformers.AutoTokenizer.from_pretrained(given.model)(text, verbose=False)["input_ids"]


def write_windows(given):
    """Files of tokens by name."""
    wiki = tokens_of(given, given.text.read_text())
    other = tokens_of(given, "\n".join(path.read_text(errors="replace") for path in given.other))
    parts = {"1-20": wiki[: 20 * CONTEXT], "21-60": wiki[20 * CONTEXT : 60 * CONTEXT], "other": other[: 10 * CONTEXT]}
    for name, ids in parts.items():
        (given.directory / f"{name}.json").write_text(json.dumps(ids))
    return {name: given.directory / f"{name}.json" for name in parts if name in given.windows}


def learned(given, how, seed):
    """What is learned for a seed, once for all schemes: the file, and the arguments that take it."""
    file = (given.directory / f"{how}-{seed}.safetensors").resolve()
    if not file.exists():
        learning = {**given.learning, **LEARNING[how], "seed": seed}
        recipe = given.directory / "learn.json"
        modifier = ROTATIONS | {"seed": seed, "learnable": True, "learning": learning}
        recipe.write_text(json.dumps({"a_stage": {"a_modifiers": {"SpinQuantModifier": modifier}}}))
        run(given.spinor, "learn", given.model, file, "--recipe", recipe, "--calibration", given.calibration, "--quiet")
    return {"rotation_file": str(file)}


def spinquant(given, how, seed):
    given_rotations = {} if LEARNING[how] is None else learned(given, how, seed)
    return ROTATIONS | {"seed": seed} | given_rotations


def run(*command):
    subprocess.run(list(map(str, command)), check=True)


def make(given, how, seed, quantizer):
    recipe, out = given.directory / "recipe.json", given.directory / "out"
    modifiers = {} if how == "unrotated" else {"SpinQuantModifier": spinquant(given, how, seed)}
    if not (modifiers := modifiers | quantizer):
        return given.model
    recipe.write_text(json.dumps({"a_stage": {"a_modifiers": modifiers}}))
    shutil.rmtree(out, ignore_errors=True)
    command = [given.spinor, "quantize" if quantizer else "rotate", given.model, out, "--recipe", recipe, "--quiet"]
    if quantizer:
        command += ["--calibration", given.calibration]
        command += ["--calibration-samples", 32, "--calibration-context", CONTEXT, "--calibration-seed", seed]
    run(*command)
    return out


def measure(given, windows, found, how, seed):
    made = None
    for scheme in given.schemes:
        quantizer, activations, cache = RUN[scheme]
        if made is None or quantizer is not made[0]:
            made = quantizer, make(given, how, seed, quantizer)
        low = ["--activations", activations, "--kv", cache] if activations else []
        for name, ids in windows.items():
            options = ["--token-ids", ids, "--context", CONTEXT, *low]
            if name != "1-20":
                options += ["--reference", given.model]
            result = spinor_json(given.spinor, "eval", made[1], *options)
            figures = result["perplexity"], result.get("kl_divergence")
            found.setdefault((scheme, name, how), []).append(figures)
            print(f"{scheme} {name} {how} seed {seed}: {figures}", file=sys.stderr, flush=True)


def cell(values, baseline):
    perplexities = [value[0] for value in values]
    span = f"{statistics.median(perplexities):.2f} ({min(perplexities):.1f} to {max(perplexities):.1f})"
    if values[0][1] is None:
        return span
    ratio = statistics.mean(value[1] / base[1] for value, base in zip(values, baseline, strict=True))
    return f"{span}, KL {statistics.mean(value[1] for value in values):.3f} ({ratio:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spinor", type=Path)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--other", type=Path, nargs="+", default=sorted(Path("/usr/share/common-licenses").glob("*-*")))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--schemes", nargs="+", default=["W16A4KV4", "W4A8KV8", "W4A4KV4"], choices=list(RUN))
    parser.add_argument("--windows", nargs="+", default=["1-20", "21-60", "other"])
    parser.add_argument("--how", nargs="+", default=list(LEARNING)[1:], choices=list(LEARNING))
    parser.add_argument("--learning", type=json.loads, default={}, help="of the field `learning`, as JSON")
    parser.add_argument("--directory", type=Path, default=Path(".cache/learned-results"), help="deleted afterwards")
    given = parser.parse_args()
    given.spinor, given.model = given.spinor.resolve(), smollm2.checkpoint("bfloat16")
    given.directory.mkdir(parents=True)  # an error if it is there: it is deleted afterwards
    found, windows = {}, write_windows(given)
    try:
        for seed in given.seeds:
            for how in given.how:
                measure(given, windows, found, how, seed)
    finally:
        shutil.rmtree(given.directory, ignore_errors=True)
    print("| | windows | " + " | ".join(given.how) + " |\n|---|---|" + "---|" * len(given.how))
    for scheme, name, first in found:
        if first == given.how[0]:
            cells = [cell(found[scheme, name, how], found[scheme, name, first]) for how in given.how]
            print(f"| {scheme} | {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
