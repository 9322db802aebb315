"""Every row that discovery found is as good as when it was found: a tiny model of its class, of other weights and
sizes, rotated by spinor as files and loaded by transformers, has the same logits, and has others when any one of the
sites is left out; or the rotation is refused. It is planned, inspected, verified and quantized, too."""

import multiprocessing
import os

import pytest
import torch
import yaml

import rows

pytest.importorskip("spinor")  # PYTHONPATH=build/release/python

from safetensors.torch import load_file, save_file  # noqa: E402

import spinor  # noqa: E402
from row_checks import check, correlation  # noqa: E402
from spinor.discovery.discover import another  # noqa: E402
from spinor.discovery.proof import EXACT, loaded, logits_of, save  # noqa: E402
from spinor.discovery.split import wrong_splits  # noqa: E402
from spinor.discovery.tiny import causal_types, default_config, image_text_types  # noqa: E402

# In float32, and quantized by transformers' own loader, too: of every few.
EVERY = 5
# And where what linears of layers are called in memory is not what the files call them; and one that is a whole tower.
NAMED = [("causal", "lfm3"), ("causal", "hy_v4"), ("causal", "inkling2_text"), ("image-text", "inkling2"),
         ("image-text", "blip-2")]


def shipped():
    """(kind, type) of each row that discovery wrote."""
    types = [("causal", one) for one in causal_types()] + [("image-text", one) for one in image_text_types()]
    return [one for one in types if rows.file_of(*one).exists() and rows.is_generated(rows.file_of(*one))]


SHIPPED = shipped()
SOME = list(dict.fromkeys([*SHIPPED[::EVERY], *NAMED]))


def run(one):
    return one, check(*one, more=one in SOME)


@pytest.fixture(scope="module")
def results():
    """Of all rows, in processes that import transformers once."""
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=20) as pool:
        return dict(pool.imap_unordered(run, SHIPPED))


of_all = pytest.mark.parametrize("one", SHIPPED, ids="-".join)
of_some = pytest.mark.parametrize("one", SOME, ids="-".join)


@of_all
def test_a_row_is_exact(results, one):
    assert_exact(results, one, torch.float64)


@of_some
def test_a_row_is_exact_in_float32(results, one):
    """Computed in float32, too: but for classes where float32 is as far from float64 without any rotation (state
    spaces and delta rules, which sum along the tokens); the rotated model is as far, and its weights are rounded."""
    assert_exact(results, one, torch.float32)
    bound = max(EXACT[torch.float32], 3 * results[one].noise)
    assert all(error < bound for error in results[one].in_float32.values()), results[one]


def assert_exact(results, one, dtype):
    name = str(dtype).removeprefix("torch.")
    assert name not in results[one].problems, results[one].problems[name]
    proof = results[one].proofs[dtype]
    assert set(proof.errors) == {rotation for rotation in ("R1", "R2") if rotation in results[one].row["proof"]}
    assert set(proof.refused) == {"R1", "R2"} - set(proof.errors)
    assert all(error < EXACT[dtype] for error in proof.errors.values()), proof.errors


# LayerNorm's bias goes into these, too, and their classes turn no keys: it adds one number to all scores of a query.
KEY_BIASES = {
    "biogpt.layers.{}.self_attn.k_proj.bias",
    "model.decoder.layers.{}.self_attn.k_proj.bias",
    "bert.encoder.layer.{}.attention.self.key.bias",
    "roberta.encoder.layer.{}.attention.self.key.bias",
}


@of_all
def test_every_site_is_needed(results, one):
    """The proof is blind to none: logits of a model with any one of them not rotated fail it."""
    found = results[one]
    assert "float64" not in found.problems, found.problems["float64"]
    proof = found.proofs[torch.float64]
    assert {rotation for rotation, _ in proof.moved} == set(proof.errors)
    assert {role for _, role in proof.unnoticed} <= KEY_BIASES


NOT_LOADED = ("transformers stacks experts", "transformers puts weights together")
# 8 bits move logits by 1 to 2 % of their deviation; in a mixture, or where a few tokens are chosen, other ones may be:
# Llama 4, each of whose tokens has one expert, 0.967. Other weights have no correlation at all.
ALIKE = 0.95


# Their stacks have a matrix for each head of a recurrence, which nobody calls a linear; or for each expert that all
# tokens share, and whose halves are told by nothing.
NO_EXPERTS = {("causal", "zamba"), ("causal", "recurrent_gemma"), ("image-text", "inkling_mm_model")}


@of_all
def test_it_is_quantized(results, one):
    found = results[one]
    assert "quantize" not in found.problems, found.problems["quantize"]
    if "no weight would be quantized" in found.refused.get("quantize", ""):
        return  # all are stored transposed
    assert found.head_is_ignored
    assert set(found.quantized) | set(found.refused) - {"quantize"} == expected(one)
    assert all(found.quantized[name] > ALIKE for name in found.quantized), found.quantized
    assert found.refused.get("packed", "transformers stacks experts").startswith(NOT_LOADED)
    assert found.wrong_splits == []
    stacked = [linear for linear in found.row["linears"] if "experts" in linear.get("layout", "")]
    assert ("is a stack of matrices" in found.refused.get("quantize", "")) == (one in NO_EXPERTS)
    assert (found.split > 0) == bool(stacked and one not in NO_EXPERTS)


def expected(one):
    return {"dense", "packed"} if one in SOME else {"dense"}


def test_fp8_beside_what_is_put_together(tmp_path):
    """transformers makes one convolution of three while it loads, though none of them is quantized."""
    tiny = another(default_config("olmo_hybrid"), "causal")
    source = tmp_path / "source"
    save(tiny, source, torch.float32)
    options = {"ignore": ["lm_head"], "progress": False}
    with pytest.raises(spinor.InputError, match="transformers puts weights together .* beside quantized ones but FP8"):
        spinor.quantize(source, tmp_path / "int8", scheme="W8A8", for_="transformers", **options)
    spinor.quantize(source, tmp_path / "int8", scheme="W8A8", **options)
    with pytest.raises(RuntimeError, match="conversion"):
        type(tiny.model).from_pretrained(tmp_path / "int8", dtype=torch.float32)
    spinor.quantize(source, tmp_path / "fp8", scheme="FP8_DYNAMIC", for_="transformers", **options)
    model = type(tiny.model).from_pretrained(tmp_path / "fp8", dtype=torch.float32)
    start = logits_of(loaded(source, tiny, torch.float32), tiny)
    assert correlation(start, logits_of(model, tiny)) > ALIKE


@pytest.mark.parametrize("ignore", [["lm_head"], ["lm_head", "re:.*vision_tower.*"]])
def test_a_tower_as_it_is_published(tmp_path, ignore):
    """Its files have a component that transformers leaves out in memory: its linears are quantized, or left out by the
    name they have there."""
    tiny = another(default_config("llava"), "image-text")
    source, out = tmp_path / "source", tmp_path / "out"
    save(tiny, source, torch.float32)
    tensors = {name.replace("vision_tower.", "vision_tower.vision_model."): tensor
               for name, tensor in load_file(source / "model.safetensors").items()}
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    spinor.quantize(source, out, scheme="W8A8", ignore=ignore, progress=False)
    model, report = type(tiny.model).from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    assert not any(report.values()), report
    start = logits_of(loaded(source, tiny, torch.float32), tiny)
    assert correlation(start, logits_of(model, tiny)) > ALIKE


@pytest.mark.parametrize("change", [lambda one: one["split"].reverse(), lambda one: one.update(alternating=True)])
def test_a_split_of_experts_that_is_wrong_is_noticed(change):
    tiny = another(default_config("granitemoe_swa"), "causal")
    row = yaml.safe_load(rows.file_of("causal", "granitemoe_swa").read_text())
    assert wrong_splits(row, tiny.model, tiny.inputs) == []
    stack = next(one for one in row["linears"] if len(one.get("split", ())) == 2)
    change(stack)
    assert wrong_splits(row, tiny.model, tiny.inputs) == [stack["name"]]


def test_most_decoders_have_a_row():
    """By hand or found; of each of the others it is said why not."""
    names = set()
    for path in rows.ROWS.glob("*.yaml"):
        found = yaml.safe_load(path.read_text())
        for row in found if isinstance(found, list) else [found]:
            names |= set(row["names"])
    missing = [one for one in causal_types() if not set(rows.class_names(one, "causal")) & names]
    assert missing == []
    undecided = yaml.safe_load(rows.UNDECIDED.read_text())
    assert all(row["reason"] for row in undecided)
    without = {name for row in undecided for name in row["names"]}
    for kind, types, least in (("causal", causal_types(), 181), ("image-text", image_text_types(), 80)):
        assert sum(not set(rows.class_names(one, kind)) & without for one in types) >= least
