"""Rows fit checkpoints of real sizes, not only tiny ones: those of the default config of each class, as transformers
saves it and written out in full, and those that publishers of models wrote. Files hold no bytes but their headers."""

import copy
import json
import multiprocessing
import os
import tempfile
from pathlib import Path

import pytest
import torch

pytest.importorskip("spinor")  # PYTHONPATH=build/release/python

from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: E402

import spinor  # noqa: E402
from discovered_rows_test import SHIPPED  # noqa: E402
from published_configs import PUBLISHED  # noqa: E402
from real_sizes import fitting, shapes_of  # noqa: E402
from sparse_checkpoint import write_headers  # noqa: E402
from spinor.discovery.discover import discover_model  # noqa: E402
from spinor.discovery.tiny import default_config  # noqa: E402

# Default configs that are of no model.
NO_MODEL = {
    ("causal", "musicgen"): "its config lacks keys that its class reads",
    ("causal", "musicgen_melody"): "its config lacks keys that its class reads",
    ("image-text", "aya_vision"): "its tower has heads that do not fit",
    ("image-text", "glm4v_moe"): "it leaves head_dim out, and its heads do not fit; see GLM-4.5V",
    ("image-text", "qwen3_omni_moe_thinker"): "it leaves head_dim out, and its heads do not fit",
}
# Refused, because the names in files are others where weights are tied.
NOT_TIED = {
    ("causal", "cpmant"): "lm_head.weight: differs",
    ("causal", "prophetnet"): "word_embeddings.weight: is missing",
}


def said_of(folder, config, name, shapes):
    """Why spinor refuses a checkpoint; nothing: it does not."""
    folder.mkdir(exist_ok=True)
    write_headers(folder, config | {"architectures": [name]}, {one: ("BF16", shape) for one, shape in shapes.items()})
    try:
        found = spinor.inspect(folder, progress=False)
    except spinor.InputError as error:
        return str(error)
    return found["refusal"] or ""


def said_of_defaults(one):
    """By how config.json is written: with what differs from the defaults, as save_pretrained does, and in full."""
    torch.set_num_threads(1)
    kind, model_type = one
    config = default_config(model_type)
    config, name, shapes = shapes_of(fitting(config) if kind == "image-text" else config, kind)
    written = {"saved": json.loads(config.to_json_string()), "whole": config.to_dict()}
    with tempfile.TemporaryDirectory(prefix="spinor-") as folder:
        return one, {how: said_of(Path(folder) / how, keys, name, shapes) for how, keys in written.items()}


@pytest.fixture(scope="module")
def results():
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=20) as pool:
        return dict(pool.imap_unordered(said_of_defaults, [one for one in SHIPPED if one not in NO_MODEL]))


@pytest.mark.parametrize("one", [one for one in SHIPPED if one not in NO_MODEL], ids="-".join)
def test_a_row_fits_the_default_config(results, one):
    if one in NOT_TIED:
        assert all(NOT_TIED[one] in said for said in results[one].values())
    else:
        assert results[one] == {"saved": "", "whole": ""}


def with_next_tokens(config, shapes):
    """And the layer that transformers does not load, behind the last, as DeepSeek has it."""
    last, behind = (f"model.layers.{config['num_hidden_layers'] - one}." for one in (1, 0))
    hidden, tokens = (config["hidden_size"],), (config["vocab_size"], config["hidden_size"])
    ends = {"enorm.weight": hidden, "hnorm.weight": hidden, "shared_head.norm.weight": hidden,
            "eh_proj.weight": (*hidden, 2 * hidden[0]), "embed_tokens.weight": tokens,
            "shared_head.head.weight": tokens}
    layer = {name.replace(last, behind): shape for name, shape in shapes.items() if name.startswith(last)}
    return shapes | layer | {behind + name: shape for name, shape in ends.items()}


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_row_fits_what_is_published(tmp_path, model):
    kind, written = PUBLISHED[model]
    config = CONFIG_MAPPING[written["model_type"]].from_dict(copy.deepcopy(written))
    _, name, shapes = shapes_of(config, kind)
    if written.get("num_nextn_predict_layers"):
        shapes = with_next_tokens(written, shapes)
    assert said_of(tmp_path, written, name, shapes) == ""


@pytest.mark.parametrize("model, name", [("Kimi-Linear-48B-A3B", "KimiLinearForCausalLM"),
                                         ("SmolVLM2-2.2B", "SmolVLMForConditionalGeneration"),
                                         ("llava-1.5-7b", "LlavaForConditionalGeneration")])
def test_what_is_published_is_discovered(tmp_path, model, name):
    """With the images that a class takes, and with sizes that its config.json has in a place of its own."""
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED[model][1] | {"architectures": [name]}))
    assert set(discover_model(str(tmp_path)).proof.errors) == {"R1", "R2"}
