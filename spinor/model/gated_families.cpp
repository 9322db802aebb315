#include "spinor/model/family_rows.h"

namespace spinor {

Architecture gated_decoder(std::string classes, Biases biases, NamePairs defaults, ForwardRow forward) {
  const std::string query = "num_attention_heads * head_dim", key_value = "num_key_value_heads * head_dim",
                    hidden = "hidden_size", intermediate = "intermediate_size";
  Architecture row;
  row.names = {classes + "ForCausalLM"};
  row.classes = std::move(classes);
  row.linears = {
      {"self_attn.q_proj", query, hidden, biases.qkv},     {"self_attn.k_proj", key_value, hidden, biases.qkv},
      {"self_attn.v_proj", key_value, hidden, biases.qkv}, {"self_attn.o_proj", hidden, query, biases.output},
      {"mlp.gate_proj", intermediate, hidden, biases.mlp}, {"mlp.up_proj", intermediate, hidden, biases.mlp},
      {"mlp.down_proj", hidden, intermediate, biases.mlp}};
  row.norms = {{"input_layernorm", hidden, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
               {"post_attention_layernorm", hidden, {"mlp.up_proj", "mlp.gate_proj"}}};
  row.defaults = std::move(defaults);
  row.forward = std::move(forward);
  return row;
}

Architecture with_qk_norms(Architecture row, double offset) {
  row.attention.query_norm = "self_attn.q_norm";
  row.attention.key_norm = "self_attn.k_norm";
  for (const std::string& norm : {row.attention.query_norm, row.attention.key_norm})
    row.norms.push_back({.name = norm, .size = "head_dim", .offset = offset});
  return row;
}

std::vector<Architecture> gated_families() {
  const Biases by_config = {"attention_bias", "attention_bias", "mlp_bias"};
  const ForwardRow qwen = {.window = WindowRule::last_layers, .sliding_window = 4096};
  return {
      gated_decoder("Llama", by_config, {}),
      gated_decoder("Mistral", {}, {{"num_key_value_heads", "8"}},
                    {.window = WindowRule::always, .sliding_window = 4096}),
      gated_decoder("Qwen2", {.qkv = "true"}, {{"num_key_value_heads", "32"}}, qwen),
      with_qk_norms(gated_decoder("Qwen3", {.qkv = "attention_bias", .output = "attention_bias"},
                                  {{"num_key_value_heads", "32"}, {"head_dim", "128"}}, qwen)),
      gated_decoder("Granite", by_config, {}, {.multipliers = true}),  // scalars, which commute with a rotation
      // Layers without RoPE have the same tensors.
      gated_decoder("SmolLM3", by_config, {{"tie_word_embeddings", "true"}, {"num_key_value_heads", "4"}},
                    {.window = WindowRule::no_rope, .no_rope_layers = true, .rope_theta = 2000000}),
  };
}

}  // namespace spinor
