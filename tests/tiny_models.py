"""Tiny random causal language models of every supported family, with nothing at its neutral value."""

import copy
import math

import torch
import transformers

from tiny_experts import EXPERTS
from tiny_families import LAYER_NORM, RMS
from tiny_vision import VISION

COMMON = {"vocab_size": 72, "num_hidden_layers": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}

# What the class itself adds to the shape: biases where it can have them, multipliers other than one.
FAMILIES = {
    "llama": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("Mistral", {"sliding_window": 8}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"attention_bias": True}),
    "granite": (
        "Granite",
        {
            "attention_bias": True,
            "mlp_bias": True,
            "embedding_multiplier": 3.0,
            "logits_scaling": 2.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.2,
        },
    ),
    "smollm3": ("SmolLM3", {"attention_bias": True, "mlp_bias": True, "no_rope_layers": [1, 0], "pad_token_id": 0}),
}

SHAPES = {
    "power_of_two": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "tie_word_embeddings": True,
    },
    "three_heads": {
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "tie_word_embeddings": False,
    },
    "five_narrow_heads": {
        "hidden_size": 80,
        "intermediate_size": 96,
        "num_attention_heads": 5,
        "num_key_value_heads": 5,
        "head_dim": 12,
        "tie_word_embeddings": True,
    },
    "wide_heads": {
        "hidden_size": 96,
        "intermediate_size": 64,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 24,
        "tie_word_embeddings": False,
    },
}


# Families that are not built like Llama, each with its own cases in place of the shapes.
MORE_FAMILIES = {**RMS, **LAYER_NORM, **EXPERTS, **VISION}
# Whose rows were found, as others are.
FOUND = {"glm4_moe_lite": ("Glm4MoeLiteForCausalLM", EXPERTS["deepseek_v3"][1])}


def make(family, shape, dtype=torch.float64, seed=0, **overrides):
    """A model of a family in one of SHAPES, or of one of MORE_FAMILIES or FOUND in one of its cases."""
    if family in FAMILIES:
        name, extra = FAMILIES[family]
        name, sizes = f"{name}ForCausalLM", {**COMMON, **extra, **SHAPES[shape]}
    else:
        name, cases = {**MORE_FAMILIES, **FOUND}[family]
        sizes = cases[shape] if family in VISION else {**COMMON, **cases[shape]}
    model_class = getattr(transformers, name)
    config = model_class.config_class(**{**copy.deepcopy(sizes), **overrides})
    model = model_class._from_config(
        config, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
    ).eval()
    randomize(model, torch.Generator().manual_seed(seed))
    return as_dtype(model, dtype)


def as_dtype(model, dtype):
    """The model in another type, but for buffers that are computed, not stored: from_pretrained does not cast them."""
    computed = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if name in module._non_persistent_buffers_set
    ]
    model.to(dtype)
    for module, name, buffer in computed:
        module._buffers[name] = buffer
    for module in model.modules():
        if isinstance(module, transformers.PreTrainedModel):
            module.config.dtype = dtype
    return model


@torch.no_grad()
def randomize(model, generator):
    """Norms away from neutral, biases from zero, embedding rows from mean zero; sizes that keep the logits of order
    one."""
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        module, leaf = modules[name.rpartition(".")[0]], name.rpartition(".")[2]
        kind = type(module).__name__
        if "Norm" in kind and leaf == "weight":
            one_plus = kind.endswith("1P") or not parameter.any()  # multiplies by 1 + weight
            parameter.copy_((0 if one_plus else 1) + 0.3 * draw)
        elif leaf.endswith("bias") or leaf in ("sinks", "A_log"):
            parameter.copy_((0.2 if "Norm" in kind else 0) + 0.3 * draw)
        elif isinstance(module, torch.nn.Embedding):
            parameter.copy_((0.5 + draw) / getattr(module, "scalar_embed_scale", 1))
        else:
            parameter.copy_(draw / fan_in(kind, parameter.shape) ** 0.5)
    for name, buffer in model.named_buffers():
        if name.endswith("layer_scalar"):
            buffer.copy_(1 + 0.3 * torch.randn(buffer.shape, generator=generator, dtype=torch.float64))
        if name.endswith("e_score_correction_bias"):  # transformers keeps it in float32
            draw = torch.randn(buffer.shape, generator=generator, dtype=torch.float64)
            buffer.copy_((0.2 * draw).float())


def fan_in(kind, shape):
    if kind == "GptOssExperts":
        return shape[1]  # (experts, in, out)
    if len(shape) == 3 and kind.endswith("Experts"):
        return shape[2]
    return shape[0] if kind == "Conv1D" else math.prod(shape[1:])


def save(directory, family, shape, dtype=torch.float64, max_shard_size="5GB", **overrides):
    make(family, shape, dtype, **overrides).save_pretrained(directory, max_shard_size=max_shard_size)
    return directory
