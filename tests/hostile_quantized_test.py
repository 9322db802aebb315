"""Quantized checkpoints that are damaged are refused by the tensor at fault."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from command import refused, spinor
from tiny_models import SHAPES, save

SHAPE = {**SHAPES["power_of_two"], "hidden_size": 128, "intermediate_size": 256, "head_dim": 32}
DOWN = "model.layers.0.mlp.down_proj."


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    directory = tmp_path_factory.mktemp("quantized")
    SHAPES["hostile"] = SHAPE
    source = save(directory / "model", "llama", "hostile", torch.bfloat16)
    spinor("quantize", source, directory / "out", "--scheme", "W4A16_ASYM", "--quiet")
    return directory / "out"


DAMAGE = [
    ("weight_scale", None, f"{DOWN}weight_scale: is missing"),
    ("weight_zero_point", None, f"{DOWN}weight_zero_point: is missing"),
    ("weight_scale", lambda t: t * float("nan"), f"{DOWN}weight: weight_scale"),
    ("weight_scale", lambda t: t.to(torch.float8_e4m3fn),
     f"{DOWN}weight_scale: is (128, 2) F8_E4M3, not (128, 2) BF16"),
    ("weight_packed", lambda t: t[:, :10].clone(), f"{DOWN}weight_packed: is (128, 10) I32, not (128, 32) I32"),
    ("weight_packed", lambda t: t.flatten(), f"{DOWN}weight_packed: is (4096) I32, not (128, 32) I32"),
    ("weight_shape", lambda t: torch.tensor([2**40, 2**40]), f"{DOWN}weight_packed: is (128, 32) I32, not"),
    ("weight_shape", lambda t: torch.tensor([-1, 256]), f"{DOWN}weight: shape (-1, 256)"),
    ("weight_shape", lambda t: torch.zeros(0, dtype=torch.int64), f"{DOWN}weight: shape (0, 0)"),
]


@pytest.mark.parametrize("suffix, damage, message", DAMAGE)
def test_the_tensor_at_fault_is_named(quantized, tmp_path, suffix, damage, message):
    model = shutil.copytree(quantized, tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    if damage:
        tensors[DOWN + suffix] = damage(tensors[DOWN + suffix])
    else:
        del tensors[DOWN + suffix]
    save_file(tensors, model / "model.safetensors")
    assert message in refused("dequantize", model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weight_shape_may_be_left_out(quantized, tmp_path):
    model = shutil.copytree(quantized, tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    save_file({name: t for name, t in tensors.items() if not name.endswith("weight_shape")},
              model / "model.safetensors")
    for source, out in ((quantized, "expected"), (model, "found")):
        spinor("dequantize", source, tmp_path / out, "--quiet")
    expected, found = (load_file(tmp_path / out / "model.safetensors") for out in ("expected", "found"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
