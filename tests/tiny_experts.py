"""Configurations of tiny models with experts, latent attention or linear attention: a class and its cases."""

from tiny_families import BIASED, EVEN, ODD, PAD, TIED, UNTIED, WIDE

LATENT = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 20,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
}
QUERY, NO_QUERY = {"q_lora_rank": 28}, {"q_lora_rank": None}
ROUTED = {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 24, "first_k_dense_replace": 1}
GROUPS = {"n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.5}
SPARSE = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
SHARED = SPARSE | {"shared_expert_intermediate_size": 36}
LOCAL = {"num_local_experts": 6, "num_experts_per_tok": 2}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 12,
    "linear_value_head_dim": 10,
    "partial_rotary_factor": 0.4,
}
MULTIPLIERS = {
    "embedding_multiplier": 3.0,
    "logits_scaling": 2.0,
    "residual_multiplier": 0.5,
    "attention_multiplier": 0.2,
}

EXPERTS = {
    "mixtral": (
        "MixtralForCausalLM",
        {"plain": EVEN | LOCAL | UNTIED, "tied": ODD | LOCAL | TIED | {"sliding_window": 8}},
    ),
    "qwen2_moe": (
        "Qwen2MoeForCausalLM",
        {
            "plain": EVEN | SHARED | UNTIED,
            "dense layers": ODD
            | SHARED
            | TIED
            | {
                "num_hidden_layers": 4,
                "decoder_sparse_step": 2,
                "mlp_only_layers": [1],
                "norm_topk_prob": True,
                "qkv_bias": False,
            },
        },
    ),
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        {
            "plain": WIDE | SPARSE | UNTIED | {"norm_topk_prob": True},
            "biased with a dense layer": WIDE | SPARSE | TIED | BIASED | {"mlp_only_layers": [0]},
        },
    ),
    "olmoe": (
        "OlmoeForCausalLM",
        {
            "plain": EVEN | UNTIED | PAD | {"num_experts": 6, "num_experts_per_tok": 2},
            "clipped": ODD | TIED | BIASED | PAD | {"num_experts": 6, "num_experts_per_tok": 2, "clip_qkv": 0.7},
        },
    ),
    "granitemoe": (
        "GraniteMoeForCausalLM",
        {"plain": EVEN | LOCAL | UNTIED | MULTIPLIERS, "biased": ODD | LOCAL | TIED | BIASED | MULTIPLIERS},
    ),
    "glm4_moe": (
        "Glm4MoeForCausalLM",
        {
            "biased": WIDE | ROUTED | UNTIED | BIASED | {"use_qk_norm": True, "routed_scaling_factor": 1.5},
            "groups": WIDE | ROUTED | TIED | GROUPS | {"n_shared_experts": 2, "norm_topk_prob": False},
        },
    ),
    "deepseek_v2": (
        "DeepseekV2ForCausalLM",
        {
            "lite": LATENT | ROUTED | UNTIED | NO_QUERY | {"routed_scaling_factor": 1.5},
            "groups": LATENT | ROUTED | UNTIED | QUERY | GROUPS | {"topk_method": "group_limited_greedy"},
            "biased": LATENT | ROUTED | TIED | QUERY | BIASED | {"mlp_bias": True, "n_shared_experts": 1},
        },
    ),
    "deepseek_v3": (
        "DeepseekV3ForCausalLM",
        {
            "plain": LATENT | ROUTED | UNTIED | QUERY | GROUPS,
            "biased": LATENT | ROUTED | TIED | NO_QUERY | GROUPS | BIASED | {"rope_interleave": False},
        },
    ),
    "gpt_oss": (
        "GptOssForCausalLM",
        {
            "plain": WIDE | LOCAL | UNTIED | {"sliding_window": 8},
            "tied without attention biases": WIDE | LOCAL | TIED | {"sliding_window": 8, "attention_bias": False},
        },
    ),
    "qwen3_next": (
        "Qwen3NextForCausalLM",
        {
            "plain": WIDE | SHARED | LINEAR | UNTIED,
            "biased with a dense layer": WIDE | SHARED | LINEAR | TIED | BIASED | {"mlp_only_layers": [0]},
        },
    ),
    "qwen3_5": (
        "Qwen3_5ForCausalLM",
        {"plain": WIDE | LINEAR | UNTIED, "tied and biased": WIDE | LINEAR | TIED | BIASED},
    ),
    "minicpm3": (
        "MiniCPM3ForCausalLM",
        {
            "tied": LATENT | QUERY | TIED | {"dim_model_base": 24},
            "biased": LATENT | NO_QUERY | UNTIED | BIASED | {"dim_model_base": 24, "mlp_bias": True},
        },
    ),
}
