// Families in which most layers have linear attention.
#include "spinor/family/family_rows.h"

namespace spinor {
namespace {

const std::string kFull =
    "layer_types != null && layer_types[L] == 'full_attention' || "
    "layer_types == null && (L + 1) % full_attention_interval == 0";
const std::string kLinear = "!(" + kFull + ")", kKeys = "linear_num_key_heads", kValues = "linear_num_value_heads",
                  kKey = kKeys + " * linear_key_head_dim", kValue = kValues + " * linear_value_head_dim";

// Rows for queries and their output gates; a state that the projections in `inputs` feed.
Architecture hybrid(const std::string& classes, const std::string& key_value_heads,
                    const std::vector<LinearRow>& inputs, const std::vector<PartRow>& pieces) {
  const std::string bias = "attention_bias";
  Architecture row = gated_decoder(classes, {bias, bias},
                                   {{"num_key_value_heads", key_value_heads},
                                    {"head_dim", "256"},
                                    {"attention_bias", "false"},
                                    {"full_attention_interval", "4"}});
  linear_of(row, row.attention.query).out = "2 * num_attention_heads * head_dim";
  for (const std::string& name : {row.attention.query, row.attention.key, row.attention.value, row.attention.output})
    linear_of(row, name).when = kFull;
  row = with_offset(with_qk_norms(std::move(row)));
  for (const std::string& name : {row.attention.query_norm, row.attention.key_norm}) norm_of(row, name).when = kFull;
  row.norms.push_back({"linear_attn.norm", "linear_value_head_dim", {}, kLinear});
  std::vector<LinearRow> linears = inputs;
  linears.push_back({"linear_attn.out_proj", kHidden, kValue});
  for (LinearRow& linear : linears) {
    linear.when = kLinear;
    if (linear.in == kHidden) norm_of(row, "input_layernorm").reads.push_back(linear.name);
  }
  row.linears.insert(row.linears.begin(), linears.begin(), linears.end());
  row.parameters = {
      {"linear_attn.dt_bias", {kValues}, kLinear},
      {"linear_attn.A_log", {kValues}, kLinear},
      {"linear_attn.conv1d.weight", {"2 * " + kKey + " + " + kValue, "1", "linear_conv_kernel_dim"}, kLinear}};
  row.writes.push_back("linear_attn.out_proj");
  row.refusals = {{"R2",
                   "an output gate multiplies the values, entry by entry, before o_proj reads them, and a rotation "
                   "does not commute with that"}};
  row.mtp = MtpRow{.count = "mtp_num_hidden_layers ?? num_nextn_predict_layers ?? 1",
                   .layer = "mtp.layers.{L}.",
                   .root = "mtp.",
                   .concat = "fc",
                   .embedding_norm = "pre_fc_norm_embedding",
                   .hidden_norm = "pre_fc_norm_hidden",
                   .output_norm = "norm"};
  change_forward(row, [&](ForwardRow& forward) {
    forward.rope->fraction = "partial_rotary_factor ?? 0.25";
    forward.delta = DeltaRow{.pieces = pieces};
  });
  return row;
}

// For each key head its queries, keys, values and gates; and strengths and decays of its value heads.
Architecture qwen3_next() {
  const std::vector<LinearRow> inputs = {{"linear_attn.in_proj_qkvz", "2 * " + kKey + " + 2 * " + kValue, kHidden},
                                         {"linear_attn.in_proj_ba", "2 * " + kValues, kHidden}};
  const std::string values = kValue + " / " + kKeys, heads = kValues + " / " + kKeys, two = "2 * linear_key_head_dim",
                    all = two + " + 2 * (" + values + ")", both = "2 * (" + heads + ")",
                    four = "linear_attn.in_proj_qkvz", pair = "linear_attn.in_proj_ba";
  const std::vector<PartRow> pieces = {{four, "query", "0", "linear_key_head_dim", all},
                                       {four, "key", "linear_key_head_dim", "linear_key_head_dim", all},
                                       {four, "value", two, values, all},
                                       {four, "gate", two + " + " + values, values, all},
                                       {pair, "strength", "0", heads, both},
                                       {pair, "decay", heads, heads, both}};
  Architecture row = with_qwen_moe(hybrid("Qwen3Next", "2", inputs, pieces), true);
  change_forward(row, [](ForwardRow& forward) {
    forward.router->chosen = "num_experts_per_tok ?? 10";
    forward.router->normalized = "norm_topk_prob ?? true";
  });
  return row;
}

}  // namespace

Architecture qwen3_5(const std::string& classes) {
  const std::string three = "2 * " + kKey + " + " + kValue, first = "linear_attn.in_proj_qkv";
  const std::vector<PartRow> pieces = {{first, "query", "0", kKey, three},
                                       {first, "key", kKey, kKey, three},
                                       {first, "value", "2 * " + kKey, kValue, three},
                                       {"linear_attn.in_proj_z", "gate", "0", kValue, kValue},
                                       {"linear_attn.in_proj_b", "strength", "0", kValues, kValues},
                                       {"linear_attn.in_proj_a", "decay", "0", kValues, kValues}};
  return hybrid(classes, "4",
                {{"linear_attn.in_proj_qkv", "2 * " + kKey + " + " + kValue, kHidden},
                 {"linear_attn.in_proj_z", kValue, kHidden},
                 {"linear_attn.in_proj_b", kValues, kHidden},
                 {"linear_attn.in_proj_a", kValues, kHidden}},
                pieces);
}

std::vector<Architecture> hybrid_families() {
  return {qwen3_next(), qwen3_5("Qwen3_5")};
}

}  // namespace spinor
