#!/usr/bin/env python3
"""Writes llmcompressor_FAMILY_DTYPE.safetensors: a tiny model before and after SpinQuantModifier.

Keys are "source/TENSOR" and "R1+R2 hadamard/TENSOR"; a tensor that a rotation leaves as it was is not stored again; the
metadata holds config.json. float32 and bfloat16, because llm-compressor rounds to the model's dtype after every step.
Run in an environment with requirements-peer.txt.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from llmcompressor import oneshot
from llmcompressor.modifiers.transform import SpinQuantModifier
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import tiny_models  # noqa: E402

SMALL = {"vocab_size": 24, "num_hidden_layers": 1, "intermediate_size": 40}
MODELS = {  # shape, and what is smaller or different about it
    "llama": ("power_of_two", {**SMALL, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}),
    "qwen2": ("five_narrow_heads", {**SMALL, "hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3}),
    "qwen3": (
        "power_of_two",
        {
            **SMALL,
            "hidden_size": 16,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "head_dim": 8,
            "tie_word_embeddings": False,
        },
    ),
}


def rotated(directory, rotations, transform_type):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype="auto")
    oneshot(
        model=model, recipe=SpinQuantModifier(rotations=rotations, transform_type=transform_type), pipeline="datafree"
    )
    return model.state_dict()


def make(family, dtype, directory):
    shape, overrides = MODELS[family]
    tiny_models.save(directory, family, shape, dtype, **overrides)
    config = json.loads((directory / "config.json").read_text())
    source = load_file(directory / "model.safetensors")
    tensors = {f"source/{name}": tensor for name, tensor in source.items()}
    power_of_two = config["hidden_size"].bit_count() == 1
    for transform_type in ["hadamard", "random-hadamard"] if power_of_two else ["random-hadamard"]:
        for rotations in (["R1"], ["R2"], ["R1", "R2"]):
            for name, tensor in rotated(directory, rotations, transform_type).items():
                if name not in source or not torch.equal(tensor, source[name]):
                    tensors[f"{'+'.join(rotations)} {transform_type}/{name}"] = tensor.detach().clone()
    save_file(
        tensors,
        HERE / f"llmcompressor_{family}_{config['dtype']}.safetensors",
        metadata={"config.json": json.dumps(config)},
    )


for dtype in (torch.float32, torch.bfloat16):
    for family in MODELS:
        with tempfile.TemporaryDirectory() as directory:
            make(family, dtype, Path(directory))
