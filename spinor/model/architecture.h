// Facts about families of checkpoints, one row a family. Facts only: what is legal is derived from them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spinor {

// Sizes that config.json defines. query is heads * head_dim, key_value is key-value heads * head_dim.
enum class Size { hidden, intermediate, query, key_value, head_dim, vocabulary };
// Whether a linear has a bias; the last two: as the key of that name in config.json says (absent: no).
enum class Bias { never, always, attention_bias, mlp_bias };

struct LinearRow {
  std::string name;  // below the layer: "self_attn.q_proj"
  Size out, in;
  Bias bias = Bias::never;
};
struct NormRow {
  std::string name;  // "input_layernorm"
  Size size = Size::hidden;
  std::vector<std::string> reads;  // linears that see the residual stream through this norm; empty for q/k norms
};
// A module of the layer that holds linears and norms, and the rest of its class name: LlamaAttention.
struct BlockRow {
  std::string name;          // "self_attn"
  std::string class_suffix;  // "Attention"
  bool activation = false;   // its last child is act_fn
};
// What the family's config class in transformers 5.23 assumes for a key that config.json leaves out.
struct ConfigDefaults {
  bool tie_word_embeddings = false;
  std::optional<int64_t> num_key_value_heads = {};  // none: num_attention_heads
  std::optional<int64_t> head_dim = {};             // none: hidden_size / num_attention_heads
};

// Which layers see only the last config.sliding_window tokens.
enum class WindowRule {
  none,
  always,       // all layers, unless sliding_window is null
  last_layers,  // if use_sliding_window: layer_types, or the layers from max_window_layers on
  no_rope       // if use_sliding_window: layer_types, or the layers without RoPE
};
// What of the forward pass is not said by names and sizes. Defaults are those of the config class.
struct ForwardRow {
  WindowRule window = WindowRule::none;
  std::optional<int64_t> sliding_window = {};  // where config.json has no such key
  bool multipliers = false;                    // embedding_, residual_ and attention_multiplier, logits_scaling
  bool no_rope_layers = false;                 // config.no_rope_layers, no_rope_layer_interval
  double rope_theta = 10000;
};

struct Architecture {
  std::vector<std::string> names;  // values of config.json "architectures"
  std::string classes;             // "Llama": LlamaModel, LlamaDecoderLayer, LlamaAttention, LlamaMLP, LlamaRMSNorm
  std::string embedding = "model.embed_tokens", final_norm = "model.norm", head = "lm_head";
  std::string layer = "model.layers.{L}.";
  std::vector<BlockRow> blocks = {{"self_attn", "Attention"}, {"mlp", "MLP", true}};
  std::vector<LinearRow> linears;  // in the order of named_modules()
  std::vector<NormRow> norms;      // those of a block are its children after the linears; the others follow the blocks
  std::vector<std::string> writes = {"self_attn.o_proj",
                                     "mlp.down_proj"};  // their output is added to the residual stream
  std::string query = "self_attn.q_proj", key = "self_attn.k_proj", value = "self_attn.v_proj",
              output = "self_attn.o_proj";
  std::string query_norm = {}, key_norm = {};  // of each head, before RoPE
  std::vector<std::string> mlp_in = {"mlp.gate_proj", "mlp.up_proj"}, mlp_out = {"mlp.down_proj"};
  double norm_offset = 0;  // the norm multiplies by offset + w
  ConfigDefaults defaults = {};
  ForwardRow forward = {};
};

// A family we know and refuse, with the reason and what is possible instead.
struct RefusedArchitecture {
  std::vector<std::string> names;
  std::string reason, instead;
};

std::span<const Architecture> architectures();
std::span<const RefusedArchitecture> refused_architectures();
// The row with this name among its names; null if there is none.
const Architecture* find_architecture(std::string_view name);
const RefusedArchitecture* find_refused_architecture(std::string_view name);

}  // namespace spinor
