#include "spinor/transform/given_scales.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/model/module_name.h"

namespace spinor {
namespace {

// What a name that is none of a scale was to be, by its last component.
std::optional<ScaleKind> kind_meant(const Model& model, std::string_view name) {
  const std::string_view last = last_component(name);
  if (const Architecture* row = model.architecture()) {
    const auto is_last = [&](const std::string& other) { return last_component(other) == last; };
    if (is_last(row->attention.value)) return ScaleKind::v;
    if (is_last(row->attention.key) || last == "k_proj") return ScaleKind::k;
    if (std::ranges::any_of(row->mlp_in, is_last) || last == "up_proj") return ScaleKind::m;
  }
  return {};
}

std::string first_names(const std::vector<ScaleLegality>& legality) {
  std::vector<std::string> names;
  for (const ScaleLegality& one : legality)
    if (!one.scales.empty()) names.push_back("scale." + one.scales.front().names().front());
  if (names.empty()) return "this model has none: " + legality.front().reason;
  return fmt::format("this model has {}, and so on in each layer", fmt::join(names, ", "));
}

// Of the rows of a weight, and of its bias with them.
void scale_rows_of(RewritePlan& plan, const LinearPart& rows, const Scale& scale) {
  plan.edit_weight(*rows.linear, scale);
  if (!rows.linear->bias) return;
  Scale bias = scale;
  bias.columns = true;
  plan.edit_bias(*rows.linear, bias);
}

void apply_scale(const LegalScale& scale, const std::shared_ptr<const std::vector<double>>& factors, RewritePlan& plan,
                 bool inverse) {
  const std::string label(name_in_table(scale.kind));
  scale_rows_of(plan, scale.writer, {factors, label, false, inverse, scale.writer.part});
  for (const LinearPart& reader : scale.readers) {
    std::vector<double> read(static_cast<size_t>(reader.size));
    for (int64_t i = 0; i < reader.size; ++i)
      read[static_cast<size_t>(i)] = (*factors)[static_cast<size_t>(scale.entry_read(reader, i))];
    const Scale divided{std::make_shared<const std::vector<double>>(std::move(read)), label, scale.kind != ScaleKind::k,
                        !inverse, reader.part};
    if (scale.kind == ScaleKind::k)
      scale_rows_of(plan, reader, divided);
    else
      plan.edit_weight(*reader.linear, divided);
  }
}

// Of all its names, 1 where one is not given; null: none is.
std::shared_ptr<const std::vector<double>> factors_of(const LegalScale& scale, const GivenScales& scales) {
  const std::vector<std::string> names = scale.names();
  if (std::ranges::none_of(names, [&](const std::string& name) { return scales.contains(name); })) return nullptr;
  const auto rows = static_cast<size_t>(scale.writer.size) / names.size();
  auto all = std::make_shared<std::vector<double>>();
  for (const std::string& name : names)
    if (const auto found = scales.find(name); found != scales.end())
      append(*all, *found->second);
    else
      all->resize(all->size() + rows, 1.0);
  return all;
}

}  // namespace

void give(const LegalScale& scale, std::span<const double> factors, GivenScales& scales) {
  const std::vector<std::string> names = scale.names();
  const size_t rows = factors.size() / names.size();
  for (size_t i = 0; i < names.size(); ++i) {
    const std::span<const double> some = factors.subspan(i * rows, rows);
    scales[names[i]] = std::make_shared<const std::vector<double>>(some.begin(), some.end());
  }
}

const LegalScale& find_scale(const std::vector<ScaleLegality>& legality, const Model& model, const std::string& name,
                             const std::string& subject) {
  for (const ScaleLegality& one : legality)
    for (const LegalScale& scale : one.scales)
      if (contains(scale.names(), name)) return scale;
  const std::optional<ScaleKind> kind = kind_meant(model, name);
  for (const ScaleLegality& one : legality)
    if (one.kind == kind && !one.reason.empty())
      throw Error(subject, "would change the model: " + one.reason, first_names(legality));
  throw Error(subject, fmt::format("{} has no rows that can be scaled", name), first_names(legality));
}

void check_factors(const LegalScale& scale, std::span<const double> factors, const std::string& subject) {
  const int64_t rows = scale.writer.size / std::ssize(scale.names());
  if (std::ssize(factors) != rows)
    throw Error(subject, fmt::format("has {} factors for {} rows", factors.size(), rows));
  for (int64_t i = 0; i < std::ssize(factors); ++i) {
    const double factor = factors[static_cast<size_t>(i)];
    if (!(factor > 0) || !std::isfinite(factor) || !std::isfinite(1 / factor))
      throw Error(subject, fmt::format("factor {} is {}", i, factor), "factors are positive and finite");
    const int64_t other = scale.partner(i);
    if (factors[static_cast<size_t>(other)] != factor)
      throw Error(subject,
                  fmt::format("factors {} and {} are {} and {}", i, other, factor, factors[static_cast<size_t>(other)]),
                  "the rotary embedding turns these two channels into each other, so they take one factor");
  }
}

void apply_scales(const GivenScales& scales, const Model& model, RewritePlan& plan, bool inverse) {
  if (scales.empty()) return;
  const std::vector<ScaleLegality> legality = scale_legality(model);
  for (const auto& [name, factors] : scales) check_factors(find_scale(legality, model, name, name), *factors, name);
  for (const ScaleLegality& one : legality)
    for (const LegalScale& scale : one.scales)
      if (const auto factors = factors_of(scale, scales)) apply_scale(scale, factors, plan, inverse);
}

}  // namespace spinor
