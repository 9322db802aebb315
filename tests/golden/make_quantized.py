#!/usr/bin/env python3
"""Writes quantized_DTYPE.safetensors: a tiny Llama before and after whole recipes of llm-compressor.

Keys are "source/TENSOR" and "RECIPE/TENSOR", the latter as llm-compressor saves them, but signs in float64 as int8.
Metadata: config.json of the source, and per recipe the quantization_config and the recipe.yaml that llm-compressor
saved (what was run, with its defaults filled in). Run in an environment with requirements-peer.txt.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import yaml
from llmcompressor import oneshot
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import tiny_models  # noqa: E402
from make_quantization_config import newer_scheme  # noqa: E402

SMALL = {
    "vocab_size": 24,
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
}


def spinquant(*rotations, **fields):
    return {"SpinQuantModifier": {"rotations": list(rotations), **fields}}


def weights(group=None, **fields):
    args = {"num_bits": 4, "group_size": group, "strategy": "group" if group else "channel", **fields}
    return {
        "QuantizationModifier": {"config_groups": {"group_0": {"targets": ["Linear"], "weights": args}},
                                 "ignore": ["lm_head"]}
    }


def scheme(name):
    return {"QuantizationModifier": {"targets": ["Linear"], "scheme": name, "ignore": ["lm_head"]}}


QUIP = {"QuIPModifier": {"rotations": ["v", "u"], "transform_type": "random-hadamard", "targets": "Linear",
                         "ignore": "lm_head"}}

RECIPES = {
    "int4 group": weights(32),
    "R1 R2, int4 group": spinquant("R1", "R2") | weights(32),
    "R1 R2, int4 group asymmetric": spinquant("R1", "R2") | weights(32, symmetric=False),
    "R1 R2, int4 mse": spinquant("R1", "R2", transform_type="random-hadamard") | weights(observer="memoryless_mse"),
    "R1 R2, W8A8": spinquant("R1", "R2") | scheme("W8A8"),
    "R1 R2, FP8_DYNAMIC": spinquant("R1", "R2", transform_type="random-hadamard") | scheme("FP8_DYNAMIC"),
    "R1 R2, NVFP4A16": spinquant("R1", "R2") | scheme("NVFP4A16"),
    "R1 R2, MXFP4A16": spinquant("R1", "R2") | scheme("MXFP4A16"),
    "R1 R2 R4, int4 group": spinquant("R1", "R2", "R4") | weights(32),
    "QuIP v u, int4 group": QUIP | weights(32),
}


def compress(source, modifiers, out):
    """The directory that llm-compressor saves for a recipe."""
    recipe = out.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump({"golden_stage": {"golden_modifiers": modifiers}}, sort_keys=False))
    oneshot(model=str(source), recipe=str(recipe), pipeline="datafree", precision="auto", output_dir=str(out))


def smaller(tensor):
    """Transforms are float64 matrices of signs."""
    if tensor.dtype != torch.float64:
        return tensor
    signs = tensor.to(torch.int8)
    assert torch.equal(signs.to(torch.float64), tensor)
    return signs


def make(dtype, work):
    source = work / "source"
    tiny_models.save(source, "llama", "power_of_two", dtype, **SMALL)
    tensors = {f"source/{name}": tensor for name, tensor in load_file(source / "model.safetensors").items()}
    config = json.loads((source / "config.json").read_text())
    metadata = {"config.json": json.dumps(config)}
    for number, (name, modifiers) in enumerate(RECIPES.items()):
        out = work / f"out{number}"
        compress(source, modifiers, out)
        tensors |= {
            f"{name}/{key}": smaller(tensor) for key, tensor in load_file(out / "model.safetensors").items()
        }
        block = json.loads((out / "config.json").read_text())["quantization_config"]
        block["config_groups"] = {key: newer_scheme(value) for key, value in block["config_groups"].items()}
        metadata[f"{name}/quantization_config"] = json.dumps(block)
        metadata[f"{name}/recipe.yaml"] = (out / "recipe.yaml").read_text()
    save_file(tensors, HERE / f"quantized_{config['dtype']}.safetensors", metadata=metadata)


if __name__ == "__main__":
    for model_dtype in (torch.float32, torch.bfloat16):
        with tempfile.TemporaryDirectory() as directory:
            make(model_dtype, Path(directory))
