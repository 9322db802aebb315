#include "spinor/learning/end_to_end.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/learning/frames.h"
#include "spinor/learning/network.h"
#include "spinor/learning/objective.h"
#include "spinor/learning/saved_steps.h"
#include "spinor/linalg/random.h"
#include "spinor/runtime/matrices.h"
#include "spinor/runtime/weights.h"

namespace spinor::learning {
namespace {

// P with R P = S, as the network has R.
at::Tensor from_drawn(const Starting& rotation, const runtime::RuntimeOptions& runtime) {
  const at::Tensor p = runtime::tensor_of(rotation.drawn).t().mm(runtime::tensor_of(rotation.start));
  return p.to(at::Device(runtime.device), runtime::torch_dtype(runtime.dtype)).contiguous();
}

using Matrices = std::map<std::string, at::Tensor>;

Matrices starts(const std::map<std::string, Starting>& rotations, const runtime::RuntimeOptions& runtime) {
  Matrices matrices;
  for (const auto& [name, rotation] : rotations) matrices[name] = from_drawn(rotation, runtime);
  return matrices;
}

Matrices ones(const Matrices& like) {
  Matrices matrices;
  for (const auto& [name, matrix] : like) matrices[name] = at::eye(matrix.size(0), matrix.options());
  return matrices;
}

// Round after round, each in an order of its own.
class Draw {
 public:
  Draw(uint64_t seed, int64_t count) : random_(seed), count_(count) {}

  std::vector<int64_t> next(int64_t samples) {
    std::vector<int64_t> drawn;
    while (std::ssize(drawn) < samples) {
      if (left_.empty()) left_ = random_.permutation(count_);
      drawn.push_back(left_.back());
      left_.pop_back();
    }
    return drawn;
  }

 private:
  Random random_;
  int64_t count_;
  std::vector<int64_t> left_;
};

class EndToEnd {
 public:
  EndToEnd(const RewritePlan& plan, const std::map<std::string, Starting>& rotations,
           const calibration::Samples& samples, const EndToEndOptions& options)
      : rotations_(rotations),
        options_(options),
        start_(starts(rotations, options.runtime)),
        frames_(plan, start_, options.runtime),
        network_(plan, samples, find_objective(options.objective), frames_, options.runtime, options.stop),
        judged_(static_cast<size_t>(samples.count - options.learn)),
        saved_(options.work, options.objective) {
    std::iota(judged_.begin(), judged_.end(), options.learn);
    for (const auto& [name, matrix] : start_) {
      CayleyOptions own = options.optimizer;
      own.fixes_ones &= name == "R1";
      optimizers_.emplace(name, CayleyOptimizer(matrix, own));
    }
  }

  LearnedEndToEnd run() {
    LearnedEndToEnd learned;
    learned.drawn = once(options_.work, options_.objective + ".drawn", [&] { return judge(ones(start_)); });
    learned.start = begins_as_drawn()
                        ? learned.drawn
                        : once(options_.work, options_.objective + ".start", [&] { return judge(start_); });
    Draw draw(options_.seed, options_.learn);
    learned.losses = go_on(draw);
    for (int64_t step = std::ssize(learned.losses); step < options_.optimizer.steps; ++step) {
      if (options_.stop.stop_requested()) {
        keep(learned.losses);
        throw Stopped();
      }
      learned.losses.push_back(take_step(draw.next(options_.samples)));
      keep(learned.losses);
      if (options_.progress) options_.progress(step, learned.losses.back());
    }
    Matrices end;
    for (const auto& [name, optimizer] : optimizers_) {
      end[name] = optimizer.rotation();
      learned.rotations.emplace(name, finished(name));
    }
    learned.learned = judge(end);
    return learned;
  }

 private:
  bool begins_as_drawn() const {
    return std::ranges::all_of(rotations_,
                               [](const auto& each) { return each.second.drawn.data == each.second.start.data; });
  }

  // Where an earlier run was killed, if any was: its losses, and the next samples are those that it would have drawn.
  std::vector<double> go_on(Draw& draw) {
    const std::optional<LearningState> earlier = saved_.find();
    if (!earlier) return {};
    for (auto& [name, optimizer] : optimizers_) optimizer.restore(earlier->optimizers.at(name));
    for (size_t i = 0; i < earlier->losses.size(); ++i) (void)draw.next(options_.samples);
    return earlier->losses;
  }

  void keep(const std::vector<double>& losses) {
    LearningState state{.optimizers = {}, .losses = losses};
    for (const auto& [name, optimizer] : optimizers_) state.optimizers[name] = optimizer.state();
    saved_.offer(state, options_.stop.stop_requested());
  }

  double judge(const Matrices& matrices) {
    for (const auto& [name, matrix] : matrices) frames_.set(name, matrix);
    return network_.loss(judged_);
  }

  double take_step(const std::vector<int64_t>& samples) {
    for (const auto& [name, optimizer] : optimizers_) frames_.set(name, optimizer.rotation());
    const double loss = network_.add_gradient(samples);
    const at::NoGradGuard constant;
    for (auto& [name, optimizer] : optimizers_) optimizer.step(optimizer.rotation().t().mm(frames_.gradient(name)));
    return loss;
  }

  Matrix<double> finished(const std::string& name) const {
    const at::Tensor p = optimizers_.at(name).rotation().to(at::kCPU, at::kDouble);
    return finish_rotation(runtime::tensor_of(rotations_.at(name).drawn).mm(p),
                           options_.optimizer.fixes_ones && name == "R1", name);
  }

  const std::map<std::string, Starting>& rotations_;
  const EndToEndOptions& options_;
  Matrices start_;
  Frames frames_;
  Network network_;
  std::vector<int64_t> judged_;
  std::map<std::string, CayleyOptimizer> optimizers_;
  SavedSteps saved_;
};

}  // namespace

LearnedEndToEnd learn_end_to_end(const RewritePlan& plan, const std::map<std::string, Starting>& rotations,
                                 const calibration::Samples& samples, const EndToEndOptions& options) {
  if (options.learn < 1 || options.learn >= samples.count)
    throw Error("learning", fmt::format("{} of {} samples are to learn on", options.learn, samples.count),
                "take one at least, and leave one to judge by");
  return EndToEnd(plan, rotations, samples, options).run();
}

}  // namespace spinor::learning
