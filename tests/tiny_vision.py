"""Configurations of tiny vision-language models, and prompts with images for them."""

import torch

from tiny_experts import LINEAR

TOWER = {"depth": 2, "num_heads": 2, "patch_size": 4, "temporal_patch_size": 2, "spatial_merge_size": 2}
TEXT = {
    "num_hidden_layers": 2,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 80,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TOKENS = {"image_token_id": 76, "video_token_id": 77, "vision_start_token_id": 74, "vision_end_token_id": 75}


def sections(*sizes, **more):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": list(sizes), **more}}


def nested(text, vision, **top):
    return {"text_config": TEXT | text, "vision_config": TOWER | vision, **TOKENS, **top}


QWEN2 = {"embed_dim": 24, "hidden_size": 48, "mlp_ratio": 3}
QWEN2_5 = {
    "hidden_size": 24,
    "out_hidden_size": 48,
    "intermediate_size": 36,
    "window_size": 16,
    "fullatt_block_indexes": [1],
}
QWEN3 = {"hidden_size": 24, "out_hidden_size": 48, "intermediate_size": 36, "num_position_embeddings": 36}

VISION = {
    "qwen2_vl": (
        "Qwen2VLForConditionalGeneration",
        {
            "untied": nested(sections(2, 2, 2), QWEN2),
            "tied": nested(sections(2, 2, 2), QWEN2 | {"depth": 1}, tie_word_embeddings=True),
        },
    ),
    "qwen2_5_vl": (
        "Qwen2_5_VLForConditionalGeneration",
        {
            "untied": nested(sections(2, 2, 2), QWEN2_5),
            "tied": nested(sections(2, 2, 2), QWEN2_5, tie_word_embeddings=True),
        },
    ),
    "qwen3_vl": (
        "Qwen3VLForConditionalGeneration",
        {
            "untied": nested(
                sections(4, 3, 3, mrope_interleaved=True) | {"head_dim": 20},
                QWEN3 | {"deepstack_visual_indexes": [0, 1]},
            ),
            "tied and biased": nested(
                sections(4, 3, 3, mrope_interleaved=True) | {"head_dim": 20, "attention_bias": True},
                QWEN3 | {"deepstack_visual_indexes": [0]},
                tie_word_embeddings=True,
            ),
        },
    ),
    "qwen3_5_vl": (
        "Qwen3_5ForConditionalGeneration",
        {
            "untied": nested(
                LINEAR | sections(2, 1, 1, mrope_interleaved=True, partial_rotary_factor=0.4) | {"head_dim": 20}, QWEN3
            )
        },
    ),
}


GEMMA3 = {
    "text_config": TEXT
    | {"head_dim": 16, "query_pre_attn_scalar": 20, "sliding_window": 8, "pad_token_id": 0}
    | {"layer_types": ["sliding_attention", "full_attention"]},
    "vision_config": {
        "model_type": "siglip_vision_model",
        "hidden_size": 24,
        "intermediate_size": 36,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 4,
        "vision_use_head": False,
    },
    "mm_tokens_per_image": 4,
    "image_token_index": 76,
}
VISION["gemma3_vl"] = (
    "Gemma3ForConditionalGeneration",
    {"tied": GEMMA3, "untied": GEMMA3 | {"tie_word_embeddings": False}},
)


def gemma3_prompt(model, generator):
    config, words = model.config, torch.randint(3, 72, (15,), generator=generator).tolist()
    image = [config.image_token_id] * config.mm_tokens_per_image
    ids = torch.tensor([[*words[:5], *image, *words[5:9], *image, *words[9:]]])
    size = config.vision_config.image_size
    return {
        "input_ids": ids,
        "token_type_ids": (ids == config.image_token_id).int(),
        "pixel_values": torch.randn(2, 3, size, size, generator=generator).to(model.dtype),
    }


def prompt(model, seed=0):
    """Arguments of a forward: text with two images in it, of different shapes where the model takes those."""
    if model.config.model_type == "gemma3":
        return gemma3_prompt(model, torch.Generator().manual_seed(seed))
    config, generator = model.config, torch.Generator().manual_seed(seed)
    vision = config.vision_config
    grids = torch.tensor([[1, 4, 4], [1, 4, 6]])
    patch = getattr(vision, "in_channels", 3) * vision.temporal_patch_size * vision.patch_size**2
    images = [[config.image_token_id] * (grid.prod().item() // vision.spatial_merge_size**2) for grid in grids]
    words = torch.randint(3, 72, (15,), generator=generator).tolist()
    start, end = config.vision_start_token_id, config.vision_end_token_id
    ids = torch.tensor([[*words[:5], start, *images[0], end, *words[5:9], start, *images[1], end, *words[9:]]])
    return {
        "input_ids": ids,
        "mm_token_type_ids": (ids == config.image_token_id).int(),
        "pixel_values": torch.randn(grids.prod(1).sum(), patch, generator=generator).to(model.dtype),
        "image_grid_thw": grids,
    }
