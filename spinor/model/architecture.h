// Facts about families of checkpoints, one row a family. Facts only: what is legal is derived from them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spinor {

// Sizes that config.json defines.
enum class Size { hidden, intermediate, query, key_value, head_dim, vocabulary };

struct LinearRow {
  std::string name;  // below the layer: "self_attn.q_proj"
  Size out, in;
};
struct NormRow {
  std::string name;                // "input_layernorm"
  Size size = Size::hidden;
  std::vector<std::string> reads;  // linears that see the residual stream through this norm; empty for q/k norms
};

struct Architecture {
  std::vector<std::string> names;  // values of config.json "architectures"
  std::string classes;             // "Llama": LlamaModel, LlamaDecoderLayer, LlamaAttention, LlamaMLP, LlamaRMSNorm
  std::string embedding = "model.embed_tokens", final_norm = "model.norm", head = "lm_head";
  std::string layer = "model.layers.{L}.";
  std::vector<LinearRow> linears;  // in the order of named_modules()
  std::vector<NormRow> norms;
  std::vector<std::string> writes;  // linears whose output is added to the residual stream
  std::string query = "self_attn.q_proj", key = "self_attn.k_proj", value = "self_attn.v_proj", output = "self_attn.o_proj";
  std::vector<std::string> mlp_in = {"mlp.gate_proj", "mlp.up_proj"}, mlp_out = {"mlp.down_proj"};
  double norm_offset = 0;           // the norm multiplies by offset + w
};

// A family we know and refuse, with the reason and what is possible instead.
struct RefusedArchitecture {
  std::vector<std::string> names;
  std::string reason, instead;
};

std::span<const Architecture> architectures();
std::span<const RefusedArchitecture> refused_architectures();
const Architecture* find_architecture(std::string_view name);

}  // namespace spinor
