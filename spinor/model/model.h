// A checkpoint understood: config.json joined with its row of the architecture table. Every tensor has exactly one
// role.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/base/slice.h"
#include "spinor/family/architecture.h"
#include "spinor/io/checkpoint.h"

namespace spinor {

// A part is some rows of a linear (PartRow); a parameter is a tensor that is neither weight nor bias of anything.
enum class ModuleKind { linear, embedding, norm, container, part, parameter };

enum class Role {
  embedding,
  position,  // a learned embedding of positions
  head,
  attn_q,
  attn_k,
  attn_v,
  attn_qkv,  // fused
  attn_o,
  attn_latent,  // other linears of an attention
  mlp_in,
  mlp_out,      // weight (and, for linears, bias)
  router,       // chooses experts, or weighs them
  projection,   // outside the layers: between streams
  stream_norm,  // scales the residual stream before its readers; folded away by a rotation
  output_norm,  // scales what a writer adds to the stream
  qk_norm,      // of queries and keys, inside the attention
  inner_norm,   // any other that does not touch the stream
  parameter,    // no rotation concerns it
  mtp,          // of layers that predict several tokens ahead, whatever it is there
  unknown,      // only in a model of an unknown architecture, or a tensor that no module owns
};
std::string_view name_of(Role role);

// A weight as W (out, in), `count` of them one after the other, and whether each is stored transposed.
struct WeightShape {
  int64_t out = 0, in = 0, count = 1;
  bool transposed = false;
};

struct Module {
  std::string name;                  // "model.layers.0.self_attn.q_proj", as in the files; "" is the model itself
  std::vector<std::string> classes;  // its class and parents: {"LlamaRMSNorm", "Module"}
  ModuleKind kind = ModuleKind::container;
  Role role = Role::unknown;
  int layer = -1;                            // -1 outside the layers
  const CheckpointTensor* weight = nullptr;  // null for containers; a tied head has the embedding's
  const CheckpointTensor* bias = nullptr;
  WeightShape shape = {};          // of linears and parts; of embeddings (tokens, columns) as (out, in)
  std::optional<Slice> part = {};  // rows of `weight`, for a part
  double offset = 0;               // of a norm, which multiplies by offset + weight
  bool layer_norm = false;         // of a norm: it subtracts the mean
  bool expert = false;             // of a linear: of one expert of several
  std::string loaded_name = {};    // the name it has in transformers, if that is another

  const std::string& name_in_memory() const { return loaded_name.empty() ? name : loaded_name; }
};

// The tensor of its weight in the output: the source's name of it, or that of a tied head's own.
std::string weight_name(const Module& module);

// One norm and the linears that read the residual stream through it. One by one, in the order of the layers.
struct NormReads {
  const Module* norm = nullptr;  // its weight is null if it has none; null: a mapping does not say which it is
  std::vector<const Module*> linears;
  std::optional<Slice> columns = {};  // of the linears, if it is only some that read through it
};

// Who touches a residual stream.
struct Stream {
  std::vector<NormReads> norm_reads;        // layer by layer, those of multi-token prediction, the final norm last
  std::vector<const Module*> raw_readers;   // without a norm
  std::vector<const Module*> writers;       // embeddings, then linears
  std::vector<const Module*> output_norms;  // between a writer and the stream
  bool centred = false;                     // LayerNorms read it: a rotation must keep the mean
  std::string no_rotation = {};             // why its row says that it cannot be rotated; empty: it does not

  std::vector<const Module*> readers() const;  // all of them
  int64_t size() const;                        // of its vectors
};
// Linears between which a rotation of the values' heads can hide.
struct ValueOutput {
  const Module *value = nullptr, *output = nullptr;
  int64_t head_dim = 0;
};

// A head for multi-token prediction: layers that read the embedding and a state of the model through one linear. All
// its readers and writers are those of the residual stream, too.
struct MtpHead {
  const Module *embedding_norm = nullptr, *hidden_norm = nullptr, *output_norm = nullptr;
  const Module *embedding = nullptr, *head = nullptr;  // copies of the model's; null: there is none
  std::vector<const Module*> writers;                  // the linear first
  std::vector<NormReads> norm_reads;                   // those two of the linear first, the output's last
  std::vector<ValueOutput> value_outputs;
};

// What Model::describe() throws for an architecture that it does not know, or knows and refuses: only such a model can
// be described all the same, with the options below.
class UnsupportedArchitecture : public Error {
 public:
  using Error::Error;
};

struct ModelOptions {
  // An architecture without a row: modules are read off the tensor names (a 2-D weight is a linear, or an embedding if
  // it is called one; a 1-D weight is a norm), in the order of their names with numbers compared as numbers; roles are
  // unknown. Families that are known and refused stay refused.
  bool accept_unknown = false;
  bool accept_refused = false;  // the same for a family spinor knows and refuses: to look at, not to rotate
};

struct ModelConfig;
struct ModelData;
struct QuantizedSource;

class Model {
 public:
  // Checks config.json (missing or contradictory keys by name), every tensor's presence and shape; quantized weights
  // are read as read_quantized() says, and that no tensor is left over but the row's buffers, which old checkpoints
  // have and nobody reads: they have no module and role unknown, and layers of multi-token prediction. A tied head that
  // is in the files too must equal the embedding. An unknown or refused architecture is an UnsupportedArchitecture with
  // the reason. Reads no weights, except the two of such a head.
  static Model describe(const Checkpoint& checkpoint, ModelOptions options = {});
  // A directory, or org/name in the local Hugging Face cache (resolve_model). An unknown architecture is accepted: what
  // is to be done with it can say what must be known.
  static Model open(std::string_view model);

  const Checkpoint& checkpoint() const;  // of a quantized model: its weights as numbers
  // What the user should know about how the checkpoint was read.
  std::vector<std::string> warnings() const;
  const QuantizedSource* quantized_source() const;  // null: it is not quantized
  const Architecture* architecture() const;         // null: accepted although unknown
  std::string_view architecture_name() const;       // config.json "architectures"[0]

  // Sizes; for an unknown architecture Error if config.json does not have the key.
  int64_t hidden_size() const;
  int64_t num_layers() const;
  int64_t num_heads() const;
  int64_t num_key_value_heads() const;
  const ModelConfig& config() const;  // what config.json and the row say of the sizes
  int64_t vocabulary_size() const;
  // config.head_dim unless absent or null, else the family's default, else hidden_size / num_attention_heads.
  int64_t head_dim() const;
  // The largest size of which every head of the values is a whole number of times as wide.
  int64_t value_block() const;
  // tie_word_embeddings: the head is the embedding. Usually it has no tensor of its own.
  bool tied_head() const;
  // Null only for an unknown architecture that is not tied.
  const Module* embedding() const;
  const Module* head() const;

  const std::vector<Module>& modules() const;  // in the order of torch's named_modules()
  const Module* find(std::string_view module) const;
  // The module whose weight or bias has this name; lm_head for "lm_head.weight" even if tied. Null if there is none.
  const Module* owner(std::string_view tensor) const;
  Role role(std::string_view tensor) const;  // its owner's, else unknown
  // Empty for an unknown architecture.
  const Stream& stream() const;
  // The tensors of multi-token prediction, which transformers ignores; and the heads whose modules they are.
  const std::vector<const CheckpointTensor*>& mtp() const;
  const std::vector<MtpHead>& mtp_heads() const;
  std::vector<const Stream*> streams() const;             // that one, then those of the architecture's towers
  const std::vector<ValueOutput>& value_outputs() const;  // of each layer that has them, mtp_heads() last
  // Of the layers that every token runs through: not outside of them, not one for multi-token prediction.
  bool is_in_layers(const Module& module) const;
  std::string layer_prefix(int64_t layer) const;  // "model.layers.3."; of a known architecture
  // The one outside the layers that the row calls so; null: there is none.
  const Module* outer(const std::string& name) const;
  // Why the row says that a rotation ("R1") is impossible; empty: it does not.
  std::string refusal(std::string_view rotation) const;
  // The modules with these names of the row, in each layer that has them, experts one by one.
  std::vector<const Module*> named(const std::vector<std::string>& names) const;

 private:
  explicit Model(std::shared_ptr<const ModelData> data);
  std::shared_ptr<const ModelData> data_;  // shared: plans keep their model, modules are pointed to
};

}  // namespace spinor
