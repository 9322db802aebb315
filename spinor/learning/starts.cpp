#include "spinor/learning/starts.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "spinor/base/error.h"

namespace spinor::learning {
namespace {

// R of the group in the plan: x <- x R where this module writes x.
std::optional<Rotation> rotation_in(const RewritePlan& plan, const Module& writer, const std::string& group) {
  for (const Edit& edit : plan.find(weight_name(writer))->edits) {
    if (const auto* right = std::get_if<MultiplyRight>(&edit); right && right->label.starts_with(group))
      return right->r;
    if (const auto* left = std::get_if<MultiplyLeft>(&edit); left && left->label.starts_with(group))
      return left->r.transposed();
  }
  return {};
}

}  // namespace

Matrix<double> start_of_r1(const Model& model, const RotateOptions& options) {
  const RewritePlan plan = rotated_plan(model, options);
  for (const Module* writer : model.stream().writers)
    if (const std::optional<Rotation> r1 = rotation_in(plan, *writer, "R1")) return r1->matrix();
  throw Error("R1", "rotates nothing that writes to the residual stream: nothing to learn from",
              "set learnable: false, and leave seeds out");
}

std::map<int, Matrix<double>> starts_of_r2(const Model& model, const RotateOptions& options) {
  const RewritePlan plan = rotated_plan(model, options);
  std::map<int, Matrix<double>> starts;
  for (const ValueOutput& pair : model.value_outputs()) {
    if (!model.is_in_layers(*pair.value)) continue;
    if (const std::optional<Rotation> r2 = rotation_in(plan, *pair.value, "R2"))
      starts.try_emplace(pair.value->layer, r2->matrix());
  }
  return starts;
}

std::map<std::string, Rotation> starts_of_inputs(const Model& model, const RotateOptions& options) {
  const RewritePlan plan = rotated_plan(model, options);
  std::map<std::string, Rotation> starts;
  for (const OnlineTransform& online : plan.online())
    if (online.group == kInputGroup && online.location == TransformLocation::input)
      starts.emplace(online.module, online.r);
  return starts;
}

void add_starts(LearningRun& run) {
  auto& rotations = run.learned.rotations;
  if (run.rotates(Spin::R1) && !rotations.contains("R1"))
    rotations.emplace("R1", start_of_r1(run.model, run.request.start));
  if (!run.rotates(Spin::R2)) return;
  for (auto& [layer, start] : starts_of_r2(run.model, run.request.start))
    rotations.try_emplace(fmt::format("R2.{}", layer), std::move(start));
}

}  // namespace spinor::learning
