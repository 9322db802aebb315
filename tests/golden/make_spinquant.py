"""Writes transforms/spinquant.json: the transform_config that llm-compressor's SpinQuantModifier makes for a tiny
Llama.

Pinned: llmcompressor 0.14.0.1, compressed-tensors 0.19.0, transformers 5.17.0. Run: python make_spinquant.py
"""

import json
from pathlib import Path

from llmcompressor.core import State
from llmcompressor.modifiers.transform import SpinQuantModifier
from transformers import AutoConfig, AutoModelForCausalLM

OUT = Path(__file__).parent / "transforms"

OPTIONS = [
    {},
    {"rotations": ["R1"]},
    {"rotations": ["R2"], "transform_type": "random-matrix"},
    {"rotations": []},
    {"rotations": ["r4", "R3", "r2", "R1", "R1"], "transform_type": "random-hadamard"},
    {"rotations": ["R1", "R2", "R3", "R4"], "transform_block_size": 4, "precision": "float32"},
]


def main():
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(OUT / "llama"))
    rows = []
    for options in OPTIONS:
        modifier = SpinQuantModifier(**options)
        modifier.initialize(State(model=model))
        config = modifier.transform_config.model_dump(mode="json")
        mappings = modifier.mappings.model_dump(mode="json")
        norms = [mapping.model_dump(mode="json") for mapping in modifier.norm_mappings]
        rows.append({"options": options, "config": config, "mappings": mappings, "norm_mappings": norms})
    (OUT / "spinquant.json").write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
    main()
