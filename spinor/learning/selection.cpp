#include "spinor/learning/selection.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/learning/work_directory.h"

namespace spinor::learning {

Selection::Selection(LearningRun& run, std::function<Judge()> make_judge)
    : run_(run), make_judge_(std::move(make_judge)), best_(run.request.start) {
  run_.tell("judge", 0, 1);
  least_ = divergence("start", best_);
  if (!std::isfinite(least_))
    throw Error(std::string(run_.model.architecture_name()), "its logits on the calibration text are not finite",
                "look for the layer that makes them so: spinor eval, spinor inspect");
  run_.learned.record["start"]["kl_divergence"] = least_;
}

void Selection::add_rotations(const std::string& name, RotationPart part) {
  if (part.empty()) return;
  RotateOptions candidate = best_;
  for (const auto& [key, matrix] : part) {
    const size_t dot = key.find('.');
    if (name == kInputGroup) {
      candidate.spin.given.inputs.insert_or_assign(key.substr(dot + 1), Rotation::dense(matrix, true));
      continue;
    }
    const int layer = dot == std::string::npos ? kEveryLayer : std::stoi(key.substr(dot + 1));
    candidate.spin.given.groups[key.substr(0, dot)].insert_or_assign(layer, Rotation::dense(matrix, true));
  }
  if (helps(name, std::move(candidate))) run_.learned.rotations.merge(part);
}

void Selection::add_scales(const std::map<std::string, std::vector<double>>& scales) {
  if (scales.empty()) return;
  RotateOptions candidate = best_;
  for (const auto& [name, factors] : scales)
    candidate.spin.given.scales[name] = std::make_shared<const std::vector<double>>(factors);
  if (!helps("scales", std::move(candidate))) return;
  for (const auto& [name, factors] : scales) run_.learned.scales["scale." + name] = factors;
}

void Selection::add_permutations(const std::map<std::string, std::vector<int64_t>>& orders) {
  if (orders.empty()) return;
  RotateOptions candidate = best_;
  for (const auto& [name, order] : orders)
    candidate.spin.given.permutations[name] = std::make_shared<const std::vector<int64_t>>(order);
  if (!helps("permutation", std::move(candidate))) return;
  for (const auto& [name, order] : orders) run_.learned.permutations["permutation." + name] = order;
}

bool Selection::helps(const std::string& name, RotateOptions candidate) {
  run_.tell("judge " + name, 0, 1);
  const double found = divergence(name, candidate);
  run_.held_out()["kl_divergence_with_" + name] = found;
  if (!(found < least_)) {
    run_.warn(
        fmt::format("{}: with what was learned held-out text diverges by {:.4g} nats a token from the original "
                    "model, without by {:.4g}: it is left out",
                    name, found, least_));
    return false;
  }
  least_ = found;
  best_ = std::move(candidate);
  run_.kept.push_back(name);
  return true;
}

double Selection::divergence(const std::string& name, const RotateOptions& rotation) {
  return once(run_.options.work, "judge." + name, [&] {
    if (!judge_) judge_.emplace(make_judge_());
    return judge_->divergence(rotation);
  });
}

void Selection::finish() {
  run_.learned.record["learned"]["kl_divergence"] = least_;
}

}  // namespace spinor::learning
