"""`verify --random-tokens` runs both models: sound outputs pass, damage is found where it is."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_models
from command import refused, run, spinor, spinor_json
from quantize_client_test import SHAPES  # noqa: F401  adds the shape "quantizable"
from spoken_model import speak

RANDOM = ["--transform-type", "random-hadamard", "--quiet"]
RUN = ["--random-tokens", 32]
ROTATIONS = {"R1R2": "R1,R2", "R1R2R3R4": "R1,R2,R3,R4"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A source in a dtype, and what a rotation makes of it; each made once."""
    done = {}

    def get(dtype, rotations):
        directory = tmp_path_factory.getbasetemp() / f"forward-{dtype}"
        if dtype not in done:
            tiny_models.save(directory / "source", "llama", "wide_heads", getattr(torch, dtype))
            done[dtype] = set()
        if rotations not in done[dtype]:
            out = directory / rotations
            spinor("rotate", directory / "source", out, "--rotations", ROTATIONS[rotations], *RANDOM)
            done[dtype].add(rotations)
        return directory / "source", directory / rotations

    return get


def damaged(tmp_path, out, name, change):
    copy = tmp_path / "damaged"
    shutil.copytree(out, copy)
    tensors = load_file(copy / "model.safetensors")
    tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    return copy


@pytest.mark.parametrize("rotations", ROTATIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sound_outputs_pass(made, dtype, rotations):
    source, out = made(dtype, rotations)
    result = spinor_json("verify", source, out, *RUN)
    forward, bound = result["forward"], 64 * {"float32": 2**-24, "bfloat16": 2**-9}[dtype]
    assert result["passed"] and forward["passed"]
    assert forward["bound"] == pytest.approx(bound, rel=1e-12)
    assert len(forward["layers"]) == 2 and max(forward["layers"]) <= bound and forward["logits_rms"] <= bound
    # What runs online is not probed when it is run; config.json is compared all the same.
    assert ([check["what"] for check in result["checks"]] == ["config"]) == (rotations == "R1R2R3R4")
    assert spinor("verify", source, out, *RUN).endswith(f"{out} is the same function as {source}\n")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layer", [0, 1])
def test_the_first_damaged_layer_is_named(made, tmp_path, dtype, layer):
    source, out = made(dtype, "R1R2R3R4")
    bad = damaged(tmp_path, out, f"model.layers.{layer}.mlp.down_proj.weight", lambda weight: -weight)
    message = refused("verify", source, bad, *RUN, "--quiet")
    assert re.fullmatch(
        rf"{bad}: layer {layer} is the first whose residual stream is not a rotation of the source's "
        r"\(error \d\.\de[-+]\d\d, bound \d\.\de-\d\d\)",
        message,
    ), message


def test_one_wrong_element_is_found(made, tmp_path):
    source, out = made("float32", "R1R2R3R4")

    def negate_one(weight):
        weight[3, 5] = -weight[3, 5]
        return weight

    bad = damaged(tmp_path, out, "model.layers.1.self_attn.v_proj.weight", negate_one)
    assert ": layer 1 is the first whose" in refused("verify", source, bad, *RUN, "--quiet")
    done = run("verify", source, bad, *RUN, "--json")
    assert done.returncode == 1 and '"passed": false' in done.stdout


@pytest.mark.parametrize("name", ["lm_head.weight", "model.norm.weight"])
def test_a_damaged_head_is_told_from_the_layers(made, tmp_path, name):
    source, out = made("float32", "R1R2R3R4")
    bad = damaged(tmp_path, out, name, lambda weight: -weight)
    message = refused("verify", source, bad, *RUN, "--quiet")
    assert message.startswith(f"{bad}: the layers agree, the logits do not: rms ")
    assert message.endswith("; the final norm or the head is wrong")


def test_a_wrong_online_matrix_is_found(made, tmp_path):
    """R4's, which acts on the input of down_proj: with two rows swapped, and with one of another sign."""
    source, out = made("float32", "R1R2R3R4")
    name = next(name for name in load_file(out / "model.safetensors") if "down_proj.R4" in name)

    def swap(matrix):
        matrix[[0, 1]] = matrix[[1, 0]]
        return matrix

    def negate(matrix):
        matrix[3] = -matrix[3]
        return matrix

    swapped = refused("verify", source, damaged(tmp_path / "swapped", out, name, swap), *RUN, "--quiet")
    assert f"{name}: is not a Hadamard matrix with signs: row 0" in swapped
    negated = refused("verify", source, damaged(tmp_path / "negated", out, name, negate), *RUN, "--quiet")
    assert ": layer 0 is the first whose residual stream" in negated


def test_a_quantized_output_gets_figures(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, "llama", "quantizable", torch.float32, tie_word_embeddings=False)
    spinor("quantize", source, out, "--scheme", "W4A16", "--rotations", "R1,R2,R3,R4", *RANDOM)
    forward = spinor_json("verify", source, out, *RUN)["forward"]
    assert "bound" not in forward and forward["passed"]
    assert forward["kl_divergence"] > 1e-4 and forward["logits_rms"] > 1e-2
    printed = spinor("verify", source, out, *RUN)
    assert "run on 32 tokens: logits differ by" in printed and "same function" not in printed
    assert "give --text FILE or --random-tokens 64: then both are run" in refused("verify", source, out)


def test_a_text_does_as_well(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, "qwen3", "power_of_two", torch.float32, vocab_size=400)
    speak(source)
    spinor("rotate", source, out, "--rotations", "R1,R2,R3,R4", *RANDOM)
    text = tmp_path / "text.txt"
    text.write_text("They went up the hill, the old man first. " * 50)
    printed = spinor("verify", source, out, "--text", text)
    assert "\nrun on 256 tokens" in printed and printed.endswith(f"is the same function as {source}\n")
    text.write_text("x")
    assert refused("verify", source, out, "--text", text) == "text: has fewer than two tokens"


def test_another_model_is_refused(made, tmp_path):
    source, out = made("float32", "R1R2R3R4")
    tiny_models.save(tmp_path, "llama", "wide_heads", torch.float32, vocab_size=80)
    assert refused("verify", tmp_path, out, *RUN) == (
        f"{out}: has 2 layers and 72 tokens, the source 2 and 80; compare a model with the one it was made from"
    )


# float32 leaves all choices of two layers alone; a router that is not the source's does not.
def test_experts_chosen_otherwise_are_counted(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, "mixtral", "plain", torch.float32)
    spinor("rotate", source, out, *RANDOM)
    sound = spinor_json("verify", source, out, *RUN)["forward"]
    assert sound["tokens_rerouted"] == 0 and sound["choices_changed"] == 0
    assert "0.00 % of the tokens chose other experts" in spinor("verify", source, out, *RUN)
    name = "model.layers.1.block_sparse_moe.gate.weight"
    wrong = damaged(tmp_path, out, name, lambda weight: weight.roll(1, 0))
    report = run("verify", source, wrong, *RUN, "--json")
    assert report.returncode == 1
    forward = json.loads(report.stdout)["forward"]
    assert forward["tokens_rerouted"] > 0.3 and 0 < forward["choices_changed"] <= forward["tokens_rerouted"]
