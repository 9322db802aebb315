"""`verify` accepts every sound output and names tensor and role of every damaged one."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_models
from command import refused, spinor

RANDOM = ["--rotations", "R1,R2", "--transform-type", "random-hadamard"]
DTYPES = ["bfloat16", "float16", "float32", "float64"]
LAYER = "model.layers.1."


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_sound_outputs_pass(tmp_path, family, dtype):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, "wide_heads", getattr(torch, dtype))
    spinor("rotate", source, out, *RANDOM, "--quiet")
    spinor("verify", source, out)


@pytest.mark.parametrize(
    "options",
    [
        ["--transform-type", "hadamard"],
        ["--rotations", "R1"],
        ["--rotations", "R2"],
        ["--block-size", "8", "--randomize"],
        ["--transform-type", "random-orthogonal"],
        ["--dtype", "bfloat16"],
        ["--dtype", "float16"],
        ["--rotations", "R2", "--transform-type", "random-matrix"],
        ["--precision", "float32"],
        ["--precision", "float32", "--dtype", "bfloat16"],
    ],
    ids=" ".join,
)
def test_sound_outputs_of_every_kind_pass(tiny, tmp_path, options):
    source, _ = tiny("qwen2", "power_of_two", torch.float32)
    spinor("rotate", source, tmp_path / "out", *options, "--quiet")
    spinor("verify", source, tmp_path / "out")


@pytest.fixture(scope="module")
def rotated(tmp_path_factory):
    """A source with every bias there is, its rotation, and that rotation rotated again (norms are one by then)."""
    directory = tmp_path_factory.mktemp("verify")
    source, once, twice = directory / "source", directory / "once", directory / "twice"
    tiny_models.save(source, "llama", "three_heads", torch.bfloat16)
    spinor("rotate", source, once, *RANDOM, "--quiet")
    spinor("rotate", once, twice, *RANDOM, "--quiet")
    return source, once, twice


ROLES = {
    "model.embed_tokens.weight": "embedding",
    "lm_head.weight": "head",
    f"{LAYER}self_attn.q_proj.weight": "attn_q",
    f"{LAYER}self_attn.k_proj.weight": "attn_k",
    f"{LAYER}self_attn.v_proj.weight": "attn_v",
    f"{LAYER}self_attn.o_proj.weight": "attn_o",
    f"{LAYER}mlp.gate_proj.weight": "mlp_in",
    f"{LAYER}mlp.up_proj.weight": "mlp_in",
    f"{LAYER}mlp.down_proj.weight": "mlp_out",
    f"{LAYER}self_attn.v_proj.bias": "attn_v",
    f"{LAYER}self_attn.o_proj.bias": "attn_o",
    f"{LAYER}mlp.down_proj.bias": "mlp_out",
    f"{LAYER}input_layernorm.weight": "stream_norm",
    f"{LAYER}post_attention_layernorm.weight": "stream_norm",
    "model.norm.weight": "stream_norm",
}
UNROTATED_BIASES = {
    f"{LAYER}self_attn.q_proj.bias": "attn_q",
    f"{LAYER}self_attn.k_proj.bias": "attn_k",
    f"{LAYER}mlp.gate_proj.bias": "mlp_in",
    f"{LAYER}mlp.up_proj.bias": "mlp_in",
}


def damaged(tmp_path, once, name, tensor):
    """A copy of the checkpoint `once` with one tensor replaced."""
    out = tmp_path / "damaged"
    out.mkdir()
    tensors = load_file(once / "model.safetensors")
    assert not torch.equal(tensors[name], tensor)
    for path in once.iterdir():
        if path.name != "model.safetensors":
            (out / path.name).write_bytes(path.read_bytes())
    save_file({**tensors, name: tensor.contiguous()}, out / "model.safetensors", metadata={"format": "pt"})
    return out


def assert_named(source, out, name, role):
    """Fails, with the tensor and its role in the error line. Values and output projections are measured as pairs."""
    message = refused("verify", source, out, "--quiet")
    assert name in message, message
    assert role in message or (role == "attn_o" and "o_proj.weight (attn_v)" in message), message


@pytest.mark.parametrize("name", ROLES)
def test_a_tensor_as_in_the_source_is_found(rotated, tmp_path, name):
    source, once, _ = rotated
    tensor = load_file(source / "model.safetensors")[name]
    assert_named(source, damaged(tmp_path, once, name, tensor), name, ROLES[name])


@pytest.mark.parametrize("name", [name for name in ROLES if "norm" not in name])
def test_a_tensor_rotated_twice_is_found(rotated, tmp_path, name):
    source, once, twice = rotated
    tensor = load_file(twice / "model.safetensors")[name]
    assert_named(source, damaged(tmp_path, once, name, tensor), name, ROLES[name])


@pytest.mark.parametrize("name", [name for name in ROLES if name.endswith("bias")] + list(UNROTATED_BIASES))
def test_a_bias_forgotten_is_found(rotated, tmp_path, name):
    source, once, _ = rotated
    tensor = torch.zeros_like(load_file(once / "model.safetensors")[name])
    assert_named(source, damaged(tmp_path, once, name, tensor), name, (ROLES | UNROTATED_BIASES)[name])


@pytest.mark.parametrize("name, axis", [(f"{LAYER}self_attn.v_proj.weight", 0), (f"{LAYER}self_attn.o_proj.weight", 1)])
def test_a_swapped_head_is_found(tmp_path, name, axis):
    source, once = tmp_path / "source", tmp_path / "once"
    tiny_models.save(source, "mistral", "wide_heads", torch.bfloat16)
    spinor("rotate", source, once, *RANDOM, "--quiet")
    heads = list(load_file(once / "model.safetensors")[name].split(24, axis))
    heads[0], heads[1] = heads[1], heads[0]
    out = damaged(tmp_path, once, name, torch.cat(heads, axis))
    assert_named(source, out, name, "attn_v" if axis == 0 else "attn_o")


def test_a_centred_embedding_is_found(rotated, tmp_path):
    source, once, _ = rotated
    out = tmp_path / "centred"
    spinor("rotate", source, out, *RANDOM, "--center-embeddings", "--quiet")
    assert_named(source, out, "model.embed_tokens.weight", "embedding")


def test_a_matrix_that_is_not_orthogonal_as_r1_is_found(rotated, tmp_path):
    source, _, _ = rotated
    out = tmp_path / "out"
    spinor("rotate", source, out, "--transform-type", "random-matrix", "--compat", "llm-compressor", "--quiet")
    refused("verify", source, out)


def test_one_wrong_element_is_found(rotated, tmp_path):
    source, once, _ = rotated
    name = f"{LAYER}mlp.up_proj.weight"
    tensor = load_file(once / "model.safetensors")[name].clone()
    tensor[3, 5] += 1
    assert_named(source, damaged(tmp_path, once, name, tensor), name, "mlp_in")


# A key of the forward pass of each kind, and another value of it.
KEYS = [
    ("llama", "power_of_two", "rms_norm_eps", 0.1),
    ("llama", "power_of_two", "hidden_act", "gelu"),
    ("llama", "power_of_two", "rope_parameters", {"rope_type": "default", "rope_theta": 50.0}),
    ("llama", "power_of_two", "model_type", "mistral"),
    ("mistral", "power_of_two", "sliding_window", 2),
    ("granite", "power_of_two", "residual_multiplier", 1.0),
    ("smollm3", "power_of_two", "no_rope_layers", [0, 1]),
    ("gemma2", "tied", "final_logit_softcapping", 2.0),
    ("gemma2", "tied", "query_pre_attn_scalar", 7),
    ("qwen3_moe", "plain", "norm_topk_prob", False),
    ("deepseek_v3", "plain", "routed_scaling_factor", 9.0),
    ("qwen2_vl", None, "text_config.rms_norm_eps", 0.1),
    ("qwen2_vl", None, "vision_config.hidden_act", "gelu"),
]
# And what changes nothing.
ASIDE = {"use_cache": False, "transformers_version": "0", "dtype": "float16", "attention_dropout": 0.5}


@pytest.mark.parametrize("family, case, key, value", KEYS, ids=lambda value: str(value))
def test_keys_of_the_config_are_compared(tmp_path, family, case, key, value):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, case or next(iter(tiny_models.MORE_FAMILIES[family][1])), torch.float32)
    shutil.copytree(source, out)
    config = json.loads((source / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | ASIDE))
    spinor("verify", source, out)
    section, _, name = key.rpartition(".")
    changed = config | ASIDE
    (changed[section] if section else changed)[name] = value
    (out / "config.json").write_text(json.dumps(changed))
    message = refused("verify", source, out, "--quiet")
    assert "1 of " in message and f"the first for {key} (config.json): config.json says " in message, message


def test_what_acts_online_is_part_of_either_side(tmp_path):
    source, online, plain = tmp_path / "source", tmp_path / "online", tmp_path / "plain"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    spinor("rotate", source, online, "--rotations", "R1,R2,R3,R4", "--quiet")
    spinor("rotate", online, plain, *RANDOM, "--quiet")  # R4 moves into the weights
    for before, after in [(source, online), (online, plain), (source, plain), (online, online)]:
        assert spinor("verify", before, after).endswith(f"{after} is the same function as {before}\n")
    lost = tmp_path / "lost"
    shutil.copytree(online, lost)
    config = json.loads((online / "config.json").read_text())
    del config["quantization_config"]
    (lost / "config.json").write_text(json.dumps(config))
    tensors = load_file(online / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "R3" not in name and "R4" not in name}
    save_file(kept, lost / "model.safetensors", {"format": "pt"})
    assert "model.layers.0.mlp.down_proj.weight" in refused("verify", online, lost, "--quiet")
    assert "model.layers.0.mlp.down_proj.weight" in refused("verify", source, lost, "--quiet")


@pytest.mark.parametrize("rotations", ["v", "u", "v, u"])
@pytest.mark.parametrize("kind", ["random-hadamard", "random-orthogonal"])
def test_what_quip_does_online_is_seen_and_rotated(tmp_path, rotations, kind):
    source, online, plain = tmp_path / "source", tmp_path / "online", tmp_path / "plain"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    recipe = tmp_path / "recipe.yaml"
    arguments = f"{{rotations: [{rotations}], transform_type: {kind}, transform_block_size: 16}}"
    recipe.write_text(f"default_stage: {{default_modifiers: {{QuIPModifier: {arguments}}}}}\n")
    spinor("rotate", source, online, "--recipe", recipe, "--quiet")
    spinor("verify", source, online)
    spinor("rotate", online, plain, *RANDOM, "--quiet")
    spinor("verify", online, plain)


def test_what_a_probe_cannot_bound_is_refused(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    spinor("rotate", source, out, "--rotations", "R4", "--transform-type", "random-matrix", "--quiet")
    assert "R4 is not orthogonal" in refused("verify", source, out)
