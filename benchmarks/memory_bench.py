#!/usr/bin/env python3
"""A model in memory, rotated where it is, against `spinor rotate` of its checkpoint and a copy of that, in turn.

    memory_bench.py build/spinor [--shape llama-1b] [--layers N] [--rounds 3] [--directory DIR]

R1 and R2, hadamard, of random bfloat16 weights; the head is the embedding, as Llama-3.2-1B's is. The time in memory is
that of rotate_model() alone; "beyond the head" is how far the process's peak rose above what it held before the call,
less the head that is no longer the embedding. The module spinor is imported from PYTHONPATH, or as it is installed.
Prints markdown. Needs the disk space of two checkpoints, which are deleted afterwards.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import make_checkpoint
from rotate_bench import copy, timed

IN_MEMORY = """
import json, sys, time, torch, transformers, spinor
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024 / 1e6
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto")
for parameter in model.parameters():
    parameter.data = parameter.data.clone()  # in memory, not a mapping of the file
model.tie_weights()
spinor.rotate_model  # imported
open("/proc/self/clear_refs", "w").write("5")
before, start = peak(), time.perf_counter()
spinor.rotate_model(model, transform_type="hadamard", progress=False)
seconds = time.perf_counter() - start
head = model.lm_head.weight.numel() * model.lm_head.weight.element_size() / 1e6
print(json.dumps([seconds, peak() - before, head]))
"""


def in_memory(model):
    done = subprocess.run([sys.executable, "-c", IN_MEMORY, model], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spinor", type=Path)
    parser.add_argument("--shape", default="llama-1b")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path(".cache/memory-bench"), help="deleted afterwards")
    given = parser.parse_args()
    given.spinor, model = given.spinor.resolve(), given.directory / "model"
    given.directory.mkdir(parents=True)  # an error if it is there
    rows = []
    try:
        make_checkpoint.make(given.shape, model, layers=given.layers)
        for _ in range(given.rounds):
            out = given.directory / "out"
            command, _ = timed(given.spinor, "rotate", model, out, "--transform-type", "hadamard", "--quiet")
            shutil.rmtree(out)
            copied = copy(model, out)
            shutil.rmtree(out)
            rows.append((*in_memory(model), command, copied))
    finally:
        shutil.rmtree(given.directory, ignore_errors=True)
    seconds, extra, head, command, copied = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(row[0] / row[3] for row in rows)
    print("| in memory | spinor rotate | a copy, with fsync | in memory over rotate | beyond the head (MB) |")
    print("|---|---|---|---|---|")
    print(f"| {seconds:.1f} s | {command:.1f} s | {copied:.1f} s | {ratio:.2f} | {extra - head:.0f} |")


if __name__ == "__main__":
    main()
