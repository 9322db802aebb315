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
  row.norms = {norm_of(row, "input_layernorm"),
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
  norm_all_heads(row);
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

// Gemma 4: conditions of a layer, and sizes in it.
const std::string kNoWindow =
    "(L + 1 == num_hidden_layers || (layer_types != null ? layer_types[L] == 'full_attention' : (L + 1) % 6 == 0))";
const std::string kSharesValues = "(L >= num_hidden_layers - num_kv_shared_layers)";
const std::string kOwnKeys = "!" + kSharesValues;
const std::string kOfLayer = "per_layer_config != null ? per_layer_config[L]";
const std::string kSizeOfHead =
    "(" + kOfLayer + "['head_dim'] ?? head_dim : " + kNoWindow + " ? global_head_dim : head_dim)";
const std::string kExtraSize = "hidden_size_per_layer_input", kHasExtra = kExtraSize + " > 0",
                  kAllExtra = "num_hidden_layers * " + kExtraSize, kHasExperts = "enable_moe_block";

void set_gemma4_linears(Architecture& row) {
  const std::string groups = "(" + kOfLayer + "['num_key_value_heads'] ?? num_key_value_heads : attention_k_eq_v && " +
                             kNoWindow + " ? num_global_key_value_heads ?? num_key_value_heads : num_key_value_heads)",
                    queries = "num_attention_heads * " + kSizeOfHead, values = groups + " * " + kSizeOfHead,
                    inner = "intermediate_size * (use_double_wide_mlp && " + kSharesValues + " ? 2 : 1)",
                    wide = "moe_intermediate_size";
  linear_of(row, "self_attn.q_proj").out = linear_of(row, "self_attn.o_proj").in = queries;
  linear_of(row, "self_attn.k_proj").out = linear_of(row, "self_attn.v_proj").out = values;
  linear_of(row, "self_attn.k_proj").when = kOwnKeys;
  linear_of(row, "self_attn.v_proj").when = kOwnKeys + " && !(attention_k_eq_v && " + kNoWindow + ")";
  linear_of(row, "mlp.gate_proj").out = linear_of(row, "mlp.up_proj").out = linear_of(row, "mlp.down_proj").in = inner;
  row.linears.push_back({"per_layer_input_gate", kExtraSize, kHidden, "", kHasExtra});
  row.linears.push_back({"per_layer_projection", kHidden, kExtraSize, "", kHasExtra});
  row.linears.push_back({"router.proj", "num_experts", kHidden, "", kHasExperts, Layout::matrix, true});
  row.linears.push_back({"experts.gate_up_proj", "2 * " + wide, kHidden, "", kHasExperts, Layout::experts});
  row.linears.push_back({"experts.down_proj", kHidden, wide, "", kHasExperts, Layout::experts});
  row.raw_reads = {"per_layer_input_gate"};
  row.writes.insert(row.writes.end(), {"per_layer_projection", "experts.down_proj"});
  row.mlp_in.emplace_back("experts.gate_up_proj");
  row.mlp_out.emplace_back("experts.down_proj");
  row.outer_linears = {{"per_layer_model_projection", kAllExtra, kHidden, "", kHasExtra}};
}

void set_gemma4_norms(Architecture& row) {
  norm_of(row, "self_attn.q_norm").size = norm_of(row, "self_attn.k_norm").size = kSizeOfHead;
  norm_of(row, "self_attn.k_norm").when = kOwnKeys;
  row.norms.push_back({.name = "self_attn.v_norm", .size = kSizeOfHead, .when = kOwnKeys, .weightless = "true"});
  row.norms.push_back({.name = "router.norm", .reads = {"router.proj"}, .when = kHasExperts, .weightless = "true"});
  row.norms.push_back({.name = "post_per_layer_input_norm", .when = kHasExtra});
  row.norms.push_back({.name = "post_feedforward_layernorm_1", .when = kHasExperts});
  row.norms.push_back({.name = "post_feedforward_layernorm_2", .when = kHasExperts});
  row.norms.push_back({.name = "pre_feedforward_layernorm_2", .reads = {"experts.gate_up_proj"}, .when = kHasExperts});
  for (const char* norm : {"post_per_layer_input_norm", "post_feedforward_layernorm_1", "post_feedforward_layernorm_2"})
    row.scaled_outputs.emplace_back(norm);
  row.outer_norms.push_back({.name = "per_layer_projection_norm", .size = kExtraSize, .when = kHasExtra});
}

// Layers with a window and those without differ in the size of their heads. Later layers may read the keys and values
// of earlier ones, keys may be the values, too, and each layer adds an embedding of its own to the stream, or experts'
// output.
Architecture gemma4() {
  Architecture row = with_qk_norms(gemma2("Gemma4"));
  row.defaults = {{"num_attention_heads", "8"},  {"num_key_value_heads", "4"},
                  {"head_dim", "256"},           {"global_head_dim", "512"},
                  {"vocab_size", "262144"},      {"vocab_size_per_layer_input", "262144"},
                  {kExtraSize, "256"},           {"num_kv_shared_layers", "0"},
                  {"attention_k_eq_v", "false"}, {"use_double_wide_mlp", "false"},
                  {"enable_moe_block", "false"}, {"tie_word_embeddings", "true"}};
  row.embeddings.push_back({"embed_tokens_per_layer", "vocab_size_per_layer_input", kAllExtra, "false", kHasExtra});
  set_gemma4_linears(row);
  set_gemma4_norms(row);
  row.experts = kHasExperts + " ? num_experts : null";
  row.attention.value_norm = "self_attn.v_norm";
  row.attention.head_dim = kSizeOfHead;
  row.attention.shared = kSharesValues;
  row.attention.shared_like = kNoWindow;
  row.parameters = {{"layer_scalar", {"1"}},
                    {"router.scale", {kHidden}, kHasExperts},
                    {"router.per_expert_scale", {"num_experts"}, kHasExperts}};
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
