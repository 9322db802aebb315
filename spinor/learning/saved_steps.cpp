#include "spinor/learning/saved_steps.h"

#include <array>
#include <string_view>
#include <utility>

namespace spinor::learning {
namespace {

constexpr int kShare = 20;  // of the time is for learning, a part for keeping

constexpr std::array kParts = {"rotation", "first", "second"};

at::Tensor& part_of(CayleyState& state, std::string_view name) {
  return name == kParts[0] ? state.rotation : name == kParts[1] ? state.first : state.second;
}

}  // namespace

SavedSteps::SavedSteps(WorkDirectory* directory, std::string name)
    : directory_(directory), name_(std::move(name) + ".steps") {}

std::optional<LearningState> SavedSteps::find() const {
  const std::optional<Snapshot> found = directory_ ? directory_->find(name_) : std::nullopt;
  if (!found) return {};
  LearningState state{.optimizers = {}, .losses = found->json.get<std::vector<double>>()};
  for (const auto& [name, tensor] : found->tensors) {
    const size_t dot = name.rfind('.');
    CayleyState& optimizer = state.optimizers[name.substr(0, dot)];
    part_of(optimizer, name.substr(dot + 1)) = tensor;
    optimizer.taken = std::ssize(state.losses);
  }
  return state;
}

void SavedSteps::offer(const LearningState& state, bool now) {
  const Clock::time_point begin = Clock::now();
  if (!directory_ || (!now && begin < next_)) return;
  Snapshot snapshot{.json = state.losses};
  for (auto [name, optimizer] : state.optimizers)
    for (const char* part : kParts)
      if (const at::Tensor& tensor = part_of(optimizer, part); tensor.defined())
        snapshot.tensors[name + "." + part] = tensor;
  directory_->save(name_, snapshot);
  const Clock::time_point end = Clock::now();
  next_ = end + kShare * (end - begin);
}

void SavedSteps::drop() {
  if (directory_) directory_->drop(name_);
}

}  // namespace spinor::learning
