"""The sizes that tiny models have: for each key of a config that is a size or a count, one value a variant.

No two sizes that may meet in one model are equal or multiples of each other, and none is the same in both variants, so
that a formula over the keys can be told from another one by the shapes of two models. `square` models are those whose
class wants hidden_size = heads x head_dim.
"""

import re
from collections.abc import Iterable

Pair = tuple[int, int]

HIDDEN: Pair = (48, 60)
SQUARE = {"hidden_size": (64, 48), "num_attention_heads": (4, 6), "head_dim": (16, 8)}


def _table(*rows: tuple[str, Pair]) -> dict[str, Pair]:
    return {name: pair for names, pair in rows for name in names.split()}


# The first of them that a config has is meant.
HIDDEN_KEYS = tuple(
    "hidden_size n_embd d_model dim embedding_dim emb_dim hidden_dim model_dim n_embed embed_dim".split()
)
HEADS_KEYS = tuple(
    "num_attention_heads n_head n_heads num_heads attention_heads decoder_attention_heads encoder_attention_heads "
    "num_decoder_attention_heads num_encoder_attention_heads swa_num_attention_heads "
    "num_attention_heads_per_layer".split()
)
KV_HEADS_KEYS = tuple(
    "num_key_value_heads num_kv_heads kv_n_heads swa_num_key_value_heads num_global_key_value_heads "
    "num_query_groups".split()
)
HEAD_DIM_KEYS = tuple("head_dim attention_head_dim kv_channels attention_head_size d_head d_kv dim_head".split())
LAYER_KEYS = frozenset(
    "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_decoder_layers "
    "num_encoder_layers layers depth num_blocks".split()
)
ID_ENDINGS = ("_token_id", "_token_index", "_id", "_token_ids", "_index", "_patch_id")

TEXT = _table(
    (" ".join(HIDDEN_KEYS), HIDDEN),
    (" ".join(HEADS_KEYS), (8, 6)),
    (" ".join(KV_HEADS_KEYS), (2, 3)),
    (" ".join(HEAD_DIM_KEYS), (16, 24)),
    ("swa_head_dim", (12, 20)),
    ("global_head_dim", (20, 32)),
    ("num_sliding_attention_heads", (4, 12)),
    ("v_head_dim", (14, 18)),
    ("swa_v_head_dim", (10, 22)),
    (
        "intermediate_size n_inner ffn_dim d_ff ffn_hidden_size n_intermediate decoder_ffn_dim encoder_ffn_dim "
        "feed_forward_size dim_ff dff d_inner ff_dim",
        (88, 76),
    ),
    ("intermediate_size_mlp dense_intermediate_size", (92, 68)),
    ("moe_intermediate_size expert_ffn_hidden_size expert_dim moe_hidden_size", (28, 44)),
    (
        "shared_expert_intermediate_size moe_shared_expert_intermediate_size shared_intermediate_size "
        "shared_experts_intermediate_size share_expert_dim",
        (36, 52),
    ),
    ("moe_latent_size", (20, 26)),
    ("router_hidden_size", (38, 46)),
    ("vocab_size", (106, 118)),
    ("decoder_vocab_size", (114, 126)),
    ("additional_vocab_size", (10, 14)),
    ("pronunciation_vocab_size shape_vocab_size", (122, 134)),
    ("pronunciation_embed_dim shape_embed_dim", (20, 26)),
    ("n_mamba_heads", (8, 6)),
    ("indexer_n_heads", (2, 3)),
    ("indexer_head_dim", (16, 24)),
    ("indexer_budget", (8, 6)),
    ("indexer_compress_ratio", (2, 3)),
    ("ple_embed_dim", (32, 36)),
    ("heads_per_ngram", (2, 3)),
    ("ngram_vocab_size_base", (64, 72)),
    ("make_ngram_vocab_size_divisible_by", (8, 4)),
    ("block_multiple_of", (4, 3)),
    ("split_ngram_parts", (2, 3)),
    ("vocab_size_per_layer_input", (106, 118)),
    (
        "max_position_embeddings n_positions n_ctx max_seq_len max_sequence_length context_length "
        "max_target_positions model_max_length seq_length",
        (70, 82),
    ),
    ("max_source_positions", (34, 38)),
    ("type_vocab_size", (2, 3)),
    ("num_experts num_local_experts n_routed_experts moe_num_experts", (4, 6)),
    (
        "num_experts_per_tok num_experts_per_token experts_per_token moe_topk top_k_experts moe_k moe_top_k "
        "num_selected_experts",
        (2, 3),
    ),
    ("n_shared_experts num_shared_experts moe_num_shared_experts", (2, 3)),
    ("num_zero_experts zero_expert_num", (2, 3)),
    ("n_group num_expert_group", (2, 3)),
    ("topk_group", (1, 2)),
    ("q_lora_rank swa_q_lora_rank", (26, 34)),
    ("kv_lora_rank swa_kv_lora_rank", (22, 30)),
    ("o_lora_rank", (10, 14)),
    ("o_groups", (2, 3)),
    ("qk_nope_head_dim swa_qk_nope_head_dim", (12, 20)),
    ("qk_rope_head_dim swa_qk_rope_head_dim", (8, 4)),
    ("qk_head_dim", (20, 24)),
    ("linear_num_value_heads", (4, 6)),
    ("linear_num_key_heads", (2, 3)),
    ("linear_num_heads", (4, 6)),
    ("linear_key_head_dim", (12, 14)),
    ("linear_value_head_dim", (10, 18)),
    ("linear_head_dim", (12, 14)),
    ("mamba_d_state state_size ssm_state_size", (8, 10)),
    ("mamba_n_heads mamba_num_heads", (8, 6)),
    ("mamba_d_head mamba_head_dim mamba_headdim", (12, 20)),
    ("n_groups mamba_n_groups mamba_ngroups", (2, 3)),
    ("time_step_rank mamba_dt_rank", (6, 7)),
    ("lru_width", HIDDEN),
    ("chunk_size mamba_chunk_size", (8, 4)),
    ("attention_chunk_size keep_window_size local_attention_window_len", (6, 5)),
    ("block_size", (4, 3)),
    ("sliding_window window_size sliding_window_size attention_window_size local_attention", (6, 5)),
    ("hidden_size_per_layer_input", (10, 14)),
    ("altup_num_inputs", (2, 3)),
    ("laurel_rank", (14, 18)),
    ("index_topk", (6, 4)),
    ("index_kpool", (3, 2)),
    ("index_n_heads", (2, 3)),
    ("index_head_dim", (18, 22)),
    ("index_block_size", (4, 3)),
    ("index_topk_blocks", (2, 3)),
    ("hc_mult hc_count", (2, 3)),
    ("hc_lowrank", (10, 14)),
    ("adapter_rank lora_rank", (6, 10)),
    ("gated_norm_rank", (6, 10)),
    ("num_lstm_layers", (1, 2)),
    ("rotary_dim", (8, 4)),
    ("d_rel", (10, 14)),
    ("embedding_size input_embedding_size output_embedding_size word_embed_proj_dim", (40, 56)),
    ("image_size", (16, 24)),
    ("patch_size", (4, 4)),
    ("latent_query_num num_query_tokens resampler_n_latents", (8, 6)),
    ("mm_tokens_per_image", (4, 9)),
    ("scale_factor", (2, 3)),
    ("num_global_layers", (2, 1)),
    ("projector_hidden_size alignment_intermediate_size", (44, 68)),
)

# Of image and audio towers, where it is another one than the text's.
TOWER = {
    **TEXT,
    **_table(
        (" ".join(HIDDEN_KEYS), (32, 40)),
        (" ".join(HEADS_KEYS), (4, 2)),
        (" ".join(KV_HEADS_KEYS), (2, 1)),
        (" ".join(HEAD_DIM_KEYS), (8, 20)),
        ("intermediate_size ffn_dim d_ff encoder_ffn_dim mlp_dim", (56, 66)),
        ("projection_dim projector_output_dim vision_output_dim", (36, 52)),
        ("projector_input_dim projection_intermediate_size adapter_hidden_size", (44, 68)),
        ("num_groups", (4, 2)),
        ("base_channels", (32, 64)),
        ("num_embeddings", (66, 74)),
        ("codebook_size", (64, 128)),
        ("window_size", (16, 24)),
        ("pos_emb_height pos_emb_width", (6, 8)),
        ("projection_hidden_dim patch_embed_hidden_size", (24, 28)),
        ("max_num_patches num_position_embeddings max_vit_seq_len", (64, 144)),
    ),
}

# Counts of layers between two of the same kind: more than `pair` layers show it.
PERIODS = frozenset(
    "attn_layer_period expert_layer_period decoder_sparse_step interleave_moe_layer_step full_attention_interval "
    "global_attn_every_n_layers sliding_window_pattern no_rope_layer_interval layer_group_size moe_layer_interval "
    "moe_layer_freq cross_attention_frequency n_layers_per_attn_res_block".split()
)
OFFSETS = frozenset("attn_layer_offset expert_layer_offset".split())
PERIOD: Pair = (2, 3)

# Keys that stay equal to another one where they are: the model is built in another way when they differ.
EQUAL = (
    ("head_dim", "qk_rope_head_dim"),
    ("lru_width", "hidden_size"),
    ("word_embed_proj_dim", "hidden_size"),
    ("embedding_size", "hidden_size"),
    ("num_sliding_attention_heads", "num_attention_heads"),
)
SUMS = {"qk_head_dim": ("qk_nope_head_dim", "qk_rope_head_dim"), "head_dim": ("qk_nope_head_dim", "qk_rope_head_dim")}

# What of a tower, or beside it, is as wide as the text: always, or where it is in the user's config.
TEXT_WIDTH = frozenset("out_hidden_size text_hidden_size adapter_out_dim output_dim".split())
TEXT_WIDTH_IF = frozenset("projection_dim projector_output_dim vision_output_dim".split())
# And what beside a tower is as wide as that.
TOWER_WIDTH = frozenset(
    "vision_hidden_size adapter_in_dim adapter_input_size encoder_hidden_size projection_hidden_size".split()
)

# What single layers have in place of the value that the others have.
OTHER = _table(
    ("num_attention_heads", (4, 12)),
    ("num_key_value_heads", (4, 12)),
    ("head_dim", (32, 40)),
    ("kv_lora_rank", (18, 38)),
    ("q_lora_rank", (30, 42)),
    ("qk_nope_head_dim", (16, 24)),
    ("v_head_dim", (10, 22)),
    ("intermediate_size", (96, 84)),
    ("num_local_experts", (3, 5)),
)

# Switched off: layers that predict further tokens and that forward never runs.
UNUSED = frozenset("num_nextn_predict_layers mtp_num_hidden_layers num_mtp_modules".split())


# Sizes that no other depends on: models that mix the variants have those of the other one.
INNER = re.compile(r"intermediate|vocab|ffn|n_inner|expert_dim|lora_rank")


def sizes(tower: bool, square: bool, variant: int, mixed: bool = False) -> dict[str, int]:
    """What each key becomes in the text or a tower of a variant."""
    pairs = dict(TOWER if tower else TEXT)
    if square and not tower:
        same: Iterable[tuple[tuple[str, ...], str]] = (
            (HIDDEN_KEYS, "hidden_size"),
            (HEADS_KEYS, "num_attention_heads"),
            (HEAD_DIM_KEYS, "head_dim"),
        )
        for keys, name in same:
            pairs.update(dict.fromkeys(keys, SQUARE[name]))
    return {name: pair[1 - variant if mixed and INNER.search(name) else variant] for name, pair in pairs.items()}


# What must be a plausible count in any config.
COUNTS = LAYER_KEYS | {*HIDDEN_KEYS, *HEADS_KEYS} | {"vocab_size", "intermediate_size"}
