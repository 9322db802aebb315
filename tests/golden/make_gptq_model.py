#!/usr/bin/env python3
"""Writes gptq_model_DTYPE.safetensors: a tiny model, tokens, and what llm-compressor's GPTQModifier makes of it.

Keys are "source/TENSOR", "tokens" (samples, context) and "SCHEME/TENSOR" for codes and scales; the metadata holds
config.json and, by scheme, the recipe. Run in an environment with requirements-peer.txt.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from llmcompressor import oneshot
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import tiny_models  # noqa: E402

SHAPE = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
RECIPES = {
    "W4A16": {"targets": ["Linear"], "ignore": ["lm_head"], "scheme": "W4A16"},
    "W4A16_ASYM": {"targets": ["Linear"], "ignore": ["lm_head"], "scheme": "W4A16_ASYM"},
    "W8A8": {"targets": ["Linear"], "ignore": ["lm_head"], "scheme": "W8A8", "actorder": None},
    "FP8": {"targets": ["Linear"], "ignore": ["lm_head"], "scheme": "FP8"},
}
GROUP = 32  # of the tiny model's W4A16


def recipe(name):
    """The preset with groups that divide the tiny model."""
    arguments = dict(RECIPES[name])
    if name.startswith("W4A16"):
        weights = {"num_bits": 4, "type": "int", "symmetric": name == "W4A16", "strategy": "group", "group_size": GROUP}
        arguments.pop("scheme")
        arguments["config_groups"] = {"group_0": {"targets": arguments.pop("targets"), "weights": weights}}
    return {"quant_stage": {"quant_modifiers": {"GPTQModifier": arguments}}}


def tokenizer():
    """It tokenizes nothing: the samples are tokens. oneshot asks for one."""
    words = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="b")


def quantized(source, tokens, name, directory):
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    rows = {"input_ids": tokens.tolist(), "attention_mask": torch.ones_like(tokens).tolist()}
    oneshot(
        model=model,
        dataset=Dataset.from_dict(rows),
        processor=tokenizer(),
        recipe=json.dumps(recipe(name)),
        num_calibration_samples=len(tokens),
        max_seq_length=tokens.shape[1],
        shuffle_calibration_samples=False,
        pipeline="sequential",
    )
    model.save_pretrained(directory, save_compressed=True)
    return load_file(directory / "model.safetensors")


def make(dtype):
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tiny_models.save(work / "source", "llama", "power_of_two", dtype, num_hidden_layers=2, **SHAPE)
        config = json.loads((work / "source" / "config.json").read_text())
        source = load_file(work / "source" / "model.safetensors")
        tokens = torch.randint(0, config["vocab_size"], (16, 32), generator=torch.Generator().manual_seed(3))
        tensors = {"tokens": tokens, **{f"source/{key}": value for key, value in source.items()}}
        for name in RECIPES:
            for key, value in quantized(work / "source", tokens, name, work / name).items():
                if key not in source or not torch.equal(source[key].float(), value.float()):
                    tensors[f"{name}/{key}"] = value.clone()
        metadata = {"config.json": json.dumps(config), **{name: json.dumps(recipe(name)) for name in RECIPES}}
        save_file(tensors, HERE / f"gptq_model_{config['dtype']}.safetensors", metadata=metadata)


for dtype in (torch.float32, torch.bfloat16):
    make(dtype)
