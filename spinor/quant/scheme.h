// QuantizationArgs and QuantizationScheme: how weights and activations are quantized, in the words of
// compressed-tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/base/torch_dtype.h"

namespace spinor {

enum class QuantizationType { integer, floating };  // "int", "float"
enum class QuantizationStrategy { tensor, channel, group, block, token, tensor_group, attn_head };
enum class QuantizationDynamic { no, yes, local };  // false, true, "local": only the scales inside a tensor
enum class ActOrder { weight, fixed };              // "weight", "static": the same, but written as it was read

std::span<const EnumName<QuantizationType>> enum_names(QuantizationType);
std::span<const EnumName<QuantizationStrategy>> enum_names(QuantizationStrategy);
std::span<const EnumName<ActOrder>> enum_names(ActOrder);

// Fields that are spelled otherwise than they are held. Names of enums in any case:
template <class T>
struct AnyCase {
  T& value;
};
Json lower_case(const Json& json);
template <class T>
void read_value(const Json& json, AnyCase<T> out, const Place& place) {
  out.value = read_fields<T>(lower_case(json), place);
}
template <class T>
void to_json(Json& json, const AnyCase<T>& field) {
  json = write_fields(field.value);
}

struct DynamicField {
  QuantizationDynamic& dynamic;
};
void read_value(const Json& json, DynamicField out, const Place& place);
void to_json(Json& json, const DynamicField& field);

struct ActOrderField {
  std::optional<ActOrder>& actorder;
};
void read_value(const Json& json, ActOrderField out, const Place& place);
void to_json(Json& json, const ActOrderField& field);

struct BlockStructureField {
  std::optional<std::pair<int64_t, int64_t>>& blocks;
};
void read_value(const Json& json, BlockStructureField out, const Place& place);
void to_json(Json& json, const BlockStructureField& field);

// How one kind of tensor (weights, input activations, ...) is quantized. After reading, `strategy` is always set.
struct QuantizationArgs {
  int num_bits = 8;
  QuantizationType type = QuantizationType::integer;
  bool symmetric = true;
  std::optional<int64_t> group_size = {};
  std::optional<QuantizationStrategy> strategy = {};
  std::optional<std::pair<int64_t, int64_t>> block_structure = {};  // rows, columns
  QuantizationDynamic dynamic = QuantizationDynamic::no;
  std::optional<ActOrder> actorder = {};
  std::optional<std::string> scale_dtype = {}, zp_dtype = {};  // "torch.uint8"
  std::optional<std::string> observer = {};                    // "memoryless_minmax", "mse", ...
  Json observer_kwargs = Json::object();

  bool operator==(const QuantizationArgs&) const = default;

  template <class Visitor>
  void fields(Visitor& v) {
    v("num_bits", num_bits);
    v("type", AnyCase<QuantizationType>{type});
    v("symmetric", symmetric);
    v("group_size", group_size);
    v("strategy", AnyCase<std::optional<QuantizationStrategy>>{strategy});
    v("block_structure", BlockStructureField{block_structure});
    v("dynamic", DynamicField{dynamic});
    v("actorder", ActOrderField{actorder});
    v("scale_dtype", OptionalTorchDtype{scale_dtype});
    v("zp_dtype", OptionalTorchDtype{zp_dtype});
    v("observer", observer);
    v("observer_kwargs", observer_kwargs);
  }
};

// Reads and checks: the strategy is inferred where it is absent (group_size > 0: group, -1: channel, none: tensor), and
// what contradicts itself is an Error at `place` in compressed-tensors' sense.
struct ArgsField {
  std::optional<QuantizationArgs>& args;
};
void read_value(const Json& json, ArgsField out, const Place& place);
void to_json(Json& json, const ArgsField& field);
// As compressed-tensors dumps it: keys that are absent and say nothing are left out.
Json to_json(const QuantizationArgs& args);

struct QuantizationScheme {
  std::vector<std::string> targets = {};
  std::optional<QuantizationArgs> weights = {}, input_activations = {}, output_activations = {};
  std::optional<std::string> format = {};  // "pack-quantized"; null: inferred

  bool operator==(const QuantizationScheme&) const = default;

  template <class Visitor>
  void fields(Visitor& v) {
    v("targets", one_or_many(targets));
    v("weights", ArgsField{weights});
    v("input_activations", ArgsField{input_activations});
    v("output_activations", ArgsField{output_activations});
    v("format", format);
  }
};
// Error at `place` for a scheme that quantizes something and has no targets, for a strategy that activations cannot
// have, and for an actorder of theirs.
void check_scheme(const QuantizationScheme& scheme, const Place& place);

}  // namespace spinor
