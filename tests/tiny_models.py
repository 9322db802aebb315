"""Tiny random causal language models of every supported family, with nothing at its neutral value."""

import torch
import transformers

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


def make(family, shape, dtype=torch.float64, seed=0, **overrides):
    name, extra = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**{**COMMON, **extra, **SHAPES[shape], **overrides})
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{name}ForCausalLM")(config).to(torch.float64).eval()
    randomize(model, torch.Generator().manual_seed(seed))
    return model.to(dtype)


@torch.no_grad()
def randomize(model, generator):
    """Norms away from one, biases from zero, embedding rows from mean zero; sizes that keep the logits of order one."""
    for name, parameter in model.named_parameters():
        draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if "norm" in name:
            parameter.copy_(1 + 0.3 * draw)
        elif name.endswith("bias"):
            parameter.copy_(0.3 * draw)
        elif "embed" in name:
            parameter.copy_(0.5 + draw)
        else:
            parameter.copy_(draw / parameter.shape[1] ** 0.5)


def save(directory, family, shape, dtype=torch.float64, max_shard_size="5GB", **overrides):
    make(family, shape, dtype, **overrides).save_pretrained(directory, max_shard_size=max_shard_size)
    return directory
