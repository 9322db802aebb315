// Families whose norms multiply by 1 + weight, and those that scale the outputs of their blocks: R1 cannot pass there.
#include "spinor/model/family_rows.h"

namespace spinor {
namespace {

const Biases kByConfig = {"attention_bias", "attention_bias", ""};

const UnsupportedRow kBothWays = {"use_bidirectional_attention ?? false", "its tokens see those after them, too"};
const std::string kActivation = "hidden_act ?? 'gelu_pytorch_tanh'";

Architecture gemma(const std::string& classes, const std::string& key_value_heads) {
  return gated_decoder(classes, kByConfig,
                       {{"num_key_value_heads", key_value_heads}, {"head_dim", "256"}, {"tie_word_embeddings", "true"}},
                       {.unsupported = {kBothWays},
                        .activation = kActivation,
                        .activations = {{"gelu", "gelu_pytorch_tanh"}},
                        .embedding_multiplier = "sqrt(hidden_size)"});
}

// Windows by turns, soft caps and a scale of its own.
void set_attention(Architecture& row, const std::string& windowed, const OptionalKey& attention_cap,
                   const OptionalKey& logits_cap) {
  change_forward(row, [&](ForwardRow& forward) {
    forward.activation = "hidden_activation ?? 'gelu_pytorch_tanh'";
    forward.activations = {};
    forward.windowed = by_layer_type(windowed);
    forward.sliding_window.absent = 4096;
    forward.attention_scale = "1 / sqrt(query_pre_attn_scalar ?? 256)";
    forward.attention_cap = attention_cap;
    forward.logits_cap = logits_cap;
  });
}

// Norms on both sides of each block.
Architecture gemma2(const std::string& classes) {
  Architecture row = gemma(classes, "4");
  row.norms = {row.norms[0],
               {"post_attention_layernorm"},
               {"pre_feedforward_layernorm", "hidden_size", {"mlp.up_proj", "mlp.gate_proj"}},
               {"post_feedforward_layernorm"}};
  row.scaled_outputs = {"post_attention_layernorm", "post_feedforward_layernorm"};
  return row;
}

// Norms only after each block.
Architecture post_norm(const std::string& classes, const Biases& biases, const NamePairs& defaults) {
  Architecture row = gated_decoder(classes, biases, defaults, {.norm_epsilon = "rms_norm_eps ?? 0.00001"});
  row.raw_reads = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.gate_proj"};
  row.norms = {{"post_attention_layernorm"}, {"post_feedforward_layernorm"}};
  row.scaled_outputs = {"post_attention_layernorm", "post_feedforward_layernorm"};
  return row;
}

// Over all heads at once.
Architecture olmo2(const std::string& classes) {
  Architecture row = with_qk_norms(post_norm(classes, kByConfig, {}));
  row.norms[2].size = "num_attention_heads * head_dim";
  row.norms[3].size = "num_key_value_heads * head_dim";
  return row;
}

Architecture gemma3() {
  Architecture row = with_qk_norms(with_offset(gemma2("Gemma3")), 1);
  set_attention(row, "(L + 1) % (sliding_window_pattern ?? 6) != 0", {}, {"final_logit_softcapping"});
  change_forward(row, [](ForwardRow& forward) {
    forward.rope = {.theta = "rope_theta ?? 1000000", .local_theta = "rope_local_base_freq ?? 10000"};
  });
  return row;
}

Architecture olmo3() {
  Architecture row = olmo2("Olmo3");
  change_forward(row, [](ForwardRow& forward) {
    forward.windowed = by_layer_type("(L + 1) % 4 != 0");
    forward.sliding_window.absent = 4096;
    forward.rope = {.theta = "rope_theta ?? 500000", .local_theta = "500000"};
  });
  return row;
}

// Where some layers have windows, only they have RoPE.
Architecture exaone4() {
  Architecture row = with_qk_norms(post_norm("Exaone4", {}, {{"num_key_value_heads", "32"}}));
  change_forward(row, [](ForwardRow& forward) {
    forward.windowed = by_layer_type("(L + 1) % (sliding_window_pattern ?? 4) != 0");
    forward.sliding_window.absent = 4096;
    forward.rope = {.when = "sliding_window == null || (" + forward.windowed + ")"};
  });
  return row;
}

}  // namespace

std::vector<Architecture> gemma_families() {
  Architecture second = with_offset(gemma2("Gemma2"));
  set_attention(second, "(L + 1) % 2 != 0", {"attn_logit_softcapping", 50}, {"final_logit_softcapping", 30});
  return {with_offset(gemma("Gemma", "16")), second, gemma3(), olmo2("Olmo2"), olmo3(), exaone4()};
}

}  // namespace spinor
