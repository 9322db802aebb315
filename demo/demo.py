#!/usr/bin/env python3
"""Rotates SmolLM2-135M-Instruct with R1 and R2, verifies it, and shows in transformers that it is the same model.

    demo.py build/spinor

Rotations in float32 and in bfloat16 are compared with the float32 source, beside what bfloat16 itself costs.
"""

import json
import os
import statistics
import subprocess
import sys
import textwrap
import time
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import smollm2

OPTIONS = ["--rotations", "R1,R2", "--transform-type", "random-hadamard"]
RUNS = {  # what is compared: the source it is or is made from, and further options of rotate
    "float32 source": ("float32", None),
    "float32 rotated": ("float32", []),
    "bfloat16 source": ("bfloat16", None),
    "bfloat16 rotated": ("bfloat16", []),
    "float32 rotated to bfloat16": ("float32", ["--dtype", "bfloat16"]),
}
PROMPT = "Explain in one sentence why the sky is blue."
TEXT = """\
The lighthouse keeper climbed the stairs every evening at the same hour, carrying a lamp in one hand and a notebook
in the other. In the notebook he wrote down the direction of the wind, the height of the waves and the names of the
ships that passed. On quiet nights there was little to write, and so he began to add other things: the colour of the
sky before sunset, the birds that rested on the railing, the sound that the old building made when the temperature
fell. After twenty years the notebooks filled three shelves. When a storm destroyed the harbour records, the town
discovered that the keeper had written down everything they needed to know. The insurance company asked for copies,
the school asked for stories, and the museum asked whether it might keep the originals. The keeper agreed to all of
it, on one condition: that somebody else would climb the stairs and keep writing. A young woman from the village,
who had studied physics and liked to be alone, took the post. She replaced the lamp with an electric one, and the
notebook with a computer, but at the end of every entry she still wrote one sentence about the birds.
"""


def rotate(spinor, source, out, *more):
    """Runs spinor; (bytes written, seconds, peak MB)."""
    command = [spinor, "rotate", source, out, *OPTIONS, *more, "--force", "--quiet"]
    start = time.perf_counter()
    done = subprocess.run(["/usr/bin/time", "-q", "-f", "%M", *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    seconds = time.perf_counter() - start
    peak = int(done.stderr.splitlines()[-1])
    written = sum(path.stat().st_size for path in out.iterdir())
    return written, seconds, peak * 1024 / 1e6


def report(spinor, command, *arguments):
    """The JSON a command prints. It ends the demo if the command fails."""
    done = subprocess.run([spinor, command, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"spinor {command}: {done.stderr}")
    return json.loads(done.stdout)


class Run:
    """What one checkpoint answers: logits on the text, perplexity, a sentence."""

    def __init__(self, directory):
        import torch
        import transformers

        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
        model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype="auto").eval()
        tokens = tokenizer(TEXT, return_tensors="pt")["input_ids"]
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": PROMPT}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            self.logits = model(tokens).logits[0].double()
            answer = model.generate(**chat, max_new_tokens=28, do_sample=False)
        losses = torch.nn.functional.cross_entropy(self.logits[:-1], tokens[0, 1:])
        self.perplexity = losses.exp().item()
        self.tokens = tokens.shape[1]
        self.sentence = tokenizer.decode(answer[0, chat["input_ids"].shape[1] :], skip_special_tokens=True)

    def difference(self, source):
        """(largest, rms) logit difference in standard deviations of the source's logits, KL in nats a token."""
        delta = (self.logits - source.logits) / source.logits.std()
        expected, given = source.logits.log_softmax(-1), self.logits.log_softmax(-1)
        kl = (expected.exp() * (expected - given)).sum(-1).mean()
        return delta.abs().max().item(), delta.square().mean().sqrt().item(), kl.item()


def print_table(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    line = lambda row: "  ".join(
        cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
    )
    print(line(head), "  ".join("-" * width for width in widths), *map(line, rows), sep="\n")
    print()


def show_function(runs):
    source = runs["float32 source"]
    print(f"Same function? {source.tokens} tokens against the float32 source; logits in their standard deviations\n")
    rows = []
    for name, run in runs.items():
        largest, rms, kl = run.difference(source)
        figures = ["", "", ""] if run is source else [f"{largest:.1e}", f"{rms:.1e}", f"{kl:.1e}"]
        rows.append([name, *figures, f"{run.perplexity:.4f}"])
    print_table(["", "logits max", "logits rms", "KL nats/token", "perplexity"], rows)
    print(f"Asked: {PROMPT}\n")
    for name, run in runs.items():
        print(textwrap.fill(f"{name + ':':<28} {' '.join(run.sentence.split())}", 116, subsequent_indent=" " * 29))
    print()


def show_cost(costs):
    rows = [
        [name, f"{size / 1e6:.0f} MB", f"{seconds:.2f} s", f"{size / seconds / 1e9:.2f} GB/s", f"{peak:.0f} MB"]
        for name, size, seconds, peak in costs
    ]
    print_table(["spinor rotate", "written", "time", "throughput", "peak memory"], rows)


READERS = ["attn_q", "attn_k", "attn_v", "mlp_in", "head"]  # what quantization of the residual stream's readers sees


def show_outliers(seen):
    """Medians over the tensors of a role, before and after, from `spinor inspect --json`."""
    columns = ["max_over_rms", "kurtosis", "worst_channel_rms"]
    rows = []
    for role in READERS:
        names = [name for name, tensor in seen["tensors"].items() if tensor["role"] == role]
        median = lambda when, column: statistics.median(seen["outliers"][when][name][column] for name in names)
        if names:
            rows.append([role, *(f"{median('before', c):.2f} -> {median('after', c):.2f}" for c in columns)])
    print("Outliers in the float32 weights that read the residual stream, before and after: medians over the layers\n")
    print_table(["role", "max / rms", "kurtosis (Gaussian 3)", "worst column rms / rms"], rows)


# Weights of so many bits per output channel, activations per token, keys and values per token and head.
WEIGHTS = """\
demo_stage:
  demo_modifiers:
{rotations}    QuantizationModifier:
      ignore: [lm_head]
      config_groups:
        group_0:
          targets: [Linear]
          weights: {{num_bits: {bits}, type: int, symmetric: true, strategy: channel, observer: memoryless_mse}}
"""
ROTATED = "    SpinQuantModifier: {{rotations: [{}], transform_type: random-hadamard}}\n"
BITS = {"float32": (), "W8A8": (8, 8), "W4A8KV8": (4, 8, 8), "W4A4KV4": (4, 4, 4)}  # weights, activations, cache


def low_bits_perplexity(spinor, source, text, bits, rotations):
    options = ["--text", text, "--context", 512]
    if not bits:
        options += ["--rotations", rotations, "--transform-type", "random-hadamard"] if rotations else []
        return report(spinor, "eval", source, *options)["perplexity"]
    recipe = smollm2.CACHE / "demo-recipe.yaml"
    rotated = ROTATED.format(rotations) if rotations else ""
    recipe.write_text(WEIGHTS.format(bits=bits[0], rotations=rotated))
    low = [option for pair in zip(["--activations", "--kv"], bits[1:]) for option in pair]
    return report(spinor, "eval", source, *options, "--recipe", recipe, *low)["perplexity"]


def show_low_bits(spinor, source):
    text = smollm2.CACHE / "demo-text.txt"
    text.write_text(TEXT)
    columns = {"unrotated": "", "R1+R2": "R1,R2", "R1-R4": "R1,R2,R3,R4"}
    rows = []
    for name, bits in BITS.items():
        perplexities = [low_bits_perplexity(spinor, source, text, bits, spins) for spins in columns.values()]
        rows.append([name, *(f"{perplexity:.2f}" for perplexity in perplexities)])
    print("Perplexity with fewer bits, from spinor's own runtime. Few tokens, so an indication: "
          "what to do with a model of")
    print("yours, `spinor compare` says on a text of yours, over several seeds.\n")
    print_table(["", *columns], rows)


def main():
    spinor = Path(sys.argv[1]).resolve()
    sources = {dtype: smollm2.checkpoint(dtype) for dtype in ("float32", "bfloat16")}
    runs, costs = {}, []
    for name, (dtype, options) in RUNS.items():
        directory = sources[dtype]
        if options is not None:
            directory = smollm2.CACHE / name.replace(" ", "-")
            costs.append((name, *rotate(spinor, sources[dtype], directory, *options)))
            checks = report(spinor, "verify", sources[dtype], directory)["checks"]
            print(f"{name}: spinor verify passed {len(checks)} checks of the written bytes", flush=True)
        runs[name] = Run(directory)
    print()
    show_function(runs)
    show_low_bits(spinor, sources["float32"])
    show_outliers(report(spinor, "inspect", sources["float32"], *OPTIONS))
    show_cost(costs)


if __name__ == "__main__":
    main()
