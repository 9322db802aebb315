"""The runtime computes what transformers computes: logits of every family, at once and step by step with the cache."""

import json
import os
import subprocess
from pathlib import Path

import numpy
import pytest
import torch

from command import spinor
from logits import difference, load, logits
from rotated_families_test import cases
from tiny_models import FAMILIES, MORE_FAMILIES, make, save

LOGITS = Path(os.environ.get("SPINOR_LOGITS", ""))

# Of the logits' standard deviation. float64: the rounding of two layers. float32: that of both sides.
BOUND = {torch.float64: 1e-9, torch.float32: 2e-5}
TOKENS = torch.randint(3, 72, (3, 40), generator=torch.Generator().manual_seed(2))

# Families that are not built like Llama: all cases of tiny models, by what the runtime has to do for them.
FUSED = ["phi3", "glm", "glm4"]
OUTPUT_NORMS = ["gemma", "gemma2", "gemma3", "olmo2", "olmo3", "exaone4"]
LAYER_NORMS = ["cohere", "cohere2", "olmo", "stablelm", "phi", "starcoder2", "nemotron"]
LAYER_NORMS += ["gpt_neox", "gpt2", "opt", "falcon", "gptj", "codegen"]
EXPERTS = ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "glm4_moe", "gpt_oss"]
LATENT = ["deepseek_v2", "deepseek_v3", "minicpm3"]
LINEAR = ["qwen3_next", "qwen3_5"]
VISION = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5_vl", "gemma3_vl"]  # on text
RUN = FUSED + OUTPUT_NORMS + LAYER_NORMS + EXPERTS + LATENT + LINEAR + VISION
MORE = [(family, case) for family in RUN for case in MORE_FAMILIES[family][1]]

# What changes the forward pass but no tensor.
VARIANTS = {
    "llama linear": ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "llama dynamic": ("llama",
                      {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}, "max_position_embeddings": 16}),
    "llama yarn": (
        "llama",
        {
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "beta_fast": 4,
                "beta_slow": 0.5,
                "original_max_position_embeddings": 16,
            }
        },
    ),
    "llama llama3": (
        "llama",
        {
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
    ),
    "llama theta": ("llama", {"rope_theta": 500.0, "rms_norm_eps": 1e-2, "hidden_act": "gelu"}),
    "mistral without window": ("mistral", {"sliding_window": None}),
    "qwen2 window": ("qwen2", {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}),
    "qwen3 window": ("qwen3", {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}),
    "smollm3 window": ("smollm3", {"use_sliding_window": True, "sliding_window": 7}),
}


def computed(directory, dtype, tmp_path, how="all", tokens=TOKENS):
    ids, out = tmp_path / "tokens.json", tmp_path / "logits"
    ids.write_text(json.dumps(tokens.tolist()))
    done = subprocess.run(
        [LOGITS, directory, ids, str(dtype).removeprefix("torch."), out, how], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return torch.from_numpy(numpy.fromfile(out)).reshape(*tokens.shape, -1)


@pytest.mark.parametrize("dtype", BOUND, ids=["float64", "float32"])
@pytest.mark.parametrize("shape", ["three_heads", "wide_heads"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(tiny, tmp_path, family, shape, dtype):
    source, _ = tiny(family, shape, dtype)
    expected = logits(load(source, dtype), TOKENS)
    for how in ("all", "steps"):
        assert difference(expected, computed(source, dtype, tmp_path, how))[0] <= BOUND[dtype], how


def ways(case):
    """With a cache, keys keep the frequencies of the length at which they were made, and so differ from all at once."""
    return ("all",) if case in ("long rope", "llama dynamic") else ("all", "steps")


def expected_logits(source, dtype, case):
    # Eager attention of transformers adds alibi twice, to the mask and to the scores.
    model = load(source, dtype, "sdpa" if case == "alibi" else "eager")
    polar = torch.polar
    try:  # DeepSeek-V2: in float32, torch.polar rounds otherwise than the cosine that all others use
        torch.polar = lambda radius, angle: torch.complex(radius * angle.cos(), radius * angle.sin())
        return logits(model, TOKENS)
    finally:
        torch.polar = polar


@pytest.mark.parametrize("dtype", BOUND, ids=["float64", "float32"])
@pytest.mark.parametrize("family, case", MORE)
def test_logits_of_other_families(tmp_path, family, case, dtype):
    source = save(tmp_path / "source", family, case, dtype)
    expected = expected_logits(source, dtype, case)
    for how in ways(case):
        assert difference(expected, computed(source, dtype, tmp_path, how))[0] <= BOUND[dtype], how


@pytest.mark.parametrize("family, case, rotations", [case for case in cases() if case[0] in RUN])
def test_rotations_keep_the_logits_of_other_families(tmp_path, family, case, rotations):
    source, out = save(tmp_path / "source", family, case, torch.float64), tmp_path / "out"
    online = "R4" if family in LATENT else "R3,R4"
    spinor(
        "rotate", source, out, "--rotations", f"{rotations},{online}", "--transform-type", "random-hadamard", "--quiet"
    )
    expected = expected_logits(source, torch.float64, case)
    for how in ways(case):
        assert difference(expected, computed(out, torch.float64, tmp_path, how))[0] <= 1e-9, how


@pytest.mark.parametrize("name", VARIANTS)
def test_what_config_json_says_of_the_forward_pass(tmp_path, name):
    family, settings = VARIANTS[name]
    make(family, "wide_heads", torch.float64, **settings).save_pretrained(tmp_path / "model")
    model = load(tmp_path / "model", torch.float64)
    expected = logits(model, TOKENS)
    for how in ways(name):
        assert difference(expected, computed(tmp_path / "model", torch.float64, tmp_path, how))[0] <= 1e-9, how
    neutral = make(family, "wide_heads", torch.float64)
    if "without" not in name:
        assert difference(expected, logits(neutral, TOKENS))[0] > 1e-3  # the setting is not without effect


@pytest.mark.parametrize("family", FAMILIES)
def test_online_rotations_keep_the_logits(tiny, tmp_path, family):
    source, _ = tiny(family, "power_of_two", torch.float64)
    expected = logits(load(source, torch.float64), TOKENS)
    spinor("rotate", source, tmp_path / "out", "--rotations", "R1,R2,R3,R4", "--quiet")
    for how in ("all", "steps"):
        assert difference(expected, computed(tmp_path / "out", torch.float64, tmp_path, how))[0] <= 1e-9, how


def test_quip_keeps_the_logits(tiny, tmp_path):
    source, _ = tiny("llama", "three_heads", torch.float64)
    expected = logits(load(source, torch.float64), TOKENS)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("default_stage: {default_modifiers: {QuIPModifier: {rotations: [v, u]}}}")
    spinor("quantize", source, tmp_path / "out", "--recipe", recipe, "--quiet")
    assert difference(expected, computed(tmp_path / "out", torch.float64, tmp_path))[0] <= 1e-9


NARROW = [("qwen3", "wide_heads"), ("gemma2", "tied"), ("falcon", "groups"), ("qwen2_moe", "plain"),
          ("gpt_oss", "plain")]
NARROW += [("deepseek_v3", "plain"), ("qwen3_next", "plain"), ("cohere", "tied"), ("phi3", "long rope")]


@pytest.mark.parametrize("family, case", NARROW)
def test_bfloat16_is_as_near_as_that_of_transformers(tiny, tmp_path, family, case):
    source, _ = tiny(family, case, torch.float32)
    expected = logits(load(source, torch.float32), TOKENS)
    theirs = difference(expected, logits(load(source, torch.bfloat16), TOKENS))[1]
    assert difference(expected, computed(source, torch.bfloat16, tmp_path))[1] <= 1.5 * theirs
