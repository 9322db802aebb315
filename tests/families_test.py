"""The tiny models of every family as oracles: saved and loaded they compute the same, in float64 throughout, and an
exact rotation done by hand changes nothing. Where a rotation is not exact, it is far from it."""

import pytest
import torch

import logits
import tiny_models
import tiny_rotations
import tiny_vision

CASES = [(family, case) for family, (_, cases) in tiny_models.MORE_FAMILIES.items() for case in cases]
CASES += [(family, "wide_heads") for family in tiny_models.FAMILIES]
EXACT, WRONG = 1e-9, 0.05
FLOAT32_TABLE = {"gptj", "codegen"}  # a loaded model computes its positions in float32, one made in float64 does not


def inputs(family, model):
    return tiny_vision.prompt(model) if family in tiny_models.VISION else {}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("family, case", CASES)
def test_saved_and_loaded_computes_the_same(tmp_path, family, case, dtype):
    model = tiny_models.make(family, case, dtype)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    loaded = logits.load(tmp_path, dtype)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    tolerance = 1e-12 if dtype == torch.float64 and family not in FLOAT32_TABLE else 1e-5
    for prompt in ({}, inputs(family, model)):
        expected = logits.logits(model, **prompt)
        assert expected.std() > 0.01
        assert logits.difference(expected, logits.logits(loaded, **prompt))[0] < tolerance


# Where a scaled norm writes the residual stream, or none stands before the head, spinor must refuse, and does:
# rotated_families_test.py.
ROTATABLE = [case for case in CASES if tiny_rotations.can_rotate_stream(tiny_models.make(*case))]


@pytest.mark.parametrize("family, case", ROTATABLE)
def test_rotation_of_the_stream(family, case):
    model = tiny_models.make(family, case)
    assert rotated(family, model, tiny_rotations.rotate_stream) < EXACT


@pytest.mark.parametrize("family, case", CASES)
def test_rotation_of_the_values(family, case):
    model = tiny_models.make(family, case)
    exact = tiny_rotations.can_rotate_values(model)
    difference = rotated(family, model, tiny_rotations.rotate_values)
    assert difference < EXACT if exact else difference > WRONG


def rotated(family, model, rotate):
    expected = logits.logits(model, **inputs(family, model))
    rotate(model)
    return logits.difference(expected, logits.logits(model, **inputs(family, model)))[0]
