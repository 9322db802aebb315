// Facts about families of checkpoints, one row a family. Facts only: what is legal is derived from them.
//
// Sizes, shapes and conditions are formulas (formula.h) over the keys of config.json; in a layer L is its number. Names
// of modules are below the layer, `outer_` ones below the root; {E} in a name counts to `experts`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spinor/base/fields.h"

namespace spinor {

// How a linear's weight W (out, in) lies in the file.
enum class Layout {
  matrix,
  transposed,          // (in, out): GPT-2's Conv1D; or <name>, where that is a tensor: a parameter
  experts,             // (experts, out, in); where <name>.weight is not there: <name>, and for its bias <name>_bias
  experts_transposed,  // (experts, in, out)
  filter               // of a convolution: (out, ...), the sizes after it multiply to `in`
};
std::span<const EnumName<Layout>> enum_names(Layout);

struct LinearRow {
  std::string name;  // "self_attn.q_proj"
  std::string out, in;
  std::string bias = {};  // when it has one; empty: never
  std::string when = {};  // when the layer has it; empty: always
  Layout layout = Layout::matrix;
  bool router = false;  // chooses experts, or weighs them: rotated like any reader, never quantized, no Linear

  template <class Visitor>
  void fields(Visitor& v) {
    v("name", name, required);
    v("out", out, required);
    v("in", in, required);
    v("bias", bias);
    v("when", when);
    v("layout", layout);
    v("router", router);
  }
};

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
  std::vector<std::string> shape;
  std::string when = {};
  std::string count = {};  // of tensors, {E} in the name being the number; empty: one

  template <class Visitor>
  void fields(Visitor& v) {
    v("name", name, required);
    v("shape", shape, required);
    v("when", when);
    v("count", count);
  }
};

// Tokens, or learned positions. Its rows are added to the residual stream.
struct EmbeddingRow {
  std::string name, rows;
  std::string columns = "hidden_size";
  std::string writes = {};  // when they are, and not read by a linear that writes; empty: always
  std::string when = {};    // when it is there; empty: always

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

struct AttentionRow {
  std::string query = "self_attn.q_proj", key = "self_attn.k_proj", value = "self_attn.v_proj",
              output = "self_attn.o_proj";
  std::string query_norm = {}, key_norm = {};  // of each head, before RoPE
  std::string value_norm = {};                 // of each head; it may not have weights that R2 would have to pass
  std::string head_dim = "head_dim";           // of the values
  std::string shared = {}, shared_like = {};   // when a layer reads the values of another: of the last before it that
                                               // does not, and for which this formula has the same value

  template <class Visitor>
  void fields(Visitor& v) {
    v("query", query);
    v("key", key);
    v("value", value);
    v("output", output);
    v("query_norm", query_norm);
    v("key_norm", key_norm);
    v("value_norm", value_norm);
    v("head_dim", head_dim);
    v("shared", shared);
    v("shared_like", shared_like);
  }
};

// Why a rotation is impossible, and when (empty: always).
struct RefusalRow {
  std::string rotation, reason;  // "R2", "the output gate multiplies ..."
  std::string when = {};

  template <class Visitor>
  void fields(Visitor& v) {
    v("rotation", rotation, required);
    v("reason", reason, required);
    v("when", when);
  }
};

// A module of the layer that holds others, and the rest of its class name: LlamaAttention.
struct BlockRow {
  std::string name;          // "self_attn"
  std::string class_suffix;  // "Attention"
  bool activation = false;   // its last child is act_fn

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

struct ForwardRow;  // forward_row.h

using NamePairs = std::vector<std::pair<std::string, std::string>>;

struct Architecture {
  std::vector<std::string> names;  // values of config.json "architectures"
  std::string classes;             // "Llama": LlamaModel, LlamaDecoderLayer, LlamaAttention, LlamaMLP, LlamaRMSNorm
  std::string section = {};        // the key of config.json that holds the others, where it is there: "text_config"
  NamePairs defaults = {};         // formulas for keys that config.json leaves out, or calls by another name
  NamePairs renamed = {};          // the same for keys that the class does not have: what config.json says under
                                   // these names means nothing there
  // Where the modules are: the first that has layers. A checkpoint of the base model alone, as embedding models are
  // published, has none of the beginnings that the class with the head gives to its names.
  std::vector<std::string> roots = {"model.", ""};
  std::vector<EmbeddingRow> embeddings = {{"embed_tokens", "vocab_size"}};  // that of the tokens first
  std::string layers = "layers", num_layers = "num_hidden_layers";          // empty: a tower that has none
  std::string experts = {};  // their number, or a list with an entry for each; empty: there are none
  std::vector<BlockRow> blocks = {{"self_attn", "Attention"}, {"mlp", "MLP", true}};
  std::vector<LinearRow> linears = {};  // in the order of named_modules(), as are the lists below
  std::vector<NormRow> norms = {};      // those of a block are its children after the linears; the others follow it
  std::vector<ParameterRow> parameters = {};
  std::vector<PartRow> parts = {};
  std::vector<LinearRow> outer_linears = {};
  std::vector<NormRow> outer_norms = {{"norm", "hidden_size", {"lm_head"}}};
  std::string head = "lm_head", head_bias = {};  // not below the root, or the name that loaded_as has for it; when
                                                 // it has a bias
  std::vector<std::string> writes = {"self_attn.o_proj", "mlp.down_proj"};  // their output is added to the stream
  AttentionRow attention = {};
  std::vector<std::string> mlp_in = {"mlp.gate_proj", "mlp.up_proj"}, mlp_out = {"mlp.down_proj"};
  std::vector<std::string> scaled_outputs = {};  // norms between a writer and the stream
  std::vector<std::string> raw_reads = {};       // linears that read the stream without a norm
  std::vector<RefusalRow> refusals = {};         // beside R1 with scaled outputs, which is always impossible
  NamePairs loaded_as = {};  // beginnings of names as they are in files, and as transformers has them in memory
  std::vector<std::string> buffers = {"rotary_emb.inv_freq"};  // ends of names of tensors that nobody reads
  // Encoders with a stream of their own, and what follows them; `feeds` names those of their outer linears that write
  // the stream of this one, whose size is their key language_hidden_size.
  std::vector<Architecture> towers = {};
  std::vector<std::string> feeds = {};
  std::optional<MtpRow> mtp = {};
  std::shared_ptr<const ForwardRow> forward = {};  // null: of a tower

  template <class Visitor>
  void fields(Visitor& v) {
    v("names", names);
    v("classes", classes);
    v("section", section);
    v("defaults", defaults);
    v("renamed", renamed);
    v("roots", roots);
    v("embeddings", embeddings);
    v("layers", layers);
    v("num_layers", num_layers);
    v("experts", experts);
    v("blocks", blocks);
    v("linears", linears, required);
    v("norms", norms, required);
    v("parameters", parameters);
    v("parts", parts);
    v("outer_linears", outer_linears);
    v("outer_norms", outer_norms);
    v("head", head);
    v("head_bias", head_bias);
    v("writes", writes);
    v("attention", attention);
    v("mlp_in", mlp_in);
    v("mlp_out", mlp_out);
    v("scaled_outputs", scaled_outputs);
    v("raw_reads", raw_reads);
    v("refusals", refusals);
    v("loaded_as", loaded_as);
    v("buffers", buffers);
    v("towers", towers);
    v("feeds", feeds);
    v("mtp", mtp);
  }
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
// Adds a row to those that find_architecture() knows, for the life of the program; not while another thread describes
// models. Error at `subject` if one of its names is known already, or it has none.
void register_architecture(Architecture row, const std::string& subject);

}  // namespace spinor
