// Facts about families of checkpoints, one row a family. Facts only: what is legal is derived from them.
//
// Sizes, shapes and conditions are formulas (formula.h) over the keys of config.json; in a layer L is its number. Names
// of modules in a layer are below it; {E} in them is the number of an expert.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spinor {

// How a linear's weight W (out, in) lies in the file.
enum class Layout {
  matrix,
  experts,             // (experts, out, in); where <name>.weight is not there: <name>, and for its bias <name>_bias
  experts_transposed,  // (experts, in, out)
};

struct LinearRow {
  std::string name;  // "self_attn.q_proj"
  std::string out, in;
  std::string bias = {};  // when it has one; empty: never
  std::string when = {};  // when the layer has it; empty: always
  Layout layout = Layout::matrix;
  bool router = false;  // chooses experts, or weighs them: rotated like any reader, never quantized, no Linear
};

// A norm multiplies by offset + weight. It scales what the linears in `reads` see of the residual stream, those of them
// that the layer has; none: it does not touch the stream.
struct NormRow {
  std::string name;
  std::string size = "hidden_size";
  std::vector<std::string> reads = {};
  std::string when = {};
  bool layer_norm = false;  // subtracts the mean first; else an RMS norm
  bool weightless = false;  // it has no tensors
  double offset = 0;
};

// A tensor that no rotation concerns: sinks, a router's correction, the state of linear attention.
struct ParameterRow {
  std::string name;
  std::vector<std::string> shape;
  std::string when = {};
};

// Rows of a fused linear that are a linear of their own: those i with begin <= i % period < begin + size. Its name is
// <linear>.<name>. Only the part with the values is needed, and only for R2.
struct PartRow {
  std::string linear, name, begin, size;
  std::string period;  // empty: all rows of the linear
};

struct AttentionRow {
  std::string query = "self_attn.q_proj", key = "self_attn.k_proj", value = "self_attn.v_proj",
              output = "self_attn.o_proj";
  std::string query_norm = {}, key_norm = {};  // of each head, before RoPE
  std::string head_dim = "head_dim";           // of the values
};

// Why a rotation is impossible, and when (empty: always).
struct RefusalRow {
  std::string rotation, reason;  // "R2", "the output gate multiplies ..."
  std::string when = {};
};

// A module of the layer that holds others, and the rest of its class name: LlamaAttention.
struct BlockRow {
  std::string name;          // "self_attn"
  std::string class_suffix;  // "Attention"
  bool activation = false;   // its last child is act_fn
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
  std::string unknown = {};  // why spinor cannot run the family; empty: it can
  WindowRule window = WindowRule::none;
  std::optional<int64_t> sliding_window = {};  // where config.json has no such key
  bool multipliers = false;                    // embedding_, residual_ and attention_multiplier, logits_scaling
  bool no_rope_layers = false;                 // config.no_rope_layers, no_rope_layer_interval
  double rope_theta = 10000;
};

using NamePairs = std::vector<std::pair<std::string, std::string>>;

struct Architecture {
  std::vector<std::string> names;  // values of config.json "architectures"
  std::string classes;             // "Llama": LlamaModel, LlamaDecoderLayer, LlamaAttention, LlamaMLP, LlamaRMSNorm
  NamePairs defaults = {};         // formulas for keys that config.json leaves out
  std::string embedding = "model.embed_tokens", layers = "model.layers", head = "lm_head";
  NormRow final_norm = {"model.norm", "hidden_size", {"lm_head"}};
  std::string experts = {};  // their number; empty: there are none
  std::vector<BlockRow> blocks = {{"self_attn", "Attention"}, {"mlp", "MLP", true}};
  std::vector<LinearRow> linears = {};  // in the order of named_modules(), as are the lists below
  std::vector<NormRow> norms = {};      // those of a block are its children after the linears; the others follow it
  std::vector<ParameterRow> parameters = {};
  std::vector<PartRow> parts = {};
  std::vector<std::string> writes = {"self_attn.o_proj", "mlp.down_proj"};  // their output is added to the stream
  AttentionRow attention = {};
  std::vector<std::string> mlp_in = {"mlp.gate_proj", "mlp.up_proj"}, mlp_out = {"mlp.down_proj"};
  std::vector<std::string> scaled_outputs = {};  // norms between a writer and the stream
  std::vector<std::string> raw_reads = {};       // linears that read the stream without a norm
  std::vector<RefusalRow> refusals = {};         // beside R1 with scaled outputs, which is always impossible
  std::vector<std::string> buffers = {"rotary_emb.inv_freq"};  // ends of names of tensors that nobody reads
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
