"""Learned rotations, end to end: what `learn`, `--learn` and recipes write is the source's function, says how it came
to be, can be undone, verified and made again, and is the start where learning does not help."""

import json
import shlex
import shutil

import pytest
import torch
import yaml
from safetensors import safe_open

from command import refused, run, spinor, spinor_json
from learned_models import (
    CONTEXT,
    WINDOWS,
    HARD,
    BOUND,
    LEARNED,
    LOW_BITS,
    spin,
    gptq,
    recipe,
    text,
    weights,
    same_bytes,
    difference,
    rotations,
    record,
    rotate,
)

# With the bits at which the tiny model of the family has most to gain; "opt" gains nothing by R1 at any.
FAMILIES = {"llama": 2, "qwen2": 4, "qwen3": 3, "smollm3": 3, "phi3": 2, "opt": 2, "gpt2": 3, "cohere": 2, "mixtral": 3,
            "qwen3_moe": 2, "gpt_oss": 2, "deepseek_v3": 3, "gemma": 2, "qwen3_next": 3}  # fmt: skip


@pytest.mark.parametrize("dtype", BOUND, ids=["float64", "float32"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_family_stays_the_same_function(source, tmp_path, family, dtype):
    """LayerNorms keep the ones, routers are readers, latent attention, fused projections, tied heads, gates."""
    model, out, bits = source(family, dtype), tmp_path / "out", FAMILIES[family]
    legal = ["R1"] if family == "qwen3_next" else ["R1", "R2"]
    learning = HARD | {"rotations": legal, "activation_bits": bits, "kv_bits": bits}
    steps = recipe(tmp_path / "recipe.json", spin(rotations=legal, learning=learning))
    done = rotate(model, out, steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert difference(model, out, dtype) <= BOUND[dtype]
    spinor("verify", model, out)
    found = record(out)
    assert found["held_out"]["R1"]["loss"] < found["held_out"]["R1"]["loss_at_start"]
    assert ("R1" in found["kept"]) == (family != "opt"), found
    if "R1" in found["kept"]:
        matrix = rotations(out / LEARNED)["R1"]
        if family in ("gpt2", "cohere"):
            ones = torch.ones(len(matrix), dtype=torch.float64)
            assert (ones @ matrix - ones).abs().max() <= 1e-12


def test_scales_of_stacked_experts_are_found_one_by_one(source, tmp_path):
    """By the names that single ones have. An expert that no token reaches has none."""
    model = source("granitemoe", torch.float64)
    learning = HARD | {"rotations": [], "scales": ["m"], "activation_bits": 3, "kv_bits": 16}
    steps = recipe(tmp_path / "recipe.json", spin(rotations=["R1"], learning=learning))
    found = {}
    for name, tokens in (("many", None), ("few", [3 + i % 7 for i in range(WINDOWS * CONTEXT)])):
        file = tmp_path / f"{name}.safetensors"
        spinor("learn", model, file, "--recipe", steps, "--calibration", text(tmp_path, tokens), "--threads", 1)
        found[name] = {key for key in rotations(file) if key.startswith("scale.")}
        spinor("rotate", model, tmp_path / name, "--rotation", file, "--rotations", "R1", "--quiet")
        assert difference(model, tmp_path / name, torch.float64) <= BOUND[torch.float64]
    experts = {f"scale.model.layers.{i}.block_sparse_moe.experts.{e}.up_proj" for i in range(2) for e in range(6)}
    assert found["many"] == experts and found["few"] < experts


LEFT_ALONE = ["model.safetensors", "config.json"]


def test_the_command_writes_a_file_that_rotate_takes(source, tmp_path):
    model, file = source(), tmp_path / "found.safetensors"
    steps = recipe(tmp_path / "recipe.json", spin(learning=HARD))
    common = ["--recipe", steps, "--calibration", text(tmp_path), "--threads", 1]
    printed = spinor("learn", model, file, *common)
    assert f"spinor rotate {model} OUT --recipe {steps}, whose SpinQuantModifier has rotation_file: {file}" in printed
    found = rotations(file)
    assert {"R1", "R2.0", "R2.1"} <= set(found)  # what is not kept is there as it is drawn, so that the file is all
    spinor("rotate", model, tmp_path / "by-file", "--rotation", file, "--quiet")
    assert difference(model, tmp_path / "by-file", torch.float32) <= BOUND[torch.float32]
    spinor("rotate", model, tmp_path / "by-recipe", *common, "--quiet")
    assert same_bytes(tmp_path / "by-file", tmp_path / "by-recipe")

    assert f"{file}: exists" in refused("learn", model, file, *common)
    again = spinor_json("learn", model, file, *common, "--force")
    assert again["out"] == str(file) and again["learning"]["kept"]
    assert sorted(path.name for path in tmp_path.glob("found*")) == ["found.safetensors"]


def test_the_command_that_it_prints_rotates_as_learning_would(source, tmp_path):
    """With all options that change the result; rotations that the file does not have are drawn alike."""
    model, file = source(), tmp_path / "the file.safetensors"
    options = ["--rotations", "R1,R2,R4", "--transform-type", "random-hadamard", "--seed", 9, "--randomize"]
    common = ["--calibration", text(tmp_path), "--calibration-context", CONTEXT, "--threads", 1]
    command = spinor("learn", model, file, *options, *common).splitlines()[-1]
    assert command == f"spinor rotate {model} OUT {' '.join(map(str, options[:6]))} --rotation '{file}' --randomize"
    spinor(*shlex.split(command.replace("OUT", str(tmp_path / "typed")))[1:], "--quiet")
    spinor("rotate", model, tmp_path / "learned", "--learn", *options, *common, "--quiet")
    assert record(tmp_path / "learned")["kept"]
    assert same_bytes(tmp_path / "typed", tmp_path / "learned")


def test_samples_of_others_are_not_taken_in_silence(source, tmp_path):
    common = ["--calibration", text(tmp_path), "--calibration-context", CONTEXT, "--threads", 1]
    for command in (["learn", tmp_path / "file"], ["rotate", tmp_path / "out", "--best-of", 2]):
        name, out, *more = command
        for option in ("--calibration-samples", "--calibration-seed"):
            done = run(name, source(), out, *more, *common, option, 3, *(["--force"] if out.exists() else []))
            assert done.returncode == 0, done.stderr
            assert f"warning: {option}: nothing but learning takes the text" in done.stderr


@pytest.mark.parametrize("objective", ["psot", "range", "quantization", "weights"])
def test_one_run_learns_and_then_quantizes_by_gptq(source, tmp_path, objective):
    model, out = source(), tmp_path / "out"
    steps = recipe(tmp_path / "recipe.json", spin(learning=HARD | {"objective": objective}),
                   gptq(kv_cache_scheme={"num_bits": 6, **LOW_BITS}))
    options = ["--calibration", text(tmp_path), "--calibration-samples", 4, "--calibration-context", CONTEXT]
    done = rotate(model, out, steps, *options, command="quantize")
    assert done.returncode == 0, done.stderr
    found = record(out)
    assert found["objective"] == objective
    assert (found["activation_bits"], found["kv_bits"]) == (4, 6)  # judged as the recipe has them
    made = json.loads((out / "spinor.json").read_text())
    assert made["recipe"]["quant_stage"]["step0_modifiers"]["SpinQuantModifier"]["rotation_file"] == LEARNED
    assert made["calibration"]["samples"] == 4
    rotations(out / LEARNED)
    modules = json.loads((out / "calibration.json").read_text())["modules"]
    assert len(modules) == 14 and all(module["rotated"] for module in modules)
    assert spinor_json("eval", out, "--token-ids", text(tmp_path), "--context", CONTEXT, "--reference", model)[
        "kl_divergence"
    ] < 1


def test_the_record_says_how_it_came_to_be(source, tmp_path):
    steps = recipe(tmp_path / "recipe.json", spin(seeds=3, seed=11, learning=HARD))
    printed = spinor_json("rotate", source(), tmp_path / "out", "--recipe", steps, "--calibration", text(tmp_path))
    found = record(tmp_path / "out")
    assert found == printed["learning"]
    assert {key: found[key] for key in HARD} == HARD and found["objective"] == "psot"
    losses = found["seeds"]["losses"]
    assert found["seeds"]["first"] == 11 and len(losses) == 3
    assert found["seeds"]["chosen"] == 11 + losses.index(min(losses))
    held_out = found["held_out"]
    assert held_out["R1"]["loss"] < held_out["R1"]["loss_at_start"]
    assert found["learned"]["kl_divergence"] <= found["start"]["kl_divergence"]
    assert found["learned"]["kl_divergence"] in (found["start"]["kl_divergence"], *held_out.values())
    # The digest is of the samples: another text, another digest.
    assert len(found["tokens"]) == 32
    other = text(tmp_path, [3 + i * i % 67 for i in range(WINDOWS * CONTEXT)])
    again = spinor_json("rotate", source(), tmp_path / "other", "--recipe", steps, "--calibration", other)
    assert again["learning"]["tokens"] != found["tokens"]
    with safe_open(tmp_path / "out" / LEARNED, "pt") as file:
        assert json.loads(file.metadata()["learning"]) == found
        assert str(tmp_path) not in str(file.metadata())  # it is published with the model


@pytest.fixture(scope="module")
def learned(source, tmp_path_factory):
    """Rotated with learned matrices, online ones among them: the source, OUT."""
    directory = tmp_path_factory.mktemp("learned")
    model, out = source("llama", torch.float64), directory / "out"
    arguments = spin(rotations=["R1", "R2", "R4"], learning=HARD | {"rotations": ["R1", "R2"]})
    done = rotate(model, out, recipe(directory / "recipe.json", arguments), "--calibration", text(directory))
    assert done.returncode == 0, done.stderr
    assert record(out)["kept"] and (out / LEARNED).exists()
    return model, out


@pytest.mark.parametrize("moved", [False, True])
def test_inverse_works_from_everywhere(learned, tmp_path, moved):
    model, out = learned
    if moved:
        out = shutil.copytree(out, tmp_path / "elsewhere")
    spinor("rotate", out, tmp_path / "back", "--inverse", "--quiet", cwd=tmp_path)
    before, after = weights(model), weights(tmp_path / "back")
    name = "model.embed_tokens.weight"
    torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-10)
    assert difference(model, tmp_path / "back", torch.float64) <= BOUND[torch.float64]
    assert not (tmp_path / "back" / "learned").exists()


def test_verify_sees_the_same_function(learned):
    spinor("verify", *learned)


def test_its_recipe_makes_it_again_and_finds_the_file_beside_itself(learned, tmp_path):
    model, out = learned
    spinor("rotate", model, tmp_path / "again", "--recipe", out / "recipe.yaml", "--quiet", cwd=tmp_path)
    assert same_bytes(out, tmp_path / "again", *LEFT_ALONE)
    arguments = yaml.safe_load((tmp_path / "again" / "recipe.yaml").read_text())
    (group,) = arguments["quant_stage"].values()
    assert group["SpinQuantModifier"]["rotation_file"] == str(out / LEARNED)
    alone = shutil.copy(out / "recipe.yaml", tmp_path / "recipe.yaml")
    message = refused("rotate", model, tmp_path / "x", "--recipe", alone)
    assert str(tmp_path / LEARNED) in message


def test_an_output_whose_file_the_recipe_names_is_not_replaced(learned, tmp_path):
    """The new one would name a file that is gone."""
    model, out = learned[0], shutil.copytree(learned[1], tmp_path / "out")
    for options in (["--recipe", out / "recipe.yaml"], ["--rotation", out / LEARNED]):
        message = refused("rotate", model, out, *options, "--force")
        assert message.startswith(f"{out / LEARNED}: is the recipe's rotation_file, and is deleted where its directory")
        assert (out / LEARNED).exists() and not list(tmp_path.glob("*.partial"))
    spinor("rotate", model, out, "--rotations", "R1", "--force", "--quiet")


def test_a_rotated_model_can_be_rotated_again(learned, tmp_path):
    """What was learned for one model is not copied into another."""
    model, out = learned
    spinor("rotate", out, tmp_path / "again", "--rotations", "R1", "--quiet")
    assert not (tmp_path / "again" / "learned").exists()
    assert difference(model, tmp_path / "again", torch.float64) <= BOUND[torch.float64]


def test_requires_grad_of_a_transform_config_is_learnable(source, tmp_path):
    spinor("rotate", source(), tmp_path / "drawn", "--transform-type", "random-hadamard", "--quiet")
    (group,) = yaml.safe_load((tmp_path / "drawn" / "recipe.yaml").read_text())["default_stage"].values()
    config = group["SpinQuantModifier"]["transform_config"]
    config["config_groups"]["R1"]["requires_grad"] = True
    steps = recipe(tmp_path / "recipe.json", ("SpinQuantModifier", {"transform_config": config, "learning": HARD}))
    done = rotate(source(), tmp_path / "out", steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "R1" in record(tmp_path / "out")["held_out"]
    assert difference(source(), tmp_path / "out", torch.float32) <= BOUND[torch.float32]
    config["config_groups"]["R1"]["requires_grad"] = False
    config["config_groups"]["R9"] = config["config_groups"]["R1"] | {"requires_grad": True}
    steps = recipe(tmp_path / "recipe.json", ("SpinQuantModifier", {"transform_config": config}))
    assert "only groups called R1 and R2 are learnable" in refused("plan", source(), "--recipe", steps)


def test_the_best_of_seeds_without_learning(source, tmp_path):
    common = ["--calibration", text(tmp_path), "--calibration-context", CONTEXT, "--seed", 7, "--threads", 1, "--quiet"]
    spinor("rotate", source(), tmp_path / "out", "--best-of", 4, *common)
    found = record(tmp_path / "out")
    assert found["kept"] == [] and len(set(found["seeds"]["losses"])) == 4
    chosen = ["--transform-type", "auto-random", "--seed", found["seeds"]["chosen"]]
    spinor("rotate", source(), tmp_path / "alone", *chosen, "--quiet")
    assert same_bytes(tmp_path / "out", tmp_path / "alone")
    assert not (tmp_path / "out" / "learned").exists()
    for options in (["--transform-type", "auto"], ["--rotations", "R2"]):
        assert refused("rotate", source(), tmp_path / "x", "--best-of", 4, *options, *common).startswith("seeds: ")


def test_the_start_is_kept_where_learning_does_not_help(source, tmp_path):
    """Random weights: there is nothing to gain, and what was learned is worse."""
    model = source("qwen2")
    steps = recipe(tmp_path / "recipe.json", spin(rotations=["R1"], learning=HARD | {"scales": []}))
    done = rotate(model, tmp_path / "out", steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "R1: with what was learned held-out text diverges by" in done.stderr and "it is left out" in done.stderr
    found = record(tmp_path / "out")
    assert found["kept"] == [] and found["start"] == found["learned"]
    start = ["--rotations", "R1", "--transform-type", "auto-random"]
    spinor("rotate", model, tmp_path / "start", *start, "--quiet")
    assert same_bytes(tmp_path / "out", tmp_path / "start", *LEFT_ALONE)
    assert not (tmp_path / "out" / "learned").exists()
