#include "spinor/transform/quip.h"

#include <algorithm>
#include <array>

namespace spinor {
namespace {

using enum TransformLocation;

constexpr EnumName<Quip> kQuipNames[] = {{Quip::v, "v"}, {Quip::u, "u"}};

std::vector<TransformArgs> args_of(Quip rotation, const QuipOptions& options) {
  const auto args = [&](TransformLocation location, bool inverse) {
    return TransformArgs{options.targets, location, inverse, options.ignore};
  };
  if (rotation == Quip::v) return {args(input, false), args(weight_input, true)};
  return {args(weight_output, false), args(output, true)};
}

}  // namespace

std::span<const EnumName<Quip>> enum_names(Quip) {
  return kQuipNames;
}

TransformConfig quip(const QuipOptions& options) {
  TransformConfig config;
  for (const EnumName<Quip>& row : kQuipNames) {
    if (std::ranges::find(options.rotations, row.value) == options.rotations.end()) continue;
    config.config_groups.emplace_back(
        row.name,
        TransformScheme{.type = options.transform_type,
                        .apply = args_of(row.value, options),
                        .randomize = options.randomize,
                        .head_dim = options.transform_block_size,
                        .precision = options.precision == Precision::float64 ? "torch.float64" : "torch.float32",
                        .seed = options.seed});
  }
  return config;
}

}  // namespace spinor
