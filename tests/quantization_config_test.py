"""The quantization_config of a checkpoint is the one that llm-compressor writes for the same recipe and the same model.

The goldens are made by tests/golden/make_quantization_config.py, which brings them to the form of compressed-tensors
0.20.
"""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from command import ROOT, spinor

GOLDEN = ROOT / "tests" / "golden"
ROWS = json.loads((GOLDEN / "quantization/blocks.json").read_text())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("llama")
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "transforms/llama", dtype=torch.float32)
    model.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("row", ROWS, ids=lambda row: json.dumps(row["fields"])[:60])
def test_the_block_is_the_peers(row, source, tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"q_stage": {"q_modifiers": {"QuantizationModifier": row["fields"]}}}))
    spinor("quantize", source, tmp_path / "out", "--recipe", recipe)
    block = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    assert block.pop("version") == "0.20.0"
    # vLLM takes the head by its name alone, so that a head that is quantized is named beside its class.
    for group in block["config_groups"].values():
        if "Linear" in group["targets"] and "lm_head" in group["targets"]:
            group["targets"].remove("lm_head")
    assert block == row["block"]
