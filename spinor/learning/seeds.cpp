#include "spinor/learning/seeds.h"

#include <fmt/format.h>

#include "spinor/base/error.h"
#include "spinor/learning/starts.h"
#include "spinor/linalg/random.h"

namespace spinor::learning {
namespace {

uint64_t first_seed(const LearningRun& run) {
  return run.request.start.spin.seed.value_or(kPeerSeed);
}

Matrix<double> r1_of_seed(const LearningRun& run, uint64_t seed) {
  RotateOptions options = run.request.start;
  options.spin.seed = seed;
  return start_of_r1(run.model, options);
}

}  // namespace

void check_seeds(const LearningRun& run) {
  if (run.request.seeds <= 1) return;
  if (!run.rotates(Spin::R1))
    throw Error("seeds", "are compared by R1, which is not among the rotations", "leave seeds out");
  const uint64_t first = first_seed(run);
  if (r1_of_seed(run, first).data == r1_of_seed(run, first + 1).data)
    throw Error("seeds", "all give the same R1",
                "take a type that is drawn, such as random-hadamard, or leave them out");
}

void choose_seed(LearningRun& run, CaptureOnDemand& capture) {
  const int64_t seeds = run.request.seeds;
  if (seeds <= 1) return;
  const uint64_t first = first_seed(run);
  uint64_t chosen = first;
  double least = 0;
  Json losses = Json::array();
  for (int64_t i = 0; i < seeds; ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    const double loss = once(run.options.work, fmt::format("seed.{}", seed), [&] {
      const RowSet& stream = capture.rows().learn.stream;
      return mean_loss(stream.rows, stream.weights, r1_of_seed(run, seed), how_to_learn(run, "R1"));
    });
    losses.push_back(loss);
    if (i == 0 || loss < least) {
      least = loss;
      chosen = seed;
    }
    run.tell("seeds", i + 1, seeds);
  }
  run.learned.seed = run.request.start.spin.seed = chosen;
  run.learned.record["seeds"] = {{"first", first}, {"losses", losses}, {"chosen", chosen}};
}

}  // namespace spinor::learning
