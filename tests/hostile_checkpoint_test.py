"""Checkpoints that are broken or lie: status 1, one error line that names the culprit, nothing at OUT."""

import json
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

import safetensors_file
from command import refused

FIRST, SECOND = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight"
SHARD = "model.safetensors"
INDEX = "model.safetensors.index.json"


def edit_config(**changes):
    def damage(directory):
        config = json.loads((directory / "config.json").read_text())
        config.update(changes)
        (directory / "config.json").write_text(
            json.dumps({key: value for key, value in config.items() if value is not ...})
        )

    return damage


def edit_header(change):
    def damage(directory):
        header, data = safetensors_file.read(directory / SHARD)
        safetensors_file.write(directory / SHARD, change(header) or header, data)

    return damage


def edit_index(change):
    def damage(directory):
        index = json.loads((directory / INDEX).read_text())
        change(index["weight_map"])
        (directory / INDEX).write_text(json.dumps(index))

    return damage


def edit_tensors(change):
    def damage(directory):
        tensors = load_file(directory / SHARD)
        change(tensors)
        save_file(tensors, directory / SHARD, metadata={"format": "pt"})

    return damage


def truncate(directory):
    shard = directory / SHARD
    shard.write_bytes(shard.read_bytes()[:-100])


def repeat_name(header):
    text = json.dumps(header)
    return text[:-1] + f', "{FIRST}": {json.dumps(header[FIRST])}}}'


def poison(name, value):
    def change(tensors):
        tensors[name].view(-1)[7] = value

    return edit_tensors(change)


SINGLE = {
    "truncated": (truncate, [SHARD]),
    "empty": (lambda directory: (directory / SHARD).write_bytes(b""), [SHARD]),
    "header longer than the file": (
        lambda directory: (directory / SHARD).write_bytes(struct.pack("<Q", 1 << 40) + b"{}"),
        [SHARD],
    ),
    "header not JSON": (edit_header(lambda header: "{nonsense"), [SHARD]),
    "bytes after the last tensor": (lambda d: (d / SHARD).write_bytes((d / SHARD).read_bytes() + b"12345678"), [SHARD]),
    "shape larger than the bytes": (edit_header(lambda header: header[FIRST].update(shape=[4096, 4096])), [FIRST]),
    "shape that overflows": (edit_header(lambda header: header[FIRST].update(shape=[1 << 40, 1 << 40])), [FIRST]),
    "negative shape": (edit_header(lambda header: header[FIRST].update(shape=[-1, 64])), [FIRST]),
    "offsets beyond the file": (edit_header(lambda header: header[FIRST].update(data_offsets=[0, 1 << 60])), [FIRST]),
    "overlapping offsets": (
        edit_header(lambda header: header[SECOND].update(data_offsets=header[FIRST]["data_offsets"])),
        [SHARD],
    ),
    "unknown dtype": (edit_header(lambda header: header[FIRST].update(dtype="F31")), [FIRST, "F31"]),
    "a name twice": (edit_header(repeat_name), [FIRST]),
    "missing tensor": (edit_tensors(lambda tensors: tensors.pop(SECOND)), [SECOND]),
    "tensor without a role": (edit_tensors(lambda tensors: tensors.update(surprise=torch.ones(3))), ["surprise"]),
    "not a number": (poison(SECOND, float("nan")), [SECOND]),
    "infinite": (poison(FIRST, float("inf")), [FIRST]),
    "norm not a number": (poison("model.norm.weight", float("nan")), ["model.norm.weight"]),
    "no weights": (lambda directory: (directory / SHARD).unlink(), [SHARD]),
    "no config.json": (lambda directory: (directory / "config.json").unlink(), ["config.json"]),
    "config.json not JSON": (lambda directory: (directory / "config.json").write_text("{"), ["config.json"]),
    "unknown architecture": (edit_config(architectures=["MysteryForCausalLM"]), ["MysteryForCausalLM"]),
    "no architecture": (edit_config(architectures=...), ["architectures"]),
    "layers missing": (edit_config(num_hidden_layers=3), ["model.layers.2."]),
    "layers left over": (edit_config(num_hidden_layers=1), ["model.layers.1."]),
    "size not a number": (edit_config(hidden_size="64"), ["hidden_size"]),
    "size negative": (edit_config(hidden_size=-64), ["hidden_size"]),
    "no heads": (edit_config(num_attention_heads=0), ["num_attention_heads"]),
    "head_dim contradicts shapes": (edit_config(head_dim=12), [".self_attn.q_proj.weight"]),
    "intermediate_size contradicts shapes": (edit_config(intermediate_size=96), [".mlp."]),
    "vocab_size contradicts shapes": (edit_config(vocab_size=71), ["model.embed_tokens.weight"]),
    "hidden_size contradicts shapes": (edit_config(hidden_size=48), ["model.embed_tokens.weight"]),
    **{
        f"{key} missing": (edit_config(**{key: ...}), [key])
        for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    },
}

SHARDED = {
    "index outside the directory": (
        edit_index(lambda files: files.update({FIRST: "../x.safetensors"})),
        ["../x.safetensors"],
    ),
    "index with an absolute path": (edit_index(lambda files: files.update({FIRST: "/etc/passwd"})), ["/etc/passwd"]),
    "index names no file": (
        edit_index(lambda files: files.update({FIRST: "nowhere.safetensors"})),
        ["nowhere.safetensors"],
    ),
    "index names the wrong shard": (edit_index(lambda files: files.update({FIRST: files[SECOND]})), [FIRST]),
    "index forgets a tensor": (edit_index(lambda files: files.pop(FIRST)), [FIRST]),
    "index invents a tensor": (edit_index(lambda files: files.update(invented=files[FIRST])), ["invented"]),
    "index not JSON": (lambda directory: (directory / INDEX).write_text("["), [INDEX]),
    "missing shard": (lambda directory: sorted(directory.glob("*.safetensors"))[1].unlink(), ["model-00002-of-"]),
}


def assert_refused(tmp_path, source, damage, named):
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(source, model)
    damage(model)
    message = refused("rotate", model, out, "--transform-type", "random-hadamard")
    assert all(word in message for word in named), message
    assert not out.exists()


@pytest.mark.parametrize("name", SINGLE)
def test_a_broken_checkpoint_is_refused(tiny, tmp_path, name):
    source, _ = tiny("llama", "wide_heads", torch.float32)
    assert_refused(tmp_path, source, *SINGLE[name])


@pytest.mark.parametrize("name", SHARDED)
def test_a_broken_index_is_refused(tiny, tmp_path, name):
    source, _ = tiny("llama", "wide_heads", torch.float32, "60KB")
    assert_refused(tmp_path, source, *SHARDED[name])


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    assert "nowhere" in refused("rotate", tmp_path / "nowhere", tmp_path / "out")
