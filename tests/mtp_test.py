"""Layers for multi-token prediction: R1 would change what they see, so they are dropped or it is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import logits
import tiny_models
from command import refused, spinor, spinor_json

ROTATE = ("--transform-type", "random-hadamard", "--quiet")


def glm(folder):
    """As GLM-4.5 has them: one more layer, with parts of its own."""
    tensors, config = saved(folder, "glm4_moe", "biased")
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    more = {name.replace(f"layers.{layers - 1}.", f"layers.{layers}."): tensor for name, tensor in tensors.items()}
    more |= {f"model.layers.{layers}.{norm}.weight": torch.ones(hidden) for norm in ("enorm", "hnorm", "shared_head.norm")}
    more[f"model.layers.{layers}.eh_proj.weight"] = torch.randn(hidden, 2 * hidden)
    config["num_nextn_predict_layers"] = 1
    return written(folder, tensors, {name: t.clone() for name, t in more.items()}, config)


def qwen(folder):
    """As Qwen3-Next has them: a module beside the model, unknown to its config."""
    tensors, config = saved(folder, "qwen3_next", "plain")
    more = {"mtp." + name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.layers.1.")}
    more = {name: t.clone() for name, t in more.items()}
    return written(folder, tensors, more | {"mtp.fc.weight": torch.randn(48, 96)}, config)


def saved(folder, family, case):
    tiny_models.save(folder, family, case, torch.float32)
    return load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())


def written(folder, tensors, more, config):
    save_file({**more, **tensors}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return {name for name in more if name not in tensors}


@pytest.mark.parametrize("make", [glm, qwen])
def test_r1_is_refused_and_offers_to_drop_them(tmp_path, make):
    make(tmp_path / "source")
    message = refused("rotate", tmp_path / "source", tmp_path / "out", "--rotations", "R1", *ROTATE)
    assert "belongs to layers for multi-token prediction" in message and "--mtp drop leaves them out" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [glm, qwen])
def test_dropped_they_are_gone_and_the_rest_is_exact(tmp_path, make):
    source, out = tmp_path / "source", tmp_path / "out"
    extra = make(source)
    assert {name for name, t in spinor_json("inspect", source)["tensors"].items() if t["role"] == "mtp"} == extra
    spinor("rotate", source, out, "--rotations", "R1", "--mtp", "drop", *ROTATE)
    assert set(load_file(out / "model.safetensors")) == set(load_file(source / "model.safetensors")) - extra
    config = json.loads((out / "config.json").read_text())
    assert config.get("num_nextn_predict_layers", 0) == 0
    pair = [logits.logits(logits.load(folder, torch.float32)) for folder in (stripped(source, extra), out)]
    assert logits.difference(*pair)[0] <= 2e-5  # as in rotated_families_test.py
    again = tmp_path / "again"
    spinor("rotate", source, again, "--recipe", out / "recipe.yaml", "--quiet")
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def stripped(source, extra):
    """What transformers makes of the source: it ignores them, with a word on each."""
    folder = source.parent / "stripped"
    folder.mkdir()
    tensors = {name: t for name, t in load_file(source / "model.safetensors").items() if name not in extra}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text((source / "config.json").read_text())
    return folder


def test_r2_leaves_them_as_they_are(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    extra = glm(source)
    spinor("rotate", source, out, "--rotations", "R2", *ROTATE)
    before, after = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in extra)
