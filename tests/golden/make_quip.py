"""Writes quip/*: transform configs of llm-compressor's modifiers, and the checkpoints that the tiny Llama of
transforms/ becomes.

Pinned: llmcompressor 0.14.0.1, compressed-tensors 0.19.0, transformers 5.17.0, torch 2.13.0 (CPU). Run: python
make_quip.py

configs.json        options of QuIPModifier and the config that it makes
online.json         configs, and for each the tensors of the saved checkpoint that the source does not have
online.safetensors  those tensors, and the source's that changed, as "<index of the config>:<name>", all in float64
"""

import json
import tempfile
from pathlib import Path

import torch
from compressed_tensors.transform import TransformConfig, apply_transform_config
from llmcompressor.core import State
from llmcompressor.modifiers.transform import QuIPModifier, SpinQuantModifier
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
SOURCE, OUT = HERE / "transforms/llama", HERE / "quip"

OPTIONS = [
    {},
    {"rotations": ["U", "v", "V"], "transform_type": "hadamard", "transform_block_size": 4},
    {"rotations": ["u"], "transform_type": "random-matrix", "precision": "float32", "targets": "re:.*_proj$"},
    {"rotations": [], "ignore": ["lm_head", "re:.*down_proj$"]},
]


def load():
    return AutoModelForCausalLM.from_pretrained(SOURCE, dtype=torch.float64)


def config_of(modifier):
    modifier.initialize(State(model=load()))
    return modifier.transform_config.model_dump(mode="json")


def randomized(config):
    for scheme in config["config_groups"].values():
        scheme["randomize"] = True  # the modifiers refuse it, the transforms do not
    return config


def online_configs():
    both = {"rotations": ["v", "u"]}
    for fields in (
        {},
        both,
        both | {"transform_type": "hadamard", "transform_block_size": 4},
        both | {"transform_type": "random-matrix"},
    ):
        yield config_of(QuIPModifier(**fields))
    yield randomized(config_of(QuIPModifier(**both)))
    spin = {"rotations": ["R3", "R4"], "transform_type": "random-hadamard"}
    yield config_of(SpinQuantModifier(**spin))
    yield randomized(config_of(SpinQuantModifier(transform_block_size=4, **spin)))
    # A matrix that several kinds of modules share stands under the first of torch's modules, children before parents.
    shared = {"type": "random-hadamard", "head_dim": 4, "precision": "torch.float64"}
    apply = [{"targets": ["re:.*self_attn$"], "location": location} for location in ("q_attn", "k_cache")]
    apply += [{"targets": ["re:.*o_proj$"], "location": "input"}]
    apply += [{"targets": ["re:.*o_proj$"], "location": "weight_input", "inverse": True}]
    yield TransformConfig(config_groups={"t": shared | {"apply": apply}}).model_dump(mode="json")


def saved(config):
    model = load()
    apply_transform_config(model, TransformConfig.model_validate(config))
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        return load_file(Path(directory) / "model.safetensors")


def write_json(name, rows):
    (OUT / name).write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


def main():
    OUT.mkdir(exist_ok=True)
    write_json("configs.json", [{"options": o, "config": config_of(QuIPModifier(**o))} for o in OPTIONS])
    source, rows, kept = load_file(SOURCE / "model.safetensors"), [], {}
    for i, config in enumerate(online_configs()):
        tensors = saved(config)
        assert source.keys() <= tensors.keys()
        new = {name: tensor for name, tensor in tensors.items() if name not in source}
        shapes = {n: {"dtype": str(t.dtype), "shape": list(t.shape)} for n, t in sorted(new.items())}
        rows.append({"config": config, "tensors": shapes})
        for name, tensor in tensors.items():
            if name in new or not torch.equal(tensor, source[name]):
                kept[f"{i}:{name}"] = tensor.double()
    write_json("online.json", rows)
    save_file(kept, OUT / "online.safetensors")


if __name__ == "__main__":
    main()
