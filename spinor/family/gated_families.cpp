#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/family/family_rows.h"

namespace spinor {
namespace {

template <typename Row>
Row& row_called(std::vector<Row>& rows, const std::string& name, const std::string& classes) {
  const auto found = std::ranges::find(rows, name, &Row::name);
  if (found == rows.end()) throw Error(classes, "has no row for " + name);
  return *found;
}

}  // namespace

LinearRow& linear_of(Architecture& row, const std::string& name) {
  return row_called(row.linears, name, row.classes);
}

NormRow& norm_of(Architecture& row, const std::string& name) {
  return row_called(row.norms, name, row.classes);
}

void erase_linears(Architecture& row, const std::string& prefix) {
  std::erase_if(row.linears, [&](const LinearRow& linear) { return linear.name.starts_with(prefix); });
}

std::string by_layer_type(const std::string& rule) {
  return "layer_types != null && layer_types[L] == 'sliding_attention' || layer_types == null && (" + rule + ")";
}

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

Architecture with_offset(Architecture row) {
  for (NormRow& norm : row.norms) norm.offset = 1;
  for (NormRow& norm : row.outer_norms) norm.offset = 1;
  return row;
}

Architecture with_qk_norms(Architecture row, double offset) {
  row.attention.query_norm = "self_attn.q_norm";
  row.attention.key_norm = "self_attn.k_norm";
  for (const std::string& norm : {row.attention.query_norm, row.attention.key_norm})
    row.norms.push_back({.name = norm, .size = "head_dim", .offset = offset});
  return row;
}

void norm_all_heads(Architecture& row) {
  norm_of(row, row.attention.query_norm).size = "num_attention_heads * head_dim";
  norm_of(row, row.attention.key_norm).size = "num_key_value_heads * head_dim";
}

ForwardRow granite_forward() {
  return {.attention_scale = "attention_multiplier ?? 1",
          .embedding_multiplier = "embedding_multiplier ?? 1",
          .residual_multiplier = "residual_multiplier ?? 1",
          .logits_multiplier = "1.0 / (logits_scaling ?? 1)"};
}

ForwardRow qwen_forward(const std::string& full_layers) {
  return {
      .windowed = kIfWindowed + " && " + "(" + by_layer_type("L >= (max_window_layers ?? " + full_layers + ")") + ")",
      .sliding_window = kWindow4096};
}

namespace {

// Some layers have no RoPE; in spite of its name no_rope_layers has a one for each that does.
ForwardRow smollm3() {
  const std::string rope =
      "(no_rope_layers != null && no_rope_layers[L] != 0 || no_rope_layers == null && "
      "(L + 1) % (no_rope_layer_interval ?? 4) != 0)";
  return {.windowed = kIfWindowed + " && " + "(" + by_layer_type("!" + rope) + ")",
          .rope = RopeRow{.when = rope, .theta = "rope_theta ?? 2000000"}};
}

// Qwen2 with layers for multi-token prediction, which read the stream before the final norm (vLLM's MiMoModel).
Architecture mimo(const ForwardRow& qwen) {
  Architecture row = gated_decoder("MiMo", {.qkv = "true"}, {{"num_key_value_heads", "32"}}, qwen);
  row.mtp = MtpRow{.count = "num_nextn_predict_layers ?? 0",
                   .layer = "model.mtp_layers.{L}.",
                   .concat = "input_proj",
                   .embedding_norm = "token_layernorm",
                   .hidden_norm = "hidden_layernorm",
                   .output_norm = "final_layernorm",
                   .hidden_first = true,
                   .before_final_norm = true};
  return row;
}

}  // namespace

std::vector<Architecture> gated_families() {
  const Biases by_config = {"attention_bias", "attention_bias", "mlp_bias"};
  const ForwardRow qwen = qwen_forward("28");
  return {
      gated_decoder("Llama", by_config, {}),
      gated_decoder("Mistral", {}, {{"num_key_value_heads", "8"}}, {.windowed = "true", .sliding_window = kWindow4096}),
      gated_decoder("Qwen2", {.qkv = "true"}, {{"num_key_value_heads", "32"}}, qwen),
      mimo(qwen),
      with_qk_norms(gated_decoder("Qwen3", {.qkv = "attention_bias", .output = "attention_bias"},
                                  {{"num_key_value_heads", "32"}, {"head_dim", "128"}}, qwen)),
      gated_decoder("Granite", by_config, {}, granite_forward()),
      // Layers without RoPE have the same tensors.
      gated_decoder("SmolLM3", by_config, {{"tie_word_embeddings", "true"}, {"num_key_value_heads", "4"}}, smollm3()),
  };
}

}  // namespace spinor
