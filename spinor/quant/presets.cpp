// A table.
#include "spinor/quant/presets.h"

#include <algorithm>
#include <cctype>

#include "spinor/base/nearest.h"

namespace spinor {
namespace {

using enum QuantizationStrategy;
using Args = std::optional<QuantizationArgs>;

struct Preset {
  std::string_view name;
  Args weights, input_activations;
};

Args int_args(int bits, QuantizationStrategy strategy, bool symmetric = true) {
  QuantizationArgs args{.num_bits = bits, .symmetric = symmetric, .strategy = strategy};
  if (strategy == group) args.group_size = 128;
  return args;
}

Args float_args(int bits, QuantizationStrategy strategy) {
  return QuantizationArgs{.num_bits = bits, .type = QuantizationType::floating, .strategy = strategy};
}

Args dynamic(Args args) {
  args->dynamic = QuantizationDynamic::yes;
  return args;
}

Args groups_of(int64_t size, Args args, const char* scale_dtype = nullptr) {
  args->group_size = size;
  if (scale_dtype) args->scale_dtype = args->zp_dtype = scale_dtype;
  return args;
}

Args micro(int bits) {  // OCP microscaling: groups of 32 with a power of two
  return groups_of(32, float_args(bits, group), "torch.uint8");
}

Args nvfp4() {
  return groups_of(16, float_args(4, tensor_group), "torch.float8_e4m3fn");
}

Args blocks_of_128(Args args) {
  args->block_structure = {128, 128};
  return args;
}

Args observed(const char* observer, QuantizationDynamic how, Args args) {
  args->observer = observer;
  args->dynamic = how;
  return args;
}

std::vector<Preset> make_table() {
  const Args tokens8 = dynamic(int_args(8, token)), tokens_fp8 = dynamic(float_args(8, token));
  const Args static_fp8 = observed("static_minmax", QuantizationDynamic::no, float_args(8, tensor));
  const Args local_fp4 = observed("static_minmax", QuantizationDynamic::local, nvfp4());
  return {
      {"UNQUANTIZED", {}, {}},
      {"W4A16_ASYM", int_args(4, group, false), {}},
      {"W8A8", int_args(8, channel), tokens8},
      {"INT8", int_args(8, channel), tokens8},
      {"W4AFP8", int_args(4, group), tokens_fp8},
      {"FP8", float_args(8, tensor), static_fp8},
      {"FP8_DYNAMIC", float_args(8, channel), tokens_fp8},
      {"FP8_BLOCK", blocks_of_128(float_args(8, block)), groups_of(128, dynamic(float_args(8, group)))},
      {"NVFP4A16", nvfp4(), {}},
      {"NVFP4", nvfp4(), local_fp4},
      {"MXFP4A16", micro(4), {}},
      {"MXFP4", micro(4), dynamic(micro(4))},
      {"MXFP4XFP8", micro(4), groups_of(128, dynamic(float_args(8, group)))},
      {"MXFP6A16", micro(6), {}},
      {"MXFP6A8", micro(6), dynamic(micro(8))},
      {"MXFP8A16", micro(8), {}},
      {"MXFP8", micro(8), dynamic(micro(8))},
      {"W2A4", int_args(2, group), dynamic(int_args(4, token))},
      {"W2A8", int_args(2, group), tokens8},
      {"W2A16", int_args(2, group), {}},
      {"W3A4", int_args(3, group), dynamic(int_args(4, token))},
      {"W3A8", int_args(3, group), tokens8},
      {"W3A16", int_args(3, group), {}},
      {"W4A4", int_args(4, group), dynamic(int_args(4, token))},
      {"W4A8", int_args(4, group), tokens8},
      {"W4A16", int_args(4, group), {}},
      {"W5A8", int_args(5, group), tokens8},
      {"W5A16", int_args(5, group), {}},
      {"W6A8", int_args(6, group), tokens8},
      {"W6A16", int_args(6, group), {}},
      {"W7A8", int_args(7, group), tokens8},
      {"W7A16", int_args(7, group), {}},
      {"W8A16", int_args(8, group), {}},
  };
}

const std::vector<Preset>& table() {
  static const std::vector<Preset> presets = make_table();
  return presets;
}

const Preset* find(std::string_view name) {
  std::string upper(name);
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
  const auto found = std::ranges::find(table(), upper, &Preset::name);
  return found == table().end() ? nullptr : &*found;
}

}  // namespace

const std::vector<std::string_view>& preset_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> list;
    for (const Preset& preset : table()) list.push_back(preset.name);
    return list;
  }();
  return names;
}

bool is_preset(std::string_view name) {
  return find(name) != nullptr;
}

QuantizationScheme preset(std::string_view name, std::vector<std::string> targets, const Place& place) {
  const Preset* found = find(name);
  if (!found) place.fail("no preset scheme is called '" + std::string(name) + "'", suggest_name(name, preset_names()));
  return {.targets = std::move(targets), .weights = found->weights, .input_activations = found->input_activations};
}

QuantizationScheme preset_in_groups(std::string_view name, std::vector<std::string> targets, int64_t group_size,
                                    const Place& place) {
  QuantizationScheme scheme = preset(name, std::move(targets), place);
  if (!scheme.weights || scheme.weights->strategy != group)
    place.fail(std::string(name) + " does not quantize weights in groups, so they have no group size",
               "leave it out, or take a scheme with groups: --scheme W4A16");
  scheme.weights->group_size = group_size;
  return scheme;
}

}  // namespace spinor
