"""Quantized checkpoints as others publish them are read as the numbers they stand for, or refused with what to do."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_models
from command import refused, spinor

DOWN = "model.layers.0.mlp.down_proj."
BLOCK = 32  # divides no size of the model


def tensor_scale(weight):
    return (weight.abs().max() / 448).reshape(())


def channel_scale(weight):
    return weight.abs().amax(dim=1, keepdim=True) / 448


def block_scale(weight):
    rows, cols = (-(-size // BLOCK) for size in weight.shape)
    padded = torch.zeros(rows * BLOCK, cols * BLOCK)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    return padded.view(rows, BLOCK, cols, BLOCK).abs().amax(dim=(1, 3)) / 448


def powers(weight):
    return torch.exp2(torch.ceil(torch.log2(block_scale(weight))))


def expanded(scale, weight):
    """The scale of each element."""
    if scale.numel() in (1, weight.shape[0]):
        return scale.reshape(-1, 1)
    whole = scale.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return whole[: weight.shape[0], : weight.shape[1]]


BLOCKS = {"weight_block_size": [BLOCK, BLOCK]}
STATIC = {"activation_scheme": "static"}
# The scale's name, how it is made, its type and shape; the activations' scales beside; quantization_config.
STYLES = {
    "DeepSeek": ("weight_scale_inv", block_scale, torch.float32, [], BLOCKS | {"fmt": "e4m3"}),
    "Qwen3": ("weight_scale_inv", block_scale, torch.bfloat16, [], BLOCKS | {"activation_scheme": "dynamic"}),
    "blocks in F16": ("weight_scale_inv", block_scale, torch.float16, [], BLOCKS),
    "DeepSeek-V4": ("scale", powers, torch.float8_e8m0fnu, [], BLOCKS | {"scale_fmt": "ue8m0"}),
    "Mistral": (
        "weight_scale_inv",
        tensor_scale,
        torch.bfloat16,
        ["activation_scale"],
        STATIC | {"weight_block_size": None},
    ),
    "Mistral Large": (
        "qscale_weight",
        tensor_scale,
        torch.bfloat16,
        ["qscale_act"],
        STATIC | {"weight_block_size": None, "modules_to_not_convert": ["lm_head"]},
    ),
    "AutoFP8": (
        "weight_scale",
        tensor_scale,
        torch.float32,
        ["input_scale"],
        STATIC | {"ignored_layers": ["lm_head"], "kv_cache_scheme": "static"},
    ),
    "one scale of one number": ("weight_scale", lambda w: tensor_scale(w).reshape(1), torch.float16, [], STATIC),
    "FBGEMM": (
        "weight_scale",
        channel_scale,
        torch.float32,
        ["input_scale_ub"],
        {"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["lm_head"]},
    ),
    "channels in BF16": ("weight_scale", lambda w: channel_scale(w).flatten(), torch.bfloat16, [], {}),
}


def publish(directory, style):
    """A model in this style; its weights as numbers."""
    name_of_scale, make_scale, dtype, beside, block = STYLES[style]
    tiny_models.save(directory, "llama", "five_narrow_heads", torch.bfloat16)
    tensors, expected = load_file(directory / "model.safetensors"), {}
    for name, weight in list(tensors.items()):
        if not name.endswith("proj.weight"):
            continue
        scale = make_scale(weight.float()).to(dtype)
        scales = expanded(scale.float(), weight)
        codes = (weight.float() / scales).clamp(-448, 448).to(torch.float8_e4m3fn)
        module = name.removesuffix("weight")
        tensors |= {name: codes, module + name_of_scale: scale}
        tensors |= {module + other: torch.tensor(0.01, dtype=torch.bfloat16) for other in beside}
        expected[name] = (codes.float() * scales).bfloat16()
    if style == "AutoFP8":
        tensors["model.layers.0.self_attn.kv_scale"] = torch.tensor(0.02)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", **block}
    (directory / "config.json").write_text(json.dumps(config))
    return expected


@pytest.mark.parametrize("style", STYLES)
def test_fp8_is_read_as_the_numbers_it_stands_for(tmp_path, style):
    expected = publish(tmp_path / "model", style)
    spinor("dequantize", tmp_path / "model", tmp_path / "out", "--quiet")
    found = load_file(tmp_path / "out" / "model.safetensors")
    plain = {name for name in load_file(tmp_path / "model" / "model.safetensors") if "scale" not in name}
    assert set(found) == plain
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())


@pytest.mark.parametrize("style", ["Mistral", "Qwen3", "FBGEMM"])
def test_fp8_is_rotated_as_the_numbers_it_stands_for(tmp_path, style):
    publish(tmp_path / "model", style)
    spinor("dequantize", tmp_path / "model", tmp_path / "dense", "--dtype", "float32", "--quiet")
    for source, out in (("model", "a"), ("dense", "b")):
        options = ["--transform-type", "random-hadamard", "--dtype", "bfloat16", "--quiet"]
        spinor("rotate", tmp_path / source, tmp_path / out, *options)
    rotated, expected = (load_file(tmp_path / out / "model.safetensors") for out in ("a", "b"))
    assert rotated.keys() == expected.keys()
    assert all(torch.equal(rotated[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "style, change, message",
    [
        ("DeepSeek", lambda t: t.pop(DOWN + "weight_scale_inv"), f"{DOWN}weight: is quantized, but has no scale"),
        (
            "DeepSeek",
            lambda t: t.update({DOWN + "weight_scale_inv": torch.ones(2, 2)}),
            f"{DOWN}weight_scale_inv: is (2, 2) F32, not (3, 3) F32 as its scheme says",
        ),
        (
            "Mistral",
            lambda t: t.update({DOWN + "weight_scale_inv": torch.ones(3, 3)}),
            f"{DOWN}weight_scale_inv: is (3, 3), but weight_block_size in",
        ),
        (
            "DeepSeek",
            lambda t: t.update({DOWN + "weight_scale_inv": torch.ones(3, 3, dtype=torch.float64)}),
            f"{DOWN}weight_scale_inv: is F64, not a type that scales of FP8 weights have",
        ),
        (
            "DeepSeek",
            lambda t: t.update({DOWN + "weight": torch.ones(80, 96).to(torch.float8_e5m2)}),
            f"{DOWN}weight: is F8_E5M2, not F8_E4M3, though it has a scale",
        ),
    ],
)
def test_fp8_that_does_not_fit_is_named(tmp_path, style, change, message):
    publish(tmp_path / "model", style)
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    assert message in refused("dequantize", tmp_path / "model", tmp_path / "out")


@pytest.fixture
def quantized(tmp_path):
    source = tiny_models.save(tmp_path / "source", "llama", "power_of_two", torch.bfloat16)
    spinor("quantize", source, tmp_path / "quantized", "--scheme", "W4A16", "--targets", r"re:.*down_proj", "--quiet")
    return tmp_path / "quantized"


def change_config(directory, change):
    config = json.loads((directory / "config.json").read_text())
    change(config)
    (directory / "config.json").write_text(json.dumps(config))


def test_quantization_config_may_lie_in_text_config(quantized, tmp_path):
    spinor("dequantize", quantized, tmp_path / "expected", "--quiet")
    change_config(quantized, lambda c: c.update(text_config={"quantization_config": c.pop("quantization_config")}))
    spinor("dequantize", quantized, tmp_path / "out", "--quiet")
    expected, found = (load_file(tmp_path / out / "model.safetensors") for out in ("expected", "out"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["text_config"] == {}


@pytest.mark.parametrize("order", ["group", "dynamic", True])
def test_an_activation_order_of_older_releases_is_the_checkpoints(quantized, tmp_path, order):
    change_config(
        quantized, lambda c: c["quantization_config"]["config_groups"]["group_0"]["weights"].update(actorder=order)
    )
    message = refused("dequantize", quantized, tmp_path / "out")
    assert f"group_0 has weights in the activation order {json.dumps(order)}, which spinor cannot read" in message
    assert message.endswith("; quantize the model again, or dequantize it with the release that wrote it")


def test_what_is_quantized_must_be_targeted(quantized, tmp_path):
    change_config(
        quantized, lambda c: c["quantization_config"]["config_groups"]["group_0"].update(targets=["re:.*up_proj"])
    )
    message = refused("dequantize", quantized, tmp_path / "out")
    assert message.startswith(f"{DOWN[:-1]}: is stored quantized, but no group of ")


def test_a_source_in_float64_is_quantized_in_another_type(tmp_path):
    source = tiny_models.save(tmp_path / "model", "llama", "power_of_two", torch.float64)
    message = refused("quantize", source, tmp_path / "out", "--scheme", "W8A8")
    problem = "would have scales of float64, and no format has those"
    assert message.endswith(f"{problem}; save it in another type: --dtype bfloat16")
    spinor("quantize", source, tmp_path / "out", "--scheme", "W8A8", "--dtype", "bfloat16", "--quiet")
