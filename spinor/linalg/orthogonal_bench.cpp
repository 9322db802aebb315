#include <benchmark/benchmark.h>

#include "spinor/linalg/orthogonal.h"

namespace spinor::orthogonal_bench {
namespace {

void random_orthogonal_n(benchmark::State& state) {
  const int64_t n = state.range(0);
  for (auto _ : state) {
    Random random;
    benchmark::DoNotOptimize(random_orthogonal(n, random, static_cast<int>(state.range(1))));
  }
  // Multiplications and additions of the reflections.
  const double flops = 4.0 / 3 * static_cast<double>(n * n * n);
  state.counters["flop/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(random_orthogonal_n)
    ->Name("random_orthogonal")
    ->ArgNames({"n", "threads"})
    ->ArgsProduct({{2048, 4096}, {1, 2}})
    ->Unit(benchmark::kMillisecond)
    ->MeasureProcessCPUTime()
    ->UseRealTime();

}  // namespace
}  // namespace spinor::orthogonal_bench
