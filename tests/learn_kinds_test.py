"""Kinds of learned rotations beside a whole R1: blocks of R1 for FP4, and QuIP's v for each linear on what it reads."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from command import refused, spinor
from learned_models import (
    BOUND,
    CONTEXT,
    HARD,
    LEARNED,
    LEARNING,
    difference,
    gptq,
    recipe,
    record,
    rotate,
    rotations,
    same_bytes,
    spin,
    text,
)
from logits import difference as distance
from logits import load, logits
from quip_test import card_loader

FP4 = HARD | {"objective": "quantization", "kv_bits": 16, "first_token": 1, "batch": 256, "steps": 100}


@pytest.mark.parametrize("scheme", ["NVFP4", "MXFP4"])
def test_a_block_of_r1_is_learned_for_the_fp4_quantizer_of_the_recipe(source, tmp_path, scheme):
    """Judged by that quantizer, too: nothing is replaced by integers."""
    model, out, size = source("qwen2"), tmp_path / "out", 16 if scheme == "NVFP4" else 32
    blocks = {"rotations": ["R1"], "transform_type": "random-hadamard", "transform_block_size": size}
    steps = recipe(tmp_path / "recipe.json", spin(**blocks, learning=FP4),
                   ("GPTQModifier", {"targets": "Linear", "ignore": ["lm_head"], "scheme": scheme}))
    options = ["--calibration", text(tmp_path), "--calibration-samples", 4, "--calibration-context", CONTEXT]
    done = rotate(model, out, steps, *options, command="quantize")
    assert done.returncode == 0, done.stderr
    assert "is judged with integers" not in done.stderr
    found = record(out)
    assert (found["activation_bits"], found["kv_bits"]) == (4, 16)
    assert found["held_out"]["R1"]["loss"] < found["held_out"]["R1"]["loss_at_start"]
    # Blocks of 16, as long as NVFP4's groups, gain little: on some machines' arithmetic nothing in the whole network.
    better = found["held_out"]["kl_divergence_with_R1"] < found["start"]["kl_divergence"]
    assert ("R1" in found["kept"]) == better and (better or scheme == "NVFP4")
    if not better:
        return
    assert rotations(out / LEARNED)["R1"].shape == (size, size)

    spinor("rotate", model, tmp_path / "rotated", "--rotation", out / LEARNED, "--rotations", "R1", "--quiet")
    assert difference(model, tmp_path / "rotated", torch.float32) <= BOUND[torch.float32]
    spinor("verify", model, tmp_path / "rotated")


def quip(bits=2, **arguments):
    """Judged with the bits at which the tiny model has most to gain."""
    learning = {"learnable": True, "learning": HARD | {"learning_rate": 0.005, "activation_bits": bits}}
    return "QuIPModifier", {**learning, **arguments}


# Blocks; the whole side, also of a size that is no power of two.
SHAPES = {"power_of_two": {"transform_block_size": 16}, "three_heads": {"transform_type": "auto-random"}}
# What reads the same shares a matrix; experts have their own.
SETS = ["self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"]


@pytest.fixture(scope="module", params=SHAPES)
def learned(request, source, tmp_path_factory):
    """With v of every linear learned: the source, OUT, and its recipe."""
    directory = tmp_path_factory.mktemp("quip")
    model, out = source("llama", torch.float64, request.param), directory / "out"
    steps = recipe(directory / "recipe.json", quip(**SHAPES[request.param]))
    done = rotate(model, out, steps, "--calibration", text(directory))
    assert done.returncode == 0, done.stderr
    assert record(out)["kept"] == ["v"]
    return model, out, steps


def test_v_is_learned_for_each_set_of_linears_that_read_the_same(learned):
    model, out, _ = learned
    found, sizes = rotations(out / LEARNED), load_file(model / "model.safetensors")
    assert set(found) == {f"v.model.layers.{i}.{name}" for i in range(2) for name in SETS}
    for name, matrix in found.items():
        inputs = sizes[name.removeprefix("v.") + ".weight"].shape[1]
        assert len(matrix) in (16, inputs)
    held_out = record(out)["held_out"]["v"]
    assert held_out["inputs"] == 8 and held_out["loss"] < held_out["loss_at_start"]
    assert record(out)["rotations"] == ["v"] and record(out)["scales"] == []


def test_with_what_runs_online_it_is_the_function_of_the_source(learned):
    """By the code of OUT's model card, which is compressed-tensors': a group for each matrix."""
    model, out, _ = learned
    online = card_loader(out)(out, dtype=torch.float64, attn_implementation="sdpa")
    expected = logits(load(model, torch.float64))
    assert distance(expected, logits(online))[0] <= BOUND[torch.float64]
    transformers.logging.set_verbosity_error()
    plain = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float64, attn_implementation="eager")
    assert distance(expected, logits(plain.eval()))[0] > 1e-3  # without it is another
    groups = json.loads((out / "config.json").read_text())["quantization_config"]["transform_config"]["config_groups"]
    assert [name for name in groups if name.startswith("v_")] == [f"v_{i}" for i in range(8)]
    assert {scheme["type"] for scheme in groups.values()} == {"random-matrix"}


def test_it_is_verified_undone_and_made_again(learned, tmp_path):
    model, out, _ = learned
    spinor("verify", model, out)
    spinor("verify", model, out, "--random-tokens", 32, "--quiet")
    spinor("rotate", out, tmp_path / "back", "--inverse", "--quiet")
    assert difference(model, tmp_path / "back", torch.float64) <= BOUND[torch.float64]
    again = tmp_path / "again"
    spinor("rotate", model, again, "--recipe", out / "recipe.yaml", "--quiet")
    assert same_bytes(out, again, "model.safetensors", "config.json")


def test_experts_learn_from_their_own_tokens(source, tmp_path):
    model, out = source("mixtral", torch.float64), tmp_path / "out"
    steps = recipe(tmp_path / "recipe.json", quip(bits=3, transform_block_size=16))
    done = rotate(model, out, steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert record(out)["held_out"]["v"]["inputs"] > 8 and record(out)["kept"] == ["v"]
    spinor("verify", model, out)
    spinor("rotate", out, tmp_path / "back", "--inverse", "--quiet")
    assert difference(model, tmp_path / "back", torch.float64) <= BOUND[torch.float64]


@pytest.mark.parametrize("objective", ["range", "quantization", "weights"])
def test_it_is_learned_before_gptq_in_one_run(source, tmp_path, objective):
    """And a u beside it, which is drawn."""
    model, out = source(), tmp_path / "out"
    learning = HARD | {"activation_bits": 3, "objective": objective}
    step = quip(rotations=["u", "v"], transform_block_size=16, learning=learning)
    steps = recipe(tmp_path / "recipe.json", step, gptq())
    options = ["--calibration", text(tmp_path), "--calibration-samples", 4, "--calibration-context", CONTEXT]
    done = rotate(model, out, steps, *options, command="quantize")
    assert done.returncode == 0, done.stderr
    held_out = record(out)["held_out"]
    assert held_out["v"]["loss"] < held_out["v"]["loss_at_start"]
    modules = json.loads((out / "calibration.json").read_text())["modules"]
    assert len(modules) == 14 and all(module["rotated"] for module in modules)


def test_requires_grad_of_a_group_v_asks_for_it(source, tmp_path):
    def args(location, inverse):
        return {"targets": ["re:.*mlp.*_proj$"], "location": location, "inverse": inverse}

    group = {"type": "hadamard", "head_dim": 16, "requires_grad": True,
             "apply": [args("input", False), args("weight_input", True)]}
    config = {"config_groups": {"v": group}}
    learning = {"learning": HARD | {"activation_bits": 2}}
    steps = recipe(tmp_path / "recipe.json", ("QuIPModifier", {"transform_config": config, **learning}))
    done = rotate(source(), tmp_path / "out", steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "out")["held_out"]["v"]["inputs"] == 4
    spinor("verify", source(), tmp_path / "out")
    config["config_groups"]["w"] = config["config_groups"].pop("v")
    steps = recipe(tmp_path / "recipe.json", ("QuIPModifier", {"transform_config": config}))
    assert "only a group called v is learnable" in refused("plan", source(), "--recipe", steps)


def test_the_command_writes_a_file_for_a_quip_modifier(source, tmp_path):
    model, file = source(), tmp_path / "found.safetensors"
    steps = recipe(tmp_path / "recipe.json", quip(bits=4, transform_block_size=16, targets="re:.*mlp.*_proj$"))
    common = ["--calibration", text(tmp_path), "--threads", 1]
    said = spinor("learn", model, file, "--recipe", steps, *common)
    assert f"QuIPModifier: {{rotation_file: {file}}}" in said
    assert set(rotations(file)) == {f"v.model.layers.{i}.{name}" for i in range(2) for name in SETS[2:]}
    arguments = {"targets": "re:.*mlp.*_proj$", "rotation_file": str(file)}
    by_file = recipe(tmp_path / "by-file.json", ("QuIPModifier", arguments))
    spinor("rotate", model, tmp_path / "by-file", "--recipe", by_file, "--quiet")
    spinor("rotate", model, tmp_path / "at-once", "--recipe", steps, *common, "--quiet")
    assert same_bytes(tmp_path / "by-file", tmp_path / "at-once")


def orthogonal(n):
    drawn = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    return torch.linalg.qr(drawn)[0].contiguous()


Q, K = "v.model.layers.0.self_attn.q_proj", "v.model.layers.0.self_attn.k_proj"
BAD_FILES = {
    "another linear": ({"v.model.layers.7.mlp.up_proj": orthogonal(64)}, "the model has no linear model.layers.7"),
    "a norm": ({"v.model.norm": orthogonal(64)}, "the model has no linear model.norm"),
    "a size": ({Q: orthogonal(48)}, "is of size 48, but the number of its inputs is 64"),
    "not square": ({Q: torch.zeros(64, 32)}, "is not a square matrix"),
    "not orthogonal": ({Q: orthogonal(64) * 1.1}, "is not orthogonal"),
    "not the first": ({K: orthogonal(64)}, "is not the first of those linears among the targets that read the same"),
    "no target": ({"v.lm_head": orthogonal(64)}, "is not the first of those linears among the targets"),
    "R1": ({Q: orthogonal(64), "R1": orthogonal(64)}, "R1: has matrices of its own, but is not among the rotations"),
    "scales": ({Q: orthogonal(64), "scale.model.layers.0.mlp.up_proj": torch.ones(128)}, "has exact scales"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_does_not_fit_is_refused(source, tmp_path, name):
    tensors, problem = BAD_FILES[name]
    save_file(tensors, tmp_path / "own.safetensors")
    steps = recipe(tmp_path / "recipe.json", ("QuIPModifier", {"rotation_file": str(tmp_path / "own.safetensors")}))
    assert problem in refused("rotate", source(), tmp_path / "out", "--recipe", steps)


def test_a_file_of_one_input_leaves_the_others_drawn(source, tmp_path):
    save_file({Q: orthogonal(16)}, tmp_path / "own.safetensors")
    model = source("llama", torch.float64)
    arguments = {"rotation_file": str(tmp_path / "own.safetensors")}
    steps = recipe(tmp_path / "recipe.json", ("QuIPModifier", arguments))
    spinor("rotate", model, tmp_path / "out", "--recipe", steps, "--quiet")
    spinor("verify", model, tmp_path / "out")
    spinor("rotate", tmp_path / "out", tmp_path / "back", "--inverse", "--quiet")
    assert difference(model, tmp_path / "back", torch.float64) <= BOUND[torch.float64]
    steps = recipe(tmp_path / "recipe.json", ("QuIPModifier", arguments | {"transform_block_size": 32}))
    assert "is of size 16, not of 32" in refused("rotate", model, tmp_path / "x", "--recipe", steps)
    for rotation in ("R1", "R4"):
        options = ["--rotations", rotation, "--rotation", tmp_path / "own.safetensors"]
        said = refused("rotate", model, tmp_path / "x", *options)
        assert "is for the inputs of one linear, and no v is among the rotations" in said


BAD = {
    "no text": (quip(), None, "learnable: true takes a text to learn from; give --calibration FILE to rotate or"),
    "no v": (quip(rotations=["u"]), 256, "QuIPModifier: learns v alone, which is not among the rotations"),
    "rotation": (quip(learning=LEARNING | {"rotations": ["R1"]}), 256, "'R1' is nothing that can be learned"),
    "scales": (quip(learning=LEARNING | {"scales": ["m"]}), 256, "'m' is nothing that can be learned"),
    "digest": (("QuIPModifier", {"rotation_digest": "0"}), 256, "is the digest of no file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_learned_is_refused(source, tmp_path, name):
    step, tokens, problem = BAD[name]
    options = ["--recipe", recipe(tmp_path / "recipe.json", step)]
    if tokens:
        options += ["--calibration", text(tmp_path, [3 + i % 60 for i in range(tokens)])]
    assert problem in refused("rotate", source(), tmp_path / "out", *options)


def test_where_it_does_not_help_it_is_drawn(source, tmp_path):
    """One step of a high rate: worse than the start."""
    learning = LEARNING | {"steps": 1, "batch": 1, "learning_rate": 1.5, "activation_bits": 8, "kv_bits": 16}
    model, block = source("qwen2"), {"transform_block_size": 32}
    steps = recipe(tmp_path / "recipe.json", quip(**block, learning=learning))
    done = rotate(model, tmp_path / "out", steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "out")["kept"] == []
    drawn = recipe(tmp_path / "drawn.json", ("QuIPModifier", block))
    spinor("rotate", model, tmp_path / "drawn", "--recipe", drawn, "--quiet")
    assert same_bytes(tmp_path / "out", tmp_path / "drawn")
    assert not (tmp_path / "out" / "learned").exists()


def uneven(source, directory):
    """A copy whose first channels of each MLP are large: they fill the first blocks of an R4."""
    directory.mkdir()
    for file in source.iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    for file in directory.glob("*.safetensors"):
        tensors = load_file(file)
        for name in tensors:
            if name.endswith("up_proj.weight"):
                tensors[name][:4] *= 20
        save_file(tensors, file, metadata={"format": "pt"})
    return directory


def test_channels_are_put_in_order_before_an_r4_of_blocks(source, tmp_path):
    model, out = uneven(source("llama"), tmp_path / "uneven"), tmp_path / "out"
    asked = {"rotations": ["R4"], "transform_type": "random-hadamard", "transform_block_size": 8}
    learning = HARD | {"rotations": [], "scales": []}
    steps = recipe(tmp_path / "recipe.json", spin(**asked, learning=learning))
    done = rotate(model, out, steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    found = record(out)
    assert found["kept"] == ["permutation"]
    assert found["held_out"]["kl_divergence_with_permutation"] < found["start"]["kl_divergence"]
    orders = {name: order for name, order in rotations(out / LEARNED).items() if name.startswith("permutation.")}
    for order in orders.values():
        blocks = [order.tolist().index(channel) // 8 for channel in range(4)]
        assert len(set(blocks)) == 4, "each large channel has a block of its own"
    assert len(orders) == 2
    assert "is the same function as" in spinor("verify", model, out)
    spinor("rotate", out, tmp_path / "back", "--inverse", "--quiet")
    assert difference(model, tmp_path / "back", torch.float32) <= BOUND[torch.float32]
    off = recipe(tmp_path / "off.json", spin(**asked, learning=learning | {"permutation": False}))
    done = rotate(model, tmp_path / "off", off, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "off")["kept"] == []
