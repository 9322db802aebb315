#include "spinor/transform/cancel_scales.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <tuple>

#include "spinor/base/error.h"

namespace spinor {
namespace {

// A tensor, whether its columns, and which part.
using EditedSide = std::tuple<std::string, bool, int64_t, int64_t, int64_t>;

EditedSide edited_side(const std::string& tensor, bool columns, const std::optional<Slice>& part) {
  const Slice rows = part.value_or(Slice{});
  return {tensor, columns, rows.begin, rows.size, rows.period};
}

void add_rows(const LinearPart& rows, std::set<EditedSide>& sides) {
  sides.insert(edited_side(weight_name(*rows.linear), false, rows.part));
  if (rows.linear->bias) sides.insert(edited_side(rows.linear->bias->info.name, true, rows.part));
}

void add_columns(const LinearPart& columns, std::set<EditedSide>& sides) {
  sides.insert(edited_side(weight_name(*columns.linear), true, {}));
}

// Those that legal scales may edit.
std::set<EditedSide> sides_to_scale(const std::vector<LegalScale>& scales) {
  std::set<EditedSide> sides;
  for (const LegalScale& scale : scales) {
    add_rows(scale.writer, sides);
    for (const LinearPart& reader : scale.readers)
      if (scale.kind == ScaleKind::k)
        add_rows(reader, sides);
      else
        add_columns(reader, sides);
  }
  return sides;
}

// Those that may be reordered.
std::set<EditedSide> sides_to_reorder(const std::vector<HiddenChannels>& all) {
  std::set<EditedSide> sides;
  for (const HiddenChannels& channels : all) {
    if (!why_ordered(channels).empty()) continue;
    for (const LinearPart& rows : channels.writers()) add_rows(rows, sides);
    add_columns(channels.reader, sides);
  }
  return sides;
}

struct EditedSides {
  std::set<EditedSide> scaled, reordered;

  explicit EditedSides(const RewritePlan& plan) {
    for (const TensorPlan& tensor : plan.tensors())
      for (const Edit& edit : tensor.edits) {
        if (const auto* scale = std::get_if<Scale>(&edit))
          scaled.insert(edited_side(tensor.name, scale->columns, scale->part));
        if (const auto* right = std::get_if<MultiplyRight>(&edit); right && right->r.is_reordering())
          reordered.insert(edited_side(tensor.name, true, right->part));
        if (const auto* left = std::get_if<MultiplyLeft>(&edit); left && left->r.is_reordering())
          reordered.insert(edited_side(tensor.name, false, left->part));
      }
  }
};

void require_among(const std::set<EditedSide>& sides, const std::set<EditedSide>& legal, const char* what) {
  for (const EditedSide& side : sides)
    if (!legal.contains(side))
      throw Error(std::get<0>(side),
                  fmt::format("its {} are {}, and nothing undoes it", std::get<1>(side) ? "columns" : "rows", what));
}

// None where nothing is known of its MLPs.
std::vector<HiddenChannels> known_channels(const Model& model) {
  try {
    return hidden_channels(model);
  } catch (const Error&) {
    return {};
  }
}

Row entrywise(Row x, const Row& y) {
  std::ranges::transform(x, y, x.begin(), std::multiplies());
  return x;
}

// It gives each entry a place of its own, and a factor.
bool moves_entries(const Row& x, const Row& weights, const Row& ones, const Product& product) {
  return agree(entrywise(entrywise(weights, x) * product, ones * product), entrywise(weights * product, x * product));
}

// It maps each entry to a multiple of itself.
bool is_diagonal(const Row& x, const Product& product) {
  const Row weights(x.rbegin(), x.rend());
  return agree(entrywise(weights, x) * product, entrywise(weights, x * product));
}

bool keeps_pairs(const LegalScale& scale, const Product& product) {
  const Row factors = Row(static_cast<size_t>(scale.writer.size), 1.0) * product;
  for (int64_t i = 0; i < scale.writer.size; ++i)
    if (!agree({factors[static_cast<size_t>(i)]}, {factors[static_cast<size_t>(scale.partner(i))]})) return false;
  return true;
}

}  // namespace

ScaleCheck::ScaleCheck(const RewritePlan& plan, const NetProducts& net) : net_(net) {
  const EditedSides edited(plan);
  if (edited.scaled.empty() && edited.reordered.empty()) return;
  const std::vector<LegalScale> scales = legal_scales(plan.model());
  const std::vector<HiddenChannels> all = known_channels(plan.model());
  require_among(edited.scaled, sides_to_scale(scales), "scaled");
  require_among(edited.reordered, sides_to_reorder(all), "in another order");
  const bool commutes = !all.empty() && read_forward_config(plan.model()).activation == "relu";
  for (const HiddenChannels& channels : all) {
    for (const LinearPart& rows : channels.writers()) check_bias(rows);
    check_channels(channels, commutes);
  }
  for (const LegalScale& scale : scales) {
    check_bias(scale.writer);
    if (scale.kind != ScaleKind::k) continue;
    check_bias(scale.readers[0]);
    check_keys(scale);
  }
}

// The activation is of each entry by itself: gates may take other places, and nothing else. What the rows above get may
// have factors, too; without a gate only if the activation commutes with them.
void ScaleCheck::check_channels(const HiddenChannels& channels, bool activation_commutes) {
  const Product up = outputs(channels.up), moving = channels.gate ? outputs(*channels.gate) : up;
  const Row x = probe(channels.up.size), weights(x.rbegin(), x.rend()), ones(x.size(), 1.0);
  const Row moved = ones * moving;
  const bool plain = agree(ones, moved), positive = std::ranges::all_of(moved, [](double by) { return by > 0; });
  if (!moves_entries(x, weights, ones, moving) || !(plain || (!channels.gate && activation_commutes && positive)) ||
      !agree(entrywise(entrywise(weights, x) * up, moved), entrywise(weights * moving, x * up)) ||
      !agree(x, x * then(up, net_.incoming(*channels.reader.linear))))
    throw Error(
        weight_name(*channels.up.linear),
        fmt::format("what scales its rows, or moves them, is not undone by {}{}", weight_name(*channels.reader.linear),
                    channels.gate ? ", or not done to " + weight_name(*channels.gate->linear) : ""));
  for (const LinearPart& rows : channels.writers()) outputs_.insert(rows.linear);
  inputs_.insert(channels.reader.linear);
}

void ScaleCheck::check_keys(const LegalScale& scale) {
  const LinearPart& reader = scale.readers.front();
  const Product product = outputs(scale.writer), undoing = outputs(reader);
  const Row x = probe(scale.writer.size), y = x * product;
  Row before(static_cast<size_t>(reader.size)), after = before;
  for (int64_t i = 0; i < reader.size; ++i) {
    const auto entry = static_cast<size_t>(scale.entry_read(reader, i));
    before[static_cast<size_t>(i)] = x[entry];
    after[static_cast<size_t>(i)] = y[entry];
  }
  if (!is_diagonal(x, product) || !keeps_pairs(scale, product) || !agree(before, after * undoing))
    throw Error(weight_name(*scale.writer.linear),
                fmt::format("scale k of {} is not undone by {}", scale.name, weight_name(*reader.linear)));
  outputs_.insert(reader.linear);
  outputs_.insert(scale.writer.linear);
}

Product ScaleCheck::outputs(const LinearPart& rows) const {
  const Module module = as_module(rows);
  return rows.part ? net_.rows_of_weight(module) : net_.outgoing(module);
}

void ScaleCheck::check_bias(const LinearPart& rows) const {
  const Module module = as_module(rows);
  if (!module.bias) return;
  const Row x = probe(rows.size);
  if (!agree(x * net_.rows_of_weight(module), x * net_.bias(module)))
    throw Error(module.bias->info.name, "is not scaled as the rows of its weight");
}

}  // namespace spinor
