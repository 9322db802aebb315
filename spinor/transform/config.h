// TransformConfig > TransformScheme > TransformArgs: rotations as configuration, key for key as in compressed-tensors'
// transform_config (quantization_config.transform_config of config.json). Groups are applied in their order.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/base/json.h"
#include "spinor/base/torch_dtype.h"
#include "spinor/linalg/rotation.h"
#include "spinor/model/transform_location.h"

namespace spinor {

struct TransformArgs {
  std::vector<std::string> targets = {};  // names, "re:" regexes or class names; required
  TransformLocation location{};
  bool inverse = false;
  std::vector<std::string> ignore = {};

  template <class Visitor>
  void fields(Visitor& v) {
    v("targets", one_or_many(targets), required);
    v("location", location, required);
    v("inverse", inverse);
    v("ignore", one_or_many(ignore));
  }
};

// Matrices of the user's own, by the layer whose modules they are for.
inline constexpr int kEveryLayer = -1;
using GivenMatrices = std::map<int, Rotation>;

struct TransformScheme {
  std::string type;                       // a row of the factory table: "hadamard", "random-hadamard", ...
  std::vector<TransformArgs> apply = {};  // order matters: draws are made in it
  bool randomize = false;                 // attach a permutation to each matrix
  bool requires_grad = false;
  std::optional<int64_t> head_dim = {};     // block size; null: the whole side
  std::string precision = "torch.float32";  // a torch dtype, serialized with "torch."
  std::optional<uint64_t> seed = {};        // ours: never serialized into transform_config; null: the peer's
  GivenMatrices given = {};                 // ours, as seed; with them nothing is drawn (type: given)

  template <class Visitor>
  void fields(Visitor& v) {
    v("type", type, required);  // any string: looked up when it is applied
    v("apply", apply);
    v("randomize", randomize);
    v("requires_grad", requires_grad);
    v("head_dim", head_dim);
    v("precision", TorchDtype{precision});
  }
};

struct TransformConfig {
  std::vector<std::pair<std::string, TransformScheme>> config_groups = {};

  bool empty() const { return config_groups.empty(); }
  // Appends the other's groups; a clashing name loses a trailing _N and counts up (R1 -> R1_1).
  void merge(const TransformConfig& other);
};
void read_value(const Json& json, TransformConfig& out, const Place& place);
void to_json(Json& json, const TransformConfig& config);

// Reads config_groups, or transform_groups (early_vocabulary.h). Strict: unknown keys, wrong types and unknown
// locations are Errors naming the key. Stricter than the peer in one thing: nothing is converted ("yes" is not true,
// "16" and 16.0 are no integers).
TransformConfig transform_config_from_json(const Json& json, std::string_view subject);
Json to_json(const TransformConfig& config);  // all fields always present, as the peer dumps them

}  // namespace spinor
