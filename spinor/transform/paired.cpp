#include "spinor/transform/paired.h"

#include <algorithm>

#include "spinor/model/match.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/cancel.h"

namespace spinor {

bool edits_ends(const TransformConfig& config, const Model& model) {
  for (const auto& [group, scheme] : config.config_groups)
    for (const TransformArgs& args : scheme.apply)
      for (const Module* module : match_modules(model, args.targets, args.ignore))
        if (module == model.embedding() || module == model.head()) return true;
  return false;
}

// What is new is tried on a plan of its own: what an earlier modifier did was checked then.
void apply_paired(const TransformConfig& config, const Model& model, RewritePlan& plan) {
  RewritePlan alone(model);
  const bool ends = edits_ends(config, model);
  if (ends) alone.untie();
  apply(config, model, alone);
  check_pairs(alone);
  if (ends) plan.untie();
  apply(config, model, plan);
}

}  // namespace spinor
