// Families with LayerNorms and names like Llama's. A rotation that keeps the mean commutes with their norms.
#include "spinor/family/family_rows.h"

namespace spinor {

Architecture with_layer_norms(Architecture row, const std::string& bias) {
  const auto change = [&](NormRow& norm) {
    norm.layer_norm = true;
    norm.bias = bias;
  };
  for (NormRow& norm : row.norms) change(norm);
  for (NormRow& norm : row.outer_norms) change(norm);
  change_forward(row, [](ForwardRow& forward) { forward.norm_epsilon = "layer_norm_eps ?? 0.00001"; });
  return row;
}

namespace {

const std::vector<std::string> kValuesKeysQueries = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};

std::vector<std::string> attention_and(const std::vector<std::string>& mlp) {
  std::vector<std::string> reads = kValuesKeysQueries;
  reads.insert(reads.end(), mlp.begin(), mlp.end());
  return reads;
}

// Attention and MLP read one norm, and both write to the stream.
Architecture cohere(const std::string& classes) {
  Architecture row = gated_decoder(classes, kAttentionBias, {{"tie_word_embeddings", "true"}});
  row.norms = {{"input_layernorm", "hidden_size", attention_and({"mlp.up_proj", "mlp.gate_proj"})}};
  const std::string normed = "use_qk_norm ?? false";  // a weight for each head
  row.parameters = {{"self_attn.q_norm.weight", {"num_attention_heads", "head_dim"}, normed},
                    {"self_attn.k_norm.weight", {"num_key_value_heads", "head_dim"}, normed}};
  row = with_layer_norms(row);
  change_forward(row, [](ForwardRow& forward) {
    forward.parallel = "true";
    forward.logits_multiplier = "logit_scale ?? 0.0625";
    forward.rope = {.theta = "rope_theta ?? 500000", .interleaved = "true"};
    forward.query_norms = "self_attn.q_norm.weight";
    forward.key_norms = "self_attn.k_norm.weight";
  });
  return row;
}

// Only layers with a window have RoPE.
Architecture cohere2() {
  Architecture row = cohere("Cohere2");
  change_forward(row, [](ForwardRow& forward) {
    forward.windowed = by_layer_type("(L + 1) % (sliding_window_pattern ?? 4) != 0");
    forward.sliding_window.absent = 4096;
    forward.rope = {.when = "sliding_window != null && (" + forward.windowed + ")", .interleaved = "true"};
  });
  return row;
}

// Norms without any tensors.
Architecture olmo() {
  Architecture row = with_layer_norms(gated_decoder("Olmo", kAttentionBias, {}));
  for (NormRow& norm : row.norms) norm.weightless = "true";
  row.outer_norms.front().weightless = "true";
  row.refusals = {{"R2", "clip_qkv clamps the values, entry by entry, and a rotation does not commute with that",
                   "clip_qkv != null"}};
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = "0.00001";
    forward.clip = {"clip_qkv"};
  });
  return row;
}

// A second norm, unless attention and MLP stand side by side.
Architecture stablelm() {
  const std::string side_by_side = "use_parallel_residual", in_turn = "!use_parallel_residual";
  Architecture row = gated_decoder("StableLm", {.qkv = "use_qkv_bias"},
                                   {{"num_key_value_heads", "32"},
                                    {"use_qkv_bias", "false"},
                                    {"use_parallel_residual", "false"},
                                    {"qk_layernorm", "false"}});
  const std::string hidden = "hidden_size";
  row.renamed = {{"head_dim", "hidden_size / num_attention_heads"}};
  row.norms = {{"input_layernorm", hidden, attention_and({"mlp.up_proj", "mlp.gate_proj"}), side_by_side},
               {"input_layernorm", hidden, kValuesKeysQueries, in_turn},
               {"post_attention_layernorm", hidden, {"mlp.up_proj", "mlp.gate_proj"}, in_turn}};
  row = with_layer_norms(row, "true");
  const std::string heads = "num_attention_heads", key_heads = "num_key_value_heads", normed = "qk_layernorm";
  const std::string query_norms = "self_attn.q_layernorm.norms.{E}.weight",
                    key_norms = "self_attn.k_layernorm.norms.{E}.weight";
  row.parameters = {{query_norms, {"head_dim"}, normed, heads}, {key_norms, {"head_dim"}, normed, key_heads}};
  change_forward(row, [&](ForwardRow& forward) {
    forward.parallel = side_by_side;
    forward.rope = {.fraction = "partial_rotary_factor ?? 0.25"};
    forward.query_norms = query_norms;
    forward.key_norms = key_norms;
  });
  return row;
}

// An MLP of two linears. Their names differ, as the output of the attention does.
Architecture plain_mlp(Architecture row, const std::string& in, const std::string& out, const std::string& bias) {
  erase_linears(row, "mlp.");
  row.linears.push_back({in, "intermediate_size", "hidden_size", bias});
  row.linears.push_back({out, "hidden_size", "intermediate_size", bias});
  norm_of(row, "post_attention_layernorm").reads = row.mlp_in = {in};
  row.mlp_out = {out};
  row.writes = {row.attention.output, out};
  return row;
}

Architecture phi() {
  Architecture row =
      plain_mlp(gated_decoder("Phi", {"true", "true"}, {{"qk_layernorm", "false"}, {"hidden_act", "'gelu_new'"}}),
                "mlp.fc1", "mlp.fc2", "true");
  const std::string output = "self_attn.dense";
  linear_of(row, row.attention.output).name = output;
  row.attention.output = output;
  row.writes = {output, "mlp.fc2"};
  row.norms = {{"input_layernorm", "hidden_size", attention_and({"mlp.fc1"})}};
  row.outer_norms.front().name = "final_layernorm";
  row.head_bias = "true";
  row.attention.query_norm = "self_attn.q_layernorm";
  row.attention.key_norm = "self_attn.k_layernorm";
  for (const std::string& norm : {row.attention.query_norm, row.attention.key_norm})
    row.norms.push_back({norm, "head_dim", {}, "qk_layernorm"});
  row = with_layer_norms(row, "true");
  change_forward(row, [](ForwardRow& forward) {
    forward.parallel = "true";
    forward.rope = {.fraction = "partial_rotary_factor ?? 0.5"};
  });
  return row;
}

Architecture starcoder2() {
  const std::string bias = "use_bias";
  const NamePairs defaults = {{"num_key_value_heads", "2"}, {"use_bias", "true"}, {"tie_word_embeddings", "true"}};
  Architecture row = with_layer_norms(
      plain_mlp(gated_decoder("Starcoder2", {bias, bias}, defaults), "mlp.c_fc", "mlp.c_proj", bias), "true");
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = "norm_epsilon ?? 0.00001";
    forward.activation = "hidden_act ?? 'gelu_pytorch_tanh'";
    forward.windowed = "true";
  });
  return row;
}

// Its norms multiply by 1 + weight.
Architecture nemotron() {
  Architecture row = gated_decoder("Nemotron", kAttentionBias, {{"mlp_bias", "false"}});
  row = with_offset(with_layer_norms(plain_mlp(std::move(row), "mlp.up_proj", "mlp.down_proj", "mlp_bias"), "true"));
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = "norm_eps ?? 0.00001";
    forward.activation = "hidden_act ?? 'relu2'";
    forward.rope = {.fraction = "partial_rotary_factor ?? 0.5"};
  });
  return row;
}

}  // namespace

std::vector<Architecture> layer_norm_families() {
  return {cohere("Cohere"), cohere2(), olmo(), stablelm(), phi(), starcoder2(), nemotron()};
}

}  // namespace spinor
