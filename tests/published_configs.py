"""What config.json of published models says of their layers, sizes and experts: other keys than transformers writes.
Names are those on the Hugging Face hub; what does not decide any tensor is left out."""

INFINITY = float("inf")

NEMOTRON_H = {
    "model_type": "nemotron_h", "hidden_size": 4096, "intermediate_size": 21504, "num_hidden_layers": 52,
    "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-", "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "mamba_num_heads": 128, "mamba_head_dim": 64, "ssm_state_size": 128,
    "n_groups": 8, "conv_kernel": 4, "expand": 2, "time_step_limit": [0.0, INFINITY], "use_bias": False,
    "use_conv_bias": True, "mlp_bias": False, "attention_bias": False, "vocab_size": 131072,
}
NEMOTRON_3 = {
    **NEMOTRON_H, "hidden_size": 2688, "intermediate_size": 1856, "num_key_value_heads": 2, "mamba_num_heads": 64,
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", "n_routed_experts": 128,
    "moe_intermediate_size": 1856, "moe_shared_expert_intermediate_size": 3712, "n_shared_experts": 1,
    "num_experts_per_tok": 6,
}
GLM_4_7_FLASH = {
    "model_type": "glm4_moe_lite", "hidden_size": 2048, "intermediate_size": 10240, "moe_intermediate_size": 1536,
    "num_hidden_layers": 47, "num_attention_heads": 20, "num_key_value_heads": 20, "first_k_dense_replace": 1,
    "n_routed_experts": 64, "n_shared_experts": 1, "num_experts_per_tok": 4, "q_lora_rank": 768, "kv_lora_rank": 512,
    "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256, "n_group": 1, "topk_group": 1,
    "num_nextn_predict_layers": 1, "attention_bias": False, "vocab_size": 154880, "tie_word_embeddings": False,
}
FULL = [4, 8, 12, 16, 20, 24, 27]
KIMI_LINEAR = {
    "model_type": "kimi_linear", "hidden_size": 2304, "intermediate_size": 9216, "moe_intermediate_size": 1024,
    "num_hidden_layers": 27, "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 72,
    "first_k_dense_replace": 1, "num_experts": 256, "num_experts_per_token": 8, "num_shared_experts": 1,
    "num_expert_group": 1, "topk_group": 1, "moe_layer_freq": 1, "q_lora_rank": None, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 163840,
    "tie_word_embeddings": False, "linear_attn_config": {
        "full_attn_layers": FULL, "kda_layers": [one for one in range(1, 28) if one not in FULL], "head_dim": 128,
        "num_heads": 32, "short_conv_kernel_size": 4},
}
JAMBA = {
    "model_type": "jamba", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "attn_layer_offset": 4, "attn_layer_period": 8,
    "expert_layer_offset": 1, "expert_layer_period": 2, "num_experts": 16, "num_experts_per_tok": 2,
    "mamba_conv_bias": True, "mamba_d_conv": 4, "mamba_d_state": 16, "mamba_dt_rank": 256, "mamba_expand": 2,
    "mamba_proj_bias": False, "vocab_size": 65536, "tie_word_embeddings": False,
}
LFM2 = {
    "model_type": "lfm2", "hidden_size": 2048, "block_dim": 2048, "block_ff_dim": 12288, "block_multiple_of": 256,
    "block_auto_adjust_ff_dim": True, "block_ffn_dim_multiplier": 1.0, "conv_L_cache": 3, "conv_bias": False,
    "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 16,
    "full_attn_idxs": [2, 5, 8, 10, 12, 14], "vocab_size": 65536, "tie_embedding": True,
}
LFM2_MOE = {
    "model_type": "lfm2_moe", "hidden_size": 2048, "intermediate_size": 7168, "moe_intermediate_size": 1792,
    "num_dense_layers": 2, "num_experts": 32, "num_experts_per_tok": 4, "num_hidden_layers": 24, "conv_L_cache": 3,
    "num_attention_heads": 32, "num_key_value_heads": 8, "use_expert_bias": True, "vocab_size": 65536,
    "layer_types": ["full_attention" if one in (2, 6, 10, 14, 18, 21) else "conv" for one in range(24)],
}
MIMO_V2_FLASH = {
    "model_type": "mimo_v2_flash", "hidden_size": 4096, "intermediate_size": 16384, "moe_intermediate_size": 2048,
    "num_hidden_layers": 48, "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 192, "v_head_dim": 128,
    "swa_num_attention_heads": 64, "swa_num_key_value_heads": 8, "swa_head_dim": 192, "swa_v_head_dim": 128,
    "hybrid_layer_pattern": [0 if not one or not (one + 1) % 6 else 1 for one in range(48)],
    "moe_layer_freq": [0, *[1] * 47], "n_routed_experts": 256, "num_experts_per_tok": 8, "n_group": 1,
    "topk_group": 1, "routed_scaling_factor": None, "attention_bias": False, "vocab_size": 152576,
}
GRANITE_4_H = {
    "model_type": "granitemoehybrid", "hidden_size": 1536, "intermediate_size": 512, "shared_intermediate_size": 1024,
    "num_hidden_layers": 40, "num_attention_heads": 12, "num_key_value_heads": 4, "num_local_experts": 64,
    "num_experts_per_tok": 6, "attention_bias": False, "mamba_conv_bias": True, "mamba_d_conv": 4, "mamba_d_head": 64,
    "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_n_heads": 48, "mamba_proj_bias": False,
    "layer_types": ["attention" if one in (5, 15, 25, 35) else "mamba" for one in range(40)], "vocab_size": 100352,
    "tie_word_embeddings": True, "position_embedding_type": "nope",
}
FALCON_H1 = {
    "model_type": "falcon_h1", "hidden_size": 2048, "intermediate_size": 4096, "num_hidden_layers": 24,
    "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 128, "mamba_d_conv": 4, "mamba_d_head": 64,
    "mamba_d_ssm": 3072, "mamba_d_state": 256, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_n_heads": 48,
    "mamba_conv_bias": True, "mamba_proj_bias": False, "mamba_rms_norm": False, "mamba_norm_before_gate": False,
    "attention_bias": False, "mlp_bias": False, "projectors_bias": False, "time_step_limit": [0.0, INFINITY],
    "vocab_size": 65537, "tie_word_embeddings": False,
}
ERNIE_4_5 = {
    "model_type": "ernie4_5_moe", "hidden_size": 2560, "intermediate_size": 12288, "moe_intermediate_size": 1536,
    "num_hidden_layers": 28, "num_attention_heads": 20, "num_key_value_heads": 4, "head_dim": 128,
    "moe_layer_start_index": 1, "moe_layer_end_index": 27, "moe_layer_interval": 1, "moe_num_experts": 64,
    "moe_num_shared_experts": 2, "moe_k": 6, "use_bias": False, "vocab_size": 103424, "tie_word_embeddings": True,
}
LLAMA_4 = {
    "model_type": "llama4", "text_config": {
        "model_type": "llama4_text", "hidden_size": 5120, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
        "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
        "interleave_moe_layer_step": 1, "num_local_experts": 16, "num_experts_per_tok": 1, "no_rope_layers": [],
        "attention_bias": False, "use_qk_norm": True, "vocab_size": 202048, "tie_word_embeddings": False},
    "vision_config": {
        "model_type": "llama4_vision_model", "hidden_size": 1408, "intermediate_size": 5632, "num_hidden_layers": 34,
        "num_attention_heads": 16, "image_size": 336, "patch_size": 14, "pixel_shuffle_ratio": 0.5,
        "projector_input_dim": 4096, "projector_output_dim": 4096, "vision_output_dim": 4096},
}
MAVERICK = {**LLAMA_4, "text_config": {**LLAMA_4["text_config"], "interleave_moe_layer_step": 2,
                                       "num_local_experts": 128, "use_qk_norm": False}}
MINIMAX_M2 = {
    "model_type": "minimax_m2", "hidden_size": 3072, "intermediate_size": 1536, "num_hidden_layers": 62,
    "num_attention_heads": 48, "num_key_value_heads": 8, "head_dim": 128, "num_local_experts": 256,
    "num_experts_per_tok": 8, "attn_type_list": [1] * 62, "use_qk_norm": True, "qk_norm_type": "per_layer",
    "rotary_dim": 64, "vocab_size": 200064, "tie_word_embeddings": False,
}
QWEN3_VL_MOE = {
    "model_type": "qwen3_vl_moe", "text_config": {
        "model_type": "qwen3_vl_moe_text", "hidden_size": 2048, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
        "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "attention_bias": False, "vocab_size": 151936,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"}},
    "vision_config": {
        "model_type": "qwen3_vl_moe", "hidden_size": 1152, "intermediate_size": 4304, "depth": 27, "num_heads": 16,
        "out_hidden_size": 2048, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "deepstack_visual_indexes": [8, 16, 24], "num_position_embeddings": 2304},
    "tie_word_embeddings": False,
}
GLM_4_5V = {
    "model_type": "glm4v_moe", "text_config": {
        "model_type": "glm4v_moe_text", "hidden_size": 4096, "intermediate_size": 10944,
        "moe_intermediate_size": 1408, "num_hidden_layers": 46, "num_attention_heads": 96, "num_key_value_heads": 8,
        "head_dim": 128, "first_k_dense_replace": 1, "n_routed_experts": 128, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "attention_bias": True, "partial_rotary_factor": 0.5, "vocab_size": 151552,
        "rope_scaling": {"rope_type": "default", "mrope_section": [8, 12, 12]}},
    "vision_config": {
        "model_type": "glm4v_moe", "hidden_size": 1536, "intermediate_size": 10944, "depth": 24, "num_heads": 12,
        "out_hidden_size": 4096, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "image_size": 336},
    "tie_word_embeddings": False,
}
DEEPSEEK_V3_2 = {
    "model_type": "deepseek_v32", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
    "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "first_k_dense_replace": 3,
    "moe_layer_freq": 1, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8,
    "topk_group": 4, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "index_head_dim": 128, "index_n_heads": 64, "index_topk": 2048, "attention_bias": False,
    "num_nextn_predict_layers": 1, "vocab_size": 129280, "tie_word_embeddings": False,
}
BAMBA = {
    "model_type": "bamba", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "attn_layer_indices": [9, 18, 27], "num_attention_heads": 32, "num_key_value_heads": 8, "mamba_conv_bias": True,
    "mamba_d_conv": 4, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1,
    "mamba_n_heads": 128, "mamba_proj_bias": False, "vocab_size": 128256, "tie_word_embeddings": False,
}
CODESTRAL_MAMBA = {
    "model_type": "mamba2", "hidden_size": 4096, "num_hidden_layers": 64, "num_heads": 128, "head_dim": 64,
    "state_size": 128, "n_groups": 8, "conv_kernel": 4, "expand": 2, "use_bias": False, "use_conv_bias": True,
    "intermediate_size": 8192, "time_step_limit": [0.0, INFINITY], "vocab_size": 32768, "tie_word_embeddings": False,
}

CLIP = {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "image_size": 336,
        "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768}
LLAVA_1_5 = {
    "model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064}, "vision_config": CLIP,
    "image_token_index": 32000, "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
}
LLAVA_1_5_13B = {
    **LLAVA_1_5, "text_config": {**LLAVA_1_5["text_config"], "hidden_size": 5120, "intermediate_size": 13824,
                                 "num_attention_heads": 40, "num_hidden_layers": 40},
}
SMOLVLM2 = {
    "model_type": "smolvlm", "text_config": {
        "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24,
        "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 64, "vocab_size": 49280,
        "attention_bias": False, "mlp_bias": False},
    "vision_config": {
        "model_type": "smolvlm_vision", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27,
        "num_attention_heads": 16, "image_size": 384, "patch_size": 14},
    "image_token_id": 49190, "scale_factor": 3, "tie_word_embeddings": False, "vocab_size": 49280,
}
MISTRAL_SMALL_3_1 = {
    "model_type": "mistral3", "text_config": {
        "model_type": "mistral", "hidden_size": 5120, "intermediate_size": 32768, "num_hidden_layers": 40,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "sliding_window": None,
        "vocab_size": 131072},
    "vision_config": {
        "model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "head_dim": 64, "image_size": 1540, "patch_size": 14},
    "multimodal_projector_bias": False, "projector_hidden_act": "gelu", "spatial_merge_size": 2,
    "vision_feature_layer": -1,
}
INTERNVL3 = {
    "model_type": "internvl", "text_config": {
        "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 151674, "tie_word_embeddings": False},
    "vision_config": {
        "model_type": "internvl_vision", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "image_size": [448, 448], "patch_size": [14, 14], "attention_bias": True},
    "downsample_ratio": 0.5, "vision_feature_layer": -1, "tie_word_embeddings": False,
}
QWEN3_5_MOE = {
    "model_type": "qwen3_5_moe", "text_config": {
        "model_type": "qwen3_5_moe_text", "hidden_size": 2048, "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512, "num_hidden_layers": 40, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "num_experts": 256, "num_experts_per_tok": 8,
        "full_attention_interval": 4, "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 10,
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
        "linear_num_value_heads": 32, "linear_value_head_dim": 128, "vocab_size": 248320},
    "vision_config": {
        "model_type": "qwen3_5_moe", "hidden_size": 1152, "intermediate_size": 4304, "depth": 27, "num_heads": 16,
        "out_hidden_size": 2048, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "num_position_embeddings": 2304},
    "tie_word_embeddings": False,
}
GLM_5 = {
    **DEEPSEEK_V3_2, "model_type": "glm_moe_dsa", "hidden_size": 6144, "intermediate_size": 12288,
    "num_hidden_layers": 78, "num_attention_heads": 64, "num_key_value_heads": 64, "n_group": 1, "topk_group": 1,
    "q_lora_rank": 2048, "qk_nope_head_dim": 192, "v_head_dim": 256, "index_n_heads": 32, "vocab_size": 154880,
}
HUNYUAN_A13B = {
    "model_type": "hunyuan_v1_moe", "hidden_size": 4096, "intermediate_size": 3072, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "attention_head_dim": 128,
    "num_experts": 64, "moe_topk": [8] * 32, "moe_intermediate_size": [3072] * 32, "num_shared_expert": [1] * 32,
    "use_mixed_mlp_moe": True, "use_qk_norm": True, "attention_bias": False, "mlp_bias": False, "vocab_size": 128167,
    "tie_word_embeddings": True,
}
SEED_OSS = {
    "model_type": "seed_oss", "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64,
    "num_attention_heads": 80, "num_key_value_heads": 8, "head_dim": 128, "attention_bias": True,
    "attention_out_bias": False, "mlp_bias": False, "vocab_size": 155136, "tie_word_embeddings": False,
}

# By name: the kind, and what is in config.json.
PUBLISHED = {
    "Nemotron-H-8B": ("causal", NEMOTRON_H),
    "Nemotron-3-Nano-30B-A3B": ("causal", NEMOTRON_3),
    "GLM-4.7-Flash": ("causal", GLM_4_7_FLASH),
    "Kimi-Linear-48B-A3B": ("causal", KIMI_LINEAR),
    "Jamba-v0.1": ("causal", JAMBA),
    "LFM2-1.2B": ("causal", LFM2),
    "LFM2-8B-A1B": ("causal", LFM2_MOE),
    "MiMo-V2-Flash": ("causal", MIMO_V2_FLASH),
    "granite-4.0-h-tiny": ("causal", GRANITE_4_H),
    "Falcon-H1-1.5B": ("causal", FALCON_H1),
    "ERNIE-4.5-21B-A3B": ("causal", ERNIE_4_5),
    "Llama-4-Scout": ("image-text", LLAMA_4),
    "Llama-4-Maverick": ("image-text", MAVERICK),
    "MiniMax-M2": ("causal", MINIMAX_M2),
    "Qwen3-VL-30B-A3B": ("image-text", QWEN3_VL_MOE),
    "GLM-4.5V": ("image-text", GLM_4_5V),
    "DeepSeek-V3.2": ("causal", DEEPSEEK_V3_2),
    "Bamba-9B": ("causal", BAMBA),
    "Mamba-Codestral-7B": ("causal", CODESTRAL_MAMBA),
    "llava-1.5-7b": ("image-text", LLAVA_1_5),
    "llava-1.5-13b": ("image-text", LLAVA_1_5_13B),
    "SmolVLM2-2.2B": ("image-text", SMOLVLM2),
    "Mistral-Small-3.1-24B": ("image-text", MISTRAL_SMALL_3_1),
    "InternVL3-8B": ("image-text", INTERNVL3),
    "Qwen3.5-35B-A3B": ("image-text", QWEN3_5_MOE),
    "GLM-5": ("causal", GLM_5),
    "Hunyuan-A13B": ("causal", HUNYUAN_A13B),
    "Seed-OSS-36B": ("causal", SEED_OSS),
}
