"""`--rotation FILE`: matrices of the user's own are used as they are, exactly, and can be undone and used again."""

import json
import shutil

import pytest
import safetensors.torch
import torch
import yaml

import logits
import tiny_models
from command import refused, spinor

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
BOUND = 1e-9  # logits in standard deviations, in float64, whatever the matrices were stored as


def orthogonal(size, seed, fixing_ones=False):
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    if not fixing_ones:
        return basis
    basis[:, 0] = 1
    frame = torch.linalg.qr(basis)[0]  # its first column is the vector of ones, in length
    inner = torch.eye(size, dtype=torch.float64)
    inner[1:, 1:] = orthogonal(size - 1, seed + 1)
    return frame @ inner @ frame.T


def save(path, tensors, dtype=torch.float64):
    safetensors.torch.save_file({name: m.to(dtype).contiguous() for name, m in tensors.items()}, path)
    return path


def weights(directory):
    return safetensors.torch.load_file(directory / "model.safetensors")


def same_weights(one, other):
    return (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def sizes(config):
    head = getattr(config, "v_head_dim", None) or getattr(config, "head_dim", None)
    return config.hidden_size, head or config.hidden_size // config.num_attention_heads


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3", "mixtral", "deepseek_v3", "cohere", "gpt_neox"])
def test_logits_stay(tmp_path, family, dtype):
    case = "three_heads" if family in tiny_models.FAMILIES else next(iter(tiny_models.MORE_FAMILIES[family][1]))
    model = tiny_models.make(family, case)
    model.save_pretrained(tmp_path / "source")
    hidden, head = sizes(model.config)
    layers = {f"model.layers.{i}.self_attn.R2": orthogonal(head, 5 + i) for i in range(model.config.num_hidden_layers)}
    own = {"R1": orthogonal(hidden, 1, family in ("cohere", "gpt_neox")), **layers}
    file = save(tmp_path / "own.safetensors", own, DTYPES[dtype])
    spinor("rotate", tmp_path / "source", tmp_path / "out", "--rotation", file, "--quiet")
    rotated = logits.load(tmp_path / "out", torch.float64)
    assert logits.difference(logits.logits(model), logits.logits(rotated))[0] <= BOUND


@pytest.fixture
def llama(tmp_path):
    """A saved model, the path of a file of matrices for it, and these."""
    tiny_models.save(tmp_path / "source", "llama", "three_heads")
    own = {"R1": orthogonal(48, 1), "R2.0": orthogonal(16, 2), "R2.1": orthogonal(16, 3)}
    return tmp_path / "source", save(tmp_path / "own.safetensors", own), own


def test_rows_times_the_matrices(tmp_path, llama):
    source, file, own = llama
    spinor("rotate", source, tmp_path / "out", "--rotation", file, "--quiet")
    before, after = weights(source), weights(tmp_path / "out")
    torch.testing.assert_close(
        after["model.embed_tokens.weight"], before["model.embed_tokens.weight"] @ own["R1"], rtol=0, atol=1e-12
    )
    for layer in (0, 1):
        name = f"model.layers.{layer}.self_attn.o_proj.weight"
        heads = (own["R1"].T @ before[name]).unflatten(1, (-1, 16)) @ own[f"R2.{layer}"]
        torch.testing.assert_close(after[name], heads.flatten(1), rtol=0, atol=1e-12)


def test_the_recipe_says_so_and_does_it_again(tmp_path, llama):
    source, file, _ = llama
    spinor("rotate", source, tmp_path / "out", "--rotation", file, "--quiet")
    recipe = tmp_path / "out" / "recipe.yaml"
    text = recipe.read_text()
    arguments = yaml.safe_load(text)["default_stage"]["default_modifiers"]["SpinQuantModifier"]
    assert arguments["rotation_file"] == str(file) and len(arguments["rotation_digest"]) == 32
    assert {group["type"] for group in arguments["transform_config"]["config_groups"].values()} == {"given"}
    again = tmp_path / "recipe.yaml"
    shutil.copy(recipe, again)
    spinor("rotate", source, tmp_path / "again", "--recipe", again, "--quiet")
    assert same_weights(tmp_path / "out", tmp_path / "again")
    assert recipe.read_text() == (tmp_path / "again" / "recipe.yaml").read_text()
    save(file, {"R1": orthogonal(48, 9), "R2": orthogonal(16, 9)})
    assert "is not the file of rotations that was used" in refused("rotate", source, tmp_path / "x", "--recipe", again)
    file.unlink()
    assert str(file) in refused("rotate", source, tmp_path / "x", "--recipe", again)
    again.write_text("\n".join(line for line in text.splitlines() if "rotation_" not in line))
    assert "give their file" in refused("rotate", source, tmp_path / "x", "--recipe", again)


def test_inverse(tmp_path, llama):
    source, file, _ = llama
    spinor("rotate", source, tmp_path / "out", "--rotation", file, "--quiet")
    spinor("rotate", tmp_path / "out", tmp_path / "back", "--inverse", "--quiet")
    embedding = "model.embed_tokens.weight"
    torch.testing.assert_close(weights(tmp_path / "back")[embedding], weights(source)[embedding], rtol=0, atol=1e-12)

    moved = file.rename(tmp_path / "moved.safetensors")
    assert str(file) in refused("rotate", tmp_path / "out", tmp_path / "x", "--inverse")
    spinor("rotate", tmp_path / "out", tmp_path / "back-2", "--inverse", "--rotation", moved, "--quiet")
    assert same_weights(tmp_path / "back", tmp_path / "back-2")
    save(moved, {"R1": orthogonal(48, 9), "R2": orthogonal(16, 9)})
    message = refused("rotate", tmp_path / "out", tmp_path / "x", "--inverse", "--rotation", moved)
    assert "is not the file of rotations that was used" in message
    spinor("rotate", source, tmp_path / "drawn", "--transform-type", "random-hadamard", "--quiet")
    message = refused("rotate", tmp_path / "drawn", tmp_path / "x", "--inverse", "--rotation", moved)
    assert "the model was not rotated with one" in message


def test_what_the_file_lacks_is_drawn(tmp_path, llama):
    source, file, own = llama
    save(file, {"R2": own["R2.0"]})
    spinor("rotate", source, tmp_path / "out", "--rotation", file, "--transform-type", "random-hadamard", "--quiet")
    spinor("rotate", source, tmp_path / "drawn", "--rotations", "R1", "--transform-type", "random-hadamard", "--quiet")
    embedding = "model.embed_tokens.weight"
    assert torch.equal(weights(tmp_path / "out")[embedding], weights(tmp_path / "drawn")[embedding])


def test_with_online_rotations(tmp_path, llama):
    source, file, _ = llama
    spinor("rotate", source, tmp_path / "out", "--rotation", file, "--rotations", "R1,R2,R4",
           "--transform-type", "random-hadamard", "--quiet")  # fmt: skip
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]["transform_config"]
    types = {name: group["type"] for name, group in config["config_groups"].items()}
    assert types == {"R1": "random-matrix", "R2": "random-matrix", "R4": "random-hadamard"}  # as the peer reads them
    spinor("rotate", tmp_path / "out", tmp_path / "back", "--inverse", "--quiet")
    embedding = "model.embed_tokens.weight"
    torch.testing.assert_close(weights(tmp_path / "back")[embedding], weights(source)[embedding], rtol=0, atol=1e-12)


def test_another_file_is_another_job(tmp_path, llama):
    source, file, own = llama
    model = tiny_models.make("llama", "three_heads")
    with torch.no_grad():
        model.lm_head.weight *= 1e6  # too large for float16, which shows when that tensor is written
    model.save_pretrained(source)
    command = ["rotate", source, tmp_path / "out", "--rotation", file, "--dtype", "float16"]
    refused(*command)
    assert (tmp_path / "out.partial").exists()
    save(file, own | {"R1": orthogonal(48, 9)})
    message = refused(*command)
    assert "out.partial" in message and "rotation_digest" in message


def test_layer_norms_need_the_ones_fixed(tmp_path):
    model = tiny_models.make("cohere", next(iter(tiny_models.MORE_FAMILIES["cohere"][1])))
    model.save_pretrained(tmp_path / "source")
    file = save(tmp_path / "own.safetensors", {"R1": orthogonal(model.config.hidden_size, 1)})
    message = refused("rotate", tmp_path / "source", tmp_path / "out", "--rotation", file)
    assert "R1: does not map the vector of ones to itself" in message and "LayerNorms" in message


def test_what_is_not_legal_stays_refused(tmp_path):
    model = tiny_models.make("gemma2", "tied")
    model.save_pretrained(tmp_path / "source")
    file = save(tmp_path / "own.safetensors", {"R1": orthogonal(model.config.hidden_size, 1)})
    message = refused("rotate", tmp_path / "source", tmp_path / "out", "--rotation", file, "--rotations", "R1")
    assert "R1 would change the model" in message


@pytest.mark.parametrize(
    "tensors, problem",
    [
        ({"R1": torch.eye(48).double() * 1.01}, "R1: is not orthogonal"),
        ({"R1": torch.full((48, 48), torch.nan)}, "R1: has an entry that is not finite"),
        ({"R1": torch.eye(47)}, "R1: is of size 47, but hidden_size is 48"),
        ({"R1": torch.eye(48), "R5": torch.eye(48)}, "R5: is not the name of a rotation"),
        ({"R1": torch.ones(48, 1)}, "R1: is not a square matrix"),
        ({"R2.2": torch.eye(16)}, "R2.2: the model has 2 layers"),
        ({"R1": torch.eye(48), "R2.1": torch.eye(16)}, "no R2 was given for its layer"),
        ({"R1": torch.eye(48, dtype=torch.float16)}, "R1: is stored as F16"),
    ],
)
def test_refusals(tmp_path, llama, tensors, problem):
    source, file, _ = llama
    safetensors.torch.save_file(tensors, file)
    assert problem in refused("rotate", source, tmp_path / "out", "--rotation", file)
    assert not (tmp_path / "out").exists()


def test_a_truncated_file(tmp_path, llama):
    source, file, _ = llama
    file.write_bytes(file.read_bytes()[:-9])
    assert str(file) in refused("rotate", source, tmp_path / "out", "--rotation", file)
