// Families whose norms multiply by 1 + weight, and those that scale the outputs of their blocks: R1 cannot pass there.
#include "spinor/model/family_rows.h"

namespace spinor {
namespace {

Architecture with_offset(Architecture row) {
  for (NormRow& norm : row.norms) norm.offset = 1;
  row.outer_norms.front().offset = 1;
  return row;
}

const Biases kByConfig = {"attention_bias", "attention_bias", ""};

Architecture gemma(const std::string& classes, const std::string& key_value_heads) {
  return gated_decoder(classes, kByConfig,
                       {{"num_key_value_heads", key_value_heads}, {"head_dim", "256"}, {"tie_word_embeddings", "true"}},
                       {.unknown = "its scaled embedding and, in later generations, soft-capping are not written yet"});
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
  Architecture row = gated_decoder(classes, biases, defaults,
                                   {.unknown = "blocks that are normed only at their end are not written yet"});
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

}  // namespace

std::vector<Architecture> gemma_families() {
  return {with_offset(gemma("Gemma", "16")),
          with_offset(gemma2("Gemma2")),
          with_qk_norms(with_offset(gemma2("Gemma3")), 1),
          olmo2("Olmo2"),
          olmo2("Olmo3"),
          with_qk_norms(post_norm("Exaone4", {}, {{"num_key_value_heads", "32"}}))};
}

}  // namespace spinor
