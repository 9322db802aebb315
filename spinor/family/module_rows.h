// What a row of the table of architectures (architecture.h) is made of: the modules and tensors of a layer, by name.
//
// Sizes, shapes and conditions are formulas (formula.h) over the keys of config.json; in a layer L is its number. Names
// of modules are below the layer, with {L} beside its list; `outer_` ones below the root; {E} counts to `experts`. What
// a row leaves to the files, `any` and `present`: left_to_files.h.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spinor/base/fields.h"

namespace spinor {

using NamePairs = std::vector<std::pair<std::string, std::string>>;
// In the place of a size that no formula gives: that of the tensor.
inline constexpr std::string_view kAny = "any";
// In the place of a condition: where the layer has the tensor.
inline constexpr std::string_view kPresent = "present";

// How a linear's weight W (out, in) lies in the file.
enum class Layout {
  matrix,              // <name>.weight; or <name>, where that is a tensor: a parameter
  transposed,          // (in, out): GPT-2's Conv1D; or a parameter
  experts,             // (experts, out, in); where <name>.weight is not there: <name>
  experts_transposed,  // (experts, in, out)
  filter               // of a convolution: (out, ...), the sizes after it multiply to `in`
};
std::span<const EnumName<Layout>> enum_names(Layout);

struct LinearRow {
  std::string name;  // "self_attn.q_proj"
  std::string out, in;
  std::string bias = {};  // when it has one, <name>.bias or <name>_bias; empty: never
  std::string when = {};  // when the layer has it; empty: always
  Layout layout = Layout::matrix;
  bool router = false;     // chooses experts, or weighs them: rotated like any reader, never quantized, no Linear
  std::string count = {};  // how many, where they are stacked or the name has {E}; empty: `experts`. `any`: those that
                           // the files have, of those with {E} no fewer than `experts`
  // Of stacked experts: the linears of a single one, {E} its number, as they are called where they are quantized. Each
  // has as many of the stack's outputs, the first the first ones, or every so many. Empty: they are not quantized.
  std::vector<std::string> split = {};
  bool alternating = false;  // outputs of gate and up, or of what `split` names; else one's after the other's

  bool operator==(const LinearRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("name", name, required);
    v("out", out, required);
    v("in", in, required);
    v("bias", bias);
    v("when", when);
    v("layout", layout);
    v("router", router);
    v("count", count);
    v("split", split);
    v("alternating", alternating);
  }
};
bool is_stacked(const LinearRow& row);

// A norm multiplies by offset + weight. It scales what the linears in `reads` see of the residual stream, those of them
// that the layer has; none: it does not touch the stream. A reader may be some times as wide: it reads as many normed
// vectors side by side.
struct NormRow {
  std::string name;
  std::string size = "hidden_size";
  std::vector<std::string> reads = {};
  std::string when = {}, bias = {};
  bool layer_norm = false;      // subtracts the mean first; else an RMS norm
  std::string weightless = {};  // when it has no tensors; empty: never
  double offset = 0;

  bool operator==(const NormRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("name", name, required);
    v("size", size);
    v("reads", reads);
    v("bias", bias);
    v("when", when);
    v("layer_norm", layer_norm);
    v("weightless", weightless);
    v("offset", offset);
  }
};

// A tensor that no rotation concerns: sinks, a router's correction, the state of linear attention.
struct ParameterRow {
  std::string name;
  std::vector<std::string> shape;  // `any` alone: of any shape
  std::string when = {};
  std::string count = {};   // of tensors, {E} in the name being the number; empty: one
  std::string writes = {};  // when its vectors are added to the residual stream all the same; empty: never

  bool operator==(const ParameterRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("name", name, required);
    v("shape", one_or_many(shape), required);
    v("when", when);
    v("count", count);
    v("writes", writes);
  }
};

// Tokens, or learned positions: <name>.weight; or <name>, where that is a tensor. One row may lie as a vector. Its rows
// are added to the residual stream.
struct EmbeddingRow {
  std::string name, rows;  // `any`: as many as the tensor has, where files have the tokens in pieces
  std::string columns = "hidden_size";
  std::string writes = {};  // when they are, and not read by a linear that writes; empty: always
  std::string when = {};    // when it is there; empty: always

  bool operator==(const EmbeddingRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("name", name, required);
    v("rows", rows, required);
    v("columns", columns);
    v("writes", writes);
    v("when", when);
  }
};

// Rows of a fused linear that are a linear of their own: those i with begin <= i % period < begin + size. Its name is
// <linear>.<name>. Only the part with the values is needed, and only for R2.
struct PartRow {
  std::string linear, name, begin, size;
  std::string period;     // empty: all rows of the linear
  std::string when = {};  // empty: always

  bool operator==(const PartRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("linear", linear, required);
    v("name", name, required);
    v("begin", begin, required);
    v("size", size, required);
    v("period", period);
    v("when", when);
  }
};

// The layers that have it are those that have its value and its output. An empty name: no linear makes it, or it does
// not matter.
struct AttentionRow {
  std::string query = "self_attn.q_proj", key = "self_attn.k_proj", value = "self_attn.v_proj",
              output = "self_attn.o_proj";
  std::vector<std::string> more_values = {};   // linears that make the values of the heads behind those of `value`
  std::string query_norm = {}, key_norm = {};  // of each head, before RoPE
  std::string value_norm = {};                 // of each head; it may not have weights that R2 would have to pass
  std::string head_dim = "head_dim";           // of the values
  std::string shared = {}, shared_like = {};   // when a layer reads the values of another: of the last before it that
                                               // does not, and for which this formula has the same value
  std::string when = {};                       // of them, those that have it; empty: all

  std::vector<std::string> all_values() const;

  bool operator==(const AttentionRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("query", query);
    v("key", key);
    v("value", value);
    v("more_values", more_values);
    v("output", output);
    v("query_norm", query_norm);
    v("key_norm", key_norm);
    v("value_norm", value_norm);
    v("head_dim", head_dim);
    v("shared", shared);
    v("shared_like", shared_like);
    v("when", when);
  }
};

// A module of the layer that holds others, and the rest of its class name: LlamaAttention.
struct BlockRow {
  std::string name;          // "self_attn"
  std::string class_suffix;  // "Attention"
  bool activation = false;   // its last child is act_fn

  bool operator==(const BlockRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("name", name, required);
    v("class_suffix", class_suffix, required);
    v("activation", activation);
  }
};

// Layers that predict tokens further ahead: `concat` reads the embedding of the next token and a state of the model,
// each normed, side by side; what follows is like the model's layers. All write to streams that rotate with the
// model's.
struct MtpRow {
  std::string count;       // of its layers that may be there; those that are not are none
  std::string layer = {};  // what their modules' names begin with, {L} its number: "mtp.layers.{L}."; empty: layers
                           // behind the model's last
  std::string root = {};   // of the names below: "mtp."; empty: as the layer
  std::string concat = "eh_proj", embedding_norm = "enorm", hidden_norm = "hnorm", output_norm = "shared_head.norm";
  std::string embedding = {}, head = {};  // copies of the model's, where they are
  bool hidden_first = false;              // the state before the embedding
  bool before_final_norm = false;         // the state it reads; else that after it

  bool operator==(const MtpRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("count", count, required);
    v("layer", layer);
    v("root", root);
    v("concat", concat);
    v("embedding_norm", embedding_norm);
    v("hidden_norm", hidden_norm);
    v("output_norm", output_norm);
    v("embedding", embedding);
    v("head", head);
    v("hidden_first", hidden_first);
    v("before_final_norm", before_final_norm);
  }
};

}  // namespace spinor
