#!/usr/bin/env python3
"""Writes gptq_model_DTYPE.safetensors: a tiny model, tokens, and what llm-compressor makes of it with data.

Keys are "source/TENSOR", "tokens" (samples, context) and "RECIPE/TENSOR" for codes and scales; the metadata holds
config.json and the recipes. Run in an environment with requirements-peer.txt.
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


def preset(scheme, **more):
    return {"targets": ["Linear"], "ignore": ["lm_head"], "scheme": scheme, **more}


def int4(symmetric=True, **more):
    """W4A16 with groups that divide the tiny model."""
    weights = {"num_bits": 4, "type": "int", "symmetric": symmetric, "strategy": "group", "group_size": 32, **more}
    return {"ignore": ["lm_head"], "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}


RECIPES = {
    "W4A16": ("GPTQModifier", int4()),
    "W4A16_ASYM": ("GPTQModifier", int4(symmetric=False)),
    "W8A8": ("GPTQModifier", preset("W8A8", actorder=None)),
    "FP8": ("GPTQModifier", preset("FP8")),
    "W4A16_imatrix": ("GPTQModifier", int4(observer="imatrix_mse")),
    "W4A16_imatrix_nearest": ("QuantizationModifier", int4(observer="imatrix_mse")),
    "NVFP4A16_imatrix_nearest": (
        "QuantizationModifier",
        preset("NVFP4A16", weight_observer="nvfp4_expanded_imatrix"),
    ),
}


def recipe(name):
    modifier, arguments = RECIPES[name]
    return {"quant_stage": {"quant_modifiers": {modifier: arguments}}}


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
