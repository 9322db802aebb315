"""Architectures that spinor does not know: the row of docs/adding_an_architecture.md, and rows as `spinor inspect`
drafts them."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

import logits
import tiny_models
from command import ROOT, refused, spinor, spinor_json

PAGE = (ROOT / "docs" / "adding_an_architecture.md").read_text()
ROW = re.search(r"^```yaml\n(# abc.yaml\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL).group(1)
NAMES = {
    "model.embed_tokens": "decoder.word_embeddings",
    "model.norm": "decoder.final_norm",
    "model.layers": "decoder.blocks",
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.o_proj": "attention.dense",
    "mlp.gate_proj": "mlp.w1",
    "mlp.up_proj": "mlp.w3",
    "mlp.down_proj": "mlp.w2",
    "input_layernorm": "norm1",
    "post_attention_layernorm": "norm2",
    "lm_head": "output",
}


def renamed(name, names):
    for old, new in names.items():
        name = name.replace(old, new)
    return name


def with_names(source, target, architecture, names):
    """The checkpoint under other names, and its config with another architecture."""
    target.mkdir()
    tensors = load_file(source / "model.safetensors")
    tensors = {renamed(name, names): tensor for name, tensor in tensors.items()}
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    config["architectures"] = [architecture]
    (target / "config.json").write_text(json.dumps(config))
    return target


def save_abc(folder, target, dtype=torch.float64):
    tiny_models.save(folder, "llama", "three_heads", dtype, attention_bias=False, mlp_bias=False)
    return with_names(folder, target, "AbcForCausalLM", NAMES)


def test_the_row_of_the_page_is_exact(tmp_path):
    abc = save_abc(tmp_path / "llama", tmp_path / "abc")
    (tmp_path / "abc.yaml").write_text(ROW)
    out = tmp_path / "out"
    spinor(
        "rotate", abc, out, "--architecture", tmp_path / "abc.yaml", "--transform-type", "random-hadamard", "--quiet"
    )
    back = {new: old for old, new in NAMES.items()}
    rotated = with_names(out, tmp_path / "rotated", "LlamaForCausalLM", back)
    pair = [logits.logits(logits.load(path, torch.float64)) for path in (tmp_path / "llama", rotated)]
    assert logits.difference(*pair)[0] <= 1e-9
    assert "is the same function" in spinor("verify", abc, out, "--architecture", tmp_path / "abc.yaml")


def test_what_a_row_leaves_to_the_files_is_rotated_alike(tmp_path):
    """The same bytes, whether a row says the sizes of the MLP and which layers have one, or leaves it to the files."""
    abc = save_abc(tmp_path / "llama", tmp_path / "abc")
    open_row = re.sub(r"(out|in): intermediate_size(.*?)}", r"\1: any\2, when: present}", ROW)
    open_row = open_row.replace("forward: {}", "layer_kinds: [[mlp.w1, mlp.w3, mlp.w2]]\nforward: {}")
    written = []
    for name, text in (("said", ROW), ("open", open_row)):
        (tmp_path / f"{name}.yaml").write_text(text)
        spinor("rotate", abc, tmp_path / name, "--architecture", tmp_path / f"{name}.yaml", "--quiet")
        written.append((tmp_path / name / "model.safetensors").read_bytes())
    assert open_row.count("any") == 3 and written[0] == written[1]


def test_the_row_of_the_page_is_what_inspect_drafts(tmp_path):
    abc = save_abc(tmp_path / "llama", tmp_path / "abc")
    (tmp_path / "drafted.yaml").write_text(spinor_json("inspect", abc)["draft"])
    (tmp_path / "abc.yaml").write_text(ROW)
    roles = [
        spinor_json("inspect", abc, "--architecture", tmp_path / row)["tensors"] for row in ("abc.yaml", "drafted.yaml")
    ]
    assert roles[0] == roles[1]


# Families whose row is drafted right from their names alone.
DRAFTED = [
    ("llama", "power_of_two"),
    ("qwen2", "three_heads"),
    ("qwen3", "wide_heads"),
    ("phi3", "plain"),
    ("mixtral", "plain"),
]


@pytest.mark.parametrize("family, case", DRAFTED)
def test_a_drafted_row_is_exact(tmp_path, family, case):
    source, unknown, out = (tmp_path / name for name in ("source", "unknown", "out"))
    tiny_models.save(source, family, case, torch.float64)
    architecture = json.loads((source / "config.json").read_text())["architectures"][0]
    with_names(source, unknown, "NovelForCausalLM", {})
    (tmp_path / "row.yaml").write_text(spinor_json("inspect", unknown)["draft"])
    spinor(
        "rotate",
        unknown,
        out,
        "--architecture",
        tmp_path / "row.yaml",
        "--transform-type",
        "random-hadamard",
        "--quiet",
    )
    with_names(out, tmp_path / "rotated", architecture, {})
    pair = [logits.logits(logits.load(path, torch.float64)) for path in (source, tmp_path / "rotated")]
    assert logits.difference(*pair)[0] <= 1e-9


@pytest.mark.parametrize(
    "change, message",
    [
        (
            ("writes: [attention.dense, mlp.w2]", "writes: [attention.dense]"),
            "writes vectors of hidden_size, but `writes`",
        ),
        (("reads: [mlp.w1, mlp.w3]", "reads: [mlp.w1]"), "mlp.w3 reads vectors of hidden_size, but `reads` of no norm"),
        (("reads: [mlp.w1, mlp.w3]", "reads: [mlp.w1, mlp.w9]"), "norms names mlp.w9, which the row does not have"),
        (("in: intermediate_size}", "in: intermediate_sise}"), "intermediate_sise"),
        (("layers: blocks", "layer: blocks"), "unknown key 'layer'"),
        (("names: [AbcForCausalLM]", "names: [LlamaForCausalLM]"), "LlamaForCausalLM is known already"),
        (("names: [AbcForCausalLM]", "names: []"), "has no names"),
        (("- {name: mlp.w1,", "- {name: mlp.w8,"), "mlp_in names mlp.w1, which the row does not have"),
        (("head_dim, in: hidden_size}", "head_dim +, in: hidden_size}"), "head_dim +"),
        (("forward: {}", "forward: {ropes: {}}"), "unknown key 'ropes' in architecture.forward"),
        (
            ("forward: {}", "forward: {sinks: attention.sinks}"),
            "forward.sinks names attention.sinks, which the row does not have",
        ),
    ],
)
def test_a_wrong_row_is_refused(tmp_path, change, message):
    abc = save_abc(tmp_path / "llama", tmp_path / "abc")
    assert change[0] in ROW
    (tmp_path / "abc.yaml").write_text(ROW.replace(*change))
    error = refused("rotate", abc, tmp_path / "out", "--architecture", tmp_path / "abc.yaml")
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", ["9" * 30, "1000000000", "0x1"])
def test_a_draft_of_strange_names_is_no_crash(tmp_path, number):
    abc = save_abc(tmp_path / "llama", tmp_path / "abc")
    tensors = load_file(abc / "model.safetensors")
    extra = {f"decoder.blocks.{number}.experts.{number}.w.weight": torch.zeros(2, 2)}
    save_file(tensors | extra, abc / "model.safetensors")
    assert "names: [AbcForCausalLM]" in spinor_json("inspect", abc)["draft"]


def test_a_row_without_forward_is_not_run(tmp_path):
    abc = save_abc(tmp_path / "llama", tmp_path / "abc")
    (tmp_path / "abc.yaml").write_text(ROW.replace("forward: {}", "# "))
    error = refused("verify", abc, abc, "--random-tokens", "8", "--architecture", tmp_path / "abc.yaml")
    assert "its row says what is in it, not how it computes" in error
