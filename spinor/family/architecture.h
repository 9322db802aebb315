// Facts about families of checkpoints, one row a family. Facts only: what is legal is derived from them. How names and
// formulas in a row are read: module_rows.h.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/family/forward_row.h"
#include "spinor/family/module_rows.h"

namespace spinor {

// Why a rotation is impossible, and when (empty: always).
struct RefusalRow {
  std::string rotation, reason;  // "R2", "the output gate multiplies ..."; or "untie", of a tied head
  std::string when = {};

  bool operator==(const RefusalRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("rotation", rotation, required);
    v("reason", reason, required);
    v("when", when);
  }
};

// A list over the layers that a config.json may leave out because the class makes it of other keys.
struct ToldList {
  std::string key;  // "layer_types"
  std::vector<std::string> values;

  bool operator==(const ToldList&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("key", key, required);
    v("values", values, required);
  }
};

// How a row was found and proved, by discovery: the largest difference of the logits, in their deviations, of a tiny
// model that was rotated by it.
struct ProofRow {
  std::string with;              // "transformers 5.23.0"
  std::optional<double> R1, R2;  // none: refused
  std::string flags = {};        // of the config, where they are not those of the class

  bool operator==(const ProofRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("with", with, required);
    v("R1", R1);
    v("R2", R2);
    v("flags", flags);
  }
};

// Modules that no rotation concerns, with names of their own: a vision tower, but for what feeds the stream.
struct UntouchedRow {
  std::string beginning;                  // of their names: "model.visual."
  std::vector<std::string> linears = {};  // after it, or more components; {N} is any number. Others are no linears.

  bool operator==(const UntouchedRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("beginning", beginning, required);
    v("linears", linears);
  }
};

struct Architecture {
  // All kinds: `attention` first.
  std::vector<const AttentionRow*> attentions() const;

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
  // Empty: a tower that has none. Their number, or a list with an entry for each.
  std::string layers = "layers", num_layers = "num_hidden_layers";
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
  std::string head_columns = {};                 // of its own weight; empty: as many as the first embedding has
  std::string head_rows = {};  // of its own weight; empty: as many as the first embedding has. Else it can be tied only
                               // where they are as many
  std::vector<std::string> writes = {"self_attn.o_proj", "mlp.down_proj"};  // their output is added to the stream
  AttentionRow attention = {};
  std::vector<AttentionRow> other_attentions = {};  // of other kinds
  std::vector<std::string> mlp_in = {"mlp.gate_proj", "mlp.up_proj"}, mlp_out = {"mlp.down_proj"};
  std::vector<std::string> scaled_outputs = {};            // norms between a writer and the stream
  std::vector<std::string> raw_reads = {};                 // linears that read the stream without a norm
  std::vector<std::vector<std::string>> layer_kinds = {};  // which of the modules with `when: present` a layer has:
                                                           // one of these sets, whole
  std::vector<ToldList> told_lists = {};                   // where they are left out, the tensors tell
  std::vector<RefusalRow> refusals = {};                   // beside R1 with scaled outputs, which is always impossible
  NamePairs loaded_as = {};  // beginnings of names as they are in files, and in transformers' memory; {N}: any number
  std::vector<std::string> buffers = {"rotary_emb.inv_freq"};  // ends of names of tensors that nobody reads
  // Encoders with a stream of their own, and what follows them; `feeds` names their outer linears, and embeddings with
  // `writes: false`, that write the stream of this one, whose size is their key language_hidden_size.
  std::vector<Architecture> towers = {};
  std::vector<std::string> feeds = {};
  std::vector<UntouchedRow> untouched = {};
  std::optional<MtpRow> mtp = {};
  std::optional<ProofRow> proof = {};      // none: written by hand
  std::optional<ForwardRow> forward = {};  // none: of a tower, or of a row that does not say how its models compute

  bool operator==(const Architecture&) const = default;
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
    v("head_rows", head_rows);
    v("head_columns", head_columns);
    v("writes", writes);
    v("attention", attention);
    v("other_attentions", other_attentions);
    v("mlp_in", mlp_in);
    v("mlp_out", mlp_out);
    v("scaled_outputs", scaled_outputs);
    v("raw_reads", raw_reads);
    v("layer_kinds", layer_kinds);
    v("told_lists", told_lists);
    v("refusals", refusals);
    v("loaded_as", loaded_as);
    v("buffers", buffers);
    v("towers", towers);
    v("feeds", feeds);
    v("untouched", untouched);
    v("mtp", mtp);
    v("proof", proof);
    v("forward", forward);
  }
};

// A family we know and refuse, with the reason and what is possible instead.
struct RefusedArchitecture {
  std::vector<std::string> names;
  std::string reason, instead;

  template <class Visitor>
  void fields(Visitor& v) {
    v("names", names, required);
    v("reason", reason, required);
    v("instead", instead, required);
  }
};

// Those of rows/*.yaml, which are compiled in; the order is that of the files.
std::span<const Architecture> architectures();
std::span<const RefusedArchitecture> refused_architectures();
// The row with this name among its names, for the life of the program; null if there is none. Of the files only its
// own is read. From any thread.
const Architecture* find_architecture(std::string_view name);
const RefusedArchitecture* find_refused_architecture(std::string_view name);
// Adds a row to those that find_architecture() knows, for the life of the program. Error at `subject` if one
// of its names is known already, or it has none. From any thread.
void register_architecture(Architecture row, const std::string& subject);

}  // namespace spinor
