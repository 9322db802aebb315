#!/usr/bin/env python3
"""Multiple-choice requests of lm-eval: spinor against lm-eval's own hf model, on the CPU in float32, in turn.

    PYTHONPATH=build/release/python lm_eval_bench.py MODEL --program build/release/cli/spinor-torch

Questions of 20 to 80 words of docs/*.md with four answers of 2 to 12 words. A time is that of making the model and of
all requests, in a process of its own, after the imports; for hf also without making the model. Prints markdown; ratios
are medians of the ratios of neighbours.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent


def requests(count):
    words = " ".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))).split()
    draw = random.Random(1)

    def some(least, most):
        length = draw.randint(least, most)
        begin = draw.randrange(len(words) - length)
        return " ".join(words[begin : begin + length])

    questions = [some(20, 80) for _ in range(count // 4)]
    return [SimpleNamespace(args=(question, " " + some(2, 12))) for question in questions for _ in range(4)]


def run(kind, model, count, batch):
    """In this process: seconds to make the model, seconds for the requests, and the sum of the log-likelihoods."""
    import transformers  # noqa: F401  which both need

    asked = requests(count)
    if kind == "hf":
        from lm_eval.models.huggingface import HFLM as Model

        options = {"dtype": "float32", "device": "cpu", "batch_size": batch}
    else:
        from spinor.lm_eval import SpinorLM as Model

        options = {}
    start = time.perf_counter()
    made = Model(pretrained=str(model), **options)
    loaded = time.perf_counter()
    total = sum(score for score, _ in made.loglikelihood(asked, disable_tqdm=True))
    print(json.dumps([loaded - start, time.perf_counter() - loaded, total]))


def measured(kind, given, batch=1):
    command = [sys.executable, __file__, given.model, "--program", given.program, "--requests", given.requests,
               "--run", kind, "--batch", batch]
    environment = {**os.environ, "SPINOR_TORCH_PROGRAM": str(given.program), "HF_HUB_OFFLINE": "1",
                   "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def compare(given):
    print("| hf's batch size | spinor s | hf s | without its loading s | times faster | without its loading |\n"
          "|---|---|---|---|---|---|", flush=True)
    for batch in given.batch:
        rows = []
        for _ in range(given.rounds):
            (made, answered, ours), (loaded, took, theirs) = measured("spinor", given), measured("hf", given, batch)
            assert abs(ours - theirs) < 1e-4 * abs(theirs), (ours, theirs)
            rows.append((made + answered, loaded + took, took))
        spinor, whole, took = (statistics.median(column) for column in zip(*rows, strict=True))
        ratios = [statistics.median(row[i] / row[0] for row in rows) for i in (1, 2)]
        print(f"| {batch} | {spinor:.1f} | {whole:.1f} | {took:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--run", choices=["hf", "spinor"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        run(given.run, given.model, given.requests, given.batch[0])
    else:
        compare(given)


if __name__ == "__main__":
    main()
