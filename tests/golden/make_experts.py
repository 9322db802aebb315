#!/usr/bin/env python3
"""Writes experts_FAMILY.safetensors: a tiny mixture with stacked experts before and after recipes of llm-compressor.

Keys are "source/TENSOR" and "RECIPE/TENSOR", the latter as llm-compressor saves them, but what it leaves as it was.
Metadata: config.json of the source, and per recipe the quantization_config that llm-compressor saved. Run in an
environment with requirements-peer.txt.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from llmcompressor import oneshot
from llmcompressor.modeling.moe.linearize import load_quantizable_moe
from llmcompressor.modifiers.quantization import QuantizationModifier
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import tiny_models  # noqa: E402

SMALL = {
    "vocab_size": 24,
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "num_local_experts": 3,
    "tie_word_embeddings": False,
}
FAMILIES = ("gpt_oss", "granitemoe")
RECIPES = ("W4A16", "W8A8", "NVFP4A16", "MXFP4A16")
IGNORE = ["lm_head", "re:.*(self_attn|router).*"]


def scheme(name):
    if name != "W4A16":
        return {"targets": ["Linear"], "scheme": name}
    weights = {"num_bits": 4, "group_size": 32, "strategy": "group"}
    return {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}


def compress(source, name, out):
    with load_quantizable_moe():
        model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    modifier = QuantizationModifier(**scheme(name), ignore=IGNORE)
    oneshot(model=model, recipe=modifier, pipeline="datafree", output_dir=str(out))


def main():
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            sizes = {key: value for key, value in SMALL.items() if family == "gpt_oss" or key != "head_dim"}
            tiny_models.save(work / "source", family, "plain", torch.bfloat16, **sizes)
            source = load_file(work / "source/model.safetensors")
            tensors = {f"source/{key}": tensor for key, tensor in source.items()}
            metadata = {"config.json": (work / "source/config.json").read_text()}
            for recipe in RECIPES:
                compress(work / "source", recipe, work / recipe)
                written = load_file(work / recipe / "model.safetensors")
                tensors |= {f"{recipe}/{key}": tensor for key, tensor in written.items() if key not in source}
                config = json.loads((work / recipe / "config.json").read_text())
                metadata[recipe] = json.dumps(config["quantization_config"])
            save_file(tensors, HERE / f"experts_{family}.safetensors", metadata=metadata)


if __name__ == "__main__":
    main()
