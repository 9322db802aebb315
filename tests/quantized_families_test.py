"""Every family that transformers loads quantized: rotated with all that is legal, quantized, and the same as its dense
form."""

import json

import pytest
import torch

import logits
import tiny_models
import tiny_vision
from command import refused, spinor
from rotated_families_test import LEGAL
from runtime_test import computed, expected_logits

# transformers stacks the experts of a mixture while it loads, and cannot do so with quantized ones; GPT-2 has no
# linears that a format could hold.
NOT_LOADED = {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "glm4_moe", "deepseek_v2", "deepseek_v3",
              "gpt_oss",
              "qwen3_next", "gpt2"}  # fmt: skip
FAMILIES = [family for family in LEGAL if family not in NOT_LOADED]
INT4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 4}
INT8 = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
TOKENS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}


# transformers gives SigLIP's linears random weights first, and packed ones have none.
LEFT_OUT = {"gemma3_vl": ["re:.*vision_tower.*"]}


def quantize(tmp_path, family, group):
    """The quantized checkpoint, and its dense form."""
    tiny_models.save(tmp_path / "source", family, next(iter(tiny_models.MORE_FAMILIES[family][1])), torch.float32)
    for name, extra in (("packed", {}), ("dense", {"format": "dense"})):
        group_0 = {"targets": ["Linear"], **group, **extra}
        modifiers = {
            "SpinQuantModifier": {"rotations": LEGAL[family].split(","), "transform_type": "random-hadamard"},
            "QuantizationModifier": {"ignore": ["lm_head", *LEFT_OUT.get(family, [])],
                                     "config_groups": {"group_0": group_0}},
        }
        recipe = tmp_path / f"{name}.json"
        recipe.write_text(json.dumps({"default_stage": {"default_modifiers": modifiers}}))
        spinor("quantize", tmp_path / "source", tmp_path / name, "--recipe", recipe, "--quiet")
    return tmp_path / "packed", tmp_path / "dense"


def quantized(tmp_path, family, group):
    """(largest, rms) difference of the logits between the quantized checkpoint and its dense form, in transformers."""
    models = [logits.load(folder, torch.float32) for folder in quantize(tmp_path, family, group)]
    inputs = tiny_vision.prompt(models[0]) if hasattr(models[0].config, "vision_config") else {}
    return logits.difference(*(logits.logits(model, **inputs) for model in models))


# FalconLinear multiplies by a weight that is not there when it is packed.
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "falcon"])
def test_packed_weights_compute_what_dense_ones_do(tmp_path, family):
    assert quantized(tmp_path, family, {"weights": INT4})[0] <= 2e-5  # the same weights, as in rotated_families_test.py


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_in_8_bits_change_little(tmp_path, family):
    largest, rms = quantized(tmp_path, family, {"weights": INT8, "input_activations": TOKENS})
    assert 1e-4 < rms < 0.05 and largest < 0.3  # 8 bits a token: 0.4 % of its largest entry; two layers


@pytest.mark.parametrize("family", sorted(NOT_LOADED - {"granitemoe", "gpt_oss", "gpt2"}))
def test_mixtures_run_here_as_their_dense_form_does_in_transformers(tmp_path, family):
    packed, dense = quantize(tmp_path, family, {"weights": INT4})
    expected = expected_logits(dense, torch.float32, "plain")
    assert logits.difference(expected, computed(packed, torch.float32, tmp_path))[0] <= 2e-5  # as in runtime_test.py


def test_the_head_of_gpt_neox_has_the_name_it_has_in_memory(tmp_path):
    tiny_models.save(tmp_path / "source", "gpt_neox", "parallel", torch.float32)
    spinor("quantize", tmp_path / "source", tmp_path / "out", "--scheme", "W8A8", "--quiet")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_config"]["ignore"] == ["lm_head"]


def test_what_is_ignored_has_the_name_it_has_in_memory(tmp_path):
    tiny_models.save(tmp_path / "source", "qwen2_vl", "untied", torch.float32)
    for pattern in ("re:visual.*", "re:model.visual.*"):
        out = tmp_path / pattern[3:8]
        spinor("quantize", tmp_path / "source", out, "--scheme", "W8A8", "--ignore", f"lm_head,{pattern}", "--quiet")
        ignore = json.loads((out / "config.json").read_text())["quantization_config"]["ignore"]
        assert "model.visual.blocks.0.attn.qkv" in ignore and "lm_head" in ignore
        logits.load(out, torch.float32)


def test_a_model_without_linears_is_refused(tmp_path):
    tiny_models.save(tmp_path / "source", "gpt2", "tied", torch.float32)
    message = refused("quantize", tmp_path / "source", tmp_path / "out", "--scheme", "W8A8")
    assert "no weight would be quantized" in message and "Conv1D" in message
