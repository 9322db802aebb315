"""Exact scales for a saved model: their names and random factors, found without asking spinor."""

import re

import torch
import transformers
from safetensors import safe_open

# Kinds that a family does not have, and why it says so; every other family has all three.
GELU, NORMED = "has no gate", "a norm of queries or keys stands behind them"
MISSING = {
    **dict.fromkeys(["gpt2", "gpt_neox", "phi", "falcon", "starcoder2", "gptj", "codegen"], {"m": GELU}),
    "nemotron": {"m": "relu2 does not commute with factors"},
    **dict.fromkeys(["qwen3", "gemma3", "olmo2", "olmo3", "exaone4", "qwen3_moe", "qwen3_vl", "gemma3_vl", "olmoe"],
                    {"k": NORMED}),
    **dict.fromkeys(["deepseek_v2", "deepseek_v3", "minicpm3"], {"k": "keys are made of latent vectors"}),
    **dict.fromkeys(["qwen3_next", "qwen3_5", "qwen3_5_vl"],
                    {"k": NORMED, "v": "an output gate multiplies the values"}),
    "gpt_oss": {"m": "its MLP clamps what the gate multiplies"},
    "gemma4": dict.fromkeys("mk", "are not written yet") | {"v": "a norm of the values stands behind them"},
}  # fmt: skip
CLIPPED = "clip_qkv clamps"


def missing(family, config):
    kinds = dict(MISSING.get(family, {}))
    if getattr(config, "use_qk_norm", False) or getattr(config, "qk_layernorm", False):
        kinds["k"] = NORMED
    if getattr(config, "clip_qkv", None) is not None:
        kinds |= {"k": CLIPPED, "v": CLIPPED}
    return kinds


def turning(config, size):
    """Channels of a head that RoPE turns, and whether neighbours turn together."""
    if config.model_type in ("gpt2", "opt") or getattr(config, "alibi", False):
        return 0, False
    if config.model_type in ("gptj", "codegen"):
        return config.rotary_dim, True
    fraction = (config.rope_parameters or {}).get("partial_rotary_factor", 1)
    return int(size * fraction), config.model_type in ("cohere", "cohere2", "glm", "glm4")


def sizes(config):
    """Of a head, and the number of key-value heads."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    groups = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    if config.model_type == "falcon":
        one = config.multi_query and not config.new_decoder_architecture
        groups = 1 if one else config.num_kv_heads
    return size, groups


def weights(directory):
    """(name, its last part, shape) of every weight of the language model."""
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for tensor in tensors.keys():
                name = tensor.removesuffix(".weight")
                if not re.search(r"visual|vision|^mtp", tensor) and not tensor.endswith("bias"):
                    yield name, name.rpartition(".")[2], tensors.get_slice(tensor).get_shape()


def names(directory, config):
    """(kind, name, rows) of all that could be scaled, as the tensors in the files suggest."""
    for name, last, shape in weights(directory):
        if last in ("up_proj", "w3", "fc1", "fc_in", "c_fc", "dense_h_to_4h"):
            yield "m", name, shape[1] if last == "c_fc" and config.model_type == "gpt2" else shape[0]
        elif last in ("gate_up_proj", "input_linear") and len(shape) == 3:
            rows = shape[2] if config.model_type == "gpt_oss" else shape[1]
            block = name.removesuffix("." + last).removesuffix(".experts")
            for expert in range(shape[0]):
                yield "m", f"{block}.experts.{expert}.up_proj", rows // 2
        elif last == "gate_up_proj":
            yield "m", name + ".up_proj", shape[0] // 2
        elif last == "k_proj":
            yield "k", name, shape[0]
        elif last == "v_proj":
            yield "v", name, shape[0]
        elif last in ("qkv_proj", "c_attn", "query_key_value"):
            size, groups = sizes(config)
            yield "k", name + ".k_proj", groups * size
            yield "v", name + ".v_proj", groups * size
        elif last == "kv_a_proj_with_mqa":
            yield "k", name, shape[0]
        elif last == "kv_b_proj":
            yield "v", name + ".v_proj", config.num_attention_heads * config.v_head_dim


def paired(factors, config):
    """The same factor for both channels of each pair that RoPE turns."""
    size, _ = sizes(config)
    dims, neighbours = turning(config, size)
    heads = factors.view(-1, size)
    turned = heads[:, :dims]
    if neighbours:
        turned[:, 1::2] = turned[:, 0::2]
    else:
        turned[:, dims // 2 :] = turned[:, : dims // 2]
    return factors


def channels(directory, config):
    """(name, number of channels, whether experts are stacked) of all linears that read an MLP's channels."""
    known = ("down_proj", "w2", "fc2", "fc_out", "dense_4h_to_h", "output_linear")
    for name, last, shape in weights(directory):
        if last in known or name.endswith("mlp.c_proj"):
            yield name, shape[0] if config.model_type == "gpt2" else shape[-1], len(shape) == 3


def draw_permutations(directory, seed=1):
    """Tensors of a file, and those that are refused: of stacked experts, of MLPs that spinor knows nothing of."""
    config = transformers.AutoConfig.from_pretrained(directory).get_text_config()
    generator = torch.Generator().manual_seed(seed)
    permutations, refused = {}, {}
    for name, size, stacked in channels(directory, config):
        order = torch.randperm(size, generator=generator)
        absent = stacked or config.model_type.startswith("gemma4")
        (refused if absent else permutations)["permutation." + name] = order
    return permutations, refused


def draw(directory, family, seed=0):
    """(tensors of a file of scales; of each kind that the model does not have a name, factors and the reason)."""
    config = transformers.AutoConfig.from_pretrained(directory).get_text_config()
    generator, absent = torch.Generator().manual_seed(seed), missing(family, config)
    scales, refused = {}, {}
    for kind, name, rows in names(directory, config):
        factors = 4 ** (2 * torch.rand(rows, generator=generator, dtype=torch.float64) - 1)
        if kind in absent:
            refused.setdefault(kind, ("scale." + name, factors, absent[kind]))
        else:
            scales["scale." + name] = paired(factors, config) if kind == "k" else factors
    return scales, refused
