#!/usr/bin/env python3
"""Writes a synthetic bfloat16 checkpoint with the shapes of a published model: random weights, real sizes.

make_checkpoint.py llama-1b DIRECTORY [--layers N] [--vocabulary N] [--max-shard-gb 5]
"""

import argparse
import json
import struct
from pathlib import Path

import numpy

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rope_theta": 500000.0, "rms_norm_eps": 1e-05}
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rope_theta": 1000000.0, "rms_norm_eps": 1e-06}
COMMON = {
    "dtype": "bfloat16",
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

SHAPES = {
    "llama-1b": {
        **LLAMA,
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "intermediate_size": 8192,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "llama-8b": {
        **LLAMA,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 14336,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
    "qwen2.5-7b": {
        **QWEN2,
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
    },
}


def config_of(name, layers=None, vocabulary=None):
    config = {**COMMON, **SHAPES[name]}
    config["num_hidden_layers"] = layers or config["num_hidden_layers"]
    config["vocab_size"] = vocabulary or config["vocab_size"]
    return config


def tensors_of(config):
    """(name, shape) in the order of the model."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head_dim = config.get("head_dim", hidden // config["num_attention_heads"])
    query, value = head_dim * config["num_attention_heads"], head_dim * config["num_key_value_heads"]
    biased = config["model_type"] == "qwen2"
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        for name, out in (("q", query), ("k", value), ("v", value)):
            yield f"{prefix}self_attn.{name}_proj.weight", (out, hidden)
            if biased:
                yield f"{prefix}self_attn.{name}_proj.bias", (out,)
        yield prefix + "self_attn.o_proj.weight", (hidden, query)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        yield prefix + "mlp.gate_proj.weight", (inner, hidden)
        yield prefix + "mlp.up_proj.weight", (inner, hidden)
        yield prefix + "mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], hidden)


def size_of(shape):
    return 2 * int(numpy.prod(shape))


def shards_of(tensors, limit):
    shards, room = [[]], limit
    for name, shape in tensors:
        if shards[-1] and size_of(shape) > room:
            shards.append([])
            room = limit
        shards[-1].append((name, shape))
        room -= size_of(shape)
    return shards


class Values:
    """Random bfloat16 values, cut at random places from one pool of 32 MiB: as fast as the disk, in little memory."""

    def __init__(self, seed=0):
        self.random = numpy.random.default_rng(seed)
        self.pool = self.random.standard_normal(1 << 24, dtype=numpy.float32)
        self.weights = self.bfloat16(0.02 * self.pool)

    @staticmethod
    def bfloat16(values):
        return (values.view(numpy.uint32) >> 16).astype(numpy.uint16)

    def chunks(self, name, shape):
        count = size_of(shape) // 2
        if "norm" in name:
            yield self.bfloat16(1 + numpy.float32(0.1) * self.pool[:count])
            return
        while count:
            start = int(self.random.integers(len(self.weights) // 2))
            part = self.weights[start : start + count]
            yield part
            count -= len(part)


def header_of(tensors):
    """The bytes before the first tensor."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size_of(shape)]}
        end += size_of(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_shard(path, tensors, values):
    with open(path, "wb") as file:
        file.write(header_of(tensors))
        for name, shape in tensors:
            for chunk in values.chunks(name, shape):
                file.write(chunk)


def make(name, directory, layers=None, vocabulary=None, max_shard_bytes=5 * 10**9):
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    config = config_of(name, layers, vocabulary)
    shards = shards_of(list(tensors_of(config)), max_shard_bytes)
    values, weight_map = Values(), {}
    for number, tensors in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
        write_shard(directory / file, tensors, values)
        weight_map.update({tensor: file for tensor, _ in tensors})
    if len(shards) > 1:
        total = sum(size_of(shape) for tensors in shards for _, shape in tensors)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return directory


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", choices=SHAPES)
    parser.add_argument("directory")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--vocabulary", type=int)
    parser.add_argument("--max-shard-gb", type=float, default=5)
    given = parser.parse_args()
    make(given.shapes, given.directory, given.layers, given.vocabulary, int(given.max_shard_gb * 10**9))
