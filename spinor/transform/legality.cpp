#include "spinor/transform/legality.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "spinor/base/error.h"
#include "spinor/family/model_config.h"
#include "spinor/model/module_name.h"
#include "spinor/transform/places.h"
#include "spinor/transform/products.h"

namespace spinor {
namespace {

bool is_constant(const Model& model, const Module& norm) {
  const std::vector<double> g = values(model.checkpoint(), *norm.weight);
  return std::ranges::all_of(g, [&](double entry) { return entry == g.front(); });
}

// x R diag(g) = x diag(g') R' for all x needs R to map entries of one |g| to entries of one |g|.
std::string why_no_r1(const Model& model) {
  if (std::string reason = model.refusal("R1"); !reason.empty()) return reason;
  for (const Module* norm : model.stream().output_norms)
    if (!is_constant(model, *norm))
      return fmt::format(
          "{} scales the output of its block, entry by entry, before it is added to the residual stream; a rotation "
          "does not commute with that",
          norm->name);
  return "";
}

std::string why_no_r2(const Model& model) {
  if (std::string reason = model.refusal("R2"); !reason.empty()) return reason;
  return model.value_outputs().empty() ? "no linear makes values that another one reads head by head" : "";
}

std::string why_no_r3(const Model& model) {
  if (std::string reason = model.refusal("R3"); !reason.empty()) return reason;
  const Architecture& row = *model.architecture();
  if (!row.other_attentions.empty()) return "its layers have several kinds of attention, and spinor writes it for one";
  if (row.attention.query.empty() || row.attention.key.empty()) return "no linear makes queries and keys";
  if (!model.config().head_dim) return "config.json does not say how large heads of queries and keys are";
  for (const ValueOutput& pair : model.value_outputs()) {
    if (pair.output->role == Role::mtp) continue;
    const std::string name(parent_of(pair.output->name));
    const Module* attention = model.find(name);
    if (!attention || !is_attention(*attention))
      return fmt::format("{} is no attention: the blocks of its row give it no class that is called one", name);
  }
  return "";
}

std::string why_no_r4(const Model& model) {
  if (std::string reason = model.refusal("R4"); !reason.empty()) return reason;
  return model.named(model.architecture()->mlp_out).empty() ? "there is no MLP" : "";
}

std::vector<int64_t> head_sizes(const Model& model) {
  if (model.value_outputs().empty()) return {};
  return {model.value_block()};
}

std::vector<int64_t> head_dims(const Model& model) {
  return model.config().head_dim ? std::vector{*model.config().head_dim} : std::vector<int64_t>{};
}

std::vector<int64_t> mlp_sizes(const Model& model) {
  std::set<int64_t> sizes;
  for (const Module* linear : model.named(model.architecture()->mlp_out)) sizes.insert(linear->shape.in);
  return {sizes.begin(), sizes.end()};
}

}  // namespace

std::vector<Legality> legality(const Model& model) {
  return {{Spin::R1, {model.hidden_size()}, why_no_r1(model)},
          {Spin::R2, head_sizes(model), why_no_r2(model)},
          {Spin::R3, head_dims(model), why_no_r3(model)},
          {Spin::R4, mlp_sizes(model), why_no_r4(model)}};
}

void require_legal(const Model& model, const std::vector<Spin>& rotations) {
  std::vector<std::string_view> legal;
  const Legality* refused = nullptr;
  const std::vector<Legality> all = legality(model);
  for (const Legality& one : all) {
    if (one.reason.empty())
      legal.push_back(name_in_table(one.rotation));
    else if (!refused && std::ranges::find(rotations, one.rotation) != rotations.end())
      refused = &one;
  }
  if (!refused) return;
  throw Error(std::string(model.architecture_name()),
              fmt::format("{} would change the model: {}", name_in_table(refused->rotation), refused->reason),
              legal.empty() ? ""
                            : fmt::format("possible are: --rotations {} (rotations: [{}] in a recipe)",
                                          fmt::join(legal, ","), fmt::join(legal, ", ")));
}

}  // namespace spinor
