"""What single config classes need beyond the common table of sizes.

EXCEPTIONS: for the name of a config class, keys and what they become: a value, a pair (for variant 0, for variant 1),
or a function of the keys as they are by then. DEFAULTS: for a model type, what its default config lacks; the published
models of the type have it.
"""

from collections.abc import Callable
from typing import Any

Values = dict[str, Any]
Rule = Any  # a value, a pair of values, or Callable[[Values], Any]


def _twice_hidden(values: Values) -> int:
    return 2 * values["hidden_size"]


def _twice_hidden_a_head(values: Values) -> int:
    return 2 * values["hidden_size"] // values["num_attention_heads"]


def _heads_of_mixer(values: Values) -> int | None:
    return values["mamba_n_heads"] * values["mamba_d_head"] if values.get("mamba_d_ssm") else None


def _head_of_mixer(values: Values) -> int:
    return values["mamba_expand"] * values["hidden_size"] // values["mamba_n_heads"]


def _hidden_a_head(values: Values) -> int:
    return values["hidden_size"] // values["num_attention_heads"]


# Two tiles of an image of the size that towers take here.
_TILES = ([[16, 32], [32, 16], [32, 32]], [[24, 48], [48, 24], [48, 48]])

# Of one part of a tower the channels, the last as many as the next part has.
_NARROWER = ([24, 32], [28, 40])

# What codes of images are called among the words.
_IMAGE_WORDS = {"<image>": 9, "IMGIMGAZ": 10, "IMGIMGBZ": 11, "IMGIMGCZ": 12}
_VISUAL_TOKENS = {"<image>": 9, **{f"<|visual token {i:06d}|>": 10 + i for i in range(66)}}


def _axial(values: Values) -> tuple[int, int]:
    return (12, values["hidden_size"] - 12)


EXCEPTIONS: dict[str, dict[str, Rule]] = {
    "BltConfig": {"encoder_hash_byte_group_vocab": (34, 38)},
    "CodeGenConfig": {"n_embd": (64, 96), "n_head": (4, 8)},  # its heads are in 4 parts
    "DeepseekV4Config": {
        "compress_rates": (
            {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4},
            {"compressed_sparse_attention": 3, "heavily_compressed_attention": 5},
        ),
        "index_topk": (3, 2),
    },
    "Dots3NoteTextConfig": {"head_dim": (24, 28)},
    "FalconH1Config": {"mamba_d_head": (10, 14), "mamba_d_ssm": _heads_of_mixer},
    "AriaConfig": {"projector_patch_to_query_dict": ({16: 8}, {36: 12})},
    "BambaConfig": {"mamba_d_head": _head_of_mixer},
    "BltPatcherConfig": {"head_dim": _hidden_a_head},
    "BltGlobalTransformerConfig": {"head_dim": _hidden_a_head},
    "BltLocalDecoderConfig": {"head_dim": _hidden_a_head, "hidden_size_global": (48, 60)},
    "BltLocalEncoderConfig": {"head_dim": _hidden_a_head, "hidden_size_global": (48, 60)},
    "ChameleonConfig": {"vocabulary_map": _IMAGE_WORDS},
    "DeepseekOcr2SamVisionConfig": {"downsample_channels": _NARROWER},
    "Emu3Config": {"vocabulary_map": _VISUAL_TOKENS},
    "Glm4vMoeTextConfig": {"hidden_size": (64, 72)},  # three sections in the half of a head that turns
    "Granite4VisionConfig": {
        "deepstack_layer_map": [[-1, 0], [-2, 1]],
        "spatial_target_layers": [0, 1, 0, 1],
        "downsample_rate": ("2/4", "2/6"),
        "image_grid_pinpoints": _TILES,
    },
    "GraniteDoclingVisionConfig": {"image_size": (16, 32)},
    "GraniteMoeHybridConfig": {"mamba_d_head": _head_of_mixer},
    "InklingTextConfig": {"swa_num_attention_heads": (10, 12), "swa_num_key_value_heads": (5, 4)},
    "Inkling2TextConfig": {"swa_num_attention_heads": (10, 12), "swa_num_key_value_heads": (5, 4)},
    "JanusVisionConfig": {"num_image_tokens": (16, 36), "projection_dim": lambda values: values["text width"]},
    "Llama4VisionConfig": {
        "intermediate_size": lambda values: int(values["hidden_size"] / values["pixel_shuffle_ratio"] ** 2),
        "projector_input_dim": (36, 52),
    },
    "LlavaNextConfig": {"image_grid_pinpoints": _TILES},
    "LlavaNextVideoConfig": {"image_grid_pinpoints": _TILES},
    "LlavaOnevisionConfig": {"image_grid_pinpoints": _TILES},
    "MllamaVisionConfig": {
        "vision_output_dim": lambda values: values["hidden_size"] * (1 + len(values["intermediate_layers_indices"]))
    },
    "Mamba2Config": {"num_heads": (8, 6), "head_dim": (12, 20)},
    "Molmo2AdapterConfig": {"vision_feature_layer": [1, 0]},
    "Molmo2VisionConfig": {"num_position_embeddings": (16, 36)},
    "MuseGlimmerConfig": {"out_hidden_size": (4 * 32, 4 * 40)},
    "MuseSparkConfig": {"out_hidden_size": (4 * 32, 4 * 40)},
    "Qwen2VLVisionConfig": {"hidden_size": lambda values: values["text width"]},
    "RadioConfig": {"patch_dim": 3 * 16, "video_patch_dim": 3 * 2 * 16, "max_img_size": (32, 48)},
    "RemBertConfig": {"output_embedding_size": (52, 44)},
    "ReformerConfig": {
        "axial_pos_shape": ((4, 5), (5, 6)),
        "axial_pos_embds_dim": _axial,
        "attention_head_size": (12, 10),
        "lsh_attn_chunk_length": (7, 17),
        "local_attn_chunk_length": (7, 17),
        "num_buckets": 4,
        "hash_seed": 0,
    },
    "UnlimitedOcrSamVisionConfig": {"downsample_channels": _NARROWER},
    "VipLlavaConfig": {"vision_feature_layers": [-1, -2], "vision_feature_layer": [-1, -2]},
    "ZambaConfig": {"attention_hidden_size": _twice_hidden, "attention_head_dim": _twice_hidden_a_head},
    "Zamba2Config": {
        "attention_hidden_size": _twice_hidden,
        "attention_head_dim": _twice_hidden_a_head,
        "mamba_headdim": lambda values: _twice_hidden(values) // values["n_mamba_heads"],
    },
    "ZayaConfig": {"num_attention_heads": (8, 12), "num_key_value_heads": (2, 4)},  # half of the heads of values each
}

# What some classes want of a part of theirs: the class, the part, and its keys.
OF_PARTS: dict[str, dict[str, dict[str, Rule]]] = {
    "Granite4VisionConfig": {"vision_config": {"hidden_size": (64, 128)}},  # heads of 64 read it
}

_QWEN4_EXP = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 256,
    "indexer_budget": 2048,
    "indexer_compress_ratio": 4,
    "ple_layer_ids": [2],
    "ple_embed_dim": 4096,
    "eos_token_id": 248046,
}
_ROTARY = {"rope_type": "default", "rope_theta": 10000.0}
_SECTIONS = {"mrope_section": [24, 20, 20], **_ROTARY}
_COMPASS = {
    "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 10,
    "rope_parameters": {"sliding_attention": _SECTIONS, "full_attention": _SECTIONS},
}

_TURNED_IN_SECTIONS = {"rope_parameters": _ROTARY | {"mrope_section": [16, 24, 24]}}
_STEP3P7 = {
    "layer_types": (["full_attention"] + ["sliding_attention"] * 3) * 11 + ["full_attention"],
    "sliding_window": 512,
    "num_sliding_attention_heads": 96,
}


def _with_sections(model_type: str, **more: Any) -> Values:
    return {"text_config": {"model_type": model_type, **_TURNED_IN_SECTIONS, **more}}


DEFAULTS: dict[str, Values] = {
    "bamba": {"attn_layer_indices": [9, 18, 27]},
    "cohere_compass": {"text_config": {"model_type": "cohere_compass_text", **_COMPASS}},
    "cohere_compass_text": _COMPASS,
    "dbrx": {"attn_config": {"kv_n_heads": 8, "clip_qkv": 8.0, "rope_theta": 500000.0}},
    "blip-2": {"image_token_index": 50265},
    "chameleon": {"vocabulary_map": _IMAGE_WORDS},
    "deepseek_ocr2": {
        "text_config": {
            "model_type": "deepseek_ocr2_text",
            "mlp_layer_types": ["dense"] + ["sparse"] * 31,
            "num_experts_per_tok": 6,
        }
    },
    "diffusion_gemma": {
        "text_config": {
            "model_type": "diffusion_gemma_text",
            "num_experts": 128,
            "top_k_experts": 8,
            "moe_intermediate_size": 704,
        }
    },
    "emu3": {"vocabulary_map": _VISUAL_TOKENS},
    "granite4_vision": {
        "deepstack_layer_map": [[-1, 0], [-7, 3], [-13, 6], [-19, 9]],
        "downsample_rate": "4/8",
    },
    "deepseek_v2": {"num_experts_per_tok": 6, "first_k_dense_replace": 1},
    "dots1": {
        "n_routed_experts": 128,
        "num_experts_per_tok": 6,
        "n_shared_experts": 2,
        "first_k_dense_replace": 1,
    },
    "ernie4_5_vl_moe": {
        "text_config": {
            "model_type": "ernie4_5_vl_moe_text",
            "rope_parameters": _ROTARY | {"mrope_section": [22, 22, 20]},
        }
    },
    "gemma4": {"vision_config": {"model_type": "gemma4_vision"}},
    "gemma4_unified": {"vision_config": {"model_type": "gemma4_unified_vision"}},
    "glm46v": _with_sections("glm4v_text"),
    "glm4v": _with_sections("glm4v_text"),
    "glm4v_moe": {
        "text_config": {
            "model_type": "glm4v_moe_text",
            "rope_parameters": _ROTARY | {"partial_rotary_factor": 0.5, "mrope_section": [8, 12, 12]},
        }
    },
    "glm_ocr": _with_sections("glm_ocr_text"),
    "glmga": _with_sections("glm4v_text"),
    "granitemoehybrid": {
        "layer_types": (["mamba"] * 5 + ["attention"]) * 5 + ["mamba"] * 2,
    },
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 64, "moe_topk": 8},
    "hunyuan_vl": {
        "text_config": {
            "model_type": "hunyuan_vl_text",
            "head_dim": 128,
            "rope_parameters": _ROTARY | {"xdrope_section": [16, 16, 16, 16]},
        }
    },
    "instructblip": {"image_token_index": 50265},
    "instructblipvideo": {"video_token_index": 50265},
    "lfm2": {"full_attn_idxs": [2, 5, 8, 10, 12, 14]},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "minicpm_ocr": {"image_token_id": 248056},
    "minicpmv4_6": {"image_token_id": 248056},
    "minicpmv4_7": {"image_token_id": 248056},
    "llama4": {"text_config": {"model_type": "llama4_text", "interleave_moe_layer_step": 2}},  # Maverick's
    "llama4_text": {"interleave_moe_layer_step": 2},
    "ministral": {"head_dim": 128},
    "nemotron_h_omni": {"image_token_id": 18},
    "nemotron": {"num_key_value_heads": 8},
    "qwen4_exp": {"text_config": {"model_type": "qwen4_exp_text", **_QWEN4_EXP}},
    "qwen4_exp_text": _QWEN4_EXP,
    "paddleocr_vl": _with_sections("paddleocr_vl_text"),
    "qwen2_5_omni_thinker": _with_sections("qwen2_5_omni_text"),
    "qwen2_5_vl": _with_sections("qwen2_5_vl_text"),
    "qwen2_vl": _with_sections("qwen2_vl_text"),
    "step3p5": _STEP3P7,
    "step3p7": {"text_config": {"model_type": "step3p7_text", **_STEP3P7}},
    "xmod": {"default_language": "en_XX"},
}


def changed(values: Values, rules: dict[str, Rule], variant: int, text_width: int | None) -> Values:
    """What exceptions change; functions find the width of the text as "text width"."""
    values = values | {"text width": text_width}
    new: Values = {}
    for key, rule in rules.items():
        if key not in values:
            continue
        if isinstance(rule, Callable):
            new[key] = rule(values | new)
        else:
            new[key] = rule[variant] if isinstance(rule, tuple) else rule
    return new
