"""Configurations of tiny models of the dense families that are not built like Llama: a class and its cases.

Sizes differ from one another wherever the class allows it, so that axes taken for one another are noticed."""

WIDE = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 20,
}
EVEN = {"hidden_size": 64, "intermediate_size": 80, "num_attention_heads": 4, "num_key_value_heads": 2}  # 16 a head
ODD = {"hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 3, "num_key_value_heads": 1}
ALL = {"hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 4}  # as many key-value heads as heads
TIED, UNTIED = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}
BIASED = {"attention_bias": True}
SLIDING = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
PAD = {"pad_token_id": 0}
GEMMA4 = WIDE | TIED | PAD | {"num_hidden_layers": 4, "head_dim": 8, "global_head_dim": 16, "sliding_window": 8}
GEMMA4 |= {"layer_types": SLIDING["layer_types"] * 2, "hidden_size_per_layer_input": 0}

RMS = {
    "phi3": (
        "Phi3ForCausalLM",
        {
            "plain": EVEN | UNTIED | PAD,
            "tied and partial": ODD
            | TIED
            | PAD
            | {"sliding_window": 8, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.75}},
            "long rope": EVEN
            | UNTIED
            | PAD
            | {
                "original_max_position_embeddings": 16,
                "rope_parameters": {
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "partial_rotary_factor": 0.75,
                    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
                    "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 6.0],
                },
            },
        },
    ),
    "gemma": ("GemmaForCausalLM", {"tied": WIDE | TIED, "biased": EVEN | BIASED | UNTIED | {"head_dim": 16}}),
    "gemma2": (
        "Gemma2ForCausalLM",
        {
            "tied": WIDE | TIED | {"sliding_window": 8, "query_pre_attn_scalar": 24},
            "biased without caps": WIDE
            | UNTIED
            | BIASED
            | {"sliding_window": 8, "attn_logit_softcapping": None, "final_logit_softcapping": None},
        },
    ),
    "gemma3": (
        "Gemma3ForCausalLM",
        {
            "tied": WIDE | TIED | SLIDING | {"query_pre_attn_scalar": 24},
            "biased with a cap": WIDE | UNTIED | BIASED | SLIDING | {"final_logit_softcapping": 30.0},
        },
    ),
    "gemma4": (
        "Gemma4ForCausalLM",
        {
            "shared": GEMMA4
            | {"num_kv_shared_layers": 2, "use_double_wide_mlp": True, "final_logit_softcapping": 30.0}
            | {"hidden_size_per_layer_input": 12, "vocab_size_per_layer_input": 72},
            "keys as values": GEMMA4 | UNTIED | BIASED | {"attention_k_eq_v": True, "num_global_key_value_heads": 1},
            "experts": GEMMA4
            | {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 28},
        },
    ),
    "olmo2": ("Olmo2ForCausalLM", {"plain": EVEN | UNTIED | PAD, "tied and biased": ODD | TIED | BIASED | PAD}),
    "olmo3": ("Olmo3ForCausalLM", {"plain": EVEN | UNTIED | SLIDING | PAD}),
    "exaone4": (
        "Exaone4ForCausalLM",
        {
            "sliding": EVEN | UNTIED | SLIDING,
            "global": ODD | TIED | {"sliding_window": None, "layer_types": ["full_attention", "full_attention"]},
        },
    ),
    "glm4": ("Glm4ForCausalLM", {"biased": WIDE | BIASED | UNTIED | PAD}),
    "glm": (
        "GlmForCausalLM",
        {"biased": WIDE | BIASED | UNTIED | PAD, "tied": WIDE | TIED | PAD | {"attention_bias": False}},
    ),
}

GPT = {"n_embd": 48, "n_head": 4, "n_layer": 2, "n_positions": 64}
OPT = {"hidden_size": 48, "ffn_dim": 80, "num_attention_heads": 4} | PAD
FALCON = {"hidden_size": 64, "num_attention_heads": 4}

LAYER_NORM = {
    "opt": (
        "OPTForCausalLM",
        {
            "tied": OPT | {"word_embed_proj_dim": 48},
            "projected": OPT | UNTIED | {"word_embed_proj_dim": 32},
            "without biases": OPT | {"enable_bias": False},
            "without scales": OPT | {"layer_norm_elementwise_affine": False},
            "norm last": OPT | {"word_embed_proj_dim": 32, "do_layer_norm_before": False},
        },
    ),
    "gpt2": ("GPT2LMHeadModel", {"tied": GPT, "untied": GPT | UNTIED | {"n_inner": 80, "n_head": 3}}),
    "gpt_neox": (
        "GPTNeoXForCausalLM",
        {
            "parallel": ALL | UNTIED | {"rotary_pct": 0.5},
            "sequential": ALL | UNTIED | {"use_parallel_residual": False, "rotary_pct": 1.0},
            "tied without attention biases": ALL | TIED | {"attention_bias": False, "rotary_pct": 0.5},
        },
    ),
    "phi": (
        "PhiForCausalLM",
        {
            "plain": ALL | UNTIED | {"partial_rotary_factor": 0.5},
            "normed queries": EVEN | UNTIED | {"qk_layernorm": True, "partial_rotary_factor": 0.25},
        },
    ),
    "stablelm": (
        "StableLmForCausalLM",
        {
            "sequential": EVEN | UNTIED | {"use_qkv_bias": True, "partial_rotary_factor": 0.25},
            "parallel": ODD
            | TIED
            | {"use_parallel_residual": True, "qk_layernorm": True, "partial_rotary_factor": 0.5},
        },
    ),
    "cohere": (
        "CohereForCausalLM",
        {"tied": EVEN | TIED | PAD, "biased": ODD | UNTIED | BIASED | PAD | {"use_qk_norm": True, "logit_scale": 0.5}},
    ),
    "cohere2": ("Cohere2ForCausalLM", {"tied": EVEN | TIED | SLIDING | PAD, "biased": ODD | UNTIED | BIASED | SLIDING}),
    "olmo": (
        "OlmoForCausalLM",
        {"plain": EVEN | UNTIED | PAD, "tied and clipped": ODD | TIED | BIASED | PAD | {"clip_qkv": 0.7}},
    ),
    "falcon": (
        "FalconForCausalLM",
        {
            "one key": FALCON | UNTIED | {"ffn_hidden_size": 80},
            "groups": FALCON | TIED | {"new_decoder_architecture": True, "num_kv_heads": 2, "bias": True},
            "groups with one norm": FALCON
            | UNTIED
            | {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
            "alibi": FALCON | TIED | {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
        },
    ),
    "starcoder2": (
        "Starcoder2ForCausalLM",
        {"tied": EVEN | TIED | {"sliding_window": 8}, "without biases": ODD | UNTIED | {"use_bias": False}},
    ),
    "nemotron": (
        "NemotronForCausalLM",
        {"plain": WIDE | UNTIED, "biased": EVEN | TIED | BIASED | {"mlp_bias": True, "partial_rotary_factor": 0.25}},
    ),
    "gptj": ("GPTJForCausalLM", {"plain": GPT | UNTIED | {"rotary_dim": 4}}),
    "codegen": ("CodeGenForCausalLM", {"plain": GPT | UNTIED | {"rotary_dim": 4}}),
    "bloom": ("BloomForCausalLM", {"tied": {"hidden_size": 48, "n_head": 4, "n_layer": 2}}),
}
