// A step of learning, on rows of SmolLM2-135M's size: products, the objective, one solve.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include "spinor/learning/learn.h"
#include "spinor/learning/testing.h"
#include "spinor/quant/activation.h"

namespace spinor::learning::learn_bench {
namespace {

constexpr int64_t kSteps = 25;

void learn_steps(benchmark::State& state, const char* objective) {
  const int64_t n = state.range(0);
  const at::Tensor rows = testing::heavy_rows(4096, n).to(at::kFloat), weights = at::ones({4096});
  const Matrix<double> start = testing::rotation_of(n);
  LearnOptions options{.objective = objective};
  options.quantizer = RowQuantizer{ActivationQuantizer::token_args(4, false)};
  options.optimizer.steps = kSteps;
  for (auto _ : state) benchmark::DoNotOptimize(learn_rotation(rows, weights, start, options));
  state.counters["s/step"] =
      benchmark::Counter(kSteps, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

const bool registered = [] {
  for (const char* objective : {"psot", "range", "whip", "quantization"})
    benchmark::RegisterBenchmark((std::string("learn/") + objective).c_str(), learn_steps, objective)
        ->Arg(576)
        ->Arg(2048)
        ->MeasureProcessCPUTime()
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  return true;
}();

}  // namespace
}  // namespace spinor::learning::learn_bench
