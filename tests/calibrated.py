"""What tests of calibration share: recipes, tokens, the options that name them, a tiny model."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import quantize_client_test  # noqa: F401  adds the shape "quantizable"
import tiny_models

SAMPLES, CONTEXT = 16, 32


def recipe(tmp_path, *modifiers):
    """A recipe of modifiers, ("GPTQModifier", {...}), each in a group of its own."""
    groups = {f"step{i}_modifiers": {name: arguments} for i, (name, arguments) in enumerate(modifiers)}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"quant_stage": groups}))
    return path


def tokens_file(tmp_path, tokens=None):
    path = tmp_path / "tokens.json"
    if tokens is None:
        tokens = torch.randint(3, 72, (SAMPLES * CONTEXT,), generator=torch.Generator().manual_seed(5)).tolist()
    path.write_text(json.dumps(tokens))
    return path


def calibration(tmp_path, tokens=None):
    return [
        *("--calibration", tokens_file(tmp_path, tokens), "--calibration-samples", SAMPLES),
        *("--calibration-context", CONTEXT),
    ]


def gptq(scheme, **more):
    return "GPTQModifier", {"targets": "Linear", "ignore": ["lm_head"], "scheme": scheme, **more}


def rtn(scheme, **more):
    return "QuantizationModifier", {**gptq(scheme)[1], **more}


def experts(step):
    """The step with four bits a channel, whose scales imatrix finds."""
    modifier, arguments = step
    arguments = {key: value for key, value in arguments.items() if key not in ("scheme", "targets", "weight_observer")}
    weights = {"num_bits": 4, "strategy": "channel", "observer": "imatrix_mse"}
    return modifier, {**arguments, "config_groups": {"g": {"targets": ["Linear"], "weights": weights}}}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    made = {}

    def get(family="llama", dtype=torch.float32):
        if (family, dtype) not in made:
            directory = tmp_path_factory.mktemp(family) / "model"
            made[family, dtype] = tiny_models.save(directory, family, "quantizable", dtype)
        return made[family, dtype]

    return get


def moe(tmp_path, **sizes):
    """One token, one expert, and only experts 0 and 1: their logits are opposite, those of the others 0."""
    directory = tmp_path / "moe"
    shape = next(iter(tiny_models.MORE_FAMILIES["qwen3_moe"][1]))
    tiny_models.save(directory, "qwen3_moe", shape, torch.float32, num_experts_per_tok=1, **sizes)
    tensors = load_file(directory / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith("mlp.gate.weight"):
            tensor[1] = -tensor[0]
            tensor[2:] = 0
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory
