"""Every family beyond the Llama-like ones: a checkpoint as transformers saves it, sharded, rotated with all that is
legal, computes the same logits in transformers; what is not legal is refused with the reason, and nothing is
written."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import logits
import tiny_models
import tiny_vision
from command import refused, run, spinor

LEGAL = {
    "gemma": "R1,R2", "gemma2": "R2", "gemma3": "R2", "olmo2": "R2", "olmo3": "R2", "exaone4": "R2", "glm4": "R2",
    "glm": "R1,R2", "phi3": "R1,R2", "mixtral": "R1,R2", "qwen2_moe": "R1,R2", "qwen3_moe": "R1,R2", "olmoe": "R1,R2",
    "granitemoe": "R1,R2", "glm4_moe": "R1,R2", "deepseek_v2": "R1,R2", "deepseek_v3": "R1,R2", "gpt_oss": "R1,R2",
    "cohere": "R1,R2",
    "cohere2": "R1,R2", "olmo": "R1,R2", "opt": "R1,R2", "gpt2": "R1,R2", "gpt_neox": "R1,R2", "phi": "R1,R2",
    "stablelm": "R1,R2",
    "falcon": "R1,R2", "starcoder2": "R1,R2", "nemotron": "R1,R2", "gptj": "R1,R2", "codegen": "R1,R2",
    "minicpm3": "R1,R2",
    "qwen3_next": "R1", "qwen3_5": "R1", "qwen2_vl": "R1,R2", "qwen2_5_vl": "R1,R2", "qwen3_vl": "R1,R2",
    "qwen3_5_vl": "R1",
    "gemma3_vl": "R2", "gemma4": "R2",
}  # fmt: skip
# Largest logit difference, in standard deviations: far above the rounding of two layers; weights rounded once. Most are
# below 1e-5; Gemma 4's experts differ by 1.9e-5 with torch's kernels for AVX2, by 2.7e-5 with those for AVX-512.
BOUND = {torch.float64: 1e-9, torch.float32: 5e-5}


RANDOM = ["--transform-type", "random-hadamard", "--quiet"]


def cases():
    for family, rotations in LEGAL.items():
        for case in tiny_models.MORE_FAMILIES[family][1]:
            yield family, case, {"clipped": "R1", "norm last": "R2"}.get(case.removeprefix("tied and "), rotations)


@pytest.mark.parametrize("dtype", BOUND, ids=["float64", "float32"])
@pytest.mark.parametrize("family, case, rotations", list(cases()))
def test_rotation_keeps_the_logits(tmp_path, family, case, rotations, dtype):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, case, dtype, max_shard_size="60KB")
    spinor("rotate", source, out, "--rotations", rotations, "--transform-type", "random-hadamard", "--quiet")
    assert difference(source, out, dtype) <= BOUND[dtype]
    assert "is the same function as" in spinor("verify", source, out)


# As these are published: without a prefix, GPT-2 with the masks of its layers.
@pytest.mark.parametrize("family, case, prefix", [("gpt2", "tied", "transformer."), ("opt", "tied", "model.")])
def test_files_without_a_prefix(tmp_path, family, case, prefix):
    source, bare, out = (tmp_path / name for name in ("source", "bare", "out"))
    tiny_models.save(source, family, case, torch.float64)
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors_of(source).items()}
    if family == "gpt2":
        tensors |= {f"h.{layer}.attn.bias": torch.tril(torch.ones(1, 1, 64, 64)) for layer in range(2)}
    bare.mkdir()
    save_file(tensors, bare / "model.safetensors", metadata={"format": "pt"})
    (bare / "config.json").write_text((source / "config.json").read_text())
    spinor("rotate", bare, out, "--rotations", "R1,R2", "--transform-type", "random-hadamard", "--quiet")
    assert difference(source, out, torch.float64) <= BOUND[torch.float64]


def tensors_of(folder):
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("family, case, rotations",
                         [case for case in cases() if case[1] == next(iter(tiny_models.MORE_FAMILIES[case[0]][1]))])
def test_verify_finds_each_tensor_that_was_forgotten(tmp_path, family, case, rotations):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, case, torch.float32)
    spinor("rotate", source, out, "--rotations", rotations, "--transform-type", "random-hadamard", "--quiet")
    before, after = tensors_of(source), tensors_of(out)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(changed) >= 4
    for name in changed:
        save_file(after | {name: before[name]}, out / "model.safetensors", metadata={"format": "pt"})
        assert run("verify", source, out).returncode == 1, f"{name} of the source was not found in the output"


@pytest.mark.parametrize("dtype", BOUND, ids=["float64", "float32"])
@pytest.mark.parametrize("family, case",
                         [(f, c) for f, c, _ in cases() if f in tiny_models.VISION and f != "gemma3_vl"])
def test_the_vision_tower_rotates_too(tmp_path, family, case, dtype):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, case, dtype)
    spinor("rotate", source, out, "--rotations", "R1", "--vision", "--transform-type", "random-hadamard", "--quiet")
    assert difference(source, out, dtype) <= BOUND[dtype]
    edits = spinor("plan", source, "--rotations", "R1", "--vision", "--transform-type", "random-hadamard")
    assert edits.count("R1_vision") >= 8
    assert "is the same function as" in spinor("verify", source, out)


def test_a_tower_that_cannot_be_rotated_says_why(tmp_path):
    source = tiny_models.save(tmp_path / "source", "gemma3_vl", "tied", torch.float32)
    message = refused("rotate", source, tmp_path / "out", "--rotations", "R2", "--vision", *RANDOM)
    assert "R1 of the vision tower would change the model: vision_tower.post_layernorm scales" in message
    assert [line for line in spinor("inspect", source).splitlines() if "R1_vision" in line and "no: " in line]


# The projection of the images is stored transposed, and writes to the residual stream.
@pytest.mark.parametrize("case", ["tied", "untied"])
def test_constant_output_norms_let_r1_pass_images_too(tmp_path, case):
    source, out = tmp_path / "source", tmp_path / "out"
    model = tiny_models.make("gemma3_vl", case, torch.float64)
    for name, parameter in model.named_parameters():
        if name.endswith(("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")):
            parameter.data.fill_(0.25)
    model.save_pretrained(source)
    spinor("rotate", source, out, "--rotations", "R1,R2", *RANDOM)
    assert difference(source, out, torch.float64) <= BOUND[torch.float64]
    name = "multi_modal_projector.mm_input_projection_weight"
    assert not torch.equal(tensors_of(source)[name], tensors_of(out)[name])
    assert "is the same function as" in spinor("verify", source, out)
    save_file(tensors_of(out) | {name: tensors_of(source)[name]}, out / "model.safetensors", {"format": "pt"})
    assert run("verify", source, out).returncode == 1


def test_a_model_without_a_vision_tower_is_refused(tmp_path):
    tiny_models.save(tmp_path / "source", "phi", "plain", torch.float32)
    assert "has no vision tower" in refused("rotate", tmp_path / "source", tmp_path / "out", "--vision")


def difference(source, out, dtype):
    """Of the logits, those of a prompt with images if the model sees them."""
    models = [logits.load(path, dtype) for path in (source, out)]
    inputs = tiny_vision.prompt(models[0]) if hasattr(models[0].config, "vision_config") else {}
    return logits.difference(*(logits.logits(model, **inputs) for model in models))[0]


REFUSED = [(f, c, r) for f, c, rotations in cases() for r in ("R1", "R2") if r not in rotations.split(",")]


@pytest.mark.parametrize("family, case, rotation", REFUSED)
def test_what_is_not_exact_is_refused_with_what_is(tmp_path, family, case, rotation):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, case, torch.float32)
    result = run("rotate", source, out, "--rotations", rotation, "--transform-type", "random-hadamard")
    assert result.returncode == 1 and f"{rotation} would change the model: " in result.stderr
    assert "possible are: --rotations R" in result.stderr
    assert not out.exists()


def test_routers_are_not_quantized(tmp_path):
    tiny_models.save(tmp_path / "source", "qwen2_moe", "plain", torch.float32)
    spinor("quantize", tmp_path / "source", tmp_path / "out", "--scheme", "W8A8", "--quiet")
    ignore = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]["ignore"]
    assert {"model.layers.0.mlp.gate", "model.layers.0.mlp.shared_expert_gate", "lm_head"} <= set(ignore)


# A check of the written bytes, expert by expert.
def test_verify_checks_experts(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, "mixtral", "plain", torch.float32)
    spinor("rotate", source, out, "--transform-type", "random-hadamard", "--quiet")
    assert "is the same function as" in spinor("verify", source, out)
