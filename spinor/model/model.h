// A checkpoint understood: config.json joined with its row of the architecture table. Every tensor has exactly one
// role.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/io/checkpoint.h"
#include "spinor/model/architecture.h"

namespace spinor {

enum class ModuleKind { linear, embedding, norm, container };

enum class Role {
  embedding,
  head,
  attn_q,
  attn_k,
  attn_v,
  attn_o,
  mlp_in,
  mlp_out,      // weight (and, for linears, bias)
  stream_norm,  // scales the residual stream before its readers; folded away by a rotation
  qk_norm,      // inside the attention, per head
  unknown,      // only in a model of an unknown architecture, or a tensor that no module owns
};
std::string_view name_of(Role role);

struct Module {
  std::string name;                  // "model.layers.0.self_attn.q_proj"; "" is the model itself
  std::vector<std::string> classes;  // its class and parents: {"LlamaRMSNorm", "Module"}
  ModuleKind kind = ModuleKind::container;
  Role role = Role::unknown;
  int layer = -1;                            // -1 outside the layers
  const CheckpointTensor* weight = nullptr;  // null for containers; a tied head has the embedding's
  const CheckpointTensor* bias = nullptr;
};

// One norm and the linears that read the residual stream through it. One by one, in the order of the layers.
struct NormReads {
  const Module* norm = nullptr;
  std::vector<const Module*> linears;
};

struct ModelOptions {
  // An architecture without a row: modules are read off the tensor names (a 2-D weight is a linear, or an embedding if
  // it is called one; a 1-D weight is a norm), in the order of their names with numbers compared as numbers; roles are
  // unknown. Families that are known and refused stay refused.
  bool accept_unknown = false;
  bool accept_refused = false;  // the same for a family spinor knows and refuses: to look at, not to rotate
};

struct ModelData;
struct QuantizedSource;

class Model {
 public:
  // Checks config.json (missing or contradictory keys by name), every tensor's presence and shape; quantized weights are
  // read as read_quantized() says,
  // and that no tensor is left over but rotary_emb.inv_freq, a buffer that old checkpoints have and nobody reads: it
  // has no module and role unknown. A tied head that is in the files too must equal the embedding. An unknown or
  // refused architecture is an Error with the reason. Reads no weights, except the two of such a head.
  static Model describe(const Checkpoint& checkpoint, ModelOptions options = {});

  const Checkpoint& checkpoint() const;                // of a quantized model: its weights as numbers
  const QuantizedSource* quantized_source() const;     // null: it is not quantized
  const Architecture* architecture() const;    // null: accepted although unknown
  std::string_view architecture_name() const;  // config.json "architectures"[0]

  // Sizes; for an unknown architecture Error if config.json does not have the key.
  int64_t hidden_size() const;
  int64_t num_layers() const;
  int64_t num_heads() const;
  int64_t num_key_value_heads() const;
  int64_t intermediate_size() const;
  int64_t vocabulary_size() const;
  // config.head_dim unless absent or null, else the family's default, else hidden_size / num_attention_heads.
  int64_t head_dim() const;
  // tie_word_embeddings: the head is the embedding. Usually it has no tensor of its own.
  bool tied_head() const;
  // Null only for an unknown architecture that is not tied.
  const Module* embedding() const;
  const Module* head() const;

  const std::vector<Module>& modules() const;  // in the order of torch's named_modules()
  const Module* find(std::string_view module) const;
  // The module whose weight or bias has this name; lm_head for "lm_head.weight" even if tied. Null if there is none.
  const Module* owner(std::string_view tensor) const;
  Role role(std::string_view tensor) const;   // its owner's, else unknown
  std::vector<NormReads> norm_reads() const;  // layer by layer, the final norm with the head last; empty if unknown

 private:
  explicit Model(std::shared_ptr<const ModelData> data);
  std::shared_ptr<const ModelData> data_;  // shared: plans keep their model, modules are pointed to
};

}  // namespace spinor
