"""Vision-language models run on text, as they are published and as transformers saves them, rotated and quantized."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import tiny_models
from command import spinor, spinor_json
from logits import difference, load, logits
from quantized_families_test import INT4, quantize
from rotated_families_test import LEGAL
from runtime_test import TOKENS, VISION, computed
from spoken_model import speak

TEXT = "They went up the hill, the old man first. " * 20


def published(source, family, **text):
    """config.json as it was when the keys of the text were not nested, or without what the classes take as said."""
    path = source / "config.json"
    config = json.loads(path.read_text())
    for key in ("rms_norm_eps", "rope_parameters", "num_key_value_heads", "layer_types", *text):
        config["text_config"].pop(key, None)
    config["text_config"] |= text
    if family.startswith("qwen2"):
        config |= {key: value for key, value in config.pop("text_config").items() if key not in ("dtype", "model_type")}
    path.write_text(json.dumps(config))


MROPE = {"type": "mrope", "mrope_section": [1, 1, 1]}  # of 48 / 8 dimensions of a head
PUBLISHED = {
    "defaults": ("qwen2_vl", {"rope_scaling": MROPE}),
    "windows": ("qwen2_5_vl",
                {"rope_scaling": MROPE} | dict(use_sliding_window=True, sliding_window=7, max_window_layers=1)),
    "no window": ("qwen2_5_vl",
                  {"rope_scaling": MROPE} | dict(use_sliding_window=False, sliding_window=7, max_window_layers=1)),
    "three": ("qwen3_vl",
              {"rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 3, 3], "rope_type": "default"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_config_json_as_published(tmp_path, name):
    family, text = PUBLISHED[name]
    heads = {"num_attention_heads": 8, "num_key_value_heads": 8} if family.startswith("qwen2") else {}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 32} if family == "qwen3_vl" else heads
    sizes = tiny_models.MORE_FAMILIES[family][1]["untied"]["text_config"] | heads
    if family.startswith("qwen2"):
        sizes = sizes | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 1]}}
    source = tiny_models.save(tmp_path / "source", family, "untied", text_config=sizes)
    published(source, family, **text)
    expected = logits(load(source, torch.float64), TOKENS)
    for how in ("all", "steps"):
        assert difference(expected, computed(source, torch.float64, tmp_path, how))[0] <= 1e-9, how


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_files_with_the_names_of_the_model_in_memory(tmp_path, family):
    source = tiny_models.save(tmp_path / "source", family, "untied")
    names = {"model.": "model.language_model.", "visual.": "model.visual."}
    tensors = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        old = next((old for old in names if name.startswith(old)), "")
        tensors[names.get(old, "") + name.removeprefix(old)] = tensor
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    expected = logits(load(source, torch.float64), TOKENS)
    spinor("rotate", source, tmp_path / "out", "--rotations", "R1,R2,R3,R4", "--transform-type", "random-hadamard",
           "--quiet")
    for path in (source, tmp_path / "out"):
        assert difference(expected, computed(path, torch.float64, tmp_path))[0] <= 1e-9


@pytest.mark.parametrize("family", VISION)
def test_packed_weights_run_here_as_their_dense_form_does_in_transformers(tmp_path, family):
    packed, dense = quantize(tmp_path, family, {"weights": INT4})
    expected = logits(load(dense, torch.float32), TOKENS)
    assert difference(expected, computed(packed, torch.float32, tmp_path))[0] <= 2e-5  # as in runtime_test.py


def spoken(source, family):
    case = next(iter(tiny_models.MORE_FAMILIES[family][1]))
    text = tiny_models.MORE_FAMILIES[family][1][case]["text_config"]
    tiny_models.save(source, family, case, torch.float32, text_config=text | {"vocab_size": 400})
    return speak(source)


@pytest.mark.parametrize("family", VISION)
def test_verify_runs_a_text(tmp_path, family):
    source, out, text = tmp_path / "source", tmp_path / "out", tmp_path / "text.txt"
    spoken(source, family)
    text.write_text(TEXT)
    spinor("rotate", source, out, "--rotations", LEGAL[family] + ",R3,R4", "--transform-type", "random-hadamard",
           "--quiet")
    assert spinor("verify", source, out, "--text", text).endswith(f"is the same function as {source}\n")


def test_commands_that_run_models_run_it(tmp_path):
    source, text = spoken(tmp_path / "source", "qwen3_vl"), tmp_path / "text.txt"
    text.write_text(TEXT)
    result = spinor_json("compare", source, "--text", text, "--context", 40, "--samples", 1, "--seeds", 1, "--scheme",
                         "W8A8")
    assert [variant["name"] for variant in result["variants"]] == ["unrotated", "R1+R2", "R1-R4"]
    model = load(source, torch.float64)
    made = spinor_json("generate", source, "--prompt", "the hill", "--max-new-tokens", 5, "--dtype", "float64")
    ids = torch.tensor([Tokenizer.from_file(str(source / "tokenizer.json")).encode("the hill").ids])
    for _ in range(5):
        ids = torch.cat([ids, logits(model, ids)[:, -1:].argmax(-1)], 1)
    assert made["tokens"] == ids[0, -5:].tolist()
