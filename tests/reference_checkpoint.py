"""What the dense reference reads of a checkpoint directory: weights, decoded from integer codes, and online
transforms."""

import math
import re
from pathlib import Path

import torch
from safetensors import safe_open

READERS = {"input_layernorm": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]}
READERS["post_attention_layernorm"] = ["mlp.gate_proj", "mlp.up_proj"]
WRITERS = ["self_attn.o_proj", "mlp.down_proj"]
LINEARS = [*READERS["input_layernorm"], "self_attn.o_proj", *READERS["post_attention_layernorm"], "mlp.down_proj"]


def read(directory, config):
    """{name: tensor}, codes decoded, with a head in any case."""
    tensors = {}
    for path in sorted(Path(directory).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})
    for name in [name for name in tensors if name.endswith(".weight_scale")]:
        linear = name.removesuffix(".weight_scale")
        tensors[linear + ".weight"] = decoded(tensors, linear, config["quantization_config"])
    if config.get("tie_word_embeddings") or "lm_head.weight" not in tensors:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    return tensors


def decoded(tensors, linear, quantization):
    """The weight that integer codes stand for; packed ones through compressed-tensors' own unpacking."""
    scale, zero = tensors[linear + ".weight_scale"], tensors.get(linear + ".weight_zero_point")
    if linear + ".weight_packed" in tensors:
        from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

        (scheme,) = quantization["config_groups"].values()
        bits, shape = scheme["weights"]["num_bits"], tensors[linear + ".weight_shape"].tolist()
        codes = unpack_from_int32(tensors[linear + ".weight_packed"], bits, torch.Size(shape))
        zero = None if zero is None else unpack_from_int32(zero, bits, scale.shape, packed_dim=0)
    else:
        codes = tensors[linear + ".weight"]
    assert codes.dtype == torch.int8, f"{linear}: only integers are decoded here"
    groups = codes.to(scale.dtype).unflatten(-1, (scale.shape[-1], -1))
    zero = 0 if zero is None else zero.to(scale.dtype)[..., None]
    return ((groups - zero) * scale[..., None]).flatten(-2)


def stored_transforms(config, tensors, layers, head_dim):
    """{(module, location): matrix} of transform_config's entries that act while the model runs."""
    groups = (config.get("quantization_config") or {}).get("transform_config", {}).get("config_groups", {})
    linears = [layer + linear for layer in layers for linear in LINEARS] + ["lm_head"]
    online = {}
    for group, scheme in groups.items():
        for entry in scheme["apply"]:
            location = entry["location"]
            if location.startswith("weight_"):
                continue  # done to the weights already
            attention = location in ("q_attn", "k_cache")
            modules = [layer + "self_attn" for layer in layers] if attention else linears
            for module in (module for module in modules if is_target(module, entry, attention)):
                size = head_dim if attention else tensors[module + ".weight"].shape[location == "input"]
                matrix = stored_matrix(tensors, group, scheme, entry, scheme["head_dim"] or size)
                factors = [online.get((module, location), torch.eye(size).double()), blocks(matrix, size)]
                if location == "input":  # compressed-tensors puts the hook of a later group before the others
                    factors.reverse()
                online[module, location] = factors[0] @ factors[1]
    return online


def is_target(module, entry, attention):
    def match(pattern):
        if pattern.startswith("re:"):
            return re.match(pattern[3:], module)
        return pattern == module or (pattern == "Linear" and not attention)

    return any(map(match, entry["targets"])) and not any(map(match, entry["ignore"]))


def stored_matrix(tensors, group, scheme, entry, size):
    """It lies under the first module of its size that uses it; a Hadamard matrix as +-1, without 1 / sqrt(size)."""
    names = [name for name in tensors if f".{group}_" in name and name.endswith(".weight")]
    names = [name for name in names if len(tensors[name]) == size]
    names.sort(key=lambda name: f".{group}_{entry['location']}." not in name)  # an inverse may have its own, elsewhere
    matrix = tensors[names[0]].double()
    permutation = tensors.get(names[0].removesuffix("weight") + "perm")
    if permutation is not None:
        matrix = matrix[permutation][:, permutation]
    if scheme["type"] == "random-matrix":
        return matrix  # stored inverted where the entry says so
    return (matrix.T if entry["inverse"] else matrix) / math.sqrt(size)


def blocks(matrix, size):
    """block_diag(matrix, matrix, ...), (size, size)"""
    return torch.block_diag(*[matrix.double()] * (size // len(matrix)))
