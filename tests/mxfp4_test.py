"""gpt-oss as it is published: stacked experts in MXFP4 blocks and scales, read as the weights transformers makes of
them."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import logits
import tiny_models
from command import refused, spinor, spinor_json
from runtime_test import BOUND, computed, expected_logits

SIZES = {"hidden_size": 96, "intermediate_size": 64}  # groups are of 32
STACKS = ("gate_up_proj", "down_proj")
VALUES = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
GATE_UP = "model.layers.0.mlp.experts.gate_up_proj"


def pack(weight):
    """Blocks and scales of a stack (experts, in, out): codes of every out along in, the first in the low nibble."""
    groups = weight.float().transpose(1, 2).unflatten(-1, (-1, 32))
    exponents = torch.floor(torch.log2(groups.abs().amax(-1))) - 2  # the largest code is 6
    scaled = groups / torch.exp2(exponents).unsqueeze(-1)
    codes = (scaled.abs().unsqueeze(-1) - VALUES).abs().argmin(-1) + 8 * (scaled < 0)
    blocks = codes[..., 0::2] + 16 * codes[..., 1::2]
    return blocks.to(torch.uint8), (exponents + 127).to(torch.uint8)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """(published, dense): MXFP4 experts, and the same model with the weights that transformers makes of them."""
    folder = tmp_path_factory.mktemp("gpt_oss")
    for name in ("published", "dense"):
        tiny_models.save(folder / name, "gpt_oss", "plain", torch.bfloat16, **SIZES)
    published = load_file(folder / "dense" / "model.safetensors")
    dense = dict(published)
    for name in [name for name in published if name.endswith(STACKS)]:
        blocks, scales = pack(published.pop(name))
        if name == GATE_UP:
            blocks[0, :16, 0] = torch.arange(256, dtype=torch.uint8).reshape(16, 16)  # every pair of codes
            scales[0, 16] = torch.tensor([0, 3, 127], dtype=torch.uint8)  # some are subnormal
        dense[name] = convert_moe_packed_tensors(blocks, scales, dtype=torch.bfloat16)
        published |= {name + "_blocks": blocks, name + "_scales": scales}
    save_file(dense, folder / "dense" / "model.safetensors", {"format": "pt"})
    save_file(published, folder / "published" / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "published" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
    (folder / "published" / "config.json").write_text(json.dumps(config))
    return folder / "published", folder / "dense"


def rotate(source, out, *options):
    spinor("rotate", source, out, "--transform-type", "random-hadamard", "--quiet", *options)
    return out


def test_the_numbers_are_those_of_transformers(checkpoints, tmp_path):
    published, dense = checkpoints
    spinor("dequantize", published, tmp_path / "out", "--quiet")
    found, expected = (load_file(path / "model.safetensors") for path in (tmp_path / "out", dense))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == json.loads((dense / "config.json").read_text())


def test_a_rotation_writes_a_dense_model_that_transformers_loads(checkpoints, tmp_path):
    published, dense = checkpoints
    wide = rotate(published, tmp_path / "wide", "--rotations", "R1,R2", "--dtype", "float64")
    expected = logits.logits(logits.load(dense, torch.float64))
    assert logits.difference(expected, logits.logits(logits.load(wide, torch.float64)))[0] <= 1e-9
    found, same = (rotate(one, tmp_path / one.name, "--rotations", "R1,R2") for one in checkpoints)
    assert "quantization_config" not in json.loads((found / "config.json").read_text())
    found, same = (load_file(path / "model.safetensors") for path in (found, same))
    assert all(torch.equal(found[name], same[name]) for name in same)  # one rounding to bfloat16, of the same numbers


def test_verify_compares_with_the_codes(checkpoints, tmp_path):
    published, dense = checkpoints
    out = rotate(published, tmp_path / "out", "--dtype", "float32")
    assert "is the same function as" in spinor("verify", published, out)
    tensors = load_file(out / "model.safetensors")
    tensors[GATE_UP][1, :, 3] *= 1.01
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    assert GATE_UP in refused("verify", published, out)


def test_the_runtime_computes_with_the_codes(checkpoints, tmp_path):
    published, dense = checkpoints
    expected = expected_logits(dense, torch.float32, "plain")
    assert logits.difference(expected, computed(published, torch.float32, tmp_path))[0] <= BOUND[torch.float32]


def test_inspect_shows_what_the_codes_stand_for(checkpoints):
    report = spinor_json("inspect", checkpoints[0])
    assert report["refusal"] is None
    assert report["tensors"][GATE_UP]["shape"] == [6, 96, 128]


DAMAGE = [
    ("_scales", None, f"{GATE_UP}_scales: is missing"),
    ("_blocks", None, f"{GATE_UP}_blocks: is missing"),
    ("_scales", lambda t: t[:, :, :2].clone(), f"{GATE_UP}_scales: is (6, 128, 2) U8, not (6, 128, 3) U8"),
    ("_scales", lambda t: t.flatten(0, 1), f"{GATE_UP}_scales: is (768, 3) U8, not (6, 128, 3) U8"),
    ("_scales", lambda t: t.fill_(255), f"{GATE_UP}: _scales [0, 0] is not finite"),
    ("_blocks", lambda t: t.flatten(1), f"{GATE_UP}_blocks: is (6, 6144), not (experts, out, in / 32, 16)"),
    ("_blocks", lambda t: t.unflatten(3, (2, 8)).flatten(2, 3), f"{GATE_UP}_blocks: is (6, 128, 6, 8) U8, not"),
    ("_blocks", lambda t: t[:0].clone(), f"{GATE_UP}: shape (0, 96) has no elements"),
    ("_blocks", lambda t: t.to(torch.int16), f"{GATE_UP}_blocks: is (6, 128, 3, 16) I16, not"),
]


def with_tensors(published, folder, change):
    """The published checkpoint in a new folder, its tensors changed."""
    tensors = load_file(published / "model.safetensors")
    change(tensors)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text((published / "config.json").read_text())
    return folder


@pytest.mark.parametrize("suffix, damage, message", DAMAGE)
def test_the_tensor_at_fault_is_named(checkpoints, tmp_path, suffix, damage, message):
    def change(tensors):
        tensor = tensors.pop(GATE_UP + suffix)
        if damage:
            tensors[GATE_UP + suffix] = damage(tensor)

    model = with_tensors(checkpoints[0], tmp_path / "model", change)
    assert message in refused("dequantize", model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_number_of_experts_than_the_config_says_is_refused(checkpoints, tmp_path):
    def change(tensors):
        for suffix in ("_blocks", "_scales"):
            tensors[GATE_UP + suffix] = tensors[GATE_UP + suffix][:5].clone()

    model = with_tensors(checkpoints[0], tmp_path / "model", change)
    message = refused("dequantize", model, tmp_path / "out")
    assert f"{GATE_UP}: has shape (5, 96, 128), but config.json says (6, 96, 128)" in message


def test_a_truncated_file_is_refused(checkpoints, tmp_path):
    model = with_tensors(checkpoints[0], tmp_path / "model", lambda tensors: None)
    data = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(data[:-1000])
    assert "model.safetensors" in refused("dequantize", model, tmp_path / "out")
