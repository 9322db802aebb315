#!/usr/bin/env python3
"""Writes activation_ranges.json: the scales that llm-compressor's observers give batches of activations.

Batches come from the formula of make_codecs.py, without its outliers, scaled by their seeds. Run in an environment with
requirements-peer.txt.
"""

import json
import pathlib
import warnings

import torch
from compressed_tensors.quantization import QuantizationArgs
from llmcompressor.observers import Observer
from make_codecs import FP8, NVFP4, integers, weight

NAMES = ["minmax", "static_minmax", "memoryless_minmax", "mse", "memoryless_mse", "nvfp4_expanded_mse", "imatrix_mse",
         "nvfp4_expanded_imatrix"]
SEEDS = [1, 3, 2]
HEADS = 3
CASES = [  # place, (tokens, width), arguments
    ("input", (70, 96), integers(8, True, "tensor")),
    ("output", (70, 96), integers(8, False, "tensor")),
    ("input", (70, 96), FP8 | {"strategy": "tensor"}),
    ("input", (70, 96), NVFP4 | {"dynamic": "local"}),
    ("k", (70, 96), integers(8, True, "attn_head")),
    ("v", (70, 96), integers(4, False, "attn_head")),
]


def batch(shape, seed):
    return weight(*shape, seed).clamp(-8, 8) * seed


def shaped(x, place):
    """As a module sees it: (samples, tokens, width), or (samples, heads, tokens, head size)."""
    return x[None].unflatten(-1, (HEADS, -1)).transpose(1, 2) if place in "kv" else x[None]


def case(name, place, shape, args):
    observer = Observer.load_from_registry(name, base_name=place, args=QuantizationArgs(**args, observer=name))
    for seed in SEEDS:
        observer(shaped(batch(shape, seed), place))
    found = observer.get_qparams()
    slots = {"tensor": 1, "attn_head": HEADS, "tensor_group": shape[1] // args.get("group_size", 1)}[args["strategy"]]
    one = {"args": args | {"observer": name}, "shape": shape, "slots": slots, "seeds": SEEDS}
    scale = found["scale"] if found["global_scale"] is None else found["global_scale"]
    one["scale"] = scale.flatten().tolist()
    return one | {"zero_point": found["zero_point"].flatten().to(torch.int32).tolist()}


warnings.filterwarnings("ignore")
cases = [case(name, *one) for one in CASES for name in NAMES]
text = "[" + ",\n".join(json.dumps(one) for one in cases) + "]\n"
pathlib.Path(__file__).with_name("activation_ranges.json").write_text(text)
