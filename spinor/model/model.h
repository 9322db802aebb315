// A checkpoint understood: config.json joined with its row of the architecture table. Every tensor has exactly one role.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/io/checkpoint.h"
#include "spinor/model/architecture.h"

namespace spinor {

enum class ModuleKind { linear, embedding, norm, container };

enum class Role {
  embedding, head, attn_q, attn_k, attn_v, attn_o, mlp_in, mlp_out,  // weight (and, for linears, bias)
  stream_norm,   // scales the residual stream before its readers; folded away by a rotation
  qk_norm,       // inside the attention, per head
  unknown,       // only in a model of an unknown architecture, or a tensor that no module owns
};
std::string_view name_of(Role role);

struct Module {
  std::string name;                  // "model.layers.0.self_attn.q_proj"; "" is the model itself
  std::vector<std::string> classes;  // its class and parents: {"LlamaRMSNorm", "Module"}
  ModuleKind kind = ModuleKind::container;
  Role role = Role::unknown;
  int layer = -1;                    // -1 outside the layers
  const CheckpointTensor* weight = nullptr;  // null for containers; a tied head has the embedding's
  const CheckpointTensor* bias = nullptr;
};

// One norm and the linears that read the residual stream through it. The iterator of seed 004, as data.
struct NormReads {
  const Module* norm = nullptr;
  std::vector<const Module*> linears;
};

struct ModelOptions {
  bool accept_unknown = false;  // an architecture without a row: modules are read off the tensor names, roles are unknown
};

class Model {
 public:
  // Checks config.json (missing or contradictory keys by name), every tensor's presence and shape, and that no tensor is
  // left over. An unknown or refused architecture is an Error with the reason.
  static Model describe(const Checkpoint& checkpoint, ModelOptions options = {});

  const Checkpoint& checkpoint() const;
  const Architecture* architecture() const;      // null: accepted although unknown
  std::string_view architecture_name() const;    // config.json "architectures"[0]

  int64_t hidden_size() const;
  int64_t num_layers() const;
  int64_t num_heads() const;
  int64_t num_key_value_heads() const;
  int64_t intermediate_size() const;
  int64_t vocabulary_size() const;
  // config.head_dim unless absent or null, else hidden_size / num_attention_heads; Error if neither can be had.
  int64_t head_dim() const;
  bool tied_head() const;  // the head has no tensor of its own: it is the embedding

  const std::vector<Module>& modules() const;  // in the order of torch's named_modules()
  const Module* find(std::string_view module) const;
  const Module* owner(std::string_view tensor) const;  // the module whose weight or bias it is
  Role role(std::string_view tensor) const;
  std::vector<NormReads> norm_reads() const;   // layer by layer, the final norm with the head last; empty if unknown

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

}  // namespace spinor
