#include "spinor/transform/fold_online.h"

#include <utility>

#include "spinor/base/error.h"

namespace spinor {
namespace {

void fold(const OnlineTransform& online, RewritePlan& plan) {
  if (is_in_attention(online.location)) return;
  const Module* module = plan.model().find(online.module);
  if (!module || !module->weight)
    throw Error(online.module, "has no weight to take its online transform " + online.group);
  const bool linear = module->kind == ModuleKind::linear;
  const Rotation transposed = online.r.transposed();
  const std::string label = online.group + "'";
  if (online.location == TransformLocation::input && linear) {
    plan.edit_weight(*module, MultiplyRight{transposed, label});
  } else if (online.location == TransformLocation::output && linear) {
    plan.edit_weight(*module, MultiplyLeft{transposed, label});
    if (module->bias) plan.edit_bias(*module, MultiplyRight{online.r, online.group});
  } else if (online.location == TransformLocation::output) {
    plan.edit_weight(*module, MultiplyRight{online.r, online.group});
  } else {
    throw Error(online.module,
                online.group + " at " + std::string(name_of(online.location)) + " cannot be moved into the weight");
  }
}

}  // namespace

// In the order of the groups: the hook of a later group acts first on an input, x T_2 T_1, and last on an output,
// y T_1 T_2; either way the first group's is the first to be multiplied onto the weight.
void fold_online(RewritePlan& plan) {
  for (const OnlineTransform& online : plan.take_online()) fold(online, plan);
}

}  // namespace spinor
