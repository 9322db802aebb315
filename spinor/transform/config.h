// TransformConfig > TransformScheme > TransformArgs: rotations as configuration, key for key as in compressed-tensors'
// transform_config (quantization_config.transform_config of config.json). Groups are applied in their order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/plan/plan.h"

namespace spinor {

enum class TransformLocation { input, weight_input, weight_output, output, k_cache, q_attn };
std::string_view name_of(TransformLocation location);
bool is_online(TransformLocation location);  // neither weight_input nor weight_output

struct TransformArgs {
  std::vector<std::string> targets;  // names, "re:" regexes or class names; required
  TransformLocation location{};
  bool inverse = false;
  std::vector<std::string> ignore;
};

struct TransformScheme {
  std::string type;                     // a row of the factory table: "hadamard", "random-hadamard", ...
  std::vector<TransformArgs> apply;     // order matters: draws are made in it
  bool randomize = false;               // attach a permutation to each matrix
  bool requires_grad = false;
  std::optional<int64_t> head_dim;      // block size; null: the whole side
  std::string precision = "torch.float32";  // a torch dtype, serialized with "torch."
  std::optional<uint64_t> seed;         // ours: never serialized into transform_config; null: the peer's
};

struct TransformConfig {
  std::vector<std::pair<std::string, TransformScheme>> config_groups;

  bool empty() const { return config_groups.empty(); }
  // Appends the other's groups; a clashing name loses a trailing _N and counts up (R1 -> R1_1).
  void merge(const TransformConfig& other);
};

// Strict, as the peer's models: unknown keys, wrong types and unknown locations are Errors naming the key.
TransformConfig transform_config_from_json(const Json& json, std::string_view subject);
Json to_json(const TransformConfig& config);  // all fields always present, as the peer dumps them

}  // namespace spinor
