"""Layers that predict further tokens, which publishers have beside what the class runs, and transformers does not load.

They are named, and built, as those of a family whose row was written by hand, whose rotation tests prove
(tests/mtp_test.py); the C++ side refuses other names and shapes.
"""

# As DeepSeek-V3 has them: one behind the last layer, with copies of the embedding and of the head.
DEEPSEEK = {"count": "num_nextn_predict_layers ?? 0", "embedding": "embed_tokens", "head": "shared_head.head"}
# As Qwen3-Next has them.
QWEN = {
    "count": "mtp_num_hidden_layers ?? num_nextn_predict_layers ?? 1", "layer": "mtp.layers.{L}.", "root": "mtp.",
    "concat": "fc", "embedding_norm": "pre_fc_norm_embedding", "hidden_norm": "pre_fc_norm_hidden",
    "output_norm": "norm",
}
MTP = {
    "DeepseekV32ForCausalLM": DEEPSEEK,
    "Glm4MoeLiteForCausalLM": DEEPSEEK,
    "GlmMoeDsaForCausalLM": DEEPSEEK,
    "Qwen3_5MoeForCausalLM": QWEN,
    "Qwen3_5MoeForConditionalGeneration": QWEN,
}
