#include "spinor/transform/fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/model/match.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/mtp.h"
#include "spinor/transform/norm_linear_iterator.h"

namespace spinor {
namespace {

const std::vector<Edit>& edits_of(const RewritePlan& plan, const Module& module) {
  const TensorPlan* found = plan.find(weight_name(module));
  // A tied head has no tensor of its own before untie(); edit_weight says so better than we could here.
  static const std::vector<Edit> none;
  return found ? found->edits : none;
}

// What moves the source's online transforms into its weights is no rotation: the norm comes before them in the model,
// too.
bool is_rotated(const RewritePlan& plan, const Module& module) {
  const TensorPlan* tensor = plan.find(weight_name(module));
  const auto restoring = tensor ? static_cast<std::ptrdiff_t>(tensor->restoring) : 0;
  return std::ranges::any_of(edits_of(plan, module) | std::views::drop(restoring), [](const Edit& edit) {
    return std::holds_alternative<MultiplyRight>(edit) || std::holds_alternative<MultiplyLeft>(edit) ||
           std::holds_alternative<Scale>(edit);
  });
}

void check_norm(const RewritePlan& plan, const Module& norm) {
  if (!norm.weight || norm.weight->info.rows() != 1)
    throw Error(norm.name, "has no weight that could be folded into linears");
  if (norm.bias && !norm.layer_norm)
    throw Error(norm.name, "has a bias: only of a LayerNorm in an architecture that spinor knows can it be folded");
  if (!edits_of(plan, norm).empty()) throw Error(norm.name, "is folded already", "name each norm in one mapping only");
}

void check_reader(const RewritePlan& plan, const Module& norm, const Module& linear) {
  if (linear.kind != ModuleKind::linear)
    throw Error(linear.name, fmt::format("is not a linear, so {} cannot be folded into it", norm.name));
  const int64_t size = norm.weight->info.cols();
  const bool side_by_side = plan.model().architecture() && linear.shape.in % size == 0;
  if (linear.shape.in != size && !side_by_side)
    throw Error(weight_name(linear), fmt::format("has {} columns, but {} has {} elements: it does not read through it",
                                                 linear.shape.in, norm.name, size));
  if (is_rotated(plan, linear))
    throw Error(weight_name(linear), "is rotated already", "fold norms before rotating or scaling");
}

// What a mapping means in this model.
void add_reads(const Model& model, const NormMapping& mapping, std::vector<NormReads>& all) {
  std::vector<std::string> targets = {mapping.norm};
  append(targets, mapping.linears);
  const auto sets = match_module_sets(model, targets);
  if (sets.empty()) throw Error(mapping.norm, "no module of the model matches this norm mapping");
  for (const auto& set : sets) {
    const auto& norms = set.front();
    if (norms.size() != 1)
      throw Error(norms[1]->name, fmt::format("is a second norm beside {} for the same linears", norms[0]->name),
                  "write the targets so that one norm matches in each layer");
    NormReads& reads = all.emplace_back(NormReads{norms[0], {}});
    for (size_t i = 1; i < set.size(); ++i) append(reads.linears, set[i]);
  }
}

}  // namespace

void fold_norm(RewritePlan& plan, const Module& norm, const std::vector<const Module*>& linears) {
  check_norm(plan, norm);
  for (const Module* linear : linears) check_reader(plan, norm, *linear);
  const std::string& g = norm.weight->info.name;
  const bool biased = std::ranges::all_of(linears, [](const Module* linear) { return linear->bias != nullptr; });
  for (const Module* linear : linears) {
    if (norm.bias && !biased) {
      plan.edit_weight(*linear, FoldNormWithBias{g, norm.bias->info.name, norm.offset});
      continue;
    }
    plan.edit_weight(*linear, FoldNorm{g, norm.offset});
    if (norm.bias)
      plan.edit_bias(*linear, FoldNormBias{norm.bias->info.name, linear->weight->info.name, linear->shape.transposed});
  }
  plan.edit_weight(norm, Fill{1 - norm.offset});
  if (norm.bias) plan.edit_bias(norm, biased ? Edit(Fill{0}) : Edit(FillLevel{}));
}

void fold_norms(const Model& model, RewritePlan& plan, const std::vector<NormMapping>& mappings) {
  std::vector<NormReads> all;
  if (mappings.empty()) all = norm_reads_of(model);
  for (const NormMapping& mapping : mappings) add_reads(model, mapping, all);
  for (const NormReads& reads : all) fold_norm(plan, *reads.norm, reads.linears);
  if (mappings.empty()) fold_mtp(mtp_folding(model), plan);
}

void fold_tower_norms(const Model& model, RewritePlan& plan, const TransformConfig& config) {
  for (const Stream* stream : model.streams()) {
    const auto is_rotating = [&](const auto& group) { return rotates(group.second, model, *stream); };
    if (stream == &model.stream() || std::ranges::none_of(config.config_groups, is_rotating)) continue;
    for (const NormReads& reads : stream->norm_reads)
      if (reads.norm->weight) fold_norm(plan, *reads.norm, reads.linears);
  }
}

void center_embeddings(const Model& model, RewritePlan& plan, std::string_view embedding_target) {
  const std::string target(embedding_target);
  const std::vector<const Module*> found = match_modules(model, {&target, 1});
  if (found.empty()) throw Error(target, "no module of the model matches this embedding");
  for (const Module* module : found) {
    if (module->kind != ModuleKind::embedding)
      throw Error(module->name, "is not an embedding, so it cannot be centred");
    plan.edit_weight(*module, CenterRows{});
  }
}

}  // namespace spinor
