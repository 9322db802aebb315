"""What `spinor quantize` writes, loaded by transformers with compressed-tensors: the same weights, the same logits."""

import json
import re

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

from command import refused, spinor
from logits import TOKENS, difference, logits
from tiny_models import SHAPES, save

SHAPES["quantizable"] = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "tie_word_embeddings": True,
}
FAMILIES = ["llama", "qwen2", "qwen3", "mistral"]
DTYPES = [torch.float32, torch.bfloat16]
FLOAT = ["NVFP4A16", "MXFP4A16", "MXFP8A16"]  # compressed-tensors makes bfloat16 of them, whatever the model
WEIGHT_ONLY = ["W4A16", "W8A16", "W3A16", "W5A16", *FLOAT]
SCHEMES = [*WEIGHT_ONLY, "W4A16_ASYM", "W8A8", "W4A8", "FP8_DYNAMIC", "FP8_BLOCK", "MXFP4", "MXFP8", "W4AFP8"]
R1R2 = ["--rotations", "R1,R2"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    made = {}

    def get(family, dtype):
        if (family, dtype) not in made:
            made[family, dtype] = save(tmp_path_factory.mktemp(family) / "model", family, "quantizable", dtype)
        return made[family, dtype]

    return get


def dequantized(directory):
    """The weights that transformers with compressed-tensors makes of a checkpoint, nothing missing and nothing over."""
    model, report = AutoModelForCausalLM.from_pretrained(
        directory, quantization_config=CompressedTensorsConfig(dequantize=True), output_loading_info=True
    )
    assert not any(report.values()), report
    return model.state_dict()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_reads_the_weights_that_spinor_reads(source, tmp_path, family, scheme, dtype):
    out, dense = tmp_path / "out", tmp_path / "dense"
    spinor("quantize", source(family, dtype), out, "--scheme", scheme, *R1R2, "--quiet")
    spinor("dequantize", out, dense, "--quiet")
    theirs, ours = dequantized(out), load_file(dense / "model.safetensors")
    for name, tensor in ours.items():
        assert tensor.dtype == dtype
        if scheme == "NVFP4A16" and dtype == torch.float32:
            # compressed-tensors computes in bfloat16 whatever the model: scale / global scale, then the product.
            assert torch.allclose(theirs[name], tensor, rtol=2**-7, atol=0), name
        else:
            # Both multiply a code by its scale and round once.
            assert torch.equal(theirs[name], tensor), name


@torch.no_grad()
@pytest.mark.parametrize("scheme", WEIGHT_ONLY)
@pytest.mark.parametrize("rotations", [[], R1R2], ids=["plain", "R1R2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_weights_run_as_dense_ones(source, tmp_path, family, rotations, scheme):
    out, dense = tmp_path / "out", tmp_path / "dense"
    dtype = torch.bfloat16 if scheme in FLOAT else torch.float32
    spinor("quantize", source(family, dtype), out, "--scheme", scheme, *rotations, "--quiet")
    spinor("dequantize", out, dense, "--quiet")
    packed = AutoModelForCausalLM.from_pretrained(out, dtype=dtype).eval()
    plain = AutoModelForCausalLM.from_pretrained(dense, dtype=dtype).eval()
    # The same weights in the same operations.
    assert torch.equal(logits(plain), logits(packed))


def card_loader(directory):
    """`load` as the model card in the output has it."""
    code = re.search(r"```python\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL).group(1)
    scope = {}
    exec(code, scope)
    return scope["load"]


QUIP = ["--quip", "v,u", "--transform-type", "random-hadamard", "--block-size", "64"]
ONLINE = {
    "R4": ["--rotations", "R1,R2,R4"],
    "R3 R4": ["--rotations", "R1,R2,R3,R4", "--transform-type", "random-hadamard"],
    "R4 in blocks, own seed": ["--rotations", "R1,R4", "--block-size", "32", "--transform-type", "random-hadamard",
                               "--seed", "7"],
    "QuIP v": ["--quip", "v"],
    "QuIP v u": QUIP,
    "QuIP v u of random matrices": ["--quip", "v,u", "--transform-type", "random-orthogonal", "--block-size", "32"],
    "R4 randomize": ["--rotations", "R4", "--randomize", "--block-size", "64", "--transform-type", "random-hadamard"],
}


@torch.no_grad()
@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_cards_code_applies_what_runs_online(source, tmp_path, family, name):
    """Quantized in a rotated frame: packed weights with the online part, and dense ones rotated back, are one
    function."""
    out, dense = tmp_path / "out", tmp_path / "dense"
    options = ["--scheme", "W8A16", *ONLINE[name], "--quiet"]
    spinor("quantize", source(family, torch.float32), out, *options)
    spinor("quantize", source(family, torch.float32), dense, *options, "--format", "dense")
    assert "quantization_config" not in json.loads((dense / "config.json").read_text())
    online = card_loader(out)(out, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(dense, dtype=torch.float32).eval()
    # Activations are transformed in float32; weights of the dense one are rounded once more.
    assert difference(logits(plain), logits(online))[0] <= 2e-5


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_online_rotations_alone_are_exact(source, tmp_path, family):
    out = tmp_path / "out"
    spinor("rotate", source(family, torch.float32), out, "--rotations", "R1,R2,R3,R4", "--quiet")
    model = AutoModelForCausalLM.from_pretrained(source(family, torch.float32), dtype=torch.float32).eval()
    assert difference(logits(model), logits(card_loader(out)(out, dtype=torch.float32)))[0] <= 2e-5
    back = tmp_path / "back"
    spinor("rotate", out, back, "--inverse", "--quiet")
    spinor("verify", source(family, torch.float32), back)
    assert (back / "config.json").read_text().find("quantization_config") < 0


@pytest.mark.parametrize(
    "options, client, message",
    [
        (["--rotations", "R4"], "transformers", "drops the online transform R4"),
        (["--scheme", "W4A16_ASYM"], "transformers", "fails to load packed asymmetric weights"),
        (["--rotations", "R3"], "vllm", "has no R3 at q_attn"),
        (["--rotations", "R4", "--quip", "v"], "vllm", "applies one input transform to a linear"),
        (["--scheme", "W4A4"], "vllm", "has no kernel for"),
    ],
)
def test_what_a_named_client_loads_wrongly_is_refused(source, tmp_path, options, client, message):
    scheme = [] if "--scheme" in options else ["--scheme", "W4A16"]
    options = [*scheme, *options, "--for", client]
    assert message in refused("quantize", source("qwen3", torch.float32), tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_the_same_recipe_gives_the_same_bytes(source, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    options = ["--scheme", "W4A16", "--rotations", "R1,R2,R4", "--observer", "mse", "--quiet"]
    spinor("quantize", source("llama", torch.bfloat16), first, *options)
    spinor("quantize", source("llama", torch.bfloat16), again, "--recipe", first / "recipe.yaml", "--quiet")
    for file in ("model.safetensors", "config.json", "recipe.yaml"):
        assert (first / file).read_bytes() == (again / file).read_bytes()


def test_fp8_blocks_as_deepseek_publishes_them_are_read_as_numbers(source, tmp_path):
    tensors, expected = load_file(source("llama", torch.bfloat16) / "model.safetensors"), {}
    for name, weight in list(tensors.items()):
        if not name.endswith("proj.weight"):
            continue
        rows, cols = weight.shape
        blocks = weight.float().view(rows // 128, 128, cols // 128, 128)
        scale = blocks.abs().amax(dim=(1, 3), keepdim=True) / 448
        codes = (blocks / scale).to(torch.float8_e4m3fn)
        tensors[name] = codes.view(rows, cols)
        tensors[name + "_scale_inv"] = scale.view(rows // 128, cols // 128)
        expected[name] = (codes.float() * scale).view(rows, cols).bfloat16()
    model, dense = tmp_path / "fp8", tmp_path / "dense"
    model.mkdir()
    save_file(tensors, model / "model.safetensors")
    config = json.loads((source("llama", torch.bfloat16) / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    (model / "config.json").write_text(json.dumps(config))
    spinor("dequantize", model, dense, "--quiet")
    found = load_file(dense / "model.safetensors")
    assert set(found) == {name for name in tensors if not name.endswith("_scale_inv")}
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name
    assert "quantization_config" not in json.loads((dense / "config.json").read_text())
