#include "spinor/transform/rotate_model.h"

#include <algorithm>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/cancel.h"
#include "spinor/transform/fold.h"
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

void rotate(const Model& model, RewritePlan& plan, const RotateOptions& options) {
  const TransformConfig config = spinquant(model, options.spin);
  fold_tower_norms(model, plan, config);
  apply(config, model, plan);
}

// Of every class that has an architecture.
std::vector<RotateOperation> known_operations() {
  return {fuse_norms, rotate};
}

// What programs registered, by the class.
std::map<std::string, std::vector<RotateOperation>, std::less<>>& registry() {
  static std::map<std::string, std::vector<RotateOperation>, std::less<>> operations;
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

std::vector<RotateOperation> RotateOperationRegistry::operations_of(const Model& model) {
  const std::string name(model.architecture_name());
  std::vector<RotateOperation> operations;
  if (model.architecture()) operations = known_operations();
  if (const auto found = registry().find(name); found != registry().end())
    operations.insert(operations.end(), found->second.begin(), found->second.end());
  if (!operations.empty()) return operations;
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
