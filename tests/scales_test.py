"""Exact scales and permutations in a file of rotations: the logits stay, for every family and all that it has of them,
alone and with rotations; verify sees the same function, and finds what is off; what a family lacks is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import logits
import tiny_models
import tiny_scales
import tiny_vision
from command import refused, run, spinor
from rotated_families_test import LEGAL
from rotated_families_test import cases as more_cases

# As in rotated_families_test; factors of 1/4 to 4 make the rounding of two layers up to 4 times as large.
BOUND = {torch.float64: 1e-9, torch.float32: 1e-4}
ALONE = "default_stage: {default_modifiers: {SpinQuantModifier: {rotations: [], rotation_file: FILE}}}"


def cases():
    for family in tiny_models.FAMILIES:
        for shape in ("power_of_two", "wide_heads"):
            yield family, shape, "R1,R2"
    yield from more_cases()


def write(path, tensors):
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def rotate(source, out, file, rotations, *options):
    """With random Hadamard matrices; `rotations` empty: scales alone."""
    if rotations:
        kind = ["--rotations", rotations, "--transform-type", "random-hadamard"]
        return spinor("rotate", source, out, "--rotation", file, *kind, "--quiet", *options)
    recipe = file.parent / "recipe.yaml"
    recipe.write_text(ALONE.replace("FILE", str(file)))
    return spinor("rotate", source, out, "--recipe", recipe, "--quiet", *options)


def difference(source, out, dtype):
    models = [logits.load(path, dtype) for path in (source, out)]
    inputs = tiny_vision.prompt(models[0]) if hasattr(models[0].config, "vision_config") else {}
    return logits.difference(*(logits.logits(model, **inputs) for model in models))[0]


@pytest.mark.parametrize("dtype", BOUND, ids=["float64", "float32"])
@pytest.mark.parametrize("family, case, rotations", list(cases()))
def test_scales_and_permutations_keep_the_logits(tmp_path, family, case, rotations, dtype):
    source = tmp_path / "source"
    tiny_models.save(source, family, case, dtype, max_shard_size="60KB")
    scales, absent = tiny_scales.draw(source, family)
    for name, factors, reason in absent.values():
        message = refused("rotate", source, tmp_path / "out", "--rotation", write(tmp_path / "bad", {name: factors}))
        assert f"{name}: would change the model: " in message and reason in message
    permutations, ordered = tiny_scales.draw_permutations(source)
    for name, order in ordered.items():
        message = refused("rotate", source, tmp_path / "out", "--rotation", write(tmp_path / "bad", {name: order}))
        assert "stacked in one tensor" in message or "does not read" in message or "are not written yet" in message
    assert permutations or ordered, "every family has an MLP"
    if not scales and not permutations:
        return
    file = write(tmp_path / "scales", scales | permutations)
    for asked in ("", rotations) if dtype == torch.float64 else (rotations,):
        out = tmp_path / f"out {asked}"
        rotate(source, out, file, asked)
        assert difference(source, out, dtype) <= BOUND[dtype]
        assert "is the same function as" in spinor("verify", source, out)


RUNTIME = [("llama", "power_of_two"), ("mixtral", "plain"), ("granitemoe", "plain"), ("phi3", None), ("gpt_neox", None)]


# What runs online is no transformers model: verify takes it as part of its linears, eval as part of the model.
@pytest.mark.parametrize("family, case", RUNTIME)
def test_they_stand_beside_what_runs_online(tmp_path, family, case):
    source, out, back = (tmp_path / name for name in ("source", "out", "back"))
    case = case or next(iter(tiny_models.MORE_FAMILIES[family][1]))
    tiny_models.save(source, family, case, torch.float64)
    file = write(tmp_path / "scales", tiny_scales.draw(source, family)[0] | tiny_scales.draw_permutations(source)[0])
    rotate(source, out, file, "R1,R2,R3,R4")
    assert "is the same function as" in spinor("verify", source, out)
    spinor("rotate", out, back, "--inverse", "--quiet")
    assert difference(source, back, torch.float64) <= BOUND[torch.float64]


def weights(directory):
    return load_file(directory / "model.safetensors")


# The inverse of a factor and the factor are one rounding each away from what was there.
@pytest.mark.parametrize("rotations", ["", "R2"])
def test_the_inverse_gives_the_weights_back(tmp_path, rotations):
    source, out, back = (tmp_path / name for name in ("source", "out", "back"))
    tiny_models.save(source, "llama", "three_heads", torch.float64)
    moved = tiny_scales.draw(source, "llama")[0] | tiny_scales.draw_permutations(source)[0]
    rotate(source, out, write(tmp_path / "scales", moved), rotations)
    spinor("rotate", out, back, "--inverse", "--quiet")
    before, after = weights(source), weights(back)
    for name in before:
        if "down_proj" in name:
            torch.testing.assert_close(after[name], before[name], rtol=1e-13, atol=1e-14)
        if "q_proj" in name or "v_proj" in name or "o_proj" in name:  # the others have taken their norms in
            expected = before[name]
            if name.endswith(("q_proj.weight", "v_proj.weight")):
                expected = expected * before[name.split("self_attn")[0] + "input_layernorm.weight"]
            torch.testing.assert_close(after[name], expected, rtol=1e-13, atol=1e-14)


FOUND = {
    "phi3": ["qkv_proj.weight", "gate_up_proj.weight", "down_proj.weight", "o_proj.weight"],
    "granitemoe": ["q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight", "input_linear.weight",
                   "output_linear.weight", "q_proj.bias"],
    "llama": ["q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight", "up_proj.weight", "down_proj.weight",
              "q_proj.bias", "k_proj.bias", "v_proj.bias", "up_proj.bias"],
    "opt": ["fc1.weight", "fc2.weight", "fc1.bias", "q_proj.weight", "k_proj.weight", "k_proj.bias"],
}  # fmt: skip


@pytest.mark.parametrize("rotations", ["", "R1,R2"], ids=["alone", "rotated"])
@pytest.mark.parametrize("family", FOUND)
def test_verify_finds_what_was_not_scaled_or_is_off(tmp_path, family, rotations):
    source, out = tmp_path / "source", tmp_path / "out"
    cases_of = {"llama": "three_heads", "opt": "tied", "phi3": "long rope", "granitemoe": "biased"}
    tiny_models.save(source, family, cases_of[family], torch.float32)
    moved = tiny_scales.draw(source, family)[0] | (tiny_scales.draw_permutations(source)[0] if rotations else {})
    rotate(source, out, write(tmp_path / "scales", moved), rotations)
    assert "is the same function as" in spinor("verify", source, out)
    after = weights(out)
    for end in FOUND[family]:
        for name in (n for n in after if n.endswith(end)):
            one = after[name].clone()
            one.view(-1)[7] += 0.5
            row = after[name].clone()
            row[2] *= 1.5
            for changed in (one, row, after[name] * 1.25):
                save_file(after | {name: changed}, out / "model.safetensors", metadata={"format": "pt"})
                assert run("verify", source, out).returncode == 1, f"a change of {name} was not found"


# One row of the gate is another one's: no order explains it.
def test_verify_finds_gates_in_another_order(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, "llama", "three_heads", torch.float32)
    rotate(source, out, write(tmp_path / "scales", tiny_scales.draw_permutations(source)[0]), "R1,R2")
    after = weights(out)
    for end in ("gate_proj.weight", "up_proj.weight"):
        for name in (n for n in after if n.endswith(end)):
            swapped = after[name].clone()
            swapped[[3, 5]] = swapped[[5, 3]]
            save_file(after | {name: swapped}, out / "model.safetensors", metadata={"format": "pt"})
            assert run("verify", source, out).returncode == 1, f"a change of {name} was not found"


@pytest.mark.parametrize("problem, order", [
    ("has 5 entries for 80 channels", torch.arange(5)),
    ("has 80, and there are 80 channels", torch.arange(80) + 1),
    ("has 3 twice; a permutation has every channel once", torch.arange(80).clamp(max=3)),
    ("is stored as F64; use int64", torch.arange(80).double()),
    ("has 2 dimensions; an order is a vector", torch.arange(80).view(80, 1)),
])  # fmt: skip
def test_an_order_that_is_none_is_refused(tmp_path, problem, order):
    source, name = tmp_path / "source", "permutation.model.layers.0.mlp.down_proj"
    tiny_models.save(source, "llama", "three_heads")
    message = refused("rotate", source, tmp_path / "out", "--rotation", write(tmp_path / "bad", {name: order}))
    assert message.startswith(f"{tmp_path / 'bad'}: {name}: ") and problem in message


@pytest.mark.parametrize("problem, tensors", [
    ("scale.model.layers.0.mlp.up_proj: has 5 factors for 80 rows", {"up_proj": torch.ones(5)}),
    ("scale.model.layers.0.mlp.up_proj: has 2 dimensions; a scale is a vector", {"up_proj": torch.ones(80, 1)}),
    ("up_proj: factor 3 is 0; factors are positive", {"up_proj": (torch.arange(80) != 3).float()}),
    ("up_proj: factor 0 is nan; factors are positive", {"up_proj": torch.full([80], float("nan"))}),
    ("up_proj: is stored as BF16; use float64 or float32", {"up_proj": torch.ones(80).bfloat16()}),
    ("gate_proj has no rows that can be scaled; this model has scale.model.layers.0.mlp.up_proj, "
     "scale.model.layers.0.self_attn.k_proj", {"gate_proj": torch.ones(80)}),
])  # fmt: skip
def test_a_scale_that_is_none_is_refused(tmp_path, problem, tensors):
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "three_heads")
    file = write(tmp_path / "scales", {f"scale.model.layers.0.mlp.{name}": t for name, t in tensors.items()})
    message = refused("rotate", source, tmp_path / "out", "--rotation", file)
    assert message.startswith(f"{file}: ") and problem in message


def test_a_recipe_is_recorded_with_its_scales_and_plans_say_them(tmp_path):
    source, out, again = (tmp_path / name for name in ("source", "out", "again"))
    tiny_models.save(source, "llama", "three_heads")
    file = write(tmp_path / "scales", tiny_scales.draw(source, "llama")[0])
    rotate(source, out, file, "R1,R2")
    recipe = json.loads((out / "spinor.json").read_text())["recipe"]
    modifier = recipe["default_stage"]["default_modifiers"]["SpinQuantModifier"]
    assert modifier["rotation_file"] == str(file) and len(modifier["rotation_digest"]) == 32
    spinor("rotate", source, again, "--recipe", out / "recipe.yaml", "--quiet")
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    plan = spinor("plan", source, "--rotation", file)
    for phrase in ("rows times scale m", "columns over scale m", "rows over scale k", "entries times scale v"):
        assert phrase in plan


# What quantizes has stacked experts one by one: the same file serves it.
def test_a_file_for_stacked_experts_serves_single_ones(tmp_path):
    source = tmp_path / "source"
    tiny_models.save(source, "granitemoe", "plain", torch.float32)
    scales = tiny_scales.draw(source, "granitemoe")[0]
    assert "scale.model.layers.1.block_sparse_moe.experts.5.up_proj" in scales
    del scales["scale.model.layers.1.block_sparse_moe.experts.5.up_proj"]  # it takes ones
    file = write(tmp_path / "scales", scales)
    rotate(source, tmp_path / "stacked", file, "R1,R2")
    assert "is the same function as" in spinor("verify", source, tmp_path / "stacked")
    plan = spinor("plan", source, "--rotation", file, "--scheme", "W8A8", "--full")
    lines = {line.split()[0]: line for line in plan.splitlines() if ".experts." in line}
    expert = "model.layers.{}.block_sparse_moe.experts.{}.{}.weight".format
    assert "rows times scale m" in lines[expert(1, 4, "up_proj")]
    assert "columns over scale m" in lines[expert(1, 4, "down_proj")]
    assert "scale" not in lines[expert(1, 4, "gate_proj")] + lines[expert(1, 5, "up_proj")]
