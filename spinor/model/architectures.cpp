// The table of architectures. To add a family: a row here, a case in tests/golden/make_architectures.py.
#include <algorithm>

#include "spinor/model/architecture.h"

namespace spinor {
namespace {

struct Biases {
  std::string qkv = {}, output = {}, mlp = {};
};

// Pre-norm, gated MLP, separate projections: what most families have been since Llama. They differ in biases and
// defaults.
Architecture gated_decoder(std::string classes, Biases biases, NamePairs defaults, ForwardRow forward = {}) {
  const std::string query = "num_attention_heads * head_dim", key_value = "num_key_value_heads * head_dim",
                    hidden = "hidden_size", intermediate = "intermediate_size";
  Architecture row;
  row.names = {classes + "ForCausalLM"};
  row.classes = std::move(classes);
  row.linears = {
      {"self_attn.q_proj", query, hidden, biases.qkv},     {"self_attn.k_proj", key_value, hidden, biases.qkv},
      {"self_attn.v_proj", key_value, hidden, biases.qkv}, {"self_attn.o_proj", hidden, query, biases.output},
      {"mlp.gate_proj", intermediate, hidden, biases.mlp}, {"mlp.up_proj", intermediate, hidden, biases.mlp},
      {"mlp.down_proj", hidden, intermediate, biases.mlp}};
  row.norms = {{"input_layernorm", hidden, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
               {"post_attention_layernorm", hidden, {"mlp.up_proj", "mlp.gate_proj"}}};
  row.defaults = std::move(defaults);
  row.forward = std::move(forward);
  return row;
}

// RMS norms of each head's queries and keys, before RoPE. They do not touch the residual stream.
Architecture with_qk_norms(Architecture row) {
  row.attention.query_norm = "self_attn.q_norm";
  row.attention.key_norm = "self_attn.k_norm";
  for (const std::string& norm : {row.attention.query_norm, row.attention.key_norm})
    row.norms.push_back({norm, "head_dim"});
  return row;
}

std::vector<Architecture> make_architectures() {
  const Biases by_config = {"attention_bias", "attention_bias", "mlp_bias"};
  const ForwardRow qwen = {.window = WindowRule::last_layers, .sliding_window = 4096};
  return {
      gated_decoder("Llama", by_config, {}),
      gated_decoder("Mistral", {}, {{"num_key_value_heads", "8"}},
                    {.window = WindowRule::always, .sliding_window = 4096}),
      gated_decoder("Qwen2", {.qkv = "true"}, {{"num_key_value_heads", "32"}}, qwen),
      with_qk_norms(gated_decoder("Qwen3", {.qkv = "attention_bias", .output = "attention_bias"},
                                  {{"num_key_value_heads", "32"}, {"head_dim", "128"}}, qwen)),
      gated_decoder("Granite", by_config, {}, {.multipliers = true}),  // scalars, which commute with a rotation
      // Layers without RoPE have the same tensors.
      gated_decoder("SmolLM3", by_config, {{"tie_word_embeddings", "true"}, {"num_key_value_heads", "4"}},
                    {.window = WindowRule::no_rope, .no_rope_layers = true, .rope_theta = 2000000}),
  };
}

std::vector<RefusedArchitecture> make_refused_architectures() {
  return {
      {{"GemmaForCausalLM"},
       "its norms multiply by 1 + weight, and spinor does not fold such norms yet",
       "this is planned; until then only families whose norms multiply by their weight are supported"},
      {{"Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", "Olmo2ForCausalLM",
        "Olmo3ForCausalLM", "Exaone4ForCausalLM", "Glm4ForCausalLM"},
       "R1 is impossible: a norm with weights scales each block's output before it is added to the residual stream",
       "R2 would be exact, but spinor does not support this architecture yet"},
      {{"CohereForCausalLM", "Cohere2ForCausalLM", "PhiForCausalLM", "StableLmForCausalLM", "GPTNeoXForCausalLM",
        "OPTForCausalLM", "GPT2LMHeadModel", "OlmoForCausalLM", "Starcoder2ForCausalLM"},
       "its norms are LayerNorms, which subtract the mean and so do not commute with a rotation as they are",
       "they can be turned into RMS norms, but spinor does not do so yet"},
      {{"Phi3ForCausalLM", "GlmForCausalLM"},
       "its projections are fused (gate_up_proj), and spinor cannot rotate parts of a tensor yet",
       "split them into q_proj, k_proj, v_proj, gate_proj and up_proj and save as LlamaForCausalLM where that is "
       "possible"},
      {{"MixtralForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "OlmoeForCausalLM", "GraniteMoeForCausalLM",
        "GptOssForCausalLM"},
       "it is a mixture of experts, and spinor does not rotate routers and experts yet",
       "use a dense model of the same family"},
      {{"DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"},
       "it has latent attention (MLA) and experts, and spinor rotates neither yet",
       "use a dense model of a supported architecture"},
      {{"Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration", "Qwen3VLForConditionalGeneration"},
       "it has a vision tower that writes to the residual stream, and spinor does not rotate vision models yet",
       "use the text-only model of the same family"},
      {{"Qwen3NextForCausalLM"},
       "it has linear attention layers and 1 + weight norms, and spinor does not rotate them yet",
       "use a dense model of the same family (Qwen3ForCausalLM)"},
  };
}

template <typename Row>
const Row* find_row(std::span<const Row> rows, std::string_view name) {
  for (const Row& row : rows)
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) return &row;
  return nullptr;
}

}  // namespace

std::span<const Architecture> architectures() {
  static const std::vector<Architecture> rows = make_architectures();
  return rows;
}

std::span<const RefusedArchitecture> refused_architectures() {
  static const std::vector<RefusedArchitecture> rows = make_refused_architectures();
  return rows;
}

const Architecture* find_architecture(std::string_view name) {
  return find_row(architectures(), name);
}

const RefusedArchitecture* find_refused_architecture(std::string_view name) {
  return find_row(refused_architectures(), name);
}

}  // namespace spinor
