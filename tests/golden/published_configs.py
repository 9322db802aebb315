"""What the config.json of published models says, as far as tensors depend on it; for make_tensor_names.py."""


def sizes(architecture, model_type, hidden, intermediate, layers, heads, groups, vocab, **more):
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": vocab,
        **more,
    }


def causal(name, model_type, *numbers, **more):
    return sizes(name + "ForCausalLM", model_type, *numbers, **more)


def gpt2(hidden, layers, heads):
    names = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}
    return names | {"n_embd": hidden, "n_layer": layers, "n_head": heads}


def opt(hidden, ffn, layers, heads, **more):
    names = {"architectures": ["OPTForCausalLM"], "model_type": "opt", "vocab_size": 50272}
    numbers = {"hidden_size": hidden, "ffn_dim": ffn, "num_hidden_layers": layers, "num_attention_heads": heads}
    return names | {"max_position_embeddings": 2048} | numbers | more


def falcon(hidden, layers, heads, **more):
    names = {"architectures": ["FalconForCausalLM"], "model_type": "falcon", "vocab_size": 65024, "bias": False}
    return names | {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads} | more


def neox(hidden, intermediate, layers, heads, vocab):
    config = sizes("GPTNeoXForCausalLM", "gpt_neox", hidden, intermediate, layers, heads, None, vocab)
    config.pop("num_key_value_heads")
    return config | {"use_parallel_residual": True, "rotary_pct": 0.25, "max_position_embeddings": 2048}


def vision(name, model_type, text, tower, **more):
    return {"architectures": [name], "model_type": model_type, **text, "vision_config": tower, **more}


TIED = {"tie_word_embeddings": True}
LATENT = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
QWEN2_VL_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
}
GEMMA3_27B = sizes("", "gemma3_text", 5376, 21504, 62, 32, 16, 262208, head_dim=128, sliding_window=1024)
GEMMA3_4B = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
GEMMA3_4B |= {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}
GEMMA3_TOWER = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 896,
    "patch_size": 14,
    "vision_use_head": False,
}
GEMMA3_27B |= {"query_pre_attn_scalar": 168, "sliding_window_pattern": 6}
QWEN3_VL_8B = sizes("", "qwen3_vl_text", 4096, 12288, 36, 32, 8, 151936, head_dim=128)
QWEN3_VL_8B["rope_scaling"] = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [24, 20, 20]}
LINEAR = {"linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16}
LINEAR |= {"linear_conv_kernel_dim": 4}
QWEN3_5_27B = sizes("", "qwen3_5_text", 5120, 17408, 64, 24, 4, 248320, head_dim=256, **LINEAR)
QWEN3_5_27B["linear_num_value_heads"] = 48
for part in (GEMMA3_27B, QWEN3_VL_8B, QWEN3_5_27B):
    del part["architectures"]

CONFIGS = {
    "llama-2-7b": causal("Llama", "llama", 4096, 11008, 32, 32, 32, 32000),
    "llama-3.1-8b": causal("Llama", "llama", 4096, 14336, 32, 32, 8, 128256),
    "llama-3.2-1b": causal("Llama", "llama", 2048, 8192, 16, 32, 8, 128256, head_dim=64, **TIED),
    "mistral-7b-v0.3": causal("Mistral", "mistral", 4096, 14336, 32, 32, 8, 32768),
    "qwen2.5-0.5b": causal("Qwen2", "qwen2", 896, 4864, 24, 14, 2, 151936, **TIED),
    "qwen2.5-7b": causal("Qwen2", "qwen2", 3584, 18944, 28, 28, 4, 152064),
    "qwen2.5-72b": causal("Qwen2", "qwen2", 8192, 29568, 80, 64, 8, 152064),
    "qwen3-4b": causal("Qwen3", "qwen3", 2560, 9728, 36, 32, 8, 151936, head_dim=128, **TIED),
    "granite-3.3-8b": causal("Granite", "granite", 4096, 12800, 40, 32, 8, 49159, **TIED),
    "smollm3-3b": causal("SmolLM3", "smollm3", 2048, 11008, 36, 16, 4, 128256, **TIED),
    "phi-3-mini": causal("Phi3", "phi3", 3072, 8192, 32, 32, 32, 32064, sliding_window=2047),
    "phi-4": causal("Phi3", "phi3", 5120, 17920, 40, 40, 10, 100352),
    "gemma-2b": causal("Gemma", "gemma", 2048, 16384, 18, 8, 1, 256000, head_dim=256),
    "gemma-2-9b": causal("Gemma2", "gemma2", 3584, 14336, 42, 16, 8, 256000, head_dim=256, sliding_window=4096),
    "gemma-3-1b": causal("Gemma3", "gemma3_text", 1152, 6912, 26, 4, 1, 262144, head_dim=256, sliding_window=512),
    "gemma-3-4b": vision(
        "Gemma3ForConditionalGeneration",
        "gemma3",
        {"text_config": GEMMA3_4B},
        GEMMA3_TOWER,
    ),
    "gemma-3-27b": vision(
        "Gemma3ForConditionalGeneration",
        "gemma3",
        {"text_config": GEMMA3_27B},
        GEMMA3_TOWER,
    ),
    # Not published alone; what it leaves out is as the class has it.
    "gemma-4-text": {
        "architectures": ["Gemma4ForCausalLM"],
        "model_type": "gemma4_text",
        "hidden_size": 1536,
        "intermediate_size": 6144,
        "num_hidden_layers": 35,
        "num_kv_shared_layers": 20,
        "use_double_wide_mlp": True,
    },
    "gemma-4-experts-text": {
        "architectures": ["Gemma4ForCausalLM"],
        "model_type": "gemma4_text",
        "hidden_size": 2816,
        "intermediate_size": 2112,
        "num_hidden_layers": 30,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "num_global_key_value_heads": 2,
        "attention_k_eq_v": True,
        "hidden_size_per_layer_input": 0,
        "enable_moe_block": True,
        "num_experts": 128,
        "top_k_experts": 8,
        "moe_intermediate_size": 704,
    },
    "olmo-2-7b": causal("Olmo2", "olmo2", 4096, 11008, 32, 32, 32, 100352),
    "olmo-3-7b": causal("Olmo3", "olmo3", 4096, 11008, 32, 32, 32, 100278, sliding_window=4096),
    "exaone-4.0-1.2b": causal(
        "Exaone4", "exaone4", 2048, 4096, 30, 32, 8, 102400, head_dim=64, sliding_window=None, **TIED
    )
    | {"layer_types": ["full_attention"] * 30},
    "glm-4-9b-0414": causal("Glm4", "glm4", 4096, 13696, 40, 32, 2, 151552, head_dim=128, attention_bias=True),
    "glm-4-9b-chat": causal("Glm", "glm", 4096, 13696, 40, 32, 2, 151552, head_dim=128, attention_bias=True),
    "opt-125m": opt(768, 3072, 12, 12, word_embed_proj_dim=768),
    "opt-350m": opt(1024, 4096, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": opt(2048, 8192, 24, 32, word_embed_proj_dim=2048),
    "gpt2": gpt2(768, 12, 12),
    "gpt2-xl": gpt2(1600, 48, 25),
    "pythia-1b": neox(2048, 8192, 16, 8, 50304),
    "gpt-neox-20b": neox(6144, 24576, 44, 64, 50432),
    "phi-2": causal("Phi", "phi", 2560, 10240, 32, 32, 32, 51200, partial_rotary_factor=0.4, qk_layernorm=False),
    "stablelm-2-1_6b": causal("StableLm", "stablelm", 2048, 5632, 24, 32, 32, 100352, use_qkv_bias=True),
    "stablelm-2-12b": causal("StableLm", "stablelm", 5120, 13824, 40, 32, 8, 100352, qk_layernorm=True)
    | {"use_parallel_residual": True, "use_qkv_bias": False},
    "command-r": causal("Cohere", "cohere", 8192, 22528, 40, 64, 64, 256000, use_qk_norm=False),
    "command-r-plus": causal("Cohere", "cohere", 12288, 33792, 64, 96, 8, 256000, use_qk_norm=True),
    "command-r7b": causal("Cohere2", "cohere2", 4096, 14336, 32, 32, 8, 256000, sliding_window_pattern=4),
    "olmo-1b": causal("Olmo", "olmo", 2048, 8192, 16, 16, 16, 50304, clip_qkv=None, **TIED),
    "olmo-7b-0424": causal("Olmo", "olmo", 4096, 11008, 32, 32, 32, 50304, clip_qkv=8.0),
    "falcon-7b": falcon(4544, 32, 71, multi_query=True, parallel_attn=True, new_decoder_architecture=False),
    "falcon-40b": falcon(8192, 60, 128, num_kv_heads=8, parallel_attn=True, new_decoder_architecture=True),
    "starcoder2-3b": causal("Starcoder2", "starcoder2", 3072, 12288, 30, 24, 2, 49152, use_bias=True),
    "minitron-4b": causal("Nemotron", "nemotron", 3072, 9216, 32, 24, 8, 256000, head_dim=128),
    "mixtral-8x7b": causal("Mixtral", "mixtral", 4096, 14336, 32, 32, 8, 32000, num_local_experts=8),
    "qwen1.5-moe-a2.7b": causal("Qwen2Moe", "qwen2_moe", 2048, 5632, 24, 16, 16, 151936, num_experts=60)
    | {"moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632},
    "qwen3-30b-a3b": causal("Qwen3Moe", "qwen3_moe", 2048, 6144, 48, 32, 4, 151936, num_experts=128)
    | {"moe_intermediate_size": 768, "head_dim": 128},
    "olmoe-1b-7b": causal("Olmoe", "olmoe", 2048, 1024, 16, 16, 16, 50304, num_experts=64),
    "granite-3.0-1b-a400m": causal("GraniteMoe", "granitemoe", 1024, 512, 24, 16, 8, 49155, num_local_experts=32)
    | TIED,
    "glm-4.5-air": causal("Glm4Moe", "glm4_moe", 4096, 10944, 46, 96, 8, 151552, n_routed_experts=128, head_dim=128)
    | {"moe_intermediate_size": 1408, "attention_bias": True, "first_k_dense_replace": 1}
    | {"num_nextn_predict_layers": 1},
    "glm-4.6": causal("Glm4Moe", "glm4_moe", 5120, 12288, 92, 96, 8, 151552, n_routed_experts=160, head_dim=128)
    | {"moe_intermediate_size": 1536, "attention_bias": True, "first_k_dense_replace": 3}
    | {"num_nextn_predict_layers": 1, "use_qk_norm": True},
    "deepseek-v2-lite": causal("DeepseekV2", "deepseek_v2", 2048, 10944, 27, 16, 16, 102400, q_lora_rank=None, **LATENT)
    | {"moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2, "first_k_dense_replace": 1},
    "deepseek-v2": causal("DeepseekV2", "deepseek_v2", 5120, 12288, 60, 128, 128, 102400, q_lora_rank=1536, **LATENT)
    | {"moe_intermediate_size": 1536, "n_routed_experts": 160, "n_shared_experts": 2, "first_k_dense_replace": 1},
    "deepseek-v3": causal("DeepseekV3", "deepseek_v3", 7168, 18432, 61, 128, 128, 129280, q_lora_rank=1536, **LATENT)
    | {"moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1, "first_k_dense_replace": 3}
    | {"num_nextn_predict_layers": 1},
    "gpt-oss-20b": causal("GptOss", "gpt_oss", 2880, 2880, 24, 64, 8, 201088, head_dim=64, num_local_experts=32)
    | {"attention_bias": True, "sliding_window": 128},
    "qwen3-next-80b": causal("Qwen3Next", "qwen3_next", 2048, 5120, 48, 16, 2, 151936, head_dim=256, **LINEAR)
    | {"linear_num_value_heads": 32, "num_experts": 512, "moe_intermediate_size": 512}
    | {"shared_expert_intermediate_size": 512, "full_attention_interval": 4},
    "qwen3.5-27b": vision(
        "Qwen3_5ForConditionalGeneration",
        "qwen3_5",
        {"text_config": QWEN3_5_27B},
        {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 5120},
    ),
    "qwen2-vl-7b": vision(
        "Qwen2VLForConditionalGeneration",
        "qwen2_vl",
        QWEN2_VL_7B,
        {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "hidden_size": 3584, "patch_size": 14},
    ),
    "qwen2.5-vl-7b": vision(
        "Qwen2_5_VLForConditionalGeneration",
        "qwen2_5_vl",
        QWEN2_VL_7B,
        {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584},
    ),
    "qwen3-vl-8b": vision(
        "Qwen3VLForConditionalGeneration",
        "qwen3_vl",
        {"text_config": QWEN3_VL_8B},
        {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096}
        | {"deepstack_visual_indexes": [8, 16, 24], "num_position_embeddings": 2304},
    ),
    "minicpm3-4b": causal("MiniCPM3", "minicpm3", 2560, 6400, 62, 40, 40, 73448, q_lora_rank=768, kv_lora_rank=256)
    | {"qk_nope_head_dim": 64, "qk_rope_head_dim": 32},
}
