// Mixtures of experts, as their tensors are on disk: expert by expert, or stacked.
#include "spinor/family/family_rows.h"

namespace spinor {
namespace {

constexpr const char* kRmsEpsilon = "rms_norm_eps ?? 0.00001";

// Published and saved files name the number of experts differently.
constexpr const char* kExperts = "num_experts ?? num_local_experts ?? n_routed_experts";

LinearRow router(std::string name, std::string rows, std::string when = {}, std::string bias = {}) {
  return {std::move(name), std::move(rows), kHidden, std::move(bias), std::move(when), Layout::matrix, true};
}

void add_gated_mlp(Architecture& row, const std::string& prefix, const std::string& width, const std::string& when,
                   const std::string& bias = {}) {
  row.linears.push_back({prefix + "gate_proj", width, kHidden, bias, when});
  row.linears.push_back({prefix + "up_proj", width, kHidden, bias, when});
  row.linears.push_back({prefix + "down_proj", kHidden, width, bias, when});
  row.mlp_in.push_back(prefix + "gate_proj");
  row.mlp_in.push_back(prefix + "up_proj");
  row.mlp_out.push_back(prefix + "down_proj");
}

// Everything that makes or reads the MLP's input is read through this norm; what writes its output, into the stream.
void connect(Architecture& row) {
  NormRow& norm = norm_of(row, "post_attention_layernorm");
  norm.reads = row.mlp_in;
  for (const LinearRow& linear : row.linears)
    if (linear.router) norm.reads.push_back(linear.name);
  row.writes.insert(row.writes.end(), row.mlp_out.begin(), row.mlp_out.end());
}

Architecture without_mlp(Architecture row) {
  erase_linears(row, "mlp.");
  std::erase_if(row.writes, [](const std::string& name) { return name.starts_with("mlp."); });
  row.mlp_in.clear();
  row.mlp_out.clear();
  row.experts = kExperts;
  return row;
}

Architecture mixtral() {
  Architecture row = without_mlp(gated_decoder("Mixtral", {}, {{"num_key_value_heads", "8"}}));
  row.blocks = {{"self_attn", "Attention"}, {"block_sparse_moe", "SparseMoeBlock"}};
  row.linears.push_back(router("block_sparse_moe.gate", kExperts));
  const std::string expert = "block_sparse_moe.experts.{E}.";
  row.linears.push_back({expert + "w1", "intermediate_size", kHidden});
  row.linears.push_back({expert + "w2", kHidden, "intermediate_size"});
  row.linears.push_back({expert + "w3", "intermediate_size", kHidden});
  row.mlp_in = {expert + "w1", expert + "w3"};
  row.mlp_out = {expert + "w2"};
  connect(row);
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = kRmsEpsilon;
    forward.windowed = "true";
    forward.rope->theta = "rope_theta ?? 1000000";
    forward.router = {.name = "block_sparse_moe.gate", .chosen = "num_experts_per_tok ?? 2", .normalized = "true"};
  });
  return row;
}

// Sparse layers by decoder_sparse_step and mlp_only_layers, others dense.
constexpr const char* kSparse =
    "!(L in mlp_only_layers) && (num_experts ?? num_local_experts) > 0 && (L + 1) % (decoder_sparse_step ?? 1) == 0";

Architecture qwen_moe(Architecture row) {
  const std::string sparse = kSparse, dense = "!(" + sparse + ")";
  row = without_mlp(std::move(row));
  add_gated_mlp(row, "mlp.", "intermediate_size", dense);
  row.linears.push_back(router("mlp.gate", kExperts, sparse));
  add_gated_mlp(row, "mlp.experts.{E}.", "moe_intermediate_size", sparse);
  return row;
}

}  // namespace

Architecture with_qwen_moe(Architecture row, bool shared_expert) {
  row = qwen_moe(std::move(row));
  if (shared_expert) {
    add_gated_mlp(row, "mlp.shared_expert.", "shared_expert_intermediate_size", kSparse);
    row.linears.push_back(router("mlp.shared_expert_gate", "1", kSparse));
  }
  connect(row);
  change_forward(row, [&](ForwardRow& forward) {
    forward.router = {.chosen = "num_experts_per_tok ?? " + std::string(shared_expert ? "4" : "8"),
                      .shared_gate = shared_expert ? "mlp.shared_expert_gate" : ""};
  });
  return row;
}

namespace {

Architecture qwen2_moe() {
  const std::string by_turns = by_layer_type("(L + 1) % 2 != 0 && L < (max_window_layers ?? 28)");
  return with_qwen_moe(
      gated_decoder("Qwen2Moe", {.qkv = "qkv_bias"}, {{"num_key_value_heads", "16"}, {"qkv_bias", "true"}},
                    {.windowed = kIfWindowed + " && (" + by_turns + ")", .sliding_window = kWindow4096}),
      true);
}

Architecture qwen3_moe() {
  return with_qwen_moe(with_qk_norms(gated_decoder("Qwen3Moe", {.qkv = "attention_bias", .output = "attention_bias"},
                                                   {{"num_key_value_heads", "4"}},
                                                   {.windowed = kIfWindowed, .sliding_window = kWindow4096})),
                       false);
}

// Queries and keys are normed over all heads at once.
Architecture olmoe() {
  Architecture row =
      without_mlp(with_qk_norms(gated_decoder("Olmoe", {.qkv = "attention_bias", .output = "attention_bias"}, {})));
  norm_all_heads(row);
  row.linears.push_back(router("mlp.gate", kExperts));
  add_gated_mlp(row, "mlp.experts.{E}.", "intermediate_size", "");
  row.refusals = {{"R2", "clip_qkv clamps the values, entry by entry, and a rotation does not commute with that",
                   "clip_qkv != null"}};
  connect(row);
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = kRmsEpsilon;
    forward.clip = {"clip_qkv"};
    forward.router = {.chosen = "num_experts_per_tok ?? 8"};
  });
  return row;
}

// Scores of their own for each expert, and a correction that only chooses.
RouterRow sigmoid_router(const std::string& scale, const std::string& groups, const std::string& chosen_groups) {
  return {.routing = Routing::sigmoid,
          .chosen = "num_experts_per_tok ?? 8",
          .normalized = "norm_topk_prob ?? true",
          .scale = scale,
          .correction = "mlp.gate.e_score_correction_bias",
          .grouped = "true",
          .groups = groups,
          .chosen_groups = chosen_groups,
          .best_two = true};
}

// Dense layers first.
void add_deepseek_moe(Architecture& row, const std::string& bias) {
  const std::string dense = "L < first_k_dense_replace", sparse = "L >= first_k_dense_replace";
  add_gated_mlp(row, "mlp.", "intermediate_size", dense, bias);
  row.linears.push_back(router("mlp.gate", kExperts, sparse));
  add_gated_mlp(row, "mlp.experts.{E}.", "moe_intermediate_size", sparse);
  const std::string shared = sparse + " && (n_shared_experts ?? 0) > 0";
  add_gated_mlp(row, "mlp.shared_experts.", "moe_intermediate_size * n_shared_experts", shared, bias);
}

// In the place of a layer behind the last. vLLM and transformers hand it what the final norm gives, and put the model's
// embedding and head in the place of the copies that some files have.
MtpRow layers_behind_the_last() {
  return {.count = "num_nextn_predict_layers ?? 0", .embedding = "embed_tokens", .head = "shared_head.head"};
}

Architecture glm4_moe() {
  Architecture row = without_mlp(with_qk_norms(
      gated_decoder("Glm4Moe", {.qkv = "attention_bias"},
                    {{"num_key_value_heads", "8"}, {"first_k_dense_replace", "1"}, {"n_shared_experts", "1"}})));
  row.mtp = layers_behind_the_last();
  for (const std::string& name : {row.attention.query_norm, row.attention.key_norm})
    norm_of(row, name).when = "use_qk_norm";
  add_deepseek_moe(row, "");
  row.parameters = {{"mlp.gate.e_score_correction_bias", {kExperts}, "L >= first_k_dense_replace"}};
  connect(row);
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = kRmsEpsilon;
    forward.rope->fraction = "partial_rotary_factor ?? 0.5";
    forward.router = sigmoid_router("routed_scaling_factor ?? 1", "n_group ?? 1", "topk_group ?? 1");
  });
  return row;
}

// Multi-head latent attention: R1 enters through q_a_proj (or q_proj) and kv_a_proj_with_mqa, R2 acts between the rows
// of the values in kv_b_proj and o_proj.
Architecture with_latent_attention(Architecture row) {
  const std::string heads = "num_attention_heads * ", query = heads + "(qk_nope_head_dim + qk_rope_head_dim)";
  row.defaults.insert(row.defaults.begin(), {"num_key_value_heads", "num_attention_heads"});
  row.renamed = {{"head_dim", "qk_rope_head_dim"}};
  erase_linears(row, "self_attn.");
  const std::vector<LinearRow> mlp = std::move(row.linears);
  row.linears = {{"self_attn.q_proj", query, kHidden, "", "q_lora_rank == null"},
                 {"self_attn.q_a_proj", "q_lora_rank", kHidden, "attention_bias", "q_lora_rank != null"},
                 {"self_attn.q_b_proj", query, "q_lora_rank", "", "q_lora_rank != null"},
                 {"self_attn.kv_a_proj_with_mqa", "kv_lora_rank + qk_rope_head_dim", kHidden, "attention_bias"},
                 {"self_attn.kv_b_proj", heads + "(qk_nope_head_dim + v_head_dim)", "kv_lora_rank"},
                 {"self_attn.o_proj", kHidden, heads + "v_head_dim", "attention_bias"}};
  row.linears.insert(row.linears.end(), mlp.begin(), mlp.end());
  row.norms = {{"input_layernorm", kHidden, {"self_attn.q_proj", "self_attn.q_a_proj", "self_attn.kv_a_proj_with_mqa"}},
               norm_of(row, "post_attention_layernorm"),
               {.name = "self_attn.q_a_layernorm", .size = "q_lora_rank", .when = "q_lora_rank != null"},
               {"self_attn.kv_a_layernorm", "kv_lora_rank"}};
  row.parts = {{"self_attn.kv_b_proj", "v_proj", "qk_nope_head_dim", "v_head_dim", "qk_nope_head_dim + v_head_dim"}};
  row.attention.key = "self_attn.kv_a_proj_with_mqa";
  row.attention.value = "self_attn.kv_b_proj.v_proj";
  row.attention.head_dim = "v_head_dim";
  row.refusals = {{"R3", "keys are kept as latent vectors, which its heads share"}};
  change_forward(row, [](ForwardRow& forward) {
    forward.attention_scale = "1 / sqrt(qk_nope_head_dim + qk_rope_head_dim)";
    forward.rope->size = "qk_rope_head_dim";
    forward.latent = LatentRow{};
  });
  return row;
}

Architecture deepseek(const std::string& classes, const std::string& dense_layers, const std::string& mlp_bias) {
  Architecture row =
      without_mlp(with_latent_attention(gated_decoder(classes, {}, {{"first_k_dense_replace", dense_layers}})));
  add_deepseek_moe(row, mlp_bias);
  connect(row);
  return row;
}

Architecture deepseek_v2() {
  Architecture row = deepseek("DeepseekV2", "0", "mlp_bias");
  change_forward(row, [](ForwardRow& forward) {
    const std::string grouped = "(topk_method ?? 'greedy') == 'group_limited_greedy'";
    forward.unsupported = {{"(topk_method ?? 'greedy') != 'greedy' && !(" + grouped + ")",
                            "its topk_method is neither greedy nor group_limited_greedy"}};
    forward.rope->interleaved = "true";
    forward.router = {.normalized = "false", .scale = "routed_scaling_factor ?? 1", .grouped = grouped};
  });
  return row;
}

Architecture deepseek_v3() {
  Architecture row = deepseek("DeepseekV3", "3", "");
  row.mtp = layers_behind_the_last();
  row.parameters = {{"mlp.gate.e_score_correction_bias", {kExperts}, "L >= first_k_dense_replace"}};
  change_forward(row, [](ForwardRow& forward) {
    forward.rope->interleaved = "rope_interleave ?? true";
    forward.router = sigmoid_router("routed_scaling_factor ?? 2.5", "n_group ?? 8", "topk_group ?? 4");
  });
  return row;
}

// Dense, with scalars on the embedding, on both branches and before the head, which commute with a rotation.
Architecture minicpm3() {
  Architecture row = with_latent_attention(
      gated_decoder("MiniCPM3", {.mlp = "mlp_bias"},
                    {{"v_head_dim", "hidden_size / num_attention_heads"}, {"tie_word_embeddings", "true"}}));
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = kRmsEpsilon;
    forward.embedding_multiplier = "scale_emb ?? 12";
    forward.residual_multiplier = "(scale_depth ?? 1.4) / sqrt(num_hidden_layers)";
    forward.logits_multiplier = "1.0 * (dim_model_base ?? 256) / hidden_size";
  });
  return row;
}

// Stacked experts, each stored (in, out); gate and up alternate.
Architecture gpt_oss() {
  Architecture row =
      without_mlp(gated_decoder("GptOss", {.qkv = "attention_bias", .output = "attention_bias"},
                                {{"num_key_value_heads", "8"}, {"head_dim", "64"}, {"attention_bias", "true"}}));
  row.linears.push_back(router("mlp.router", kExperts, "", "true"));
  const Layout stacked = Layout::experts_transposed;
  row.linears.push_back({"mlp.experts.gate_up_proj", "2 * intermediate_size", kHidden, "true", "", stacked});
  row.linears.push_back({"mlp.experts.down_proj", kHidden, "intermediate_size", "true", "", stacked});
  row.mlp_in = {"mlp.experts.gate_up_proj"};
  row.mlp_out = {"mlp.experts.down_proj"};
  row.parameters = {{"self_attn.sinks", {"num_attention_heads"}}};
  connect(row);
  change_forward(row, [](ForwardRow& forward) {
    forward.unsupported = {{"rope_parameters == null && rope_scaling == null", "its config.json has no rope_scaling"}};
    forward.norm_epsilon = kRmsEpsilon;
    forward.swiglu_limit = {"swiglu_limit", 7};
    forward.swiglu_alpha = "swiglu_alpha ?? 1.702";
    forward.alternating = true;
    forward.linear_experts = "mlp.experts.{E}.";
    forward.windowed = by_layer_type("(L + 1) % 2 != 0");
    forward.sliding_window.absent = 128;
    forward.rope->theta = "rope_theta ?? 150000";
    forward.sinks = "self_attn.sinks";
    forward.router = {.name = "mlp.router",
                      .routing = Routing::softmax_top,
                      .chosen = "num_experts_per_tok ?? experts_per_token ?? 4"};
  });
  return row;
}

// Stacked experts below one linear.
Architecture granite_moe() {
  const std::string by_config = "attention_bias";
  Architecture row = without_mlp(gated_decoder("GraniteMoe", {by_config, by_config, ""}, {}, granite_forward()));
  row.blocks = {{"self_attn", "Attention"}, {"block_sparse_moe", "MoE"}};
  row.linears.push_back(router("block_sparse_moe.router.layer", kExperts));
  row.linears.push_back({"block_sparse_moe.input_linear", "2 * intermediate_size", kHidden, "", "", Layout::experts});
  row.linears.push_back({"block_sparse_moe.output_linear", kHidden, "intermediate_size", "", "", Layout::experts});
  row.mlp_in = {"block_sparse_moe.input_linear"};
  row.mlp_out = {"block_sparse_moe.output_linear"};
  connect(row);
  change_forward(row, [](ForwardRow& forward) {
    forward.linear_experts = "block_sparse_moe.experts.{E}.";
    forward.router = {
        .name = "block_sparse_moe.router.layer", .routing = Routing::softmax_top, .chosen = "num_experts_per_tok ?? 2"};
  });
  return row;
}

}  // namespace

std::vector<Architecture> expert_families() {
  return {mixtral(),  qwen2_moe(),   qwen3_moe(),   olmoe(),   granite_moe(),
          glm4_moe(), deepseek_v2(), deepseek_v3(), gpt_oss(), minicpm3()};
}

}  // namespace spinor
