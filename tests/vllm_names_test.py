"""Rows call tensors as vLLM's loaders do (tests/golden/make_vllm_names.py): the linears that it packs together, the
beginnings of names, and the linears of single experts."""

import json

import pytest
import yaml

from command import ROOT

VLLM = json.loads((ROOT / "tests/golden/vllm_names.json").read_text())
# Of linears that vLLM packs: those that its model does not have.
NOT_THERE = {
    ("LongcatFlashForCausalLM", "qkv_proj"),  # its attention is latent
    ("Cosmos3EdgeForConditionalGeneration", "qkv_proj"),  # renamed before: to_q, to_k, to_v
}


def rows_of(path):
    rows = yaml.safe_load(path.read_text())
    return [row for row in (rows if isinstance(rows, list) else [rows]) if "linears" in row]


ROWS = {name: row for path in sorted((ROOT / "rows").glob("*.yaml")) for row in rows_of(path) for name in row["names"]}


def with_names(kind):
    return pytest.mark.parametrize("name", [name for name, names in VLLM.items() if kind in names])


def linears(row):
    """{parent: last components}, its towers' among them."""
    found = {}
    names = [name for linear in row["linears"] for name in (linear["name"], *linear.get("split", ()))]
    names += [name for part in row.get("untouched", ()) for name in part.get("linears", ())]
    for parent, _, last in (name.rpartition(".") for name in names):
        found.setdefault(parent, set()).add(last)
    for tower in row.get("towers", ()):
        found |= {f"{tower['layers']} {parent}": last for parent, last in linears(tower).items()}
    return found


@with_names("packed")
def test_what_is_packed_is_there(name):
    """All of it under one parent, or the one that is packed already."""
    found = linears(ROWS[name])
    for packed, parts in VLLM[name]["packed"].items():
        there = any(packed in last or last >= set(parts) for last in found.values())
        assert there == ((name, packed) not in NOT_THERE), (packed, parts, found)


@with_names("prefixes")
def test_beginnings_are_known(name):
    prefixes, row = VLLM[name]["prefixes"], ROWS[name]
    of_language = {one for pair in prefixes.items() for one in pair if pair[1] and "language_model" in pair[1]}
    if of_language:
        root = row.get("roots", ["model."])[0] + row.get("layers", "layers")
        assert any(root.startswith(one) for one in of_language), (root, of_language)


@with_names("experts")
def test_single_experts_are_called_so(name):
    """But for gpt-oss, of which spinor says that vLLM reads stacks alone."""
    known = [set(filter(None, names)) for names in VLLM[name]["experts"]]
    experts = [last for parent, last in linears(ROWS[name]).items() if "{E}" in parent]
    assert experts or "experts" not in ROWS[name]
    assert all(last in known for last in experts) == (name != "GptOssForCausalLM"), (experts, known)
