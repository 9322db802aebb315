"""Whole recipes, as llm-compressor saved them: the same model gives the same config.json, tensors, and codes.

The goldens are made by tests/golden/make_quantized.py. Centring and arithmetic are switched to llm-compressor's way.
What remains is that it rounds a weight to the model's dtype after every step of a rotation, and spinor once: an element
moves by 2^-24 or, in bfloat16, 2^-8 of its size, so that a code next to a tie becomes its neighbour.
"""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from command import ROOT, spinor

GOLDEN = ROOT / "tests" / "golden"
# The share of codes that may differ where there is a rotation. In bfloat16 a weight is off by up to 2^-8 of itself,
# which is half a step of int8 or FP8 for the largest ones, and an eighth of one of int4 or FP4.
ALLOWED = {"float32": {4: 0.002, 8: 0.002}, "bfloat16": {4: 0.01, 8: 0.1}}
# How far scales may be apart, of their size: roundings of the model's dtype; with mse, whose errors are nearly equal
# over some steps of its grid of 100, five steps more; one step of E4M3, or, for E8M0, a power of two.
APART = {"float32": 1e-5, "bfloat16": 2.0**-6}
MSE_APART, E4M3_APART = 0.05, 2.0**-3
COMPAT = {
    "SpinQuantModifier": ["compat: llm-compressor", "center_embeddings: true"],
    "QuantizationModifier": ["compat: llm-compressor"],
}


def golden(dtype):
    """The file's metadata, and {recipe or "source": {name: tensor}}."""
    sets = {}
    with safe_open(GOLDEN / f"quantized_{dtype}.safetensors", "pt") as file:
        for key in file.keys():
            name, tensor = key.split("/")
            sets.setdefault(name, {})[tensor] = file.get_tensor(key)
        return file.metadata(), sets


GOLDENS = {dtype: golden(dtype) for dtype in ALLOWED}
NAMES = sorted(GOLDENS["float32"][1].keys() - {"source"})


def run(work, dtype, text):
    """OUT of the recipe on the golden's source."""
    metadata, sets = GOLDENS[dtype]
    (work / "source").mkdir()
    (work / "source/config.json").write_text(metadata["config.json"])
    save_file(sets["source"], work / "source/model.safetensors", metadata={"format": "pt"})
    (work / "recipe.yaml").write_text(text)
    spinor("quantize", work / "source", work / "out", "--recipe", work / "recipe.yaml", "--quiet")
    return work / "out"


def the_peers_way(text):
    """The recipe with our switches in it; as text, because its tags are llm-compressor's."""
    for modifier, fields in COMPAT.items():
        text = text.replace(f"    {modifier}:\n",
                            f"    {modifier}:\n" + "".join(f"      {field}\n" for field in fields))
    return text


def block_of(text):
    """What of a quantization_config is to be equal: spinor stores transforms in the model's dtype, with that
    precision."""
    block = json.loads(text)
    del block["version"]
    block.pop("moe_sparsity_config", None)  # newer than the golden, null
    for scheme in block["config_groups"].values():
        scheme["weights"].pop("zp_dtype", None)  # the golden leaves the default out, torch.int8
    for scheme in block.get("transform_config", {}).get("config_groups", {}).values():
        del scheme["precision"]
    return block


def codes(name, tensor):
    """The codes, or numbers, one an element."""
    flat = tensor.flatten().view(torch.uint8) if name.endswith("_packed") else tensor.flatten()
    return torch.cat([flat & 15, flat >> 4]) if name.endswith("_packed") else flat.float()


def is_transform(name, tensor):
    return tensor.dtype == torch.int8 and not name.endswith("proj.weight")


def assert_near(mine, value, apart, name):
    if value.dtype == torch.uint8:
        assert (mine.int() - value.int()).abs().max() <= 1, name
    else:
        apart = E4M3_APART if value.dtype == torch.float8_e4m3fn else apart
        assert torch.allclose(mine.float(), value.float(), rtol=apart, atol=0), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ALLOWED)
def test_a_saved_recipe_gives_what_llm_compressor_saved_with_it(tmp_path, dtype, name):
    metadata, sets = GOLDENS[dtype]
    out = run(tmp_path, dtype, the_peers_way(metadata[f"{name}/recipe.yaml"]))
    block = json.dumps(json.loads((out / "config.json").read_text())["quantization_config"])
    assert block_of(block) == block_of(metadata[f"{name}/quantization_config"])
    ours, expected = load_file(out / "model.safetensors"), sets[name]
    assert ours.keys() == expected.keys()
    count = total = 0
    for tensor, value in expected.items():
        mine = ours[tensor]
        assert mine.shape == value.shape, tensor
        if is_transform(tensor, value):
            assert mine.dtype == getattr(torch, dtype) and torch.equal(mine.to(torch.int8), value), tensor
            continue
        assert mine.dtype == value.dtype, tensor
        if tensor.endswith("_scale"):
            assert_near(mine, value, APART[dtype] + MSE_APART * ("mse" in name), tensor)
        elif tensor.endswith(("_packed", "proj.weight")):
            count += int((codes(tensor, mine) != codes(tensor, value)).sum())
            total += codes(tensor, value).numel()
        elif tensor not in ("lm_head.weight", "model.embed_tokens.weight"):  # llmcompressor_golden_test.py has these
            assert torch.equal(mine, value), tensor
    print(f"{dtype}, {name}: {count} of {total} codes differ")
    bits = 8 if "8" in name else 4
    assert count <= (ALLOWED[dtype][bits] * total if "R" in name or "Q" in name else 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_recipe_runs_as_it_is(tmp_path, name):
    metadata, _ = GOLDENS["float32"]
    run(tmp_path, "float32", metadata[f"{name}/recipe.yaml"])
