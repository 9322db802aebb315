"""Checkpoints that are laid out otherwise than save_pretrained does it are read as transformers reads them."""

import copy
import json
import math

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import logits
import tiny_models
from command import refused, run, spinor, spinor_json

RANDOM = ["--transform-type", "random-hadamard"]
INDEX = "model.safetensors.index.json"
DOWN = "model.layers.0.mlp.down_proj.weight"
FIRST = "model-00001-of-00002.safetensors"


def reshard(directory, shards, weight_map):
    (directory / "model.safetensors").unlink()
    for file, tensors in shards.items():
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, directory / file, {"format": "pt"})
    (directory / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.fixture
def model(tmp_path):
    directory = tiny_models.save(tmp_path / "model", "llama", "power_of_two", torch.float32)
    return directory, load_file(directory / "model.safetensors")


def test_infinity_of_a_config_stays(model, tmp_path):
    """Python's json writes it, and so publishers of models with state spaces do."""
    directory, _ = model
    config = json.loads((directory / "config.json").read_text()) | {"time_step_limit": [0.0, math.inf]}
    (directory / "config.json").write_text(json.dumps(config))
    spinor("rotate", directory, tmp_path / "out", *RANDOM, "--quiet")
    assert json.loads((tmp_path / "out/config.json").read_text())["time_step_limit"] == [0.0, math.inf]
    spinor("verify", directory, tmp_path / "out")


def test_of_a_tensor_in_two_shards_the_last_counts(model, tmp_path):
    directory, tensors = model
    where = {name: FIRST for name in tensors}
    last = "model-overlay.safetensors"
    where["model.norm.weight"] = last
    overlay = {DOWN: tensors[DOWN] * 2, "model.norm.weight": tensors["model.norm.weight"]}
    reshard(directory, {FIRST: tensors, last: overlay}, where)
    message = refused("rotate", directory, tmp_path / "out", *RANDOM)
    assert message.endswith(f"let the index say {last}: transformers loads the last")
    (directory / INDEX).write_text(json.dumps({"weight_map": where | {DOWN: last}, "metadata": {}}))
    loaded = logits.load(directory, torch.float32)
    assert torch.equal(loaded.state_dict()[DOWN], tensors[DOWN] * 2)
    spinor("rotate", directory, tmp_path / "out", *RANDOM, "--quiet")
    # As in invariance_test.py: weights are rounded once, as are all activations of both sides.
    rotated = logits.logits(logits.load(tmp_path / "out", torch.float32))
    assert logits.difference(logits.logits(loaded), rotated)[0] < 2e-5


def test_a_tensor_that_the_index_does_not_name_is_left_out_aloud(model, tmp_path):
    directory, tensors = model
    extra = "model.layers.7.mlp.experts.0.w1.weight"
    where = {name: FIRST for name in tensors}
    reshard(directory, {FIRST: {**tensors, extra: torch.zeros(4, 4)}}, where)
    done = run("rotate", directory, tmp_path / "out", *RANDOM)
    assert done.returncode == 0, done.stderr
    left_out = f"left out: 1 tensors that the shards have and their index does not name ({extra} in {FIRST})"
    assert f"warning: {left_out}" in done.stderr
    assert extra not in load_file(tmp_path / "out" / "model.safetensors")
    (directory / INDEX).write_text(json.dumps({"weight_map": {n: FIRST for n in tensors if n != DOWN}, "metadata": {}}))
    assert refused("rotate", directory, tmp_path / "other", *RANDOM) == (
        f"{DOWN}: is missing from the checkpoint; {FIRST} has it, but {INDEX} does not name it: "
        "add it to weight_map there"
    )


# ---- The base model alone

CASES = {family: next(iter(cases)) for family, (_, cases) in tiny_models.MORE_FAMILIES.items()}
CASES |= {family: "power_of_two" for family in tiny_models.FAMILIES}
del CASES["bloom"]  # its row was found, with one root
# Are written with names that do not begin with those of their class.
OLD_NAMES = {"qwen2_vl", "qwen2_5_vl", "gemma3_vl"}


def without_prefix(directory, prefix):
    """As embedding models are published: names as the class without a head has them."""
    tensors = load_file(directory / "model.safetensors")
    assert any(name.startswith(prefix) for name in tensors)
    stripped = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    save_file(stripped, directory / "model.safetensors", {"format": "pt"})


def saved(directory, family, **overrides):
    made = tiny_models.make(family, CASES[family], torch.float64, **overrides)
    made.save_pretrained(directory)
    return made.base_model_prefix + "."


def inspected(directory):
    """What spinor makes of it, without the names."""
    found = spinor_json("inspect", directory)
    assert found["refusal"] is None
    tensors = sorted((tensor["role"], tensor["shape"]) for tensor in found["tensors"].values())
    verdicts = [(one["size"], one["verdict"].replace("no: model.", "no: ")) for one in found["rotations"]]
    return tensors, verdicts, found["runs"]


@pytest.mark.parametrize("family", sorted(CASES.keys() - OLD_NAMES))
def test_the_base_model_alone_has_no_prefix(tmp_path, family):
    prefix = saved(tmp_path / "model", family)
    expected = inspected(tmp_path / "model")
    without_prefix(tmp_path / "model", prefix)
    assert inspected(tmp_path / "model") == expected


@pytest.mark.parametrize("family", ["qwen3", "mistral", "gpt2", "gpt_neox", "falcon", "qwen3_vl"])
def test_what_has_no_prefix_is_written_without(tmp_path, family):
    without_prefix(tmp_path / "model", saved(tmp_path / "model", family))
    source = logits.load(tmp_path / "model", torch.float64)
    spinor("rotate", tmp_path / "model", tmp_path / "out", *RANDOM, "--quiet")
    names = set(load_file(tmp_path / "out" / "model.safetensors"))
    assert names >= set(load_file(tmp_path / "model" / "model.safetensors"))
    rotated = logits.load(tmp_path / "out", torch.float64)
    assert logits.difference(logits.logits(source), logits.logits(rotated))[0] < 1e-9


def test_quantization_names_modules_as_they_are_in_memory(tmp_path):
    without_prefix(tmp_path / "model", saved(tmp_path / "model", "qwen3"))
    spinor("quantize", tmp_path / "model", tmp_path / "out", "--scheme", "W8A8", "--dtype", "bfloat16", "--quiet",
           "--ignore", "lm_head,re:.*layers.0.mlp.*")  # fmt: skip
    block = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert {"lm_head", "model.layers.0.mlp.up_proj"} <= set(block["ignore"])
    spinor("dequantize", tmp_path / "out", tmp_path / "dense", "--quiet")


# ---- Keys of config.json that the class does not use

KEYS = ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
        "intermediate_size", "vocab_size", "hidden_act"]  # fmt: skip


def shapes(model_class, config):
    with torch.device("meta"):
        return {name: tuple(p.shape) for name, p in model_class(config).state_dict().items()}


@pytest.mark.parametrize("family", CASES)
def test_keys_that_the_class_does_not_use_do_not_matter(tmp_path, family):
    saved(tmp_path, family)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    section = config["text_config"] if "text_config" in config else config
    model_class = getattr(transformers, config["architectures"][0])
    expected = spinor("inspect", tmp_path)
    assert "\n  none: " not in expected
    for key in KEYS:
        if key in section or key in model_class.config_class.attribute_map:
            continue
        changed = copy.deepcopy(config)
        (changed["text_config"] if "text_config" in config else changed)[key] = "relu" if key == "hidden_act" else 6
        path.write_text(json.dumps(changed))
        try:
            loaded = model_class.config_class.from_pretrained(tmp_path)
            used = shapes(model_class, loaded) != shapes(model_class, model_class.config_class.from_dict(config))
        except Exception:
            used = True  # the class says no, too
        if not used:
            assert spinor("inspect", tmp_path) == expected, key
