"""Stacked experts are quantized one by one, under the names and with the codes of llm-compressor
(tests/golden/make_experts.py)."""

import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import logits
import tiny_models
from command import ROOT, refused, run, spinor, spinor_json
from mxfp4_test import checkpoints  # noqa: F401
from runtime_test import computed, expected_logits

FAMILIES = {"gpt_oss": "mlp.experts.", "granitemoe": "block_sparse_moe.experts."}
STACKS = ("gate_up_proj", "down_proj", "gate_up_proj_bias", "down_proj_bias", "input_linear.weight",
          "output_linear.weight")
IGNORE = ["lm_head", "re:.*(self_attn|router).*"]
RECIPES = ("W4A16", "W8A8", "NVFP4A16", "MXFP4A16")
INT4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 4}
INT8 = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
TOKENS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}


def quantize(source, out, group=None, rotations="", **fields):
    """OUT of a recipe for all linears but the head, or as `fields` say."""
    modifiers = {}
    if rotations:
        modifiers["SpinQuantModifier"] = {"rotations": rotations.split(","), "transform_type": "random-hadamard"}
    groups = {"config_groups": {"group_0": {"targets": ["Linear"], **group}}} if group else {}
    modifiers["QuantizationModifier"] = {"ignore": ["lm_head"], **groups, **fields}
    recipe = out.with_suffix(".json")
    recipe.write_text(json.dumps({"default_stage": {"default_modifiers": modifiers}}))
    spinor("quantize", source, out, "--recipe", recipe, "--quiet")
    return out


def stacked(linear, family):
    """Tensors of a checkpoint with the experts one by one, as transformers has them."""
    tensors, stacks = {}, {}
    for name, tensor in linear.items():
        found = re.fullmatch(r"(.*)\.experts\.(\d+)\.(\w+)_proj\.(weight|bias)", name)
        if found:
            above, expert, projection, kind = found.groups()
            stacks.setdefault((above, kind), {}).setdefault(projection, {})[int(expert)] = tensor
        else:
            tensors[name] = tensor
    for (above, kind), projections in stacks.items():
        gate, up, down = (
            torch.stack([tensor for _, tensor in sorted(projections[name].items())]) for name in ("gate", "up", "down")
        )
        if family == "gemma4":
            tensors[f"{above}.experts.gate_up_proj"] = torch.cat([gate, up], 1)
            tensors[f"{above}.experts.down_proj"] = down
            continue
        if family == "granitemoe":
            tensors[f"{above}.input_linear.weight"] = torch.cat([gate, up], 1)
            tensors[f"{above}.output_linear.weight"] = down
            continue
        both = torch.stack([gate, up], 2).flatten(1, 2)  # one of gate, one of up
        end = "" if kind == "weight" else "_bias"
        turned = (lambda t: t.transpose(1, 2).contiguous()) if kind == "weight" else (lambda t: t)
        tensors[f"{above}.experts.gate_up_proj{end}"] = turned(both)
        tensors[f"{above}.experts.down_proj{end}"] = turned(down)
    return tensors


def as_transformers_has_it(linear, folder, family):
    folder.mkdir()
    save_file(stacked(load_file(linear / "model.safetensors"), family), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text((linear / "config.json").read_text())
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_codes_are_those_of_llm_compressor(tmp_path, family, recipe):
    sets = {}
    with safe_open(ROOT / "tests/golden" / f"experts_{family}.safetensors", "pt") as file:
        metadata = file.metadata()
        for key in file.keys():
            name, tensor = key.split("/")
            sets.setdefault(name, {})[tensor] = file.get_tensor(key)
    (tmp_path / "source").mkdir()
    (tmp_path / "source/config.json").write_text(metadata["config.json"])
    save_file(sets["source"], tmp_path / "source/model.safetensors", {"format": "pt"})
    scheme = {"scheme": recipe, "targets": ["Linear"]}
    if recipe == "W4A16":
        scheme = {"group": {"weights": {"num_bits": 4, "group_size": 32, "strategy": "group"}}}
    out = quantize(tmp_path / "source", tmp_path / "out", **scheme, ignore=IGNORE, compat="llm-compressor")
    found = load_file(out / "model.safetensors")
    others = {name: tensor for name, tensor in sets["source"].items() if not name.endswith(STACKS)}
    expected = sets[recipe] | others
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name].view(torch.uint8), tensor.view(torch.uint8)), name
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    peer = json.loads(metadata[recipe])
    layer = config["ignore"].index("lm_head")
    router = {name.replace(".router.layer", ".router") for name in config["ignore"]}  # as it is in memory
    assert router == set(peer["ignore"]) and layer == len(config["ignore"]) - 1
    assert config["format"] == peer["format"]


@pytest.mark.parametrize("family, rotations",
                         [("gpt_oss", "R1,R2"), ("granitemoe", "R1,R2"), ("granitemoe", "R1,R2,R4")])
def test_quantized_experts_compute_what_the_same_numbers_do_in_transformers(tmp_path, family, rotations):
    source = tiny_models.save(tmp_path / "source", family, "plain", torch.float32)
    packed = quantize(source, tmp_path / "packed", {"weights": INT4}, rotations)
    dense = quantize(source, tmp_path / "dense", {"weights": INT4, "format": "dense"}, rotations)
    expected = expected_logits(as_transformers_has_it(dense, tmp_path / "stacked", family), torch.float32, "plain")
    for linear in (packed, dense):
        assert logits.difference(expected,
                                 computed(linear, torch.float32, tmp_path))[0] <= 2e-5  # as in runtime_test.py
    far = logits.difference(expected_logits(source, torch.float32, "plain"), expected)[1]
    assert 1e-3 < far < 0.5  # four bits are not the model as it was


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_in_8_bits_change_little(tmp_path, family):
    # All experts are chosen: a token that chooses another is no small change.
    source = tiny_models.save(tmp_path / "source", family, "plain", torch.float32, num_experts_per_tok=6)
    group = {"weights": INT8, "input_activations": TOKENS}
    models = (quantize(source, tmp_path / "packed", group),
              quantize(source, tmp_path / "dense", group | {"format": "dense"}))
    largest, rms = logits.difference(*(computed(model, torch.float32, tmp_path) for model in models))
    assert 1e-4 < rms < 0.05 and largest < 0.3  # as in quantized_families_test.py


def test_experts_of_gemma4_beside_an_mlp(tmp_path):
    source = tiny_models.save(tmp_path / "source", "gemma4", "experts", torch.float32)
    dense = quantize(source, tmp_path / "dense", {"weights": INT8, "format": "dense"})
    before = load_file(source / "model.safetensors")
    after = stacked(load_file(dense / "model.safetensors"), "gemma4")
    assert after.keys() == before.keys()
    for name in (name for name in before if ".experts." in name):
        moved = (after[name] - before[name]).abs() / before[name].abs().amax(-1, keepdim=True)
        assert 0 < moved.max() < 0.51 / 127, name  # half a step of a row


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_is_evaluated_as_what_it_writes(tmp_path, family):
    source = tiny_models.save(tmp_path / "source", family, "plain", torch.float32)
    ids = tmp_path / "tokens.json"
    ids.write_text(json.dumps(torch.randint(3, 72, (150,), generator=torch.Generator().manual_seed(5)).tolist()))
    options = ("--token-ids", ids, "--threads", 1, "--context", 50)
    recipe = ("--rotations", "R1,R2", "--transform-type", "random-hadamard", "--scheme", "W8A8")
    spinor("quantize", source, tmp_path / "out", *recipe, "--quiet")
    planned, written = (
        spinor_json("eval", source, *options, *recipe),
        spinor_json("eval", tmp_path / "out", *options),
    )
    assert planned["perplexity"] == pytest.approx(written["perplexity"], rel=1e-6)  # a rounding of float32


@pytest.mark.parametrize("ignored", [r"re:.*experts\.\d+\..*", "re:.*(experts|input_linear|output_linear).*"])
@pytest.mark.parametrize("family", FAMILIES)
def test_experts_that_are_left_out_stay_stacked(tmp_path, family, ignored):
    source = tiny_models.save(tmp_path / "source", family, "plain", torch.float32)
    out = quantize(source, tmp_path / "out", {"weights": INT8}, ignore=["lm_head", ignored])
    again = run("quantize", source, tmp_path / "again", "--scheme", "W8A8", "--ignore", f"lm_head,{ignored}")
    assert again.returncode == 0 and "no module matches" not in again.stderr
    before, after = (load_file(path / "model.safetensors") for path in (source, out))
    stacks = [name for name in before if name.endswith(STACKS)]
    assert stacks and all(torch.equal(after[name], before[name]) for name in stacks)
    logits.load(out, torch.float32)


def test_experts_of_one_layer_alone_are_quantized(tmp_path):
    source = tiny_models.save(tmp_path / "source", "gpt_oss", "plain", torch.float32)
    out = quantize(source, tmp_path / "out", {"weights": INT8}, ignore=["lm_head", r"re:model\.layers\.0\.mlp\..*"])
    before, after = (load_file(path / "model.safetensors") for path in (source, out))
    assert "model.layers.1.mlp.experts.2.up_proj.weight_packed" in after
    first = stacked({name: tensor for name, tensor in after.items() if "layers.0." in name}, "gpt_oss")
    stacks = [name for name in first if name.endswith(STACKS)]
    assert len(stacks) == 4 and all(torch.equal(first[name], before[name]) for name in stacks)


def test_a_stack_in_ignore_beside_quantized_experts_is_refused(tmp_path):
    source = tiny_models.save(tmp_path / "source", "gpt_oss", "plain", torch.float32)
    stack = "model.layers.0.mlp.experts.gate_up_proj"
    message = refused("quantize", source, tmp_path / "out", "--scheme", "W8A8", "--ignore", f"lm_head,{stack}")
    assert message.startswith(f"{stack}: is in ignore, but other experts are quantized one by one")


def test_mxfp4_experts_are_quantized_as_the_numbers_they_stand_for(checkpoints, tmp_path):  # noqa: F811
    found, expected = (
        quantize(one, tmp_path / one.name, {"weights": {**INT4, "group_size": 32}}, "R1", ignore=IGNORE)
        for one in checkpoints
    )
    found, expected = (load_file(one / "model.safetensors") for one in (found, expected))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_experts_one_by_one_are_read_and_rotated(tmp_path, family):
    source = tiny_models.save(tmp_path / "source", family, "plain", torch.float32)
    linear = quantize(source, tmp_path / "linear", {"weights": INT8, "format": "dense"})
    report = spinor_json("inspect", linear)
    assert report["refusal"] is None
    assert report["tensors"][f"model.layers.1.{FAMILIES[family]}5.down_proj.weight"]["role"] == "mlp_out"
    spinor("rotate", linear, tmp_path / "out", "--transform-type", "random-hadamard", "--quiet")
    assert "is the same function as" in spinor("verify", linear, tmp_path / "out")
    expected = expected_logits(as_transformers_has_it(linear, tmp_path / "a", family), torch.float32, "plain")
    rotated = as_transformers_has_it(tmp_path / "out", tmp_path / "b", family)
    assert logits.difference(expected, expected_logits(rotated, torch.float32, "plain"))[0] <= 2e-5


def test_an_expert_that_is_missing_is_named(tmp_path):
    source = tiny_models.save(tmp_path / "source", "gpt_oss", "plain", torch.float32)
    linear = quantize(source, tmp_path / "linear", {"weights": INT8, "format": "dense"})
    tensors = load_file(linear / "model.safetensors")
    del tensors["model.layers.1.mlp.experts.3.up_proj.bias"]
    save_file(tensors, linear / "model.safetensors", {"format": "pt"})
    assert "model.layers.1.mlp.experts.3.up_proj.bias: is missing" in refused("rotate", linear, tmp_path / "out")


@pytest.mark.parametrize("old, new, said", [
    (r", split: \[[^]]*\]", "", "input_linear is a stack of matrices, and its row does not say into which linears it"),
    (r"experts\.\{E\}\.up_proj'", r"experts.{E}.up_proj', 'block_sparse_moe.experts.{E}.third'",
     "input_linear: has 160 outputs, which are not those of 3 linears of one size"),
    (r"'block_sparse_moe\.experts\.\{E\}\.gate_proj'", "gate_proj",
     "block_sparse_moe.input_linear: split names gate_proj without {E}, the number of the expert"),
])
def test_what_a_row_cannot_split_is_refused(tmp_path, old, new, said):
    source = tiny_models.save(tmp_path / "source", "granitemoe", "plain", torch.float32)
    config = (source / "config.json").read_text()
    (source / "config.json").write_text(config.replace("GraniteMoeForCausalLM", "OwnForCausalLM"))
    text = (ROOT / "rows/granitemoe.yaml").read_text().replace("GraniteMoeForCausalLM", "OwnForCausalLM")
    row = tmp_path / "row.yaml"
    row.write_text(re.sub(old, new, text.replace(",\n   split", ", split")))
    message = refused("quantize", source, tmp_path / "out", "--scheme", "W8A8", "--architecture", row)
    assert said in message


@pytest.mark.parametrize("family", FAMILIES)
def test_who_cannot_load_them_is_said(tmp_path, family):
    source = tiny_models.save(tmp_path / "source", family, "plain", torch.float32)
    quantizing = ("quantize", source, tmp_path / "out", "--scheme", "W8A8", "--for")
    assert "transformers stacks experts while it loads" in refused(*quantizing, "transformers")
    if family == "gpt_oss":
        assert "vllm reads the experts of gpt-oss as stacks" in refused(*quantizing, "vllm")
