#!/usr/bin/env python3
"""GPTQ of SmolLM2-135M-Instruct, W4 per channel: `spinor quantize --calibration` and llm-compressor, in turn.

    calibration_bench.py build/spinor --peer PYTHON [--calibration TEXT] [--text TEXT] [--samples 32] [--context 512]
                         [--rounds 1] [--layer]

Prints markdown. Both get the same recipe and the same samples, begin with the model in the page cache and end with a
checkpoint, whose perplexity on the first 20 windows of another text spinor measures. The default texts are files
of this project. With --layer spinor also does one layer with the shapes of Llama-3-8B (random weights).
"""

import argparse
import json
import random
import shutil
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

import make_checkpoint
import smollm2
import transformers
from rotate_bench import PEER, prepare_cache, timed
from runtime_bench import spinor_json

ROOT = Path(__file__).resolve().parent.parent
OWN = {"calibration": "spinor/*/*.cpp", "text": "docs/*.md"}
RECIPE = """\
quant_stage:
  quant_modifiers:
    GPTQModifier:
      ignore: [lm_head]
{more}      config_groups:
        group_0:
          targets: [Linear]
          weights: {{num_bits: 4, type: int, symmetric: true, strategy: channel, observer: memoryless_mse}}
"""
COMPAT = "      compat: llm-compressor\n"  # its arithmetic: scales and codes in bfloat16


def write_recipe(path, more=""):
    path.write_text(RECIPE.format(more=more))
    return path


def text_of(given, name, work):
    """The text that was given, or files of this project as one."""
    if getattr(given, name):
        return getattr(given, name)
    path = work / f"{name}.txt"
    path.write_text("\n".join(page.read_text() for page in sorted(ROOT.glob(OWN[name]))))
    return path


def draw_tokens(source, text, given, path):
    ids = transformers.AutoTokenizer.from_pretrained(source)(text.read_text(), verbose=False)["input_ids"]
    windows = [ids[i : i + given.context] for i in range(0, len(ids) - given.context + 1, given.context)]
    if len(windows) < given.samples:
        sys.exit(f"{text} holds {len(windows)} samples of {given.context} tokens, not {given.samples}")
    drawn = random.Random(1).sample(windows, given.samples)
    path.write_text(json.dumps([token for window in drawn for token in window]))
    return path


def calibrated(given, tokens):
    return ["--calibration", tokens, "--calibration-samples", given.samples, "--calibration-context", given.context]


def compare(given, work):
    source = smollm2.checkpoint("bfloat16")
    recipe, compat = write_recipe(work / "recipe.yaml"), write_recipe(work / "compat.yaml", COMPAT)
    text = text_of(given, "text", work)
    tokens = draw_tokens(source, text_of(given, "calibration", work), given, work / "tokens.json")
    more = ["--quiet", *calibrated(given, tokens)]
    commands = {
        "spinor": lambda out: [given.spinor, "quantize", source, out, "--recipe", recipe, *more],
        "spinor, compat: llm-compressor": lambda out: [given.spinor, "quantize", source, out, "--recipe", compat,
                                                       *more],
        "llm-compressor": lambda out: [given.peer, PEER, source, out, recipe, tokens, given.context],
    }
    runs, out = {name: [] for name in commands}, {name: work / name.replace(": ", "-") for name in commands}
    for _ in range(given.rounds):
        for name, make_command in commands.items():
            command = make_command(out[name])
            shutil.rmtree(out[name], ignore_errors=True)
            prepare_cache(source, "warm")
            runs[name].append(timed(*command))
            print(f"{name}: {runs[name][-1][0]:.1f} s, {runs[name][-1][1]:.0f} MB", file=sys.stderr, flush=True)
    measure = ["--text", text, "--context", 512, "--samples", 20]
    print("\n| | s | peak MB | perplexity |\n|---|---|---|---|", flush=True)
    for name, rows in runs.items():
        seconds, peak = (statistics.median(column) for column in zip(*rows, strict=True))
        perplexity = spinor_json(given.spinor, "eval", out[name], *measure)["perplexity"]
        print(f"| {name} | {seconds:.1f} | {peak:.0f} | {perplexity:.3f} |", flush=True)
    print(f"| not quantized | | | {spinor_json(given.spinor, 'eval', source, *measure)['perplexity']:.3f} |")
    pairs = zip(runs["spinor"], runs["llm-compressor"], strict=True)
    ratio = statistics.median(theirs[0] / ours[0] for ours, theirs in pairs)
    print(f"\n{ratio:.1f} times faster")


def large_layer(given, work):
    source = make_checkpoint.make("llama-8b", work / "source", layers=1)
    tokens, recipe = work / "large.json", write_recipe(work / "recipe.yaml")
    tokens.write_text(json.dumps(random.Random(1).choices(range(1000), k=given.samples * given.context)))
    command = [given.spinor, "quantize", source, work / "large", "--recipe", recipe, "--quiet",
               *calibrated(given, tokens)]
    seconds, peak = timed(*command)
    print(f"\nOne layer with the shapes of Llama-3-8B, {given.samples} x {given.context}: "
          f"{seconds:.0f} s, {peak:.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spinor", type=Path)
    parser.add_argument("--peer", help="a Python with llm-compressor")
    for name in OWN:
        parser.add_argument(f"--{name}", type=Path)
    for name, default in {"samples": 32, "context": 512, "rounds": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--layer", action="store_true")
    parser.add_argument("--directory", type=Path, default=Path(".cache/bench"), help="deleted afterwards")
    given = parser.parse_args()
    given.spinor = given.spinor.resolve()
    work = given.directory / "calibration"
    work.mkdir(parents=True, exist_ok=True)
    try:
        if given.peer:
            compare(given, work)
        if given.layer:
            large_layer(given, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
