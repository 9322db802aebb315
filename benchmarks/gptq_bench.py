#!/usr/bin/env python3
"""GPTQ of one weight, int4 in groups of 128: spinor's against llm-compressor's, in turn, without factorizations.

    gptq_bench.py build/release --peer PYTHON [--shape 4096x14336 ...] [--rounds 3] [--factorize]

Prints markdown; ratios are medians of the ratios of neighbours. --factorize adds the peer's factorization, once.
"""

import argparse
import statistics
import subprocess
from pathlib import Path

from kernel_bench import measured

PEER = Path(__file__).parent / "peer_gptq.py"


def peer_seconds(python, shape, *more):
    command = [python, PEER, *shape.split("x"), *more]
    return float(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout.split()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--shape", nargs="+", default=["1024x4096", "4096x14336"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--factorize", action="store_true")
    given = parser.parse_args()
    print("| rows x columns | s | llm-compressor s | times faster | its factorization s |\n|---|---|---|---|---|",
          flush=True)
    for shape in given.shape:
        rows = []
        for _ in range(given.rounds):
            (figures,) = measured(given.build / "quant_bench", f"^gptq/int4_group128/{shape}/block:128/")
            rows.append((figures["real_time"] / 1000, peer_seconds(given.peer, shape)))
        seconds, peer = (statistics.median(column) for column in zip(*rows, strict=True))
        ratio = statistics.median(row[1] / row[0] for row in rows)
        factorized = f"{peer_seconds(given.peer, shape, '--factorize'):.1f}" if given.factorize else ""
        print(f"| {shape} | {seconds:.2f} | {peer:.1f} | {ratio:.1f} | {factorized} |", flush=True)


if __name__ == "__main__":
    main()
