"""`rotate --center-embeddings --compat llm-compressor` equals llm-compressor up to its extra roundings, by tensor."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from command import ROOT, spinor

GOLDEN = sorted((ROOT / "tests" / "golden").glob("llmcompressor_*.safetensors"))
# llm-compressor rounds to the checkpoint's dtype after centring or folding, after R1 and after R2; spinor once. A
# rounding before a rotation moves an element by at most the unit roundoff times the norm of its row or column.
ROUNDINGS = 4
UNIT = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
# Tensors that llm-compressor, too, rounds once: nothing is folded into what writes to the residual stream, and R1 or R2
# alone rotates it.
ROUNDED_ONCE = ("o_proj.weight", "down_proj.weight", "o_proj.bias", "down_proj.bias")


def golden(path):
    """config.json, and {"source": tensors, "R1 hadamard": tensors that differ from it, ...}."""
    sets = {}
    with safe_open(path, "pt") as file:
        for key in file.keys():
            name, tensor = key.split("/")
            sets.setdefault(name, {})[tensor] = file.get_tensor(key)
        return json.loads(file.metadata()["config.json"]), sets


def cases():
    for path in GOLDEN:
        with safe_open(path, "pt") as file:
            for name in sorted({key.split("/")[0] for key in file.keys()} - {"source"}):
                yield pytest.param(path, name, id=f"{path.stem.removeprefix('llmcompressor_')}-{name}")


def bound(tensor):
    norm = (
        max(tensor.double().norm(dim=axis).max().item() for axis in range(tensor.dim()))
        if tensor.dim() > 1
        else tensor.double().norm().item()
    )
    return ROUNDINGS * UNIT[tensor.dtype] * norm


@pytest.mark.parametrize("path, name", list(cases()))
def test_rotate_equals_llm_compressor(tmp_path, path, name):
    config, sets = golden(path)
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(config))
    save_file(sets["source"], source / "model.safetensors", metadata={"format": "pt"})
    rotations, transform_type = name.split()
    spinor(
        "rotate",
        source,
        out,
        "--rotations",
        rotations.replace("+", ","),
        "--transform-type",
        transform_type,
        "--center-embeddings",
        "--compat",
        "llm-compressor",
        "--quiet",
    )

    expected, ours = {**sets["source"], **sets[name]}, load_file(out / "model.safetensors")
    assert set(ours) == set(expected)
    assert json.loads((out / "config.json").read_text())["tie_word_embeddings"] is False
    equal = total = 0
    for tensor in expected:
        assert ours[tensor].dtype == expected[tensor].dtype
        largest = (ours[tensor].double() - expected[tensor].double()).abs().max().item()
        assert largest <= bound(expected[tensor]), f"{tensor}: {largest}"
        same = (ours[tensor] == expected[tensor]).float()
        if tensor not in sets[name] or ("+" not in rotations and tensor.endswith(ROUNDED_ONCE)):
            # float64 sums in another order may fall on the other side of a tie, rarely.
            assert same.mean() > 0.998, f"{tensor}: only {same.mean():.2%} are bit-equal"
        equal, total = equal + int(same.sum()), total + same.numel()
    print(f"{path.stem} {name}: {equal} of {total} elements are bit-equal")
