#include "spinor/transform/cancel_scales.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <tuple>

#include "spinor/base/error.h"

namespace spinor {
namespace {

// A tensor, whether its columns, and which part.
using ScaledSide = std::tuple<std::string, bool, int64_t, int64_t, int64_t>;

ScaledSide scaled_side(const std::string& tensor, bool columns, const std::optional<Slice>& part) {
  const Slice rows = part.value_or(Slice{});
  return {tensor, columns, rows.begin, rows.size, rows.period};
}

void add_rows(const ScaledLinear& rows, std::set<ScaledSide>& sides) {
  sides.insert(scaled_side(weight_name(*rows.linear), false, rows.part));
  if (rows.linear->bias) sides.insert(scaled_side(rows.linear->bias->info.name, true, rows.part));
}

// Those that legal scales may edit.
std::set<ScaledSide> legal_sides(const std::vector<LegalScale>& scales) {
  std::set<ScaledSide> sides;
  for (const LegalScale& scale : scales) {
    add_rows(scale.writer, sides);
    for (const ScaledLinear& reader : scale.readers)
      if (scale.kind == ScaleKind::k)
        add_rows(reader, sides);
      else
        sides.insert(scaled_side(weight_name(*reader.linear), true, {}));
  }
  return sides;
}

std::set<ScaledSide> scaled_sides(const RewritePlan& plan) {
  std::set<ScaledSide> sides;
  for (const TensorPlan& tensor : plan.tensors())
    for (const Edit& edit : tensor.edits)
      if (const auto* scale = std::get_if<Scale>(&edit))
        sides.insert(scaled_side(tensor.name, scale->columns, scale->part));
  return sides;
}

// It maps each entry to a multiple of itself.
bool is_diagonal(const Row& x, const Product& product) {
  const Row weights(x.rbegin(), x.rend());
  const auto weighed = [&](Row row) {
    std::ranges::transform(row, weights, row.begin(), std::multiplies());
    return row;
  };
  return agree(weighed(x) * product, weighed(x * product));
}

bool keeps_pairs(const LegalScale& scale, const Product& product) {
  const Row factors = Row(static_cast<size_t>(scale.writer.size), 1.0) * product;
  for (int64_t i = 0; i < scale.writer.size; ++i)
    if (!agree({factors[static_cast<size_t>(i)]}, {factors[static_cast<size_t>(scale.partner(i))]})) return false;
  return true;
}

}  // namespace

ScaleCheck::ScaleCheck(const RewritePlan& plan, const NetProducts& net) : net_(net) {
  const std::set<ScaledSide> scaled = scaled_sides(plan);
  if (scaled.empty()) return;
  const std::vector<LegalScale> scales = legal_scales(plan.model());
  const std::set<ScaledSide> legal = legal_sides(scales);
  for (const ScaledSide& side : scaled)
    if (!legal.contains(side))
      throw Error(std::get<0>(side),
                  fmt::format("its {} are scaled, and nothing undoes it", std::get<1>(side) ? "columns" : "rows"));
  for (const LegalScale& scale : scales) {
    check_bias(scale.writer);
    if (scale.kind == ScaleKind::v) continue;
    if (scale.kind == ScaleKind::k) check_bias(scale.readers[0]);
    check(scale);
  }
}

Product ScaleCheck::outputs(const ScaledLinear& rows) const {
  const Module module = as_module(rows);
  return rows.part ? net_.rows_of_weight(module) : net_.outgoing(module);
}

void ScaleCheck::check(const LegalScale& scale) {
  const bool keys = scale.kind == ScaleKind::k;
  const Product product = outputs(scale.writer);
  const Row x = probe(scale.writer.size), y = x * product;
  for (const ScaledLinear& reader : scale.readers) {
    const Product undoing = keys ? outputs(reader) : net_.incoming(*reader.linear);
    Row before(static_cast<size_t>(reader.size)), after = before;
    for (int64_t i = 0; i < reader.size; ++i) {
      const auto entry = static_cast<size_t>(scale.entry_read(reader, i));
      before[static_cast<size_t>(i)] = x[entry];
      after[static_cast<size_t>(i)] = y[entry];
    }
    if (!is_diagonal(x, product) || !keeps_pairs(scale, product) || !agree(before, after * undoing))
      throw Error(weight_name(*scale.writer.linear),
                  fmt::format("scale {} of {} is not undone by {}", name_in_table(scale.kind), scale.name,
                              weight_name(*reader.linear)));
    (keys ? outputs_ : inputs_).insert(reader.linear);
  }
  outputs_.insert(scale.writer.linear);
}

void ScaleCheck::check_bias(const ScaledLinear& rows) const {
  const Module module = as_module(rows);
  if (!module.bias) return;
  const Row x = probe(rows.size);
  if (!agree(x * net_.rows_of_weight(module), x * net_.bias(module)))
    throw Error(module.bias->info.name, "is not scaled as the rows of its weight");
}

}  // namespace spinor
