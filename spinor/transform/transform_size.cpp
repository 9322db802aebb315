#include "spinor/transform/transform_size.h"

#include <fmt/format.h>

#include <numeric>

#include "spinor/base/error.h"
#include "spinor/transform/places.h"

namespace spinor {
namespace {

using enum TransformLocation;

bool has_sides(const Module& module) {
  using enum ModuleKind;
  return module.kind == linear || module.kind == embedding || module.kind == part;
}

// The length of the rows that a location transforms; 0 if the module does not tell.
int64_t side_of(const Model& model, const Module& module, TransformLocation location) {
  if (location == q_attn || location == k_cache) {
    if (!is_attention(module))
      throw Error(module.name, fmt::format("is not an attention: it has no {}", name_of(location)));
    return model.head_dim();
  }
  if (!has_sides(module)) {
    if (is_online(location)) return 0;
    throw Error(module.name, fmt::format("is neither a linear nor an embedding, so it has no {}", name_of(location)),
                "narrow the targets, or name it in ignore");
  }
  const bool input_side = location == input || location == weight_input;
  return input_side == (module.kind != ModuleKind::embedding) ? module.shape.in : module.shape.out;
}

// What a block size can be instead.
std::string other_block(int64_t block, int64_t side) {
  const int64_t common = block > 0 ? std::gcd(block, side) : 1;
  if (common == 1)
    return "choose another block size: --block-size by command, transform_block_size or head_dim in a recipe";
  return fmt::format("use --block-size {0} by command, transform_block_size (or head_dim): {0} in a recipe", common);
}

}  // namespace

int64_t transform_size(const Model& model, const Module& module, std::string_view group, const TransformScheme& scheme,
                       TransformLocation location) {
  const int64_t side = side_of(model, module, location);
  const bool weighted = has_sides(module);
  const auto block = scheme.head_dim;
  if (!block && !weighted)
    throw Error(module.name, fmt::format("{}: the size of a transform here is not known", group), "give head_dim");
  if (!block) return side;
  if (*block < 1 || side % *block != 0)
    throw Error(weighted ? weight_name(module) : module.name,
                fmt::format("{}: blocks of {} do not divide its {} of {}", group, *block, name_of(location), side),
                other_block(*block, side));
  return *block;
}

}  // namespace spinor
