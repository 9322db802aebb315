#include "spinor/transform/rotate_model.h"

#include <algorithm>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/cancel.h"
#include "spinor/transform/legality.h"
#include "spinor/transform/norm_linear_iterator.h"

namespace spinor {
namespace {

bool asks_for(const RotateOptions& options, Spin spin) {
  return std::ranges::find(options.spin.rotations, spin) != options.spin.rotations.end();
}

void fuse_norms(const Model& model, RewritePlan& plan, const RotateOptions& options) {
  plan.ask_for(options.spin.precision);
  if (!options.spin.rotations.empty() && !asks_for(options, Spin::R1)) return;
  plan.untie();
  fuse_layer_norms(model, plan);
}

RotateOperation rotate_by(Spin spin) {
  return [spin](const Model& model, RewritePlan& plan, const RotateOptions& options) {
    if (!asks_for(options, spin)) return;
    TransformConfig config = spinquant(model, options.spin);
    std::erase_if(config.config_groups, [&](const auto& group) { return group.first != name_in_table(spin); });
    apply(config, model, plan);
  };
}

using Operations = std::map<std::string, std::vector<RotateOperation>, std::less<>>;

Operations make_registry() {
  using enum Spin;
  Operations operations;
  for (const Architecture& row : architectures())
    for (const std::string& name : row.names)
      operations[name] = {fuse_norms, rotate_by(R1), rotate_by(R2), rotate_by(R3), rotate_by(R4)};
  return operations;
}

Operations& registry() {
  static Operations operations = make_registry();
  return operations;
}

void check(const Model& model, const RewritePlan& plan, const SpinQuantOptions& spin) {
  const CancelOptions options{.any_stream_matrix = spin.llm_compressor_compat};
  if (model.architecture())
    check_cancels(plan, options);
  else if (spin.mappings)
    check_cancels(plan, *spin.mappings, options);
}

}  // namespace

void RotateOperationRegistry::register_operation(const std::string& model_class, RotateOperation operation) {
  if (model_class.empty() || !operation) throw Error("RotateOperationRegistry", "needs a model class and an operation");
  registry()[model_class].push_back(std::move(operation));
}

const std::vector<RotateOperation>& RotateOperationRegistry::operations_of(const Model& model) {
  const std::string name(model.architecture_name());
  if (const auto found = registry().find(name); found != registry().end()) return found->second;
  throw Error(name, "no operation that rotates this class of models is registered",
              "write one, void(const Model&, RewritePlan&, const RotateOptions&), and give it to "
              "RotateOperationRegistry::register_operation(\"" +
                  name + "\", ...)");
}

void rotate_model(const Model& model, RewritePlan& plan, const RotateOptions& options) {
  const std::vector<RotateOperation> operations = RotateOperationRegistry::operations_of(model);
  if (model.architecture()) require_legal(model, options.spin.rotations);
  RewritePlan rotated = plan;
  for (const RotateOperation& operation : operations) operation(model, rotated, options);
  check(model, rotated, options.spin);
  plan = std::move(rotated);
}

}  // namespace spinor
