"""The programs of examples/ do what they say: transformers loads what they write, and it computes the same."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch

import abc_model
import logits
import tiny_models
import tiny_vision
from command import ROOT, spinor

EXAMPLES = Path(os.environ.get("SPINOR_EXAMPLES", ROOT / "build" / "release" / "examples"))
# Largest logit difference, in standard deviations: float64 rounding, and weights rounded once to float32.
BOUND = {torch.float64: 1e-9, torch.float32: 2e-5}
TYPES = pytest.mark.parametrize("dtype", BOUND, ids=["float64", "float32"])


def example(name, *arguments):
    return subprocess.run([EXAMPLES / name, *map(str, arguments)], capture_output=True, text=True, timeout=600)


def weight_bytes(directory):
    return (directory / "model.safetensors").read_bytes()


def changed(source, out, tensor):
    weights = [safetensors.torch.load_file(path / "model.safetensors")[tensor].double() for path in (source, out)]
    return (weights[0] - weights[1]).abs().max().item() > 1e-3


@TYPES
@pytest.mark.parametrize("shape", tiny_models.SHAPES)
def test_qwen2(tmp_path, tiny, shape, dtype):
    source, expected = tiny("qwen2", shape, dtype)
    done = example("qwen2_5_instruct", source, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert logits.difference(expected, logits.logits(logits.load(tmp_path / "out", dtype)))[0] <= BOUND[dtype]
    for name in ("embed_tokens", "layers.1.self_attn.v_proj", "layers.1.mlp.down_proj"):
        assert changed(source, tmp_path / "out", f"model.{name}.weight")


def test_qwen2_by_matrices_of_ones_own(tmp_path, tiny):
    source, expected = tiny("qwen2", "three_heads", torch.float64)
    sizes = {"R1": 48, "R2.0": 16, "R2.1": 16}
    own = {name: torch.linalg.qr(torch.randn(n, n).double())[0].contiguous() for name, n in sizes.items()}
    safetensors.torch.save_file(own, tmp_path / "own.safetensors")
    done = example("qwen2_5_instruct", source, tmp_path / "out", tmp_path / "own.safetensors")
    assert done.returncode == 0, done.stderr
    rotated = logits.logits(logits.load(tmp_path / "out", torch.float64))
    assert logits.difference(expected, rotated)[0] <= BOUND[torch.float64]
    embeddings = [
        safetensors.torch.load_file(path / "model.safetensors")["model.embed_tokens.weight"]
        for path in (source, tmp_path / "out")
    ]
    torch.testing.assert_close(embeddings[0] @ own["R1"], embeddings[1], rtol=0, atol=1e-12)


@TYPES
@pytest.mark.parametrize("case", tiny_models.MORE_FAMILIES["qwen2_vl"][1])
def test_qwen2_vl(tmp_path, case, dtype):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, "qwen2_vl", case, dtype)
    done = example("qwen2_5_instruct", source, out)
    assert done.returncode == 0, done.stderr
    models = [logits.load(path, dtype) for path in (source, out)]
    inputs = tiny_vision.prompt(models[0])
    expected, rotated = (logits.logits(model, **inputs) for model in models)
    assert logits.difference(expected, rotated)[0] <= BOUND[dtype]


def test_refuses_what_would_not_be_exact(tmp_path):
    tiny_models.save(tmp_path / "source", "gemma2", "tied", torch.float32)
    done = example("qwen2_5_instruct", tmp_path / "source", tmp_path / "out")
    assert done.returncode == 1 and "R1 would change the model: " in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture(params=BOUND, ids=["float64", "float32"])
def abc(request, tmp_path):
    """A saved AbcForCausalLM, and its dtype."""
    model = abc_model.AbcForCausalLM(abc_model.AbcConfig(dtype=request.param)).double()
    tiny_models.randomize(model, torch.Generator().manual_seed(3))
    model.to(request.param).save_pretrained(tmp_path / "abc")
    return tmp_path / "abc", request.param


def abc_logits(directory, dtype):
    model = abc_model.AbcForCausalLM.from_pretrained(directory, dtype=dtype).eval()
    return logits.logits(model)


def test_abc(tmp_path, abc):
    source, dtype = abc
    done = example("rotate_abc", source, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    expected, rotated = (abc_logits(path, dtype) for path in (source, tmp_path / "out"))
    assert expected.std() > 0.1
    assert logits.difference(expected, rotated)[0] <= BOUND[dtype]
    for name in ("embed", "blocks.2.attn.value", "blocks.2.attn.out", "blocks.0.mlp.down", "head"):
        assert changed(source, tmp_path / "out", f"{name}.weight")
    norms = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert all((norms[name] == 1).all() for name in norms if name.endswith("norm.weight"))


# The operations that a program registers act from a recipe as they do from a call.
def test_abc_by_a_recipe(tmp_path, abc):
    source, _ = abc
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        """
        default_stage:
          default_modifiers:
            SpinQuantModifier:
              transform_type: random-hadamard
              mappings: {embedding: embed, attn_q: 're:.*attn.query$', attn_k: 're:.*attn.key$', lm_head: head,
                         attn_v: 're:.*attn.value$', attn_o: 're:.*attn.out$', mlp_in: 're:.*mlp.up$',
                         mlp_out: 're:.*mlp.down$'}
        """
    )
    for out in ([tmp_path / "call"], [tmp_path / "recipe", recipe]):
        done = example("rotate_abc", source, *out)
        assert done.returncode == 0, done.stderr
    assert changed(source, tmp_path / "recipe", "blocks.2.attn.value.weight")
    assert weight_bytes(tmp_path / "recipe") == weight_bytes(tmp_path / "call")

    recipe.write_text(recipe.read_text().rstrip() + "\n              center_embeddings: true\n")
    done = example("rotate_abc", source, tmp_path / "refused", recipe)
    assert done.returncode == 1 and "center_embeddings: does nothing for AbcForCausalLM" in done.stderr


# rotate_model, SpinQuantModifier and the command are names of one thing.
def test_the_call_and_the_command_give_equal_bytes(tmp_path, tiny):
    source, _ = tiny("qwen2", "three_heads", torch.float32)
    done = example("qwen2_5_instruct", source, tmp_path / "call")
    assert done.returncode == 0, done.stderr
    spinor("rotate", source, tmp_path / "command", "--transform-type", "random-hadamard", "--seed", 1, "--quiet")
    assert weight_bytes(tmp_path / "call") == weight_bytes(tmp_path / "command")
    assert (tmp_path / "call/config.json").read_bytes() == (tmp_path / "command/config.json").read_bytes()


# Only the program that registered the operations knows the class.
def test_abc_is_unknown_to_others(tmp_path, abc):
    done = example("qwen2_5_instruct", abc[0], tmp_path / "out")
    assert done.returncode == 1 and "AbcForCausalLM" in done.stderr


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "examples").glob("*.cpp"))])
def test_says_how_it_is_used(name):
    done = example(name)
    assert done.returncode == 2 and re.fullmatch(r"usage: .* MODEL OUT( \[(ROTATIONS|RECIPE)\])?\n", done.stderr)


def test_five_lines_do_what_the_command_does(tmp_path, tiny):
    source, _ = tiny("llama", "power_of_two", torch.float32)
    done = example("rotate_and_quantize", source, tmp_path / "program")
    assert done.returncode == 0, done.stderr
    spinor("quantize", source, tmp_path / "command", "--scheme", "W8A8", "--rotations", "R1,R2")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "program" / file).read_bytes() == (tmp_path / "command" / file).read_bytes()


# What the source runs online goes into the weights first, whoever rotates it.
def test_a_source_with_online_transforms_is_rotated_as_by_command(tmp_path, tiny):
    source, expected = tiny("qwen2", "power_of_two", torch.float64)
    spinor("rotate", source, tmp_path / "online", "--rotations", "R1,R4")
    done = example("qwen2_5_instruct", tmp_path / "online", tmp_path / "program")
    assert done.returncode == 0, done.stderr
    flags = ("--transform-type", "random-hadamard", "--seed", "1")
    spinor("rotate", tmp_path / "online", tmp_path / "command", *flags)
    assert weight_bytes(tmp_path / "program") == weight_bytes(tmp_path / "command")
    rotated = logits.logits(logits.load(tmp_path / "program", torch.float64))
    assert logits.difference(expected, rotated)[0] <= BOUND[torch.float64]
