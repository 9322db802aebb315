// Families with LayerNorms that have no biases. A rotation that keeps the mean commutes with them.
#include "spinor/model/family_rows.h"

namespace spinor {
namespace {

constexpr const char* kNotRun = "LayerNorms and parallel blocks are not written yet";
const Biases kByConfig = {"attention_bias", "attention_bias", ""};

Architecture with_layer_norms(Architecture row) {
  for (NormRow& norm : row.norms) norm.layer_norm = true;
  row.final_norm.layer_norm = true;
  row.forward.unknown = kNotRun;
  return row;
}

// Attention and MLP read one norm, and both write to the stream.
Architecture cohere(const std::string& classes) {
  Architecture row = gated_decoder(classes, kByConfig, {{"tie_word_embeddings", "true"}});
  row.norms = {{"input_layernorm",
                "hidden_size",
                {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.gate_proj"}}};
  const std::string normed = "use_qk_norm ?? false";  // a weight for each head
  row.parameters = {{"self_attn.q_norm.weight", {"num_attention_heads", "head_dim"}, normed},
                    {"self_attn.k_norm.weight", {"num_key_value_heads", "head_dim"}, normed}};
  return with_layer_norms(row);
}

// Norms without any tensors.
Architecture olmo() {
  Architecture row = with_layer_norms(gated_decoder("Olmo", kByConfig, {}));
  for (NormRow& norm : row.norms) norm.weightless = true;
  row.final_norm.weightless = true;
  row.refusals = {{"R2", "clip_qkv clamps the values, entry by entry, and a rotation does not commute with that",
                   "clip_qkv != null"}};
  return row;
}

}  // namespace

std::vector<Architecture> layer_norm_families() {
  return {cohere("Cohere"), cohere("Cohere2"), olmo()};
}

}  // namespace spinor
