// Families whose norms multiply by 1 + weight, and those that scale the outputs of their blocks: R1 cannot pass there.
#include "spinor/family/family_rows.h"

namespace spinor {
namespace {

const UnsupportedRow kBothWays = {"use_bidirectional_attention ?? false", "its tokens see those after them, too"};
const std::string kActivation = "hidden_act ?? 'gelu_pytorch_tanh'";

Architecture gemma(const std::string& classes, const std::string& key_value_heads) {
  return gated_decoder(classes, kAttentionBias,
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
  Architecture row = with_qk_norms(post_norm(classes, kAttentionBias, {}));
  row.norms[2].size = "num_attention_heads * head_dim";
  row.norms[3].size = "num_key_value_heads * head_dim";
  return row;
}

}  // namespace

Architecture gemma3(const std::string& classes) {
  Architecture row = with_qk_norms(with_offset(gemma2(classes)), 1);
  row.defaults.emplace_back("num_attention_heads", "8");
  row.defaults.emplace_back("vocab_size", "262208");
  set_attention(row, "(L + 1) % (sliding_window_pattern ?? 6) != 0", {}, {"final_logit_softcapping"});
  change_forward(row, [](ForwardRow& forward) {
    forward.rope = {.theta = "rope_theta ?? 1000000", .local_theta = "rope_local_base_freq ?? 10000"};
  });
  return row;
}

namespace {

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

// Layers with a window and those without differ in the size of their heads. Later layers may read the keys and values
// of earlier ones, keys may be the values, too, and each layer adds an embedding of its own to the stream, or experts'
// output.
Architecture gemma4() {
  const std::string full =
                        "(L + 1 == num_hidden_layers || (layer_types != null ? layer_types[L] == 'full_attention' : "
                        "(L + 1) % 6 == 0))",
                    shared = "(L >= num_hidden_layers - num_kv_shared_layers)",
                    of_layer = "per_layer_config != null ? per_layer_config[L]",
                    size = "(" + of_layer + "['head_dim'] ?? head_dim : " + full + " ? global_head_dim : head_dim)",
                    groups = "(" + of_layer + "['num_key_value_heads'] ?? num_key_value_heads : attention_k_eq_v && " +
                             full + " ? num_global_key_value_heads ?? num_key_value_heads : num_key_value_heads)",
                    own_keys = "!" + shared, own_values = own_keys + " && !(attention_k_eq_v && " + full + ")",
                    inner = "intermediate_size * (use_double_wide_mlp && " + shared + " ? 2 : 1)",
                    extra = "hidden_size_per_layer_input", has_extra = extra + " > 0",
                    all_extra = "num_hidden_layers * " + extra, hidden = "hidden_size", experts = "enable_moe_block",
                    wide = "moe_intermediate_size";
  Architecture row = with_qk_norms(gemma2("Gemma4"));
  row.defaults = {{"num_attention_heads", "8"},
                  {"num_key_value_heads", "4"},
                  {"head_dim", "256"},
                  {"global_head_dim", "512"},
                  {"vocab_size", "262144"},
                  {"vocab_size_per_layer_input", "262144"},
                  {extra, "256"},
                  {"num_kv_shared_layers", "0"},
                  {"attention_k_eq_v", "false"},
                  {"use_double_wide_mlp", "false"},
                  {"enable_moe_block", "false"},
                  {"tie_word_embeddings", "true"}};
  row.embeddings.push_back({"embed_tokens_per_layer", "vocab_size_per_layer_input", all_extra, "false", has_extra});
  row.linears[0].out = row.linears[3].in = "num_attention_heads * " + size;
  for (size_t i : {1, 2}) row.linears[i].out = groups + " * " + size;
  row.linears[1].when = own_keys;
  row.linears[2].when = own_values;
  for (size_t i : {4, 5}) row.linears[i].out = inner;
  row.linears[6].in = inner;
  row.linears.push_back({"per_layer_input_gate", extra, hidden, "", has_extra});
  row.linears.push_back({"per_layer_projection", hidden, extra, "", has_extra});
  row.linears.push_back({"router.proj", "num_experts", hidden, "", experts, Layout::matrix, true});
  row.linears.push_back({"experts.gate_up_proj", "2 * " + wide, hidden, "", experts, Layout::experts});
  row.linears.push_back({"experts.down_proj", hidden, wide, "", experts, Layout::experts});
  row.experts = experts + " ? num_experts : null";
  row.attention.value_norm = "self_attn.v_norm";
  row.attention.head_dim = size;
  row.attention.shared = shared;
  row.attention.shared_like = full;
  for (size_t i : {4, 5}) row.norms[i].size = size;
  row.norms[5].when = own_keys;
  row.norms.push_back({.name = "self_attn.v_norm", .size = size, .when = own_keys, .weightless = "true"});
  row.norms.push_back({.name = "router.norm", .reads = {"router.proj"}, .when = experts, .weightless = "true"});
  row.norms.push_back({.name = "post_per_layer_input_norm", .when = has_extra});
  row.norms.push_back({.name = "post_feedforward_layernorm_1", .when = experts});
  row.norms.push_back({.name = "post_feedforward_layernorm_2", .when = experts});
  row.norms.push_back({.name = "pre_feedforward_layernorm_2", .reads = {"experts.gate_up_proj"}, .when = experts});
  for (const char* norm : {"post_per_layer_input_norm", "post_feedforward_layernorm_1", "post_feedforward_layernorm_2"})
    row.scaled_outputs.emplace_back(norm);
  row.parameters = {{"layer_scalar", {"1"}},
                    {"router.scale", {hidden}, experts},
                    {"router.per_expert_scale", {"num_experts"}, experts}};
  row.outer_linears = {{"per_layer_model_projection", all_extra, hidden, "", has_extra}};
  row.outer_norms.push_back({.name = "per_layer_projection_norm", .size = extra, .when = has_extra});
  row.writes.insert(row.writes.end(), {"per_layer_projection", "experts.down_proj"});
  row.mlp_in.emplace_back("experts.gate_up_proj");
  row.mlp_out.emplace_back("experts.down_proj");
  row.raw_reads = {"per_layer_input_gate"};
  row.refusals = {{"R1",
                   "norms scale the outputs of its blocks, entry by entry, before they are added to the residual "
                   "stream; a rotation does not commute with that"},
                  {"R3", "spinor writes it for heads of one size and with keys of their own, and its layers differ"}};
  for (const char* name :
       {"k_proj.weight", "v_proj.weight", "k_norm.weight"})  // in layers that share: nobody reads them
    row.buffers.push_back(std::string("self_attn.") + name);
  change_forward(row, [](ForwardRow& forward) {
    forward.unknown = "its heads of two sizes, shared keys and values and embeddings of each layer are not written yet";
  });
  return row;
}

}  // namespace

std::vector<Architecture> gemma_families() {
  Architecture second = with_offset(gemma2("Gemma2"));
  set_attention(second, "(L + 1) % 2 != 0", {"attn_logit_softcapping", 50}, {"final_logit_softcapping", 30});
  return {with_offset(gemma("Gemma", "16")), second, gemma3("Gemma3"), olmo2("Olmo2"), olmo3(), exaone4(), gemma4()};
}

}  // namespace spinor
