#include "spinor/model/forward_modules.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/model/module_name.h"

namespace spinor {

std::vector<MlpNames> mlps_of(const Architecture& row) {
  std::vector<MlpNames> mlps;
  for (const std::string& out : row.mlp_out) {
    MlpNames& names = mlps.emplace_back(MlpNames{{}, out});
    for (const std::string& in : row.mlp_in)
      if (parent_of(in) == parent_of(out)) names.in.push_back(in);
    names.alternating = std::ranges::any_of(
        row.linears, [&](const LinearRow& one) { return one.alternating && contains(names.in, one.name); });
    if (names.in.empty() || names.in.size() > 2)
      throw Error(out,
                  fmt::format("is the output of an MLP with {} inputs, and spinor runs one, or a gate and one",
                              names.in.size()),
                  "of an MLP, the names in mlp_in and mlp_out have the same parent");
  }
  return mlps;
}

Gate gate_of(const MlpNames& names, const WeightShape& in, const WeightShape& out) {
  if (names.in.size() == 2) return Gate::own;
  if (in.out != 2 * out.in) return Gate::none;
  return names.alternating ? Gate::alternating : Gate::first_half;
}

ProjectionRows projection_rows(const Slice& value) {
  const int64_t query = value.period - 2 * value.size;
  const bool last = value.begin + value.size == value.period;
  const int64_t key = last ? value.begin - value.size : value.begin + value.size;
  return {{0, query, value.period}, {key, value.size, value.period}, value};
}

}  // namespace spinor
