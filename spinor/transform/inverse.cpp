#include "spinor/transform/inverse.h"

#include <algorithm>

#include "spinor/transform/apply.h"
#include "spinor/transform/cancel.h"
#include "spinor/transform/fold.h"

namespace spinor {
namespace {

bool has_online(const TransformScheme& scheme) {
  return std::ranges::any_of(scheme.apply, [](const TransformArgs& args) { return is_online(args.location); });
}

}  // namespace

TransformConfig inverse_of(const TransformConfig& config) {
  TransformConfig inverse;
  for (auto group = config.config_groups.rbegin(); group != config.config_groups.rend(); ++group) {
    if (has_online(group->second)) continue;
    inverse.config_groups.push_back(*group);
    for (TransformArgs& args : inverse.config_groups.back().second.apply) args.inverse = !args.inverse;
  }
  return inverse;
}

// Norms are folded once more, which changes nothing where they are neutral already, so that the check sees readers that
// may take a rotation.
void undo(const std::vector<AppliedTransforms>& steps, const Model& model, RewritePlan& plan) {
  plan.untie();
  fold_norms(model, plan);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    apply(inverse_of(step->config), model, plan);
    apply_permutations(step->permutations, model, plan, true);
    apply_scales(step->scales, model, plan, true);
  }
  check_cancels(plan);
}

}  // namespace spinor
