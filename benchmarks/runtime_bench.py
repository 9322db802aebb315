#!/usr/bin/env python3
"""Running models: `spinor eval` and `spinor generate` against transformers (float32, sdpa) on SmolLM2-135M-Instruct.

    runtime_bench.py build/spinor [--rounds 5] [--threads 2] [--large DIRECTORY]

Prints markdown. Both run in turn, on the same tokens with the same number of threads; ratios are medians of the ratios
of neighbours. transformers stays loaded, what spinor takes to load the weights counts. With --large a bf16 checkpoint
with the shapes of Llama-3-8B (16 GB, random weights) is made in DIRECTORY and one window of it evaluated within 3 GB.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

import make_checkpoint
import smollm2
import torch
import transformers

EVALUATIONS = {  # context, windows
    "context 512": (512, 8),
    "context 2048": (2048, 2),
}
NEW_TOKENS = 64
PROMPT = list(range(1000, 1032))


def spinor_json(spinor, *arguments):
    done = subprocess.run([spinor, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def spinor_eval(given, model, context, samples, *more):
    options = ["--token-ids", given.tokens, "--context", context, "--samples", samples, "--threads", given.threads]
    return spinor_json(given.spinor, "eval", model, *options, *more)["seconds"]


@torch.inference_mode()
def peer_eval(model, ids, context, samples):
    start = time.perf_counter()
    loss = 0.0
    for window in torch.tensor(ids[: context * samples]).view(samples, context):
        logits = model(window[None]).logits[0, :-1].float()
        loss += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
    return time.perf_counter() - start


def paired(rounds, ours, theirs):
    """Medians of both in seconds, and of their ratios theirs / ours."""
    rows = [(ours(), theirs()) for _ in range(rounds)]
    return [statistics.median(column) for column in (*zip(*rows, strict=True), [b / a for a, b in rows])]


def compare_eval(given, model, source, ids):
    print("\n| SmolLM2, float32 | tokens/s | transformers | ratio |\n|---|---|---|---|", flush=True)
    for name, (context, samples) in EVALUATIONS.items():
        tokens = context * samples
        mine, theirs, ratio = paired(
            given.rounds,
            lambda: spinor_eval(given, source, context, samples),
            lambda: peer_eval(model, ids, context, samples),
        )
        print(f"| eval, {name} | {tokens / mine:.0f} | {tokens / theirs:.0f} | {ratio:.2f} |", flush=True)


@torch.inference_mode()
def peer_generate(model):
    def seconds(count):
        start = time.perf_counter()
        model.generate(torch.tensor([PROMPT]), max_new_tokens=count, min_new_tokens=count, do_sample=False)
        return time.perf_counter() - start

    first = seconds(1)
    return (seconds(NEW_TOKENS) - first) / (NEW_TOKENS - 1)


def spinor_generate(given, source, prompt):
    options = ["--prompt", prompt, "--max-new-tokens", NEW_TOKENS, "--threads", given.threads]
    done = spinor_json(given.spinor, "generate", source, *options)
    return (done["seconds"] - done["first_token_seconds"]) / (len(done["tokens"]) - 1)


def compare_generate(given, model, source):
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    prompt = "Once upon a time, in a village by the sea, there lived"
    mine, theirs, ratio = paired(
        given.rounds, lambda: spinor_generate(given, source, prompt), lambda: peer_generate(model)
    )
    assert tokenizer(prompt)["input_ids"]
    print(f"| generate | {1 / mine:.1f} | {1 / theirs:.1f} | {ratio:.2f} |", flush=True)


def what_more_costs(given, source, rotated):
    print("\n| context 512 | time against the plain model |\n|---|---|", flush=True)
    cases = {
        "R3 and R4 online": (rotated, []),
        "activations and KV in 8 bits": (source, ["--activations", 8, "--kv", 8]),
        "R3 and R4 online, activations and KV in 4 bits": (rotated, ["--activations", 4, "--kv", 4]),
    }
    context, samples = EVALUATIONS["context 512"]
    for name, (model, more) in cases.items():
        *_, ratio = paired(
            given.rounds,
            lambda: spinor_eval(given, source, context, samples),
            lambda: spinor_eval(given, model, context, samples, *more),
        )
        print(f"| {name} | {ratio:.2f} |", flush=True)


def large(given):
    model = Path(given.large) / "llama-8b"
    make_checkpoint.make("llama-8b", model)
    options = ["--token-ids", given.tokens, "--context", 512, "--samples", 1, "--memory", "3GB", "--quiet"]
    done = subprocess.run(
        ["/usr/bin/time", "-q", "-f", "%e %M", given.spinor, "eval", model, *map(str, options)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    seconds, kilobytes = done.stderr.split()[-2:]
    print(f"\nLlama-3-8B shapes, 16 GB of bf16, 512 tokens: {seconds} s, peak {int(kilobytes) * 1024 / 1e9:.2f} GB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spinor", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--large")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    source = smollm2.checkpoint("float32")
    rotated = smollm2.CACHE / "bench-rotated"
    options = ["--rotations", "R1,R2,R3,R4", "--transform-type", "random-hadamard", "--force", "--quiet"]
    subprocess.run([given.spinor, "rotate", source, rotated, *options], check=True)
    ids = torch.randint(1000, 40000, (8192,), generator=torch.Generator().manual_seed(1)).tolist()
    given.tokens = smollm2.CACHE / "bench-tokens.json"
    given.tokens.write_text(json.dumps(ids))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    compare_eval(given, model, source, ids)
    compare_generate(given, model, source)
    what_more_costs(given, source, rotated)
    if given.large:
        large(given)


if __name__ == "__main__":
    main()
