"""A rotation without quantization does not change the function: same logits in transformers, for every family."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from command import ROOT, spinor
from logits import difference, load, logits
from tiny_models import FAMILIES, SHAPES

# Largest logit difference, in standard deviations of the logits. float64: far above the rounding of two layers.
# float32: weights are rounded once (6e-8), as are all activations of both sides.
BOUND = {torch.float64: 1e-9, torch.float32: 2e-5}

RANDOM = ["--transform-type", "random-hadamard"]
OPTIONS = {
    "R1": ["--rotations", "R1", *RANDOM],
    "R2": ["--rotations", "R2", *RANDOM],
    "R1R2": RANDOM,
    "hadamard R1R2": ["--transform-type", "hadamard"],
    "hadamard R1 in blocks": ["--rotations", "R1", "--block-size", "16"],
    "R1R2 randomize": [*RANDOM, "--randomize", "--block-size", "8", "--seed", "11"],
    "random-orthogonal R1R2": ["--transform-type", "random-orthogonal", "--seed", "5"],
    "random-matrix R2": ["--rotations", "R2", "--transform-type", "random-matrix"],
}


def cases():
    for family in FAMILIES:
        for shape in SHAPES:
            for name in OPTIONS:
                if name == "hadamard R1R2" and shape != "power_of_two":
                    continue  # Sylvester's matrices exist for powers of two only
                for dtype in BOUND:
                    # The inverse of a matrix that is not orthogonal multiplies rounding by its condition number.
                    if name == "random-matrix R2" and dtype != torch.float64:
                        continue
                    yield pytest.param(family, shape, name, dtype, id=f"{family}-{shape}-{name}-{str(dtype)[6:]}")


@pytest.mark.parametrize("family, shape, name, dtype", list(cases()))
def test_rotation_keeps_the_logits(tiny, tmp_path, family, shape, name, dtype):
    source, expected = tiny(family, shape, dtype)
    out = tmp_path / "out"
    spinor("rotate", source, out, *OPTIONS[name], "--quiet")
    assert difference(expected, logits(load(out, dtype)))[0] <= BOUND[dtype]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sharded_checkpoint_becomes_the_shards_asked_for(tiny, tmp_path, family):
    source, expected = tiny(family, "three_heads", torch.float64, "60KB")
    assert (source / "model.safetensors.index.json").exists()
    out = tmp_path / "out"
    spinor("rotate", source, out, *RANDOM, "--max-shard-size", "100KB", "--quiet")
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {path.name for path in out.glob("*.safetensors")}
    assert difference(expected, logits(load(out, torch.float64)))[0] <= BOUND[torch.float64]


def changed_lines(before, after):
    lines = set(before.read_text().splitlines())
    return [line.strip() for line in after.read_text().splitlines() if line not in lines]


@pytest.mark.parametrize("rotations, changed", [("R1", ['"tie_word_embeddings": false,']), ("R2", [])])
@pytest.mark.parametrize("family", FAMILIES)
def test_config_changes_only_where_the_model_does(tiny, tmp_path, family, rotations, changed):
    source, _ = tiny(family, "power_of_two", torch.float32)  # tied: R1 needs a head of its own, R2 does not
    out = tmp_path / "out"
    spinor("rotate", source, out, "--rotations", rotations, "--quiet")
    assert changed_lines(source / "config.json", out / "config.json") == changed
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    assert (out / "generation_config.json").read_bytes() == (source / "generation_config.json").read_bytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_loads_without_a_warning_and_generates_the_same(tiny, tmp_path, family, caplog, recwarn):
    source, _ = tiny(family, "wide_heads", torch.float32)
    out = tmp_path / "out"
    spinor("rotate", source, out, *RANDOM, "--quiet")
    transformers.utils.logging.enable_propagation()
    caplog.clear()
    rotated = load(out, "auto")
    assert not caplog.records and not recwarn.list
    assert rotated.dtype == torch.float32
    prompt = torch.tensor([[5, 6, 7]])
    generate = lambda model: model.generate(
        prompt, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert torch.equal(generate(rotated), generate(load(source, "auto")))


STORIES = Path(ROOT.parent / "shared" / "models" / "stories260K")


@pytest.mark.skipif(not STORIES.exists(), reason="stories260K is not on this machine")
@pytest.mark.parametrize("name", ["R1", "R2", "R1R2", "random-orthogonal R1R2"])
def test_a_trained_model_keeps_its_logits(tmp_path, name):
    out = tmp_path / "out"
    spinor("rotate", STORIES, out, *OPTIONS[name], "--quiet")
    tokens = torch.randint(3, 512, (4, 128), generator=torch.Generator().manual_seed(2))
    largest, rms = difference(*(logits(load(path, torch.float32), tokens) for path in (STORIES, out)))
    assert largest <= 1e-4 and rms <= 1e-5
