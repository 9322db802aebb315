// Families whose projections are fused: qkv_proj, gate_up_proj.
#include "spinor/family/family_rows.h"

namespace spinor {
namespace {

LinearRow gate_up() {
  return {"mlp.gate_up_proj", "2 * intermediate_size", "hidden_size"};
}

Architecture phi3() {
  const std::string query = "num_attention_heads * head_dim", key_value = "num_key_value_heads * head_dim";
  Architecture row;
  row.names = {"Phi3ForCausalLM"};
  row.classes = "Phi3";
  row.linears = {{"self_attn.o_proj", "hidden_size", query},
                 {"self_attn.qkv_proj", query + " + 2 * " + key_value, "hidden_size"},
                 gate_up(),
                 {"mlp.down_proj", "hidden_size", "intermediate_size"}};
  row.parts = {{"self_attn.qkv_proj", "v_proj", query + " + " + key_value, key_value, ""}};
  row.norms = {{"input_layernorm", "hidden_size", {"self_attn.qkv_proj"}},
               {"post_attention_layernorm", "hidden_size", {"mlp.gate_up_proj"}}};
  row.attention.query = row.attention.key = "self_attn.qkv_proj";
  row.attention.value = "self_attn.qkv_proj.v_proj";
  row.mlp_in = {"mlp.gate_up_proj"};
  row.defaults = {{"original_max_position_embeddings", "4096"}};
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = "rms_norm_eps ?? 0.00001";
    forward.windowed = "true";
    forward.rope = {.fraction = "partial_rotary_factor ?? 1", .types = {{"su", "longrope"}, {"yarn", "longrope"}}};
  });
  return row;
}

// GLM-4-9B-chat-hf; the 0414 models scale the outputs of their blocks, too.
Architecture glm(std::string classes) {
  Architecture row =
      gated_decoder(std::move(classes), {.qkv = "attention_bias"},
                    {{"num_key_value_heads", "2"}, {"head_dim", "128"}, {"attention_bias", "true"}},
                    {.norm_epsilon = "rms_norm_eps ?? 0.00000015625",
                     .rope = RopeRow{.fraction = "partial_rotary_factor ?? 0.5", .interleaved = "true"}});
  erase_linears(row, "mlp.gate_proj");
  linear_of(row, "mlp.up_proj") = gate_up();
  norm_of(row, "post_attention_layernorm").reads = {"mlp.gate_up_proj"};
  row.mlp_in = {"mlp.gate_up_proj"};
  return row;
}

}  // namespace

std::vector<Architecture> fused_families() {
  Architecture glm4 = glm("Glm4");
  glm4.norms.push_back({"post_self_attn_layernorm"});
  glm4.norms.push_back({"post_mlp_layernorm"});
  glm4.scaled_outputs = {"post_self_attn_layernorm", "post_mlp_layernorm"};
  return {phi3(), glm("Glm"), glm4};
}

}  // namespace spinor
