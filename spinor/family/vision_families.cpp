// A language model and a vision tower, whose mergers write to the residual stream of the language model.
#include "spinor/family/family_rows.h"

namespace spinor {
namespace {

// The facts in which towers differ.
struct TowerNames {
  std::string size, out;           // of its stream, and of what it gives to the language model
  std::string in = {}, down = {};  // linears of the MLP: what reads, unless `gated`, and what writes
  std::string norm = {}, merger_in = {}, merger_out = {};
  bool layer_norm = true, gated = false;
};

const std::string kMerged = "spatial_merge_size * spatial_merge_size * ";

Architecture tower(const TowerNames& names, const std::string& mlp_size, const std::string& patch_bias) {
  const std::string &size = names.size, merged = kMerged + "(" + size + ")";
  Architecture row;
  row.classes = "Vision";
  row.section = "vision_config";
  row.defaults = {
      {"in_channels", "3"}, {"temporal_patch_size", "2"}, {"spatial_merge_size", "2"}, {"patch_size", "14"}};
  row.roots = {"model.visual.", "visual."};
  row.embeddings = {};
  row.layers = "blocks";
  row.num_layers = "depth";
  row.head = "";
  row.blocks = {{"attn", "Attention"}, {"mlp", "MLP"}};
  row.mlp_in = names.gated ? std::vector<std::string>{"mlp.gate_proj", "mlp.up_proj"} : std::vector{names.in};
  row.mlp_out = {names.down};
  row.attention.query = row.attention.key = row.attention.value = "attn.qkv";
  row.attention.output = "attn.proj";
  row.linears = {{"attn.qkv", "3 * (" + size + ")", size, "true"}, {"attn.proj", size, size, "true"}};
  for (const std::string& name : row.mlp_in) row.linears.push_back({name, mlp_size, size, "true"});
  row.linears.push_back({names.down, size, mlp_size, "true"});
  row.norms = {{"norm1", size, {"attn.qkv"}}, {"norm2", size, row.mlp_in}};
  row.outer_linears = {{"patch_embed.proj", size, "in_channels * temporal_patch_size * patch_size * patch_size",
                        patch_bias, "", Layout::filter},
                       {names.merger_in, merged, merged, "true"},
                       {names.merger_out, names.out, merged, "true"}};
  row.outer_norms = {{names.norm, size, {names.merger_in}}};
  row.writes = {"patch_embed.proj", "attn.proj", names.down};
  row.feeds = {names.merger_out};
  row.buffers = {};
  return names.layer_norm ? with_layer_norms(std::move(row), "true") : row;
}

// Positions are learned, and each merger of the deep stack norms the four patches together.
Architecture qwen3_tower(bool deep_stack) {
  Architecture row = tower({.size = "hidden_size",
                            .out = "out_hidden_size",
                            .in = "mlp.linear_fc1",
                            .down = "mlp.linear_fc2",
                            .norm = "merger.norm",
                            .merger_in = "merger.linear_fc1",
                            .merger_out = "merger.linear_fc2"},
                           "intermediate_size", "true");
  row.defaults.back().second = "16";
  row.defaults.emplace_back("num_position_embeddings", "2304");
  row.embeddings = {{"pos_embed", "num_position_embeddings"}};
  if (!deep_stack) return row;
  const std::string list = "deepstack_merger_list.{E}.", merged = kMerged + "hidden_size";
  row.experts = "deepstack_visual_indexes";
  row.outer_linears.push_back({list + "linear_fc1", merged, merged, "true"});
  row.outer_linears.push_back({list + "linear_fc2", "out_hidden_size", merged, "true"});
  row.outer_norms.push_back(
      {.name = list + "norm", .size = merged, .reads = {list + "linear_fc1"}, .bias = "true", .layer_norm = true});
  row.feeds.push_back(list + "linear_fc2");
  return row;
}

Architecture qwen2_tower(TowerNames names, const std::string& mlp_size) {
  names.norm = "merger.ln_q";
  names.merger_in = "merger.mlp.0";
  names.merger_out = "merger.mlp.2";
  return tower(names, mlp_size, "");
}

Architecture with_tower(Architecture row, Architecture tower) {
  row.names = {row.classes + "ForConditionalGeneration"};
  row.section = "text_config";
  row.roots = {"model.language_model.", "model.", "language_model."};
  tower.forward.reset();
  row.towers = {std::move(tower)};
  return row;
}

// A token of text has one position on all three axes of the rotary embedding, and then it is the usual one.
Architecture qwen2_text(const std::string& classes) {
  ForwardRow forward = qwen_forward("80");
  forward.norm_epsilon = "rms_norm_eps ?? 0.00001";
  forward.rope = RopeRow{.theta = "rope_theta ?? 1000000", .types = {{"mrope", "default"}}};
  Architecture row = gated_decoder(classes, {.qkv = "true"}, {{"num_key_value_heads", "8"}}, forward);
  row.renamed = {{"head_dim", "hidden_size / num_attention_heads"}};
  return row;
}

Architecture qwen3_text(const std::string& classes) {
  return with_qk_norms(gated_decoder(classes, {.qkv = "attention_bias", .output = "attention_bias"},
                                     {{"num_key_value_heads", "32"}, {"head_dim", "128"}},
                                     {.rope = RopeRow{.theta = "rope_theta ?? 500000"}}));
}

// Files still have the names from before the language model was a module of its own.
Architecture as_before(Architecture row) {
  row.loaded_as = {{"visual.", "model.visual."}};
  for (const char* name : {"embed_tokens", "layers", "norm"})
    row.loaded_as.emplace_back(std::string("model.") + name, std::string("model.language_model.") + name);
  return row;
}

Architecture siglip() {
  const std::string hidden = "hidden_size", intermediate = "intermediate_size", side = "(image_size / patch_size)";
  Architecture row;
  row.classes = "Siglip";
  row.section = "vision_config";
  row.defaults = {{hidden, "768"},       {intermediate, "3072"}, {"num_hidden_layers", "12"},
                  {"num_channels", "3"}, {"image_size", "224"},  {"patch_size", "16"}};
  row.roots = {"vision_tower.vision_model.", "vision_tower.", "model.vision_tower."};
  row.embeddings = {{"embeddings.position_embedding", side + " * " + side}};
  row.layers = "encoder.layers";
  row.head = "";
  row.mlp_in = {"mlp.fc1"};
  row.mlp_out = {"mlp.fc2"};
  row.attention.output = "self_attn.out_proj";
  for (const char* name : {"self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj"})
    row.linears.push_back({name, hidden, hidden, "true"});
  row.linears.push_back({"mlp.fc1", intermediate, hidden, "true"});
  row.linears.push_back({"mlp.fc2", hidden, intermediate, "true"});
  row.norms = {{"layer_norm1", hidden, {"self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj"}},
               {"layer_norm2", hidden, {"mlp.fc1"}}};
  row.outer_linears = {
      {"embeddings.patch_embedding", hidden, "num_channels * patch_size * patch_size", "true", "", Layout::filter}};
  row.outer_norms = {{"post_layernorm", hidden}};
  row.writes = {"embeddings.patch_embedding", "self_attn.out_proj", "mlp.fc2"};
  return with_layer_norms(std::move(row), "true");
}

// What it gives to the language model is scaled by one norm, averaged over patches, and read through another.
std::vector<Architecture> gemma3_tower() {
  Architecture tower = siglip();
  tower.forward.reset();
  tower.refusals = {{"R1",
                     "vision_tower.post_layernorm scales the tower's stream, entry by entry, before "
                     "mm_soft_emb_norm measures its length; a rotation does not commute with that"}};
  Architecture projector;
  projector.classes = "Gemma3MultiModalProjector";
  projector.section = "vision_config";
  projector.defaults = {{"hidden_size", "768"}};
  projector.roots = {"multi_modal_projector.", "model.multi_modal_projector."};
  projector.embeddings = {};
  projector.layers = projector.head = "";
  projector.outer_linears = {
      {"mm_input_projection_weight", "language_hidden_size", "hidden_size", "", "", Layout::transposed}};
  projector.outer_norms = {{.name = "mm_soft_emb_norm", .offset = 1}};
  projector.feeds = {"mm_input_projection_weight"};
  projector.writes = {};
  projector.buffers = {};
  return {std::move(tower), std::move(projector)};
}

// Files have the names from before the language model was a module of its own, or those of today.
Architecture gemma3_vision() {
  Architecture row = with_tower(gemma3("Gemma3"), {});
  row.towers = gemma3_tower();
  row.roots = {"language_model.model.", "model.language_model.", "language_model."};
  row.loaded_as = {{"language_model.lm_head", "lm_head"},
                   {"language_model.model", "model.language_model"},
                   {"vision_tower.vision_model", "model.vision_tower"},
                   {"vision_tower", "model.vision_tower"},
                   {"multi_modal_projector", "model.multi_modal_projector"}};
  return row;
}

}  // namespace

std::vector<Architecture> vision_families() {
  Architecture qwen2_vl = qwen2_tower({.size = "embed_dim", .out = "hidden_size", .in = "mlp.fc1", .down = "mlp.fc2"},
                                      "mlp_ratio * embed_dim");
  qwen2_vl.defaults.emplace_back("mlp_ratio", "4");
  const Architecture qwen2_5_vl = qwen2_tower(
      {.size = "hidden_size", .out = "out_hidden_size", .down = "mlp.down_proj", .layer_norm = false, .gated = true},
      "intermediate_size");
  return {as_before(with_tower(qwen2_text("Qwen2VL"), std::move(qwen2_vl))),
          as_before(with_tower(qwen2_text("Qwen2_5_VL"), qwen2_5_vl)),
          with_tower(qwen3_text("Qwen3VL"), qwen3_tower(true)), with_tower(qwen3_5("Qwen3_5"), qwen3_tower(false)),
          gemma3_vision()};
}

}  // namespace spinor
