// The dense products of a rotation: tiles of x R (rows of weights) and of R^T x (columns of weights), R (2048, 2048).
#include <benchmark/benchmark.h>

#include "spinor/base/parallel.h"
#include "spinor/linalg/gemm.h"

namespace spinor::gemm_bench {
namespace {

constexpr int64_t n = 2048;

// One tile a thread, all threads at once; the rate is of all together.
template <typename T>
void bench_tiles(benchmark::State& state, int64_t rows, int64_t cols, bool transpose_a) {
  const auto threads = static_cast<int>(state.range(1));
  const Matrix<T> a = transpose_a ? Matrix<T>(n, rows) : Matrix<T>(rows, n);
  std::vector<Matrix<T>> b(static_cast<size_t>(threads), Matrix<T>(n, cols));
  std::vector<Matrix<T>> c(static_cast<size_t>(threads), Matrix<T>(rows, cols));
  for (auto _ : state)
    parallel_for(threads, threads, [&](int64_t i, int) {
      gemm<T>(a.view(), b[static_cast<size_t>(i)].view(), c[static_cast<size_t>(i)].view(), transpose_a);
    });
  const double flops = 2.0 * static_cast<double>(rows * cols * n) * threads;
  state.counters["flop/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

template <typename T>
void rows_times_r(benchmark::State& state) {
  bench_tiles<T>(state, state.range(0), n, false);
}
template <typename T>
void r_times_columns(benchmark::State& state) {
  bench_tiles<T>(state, n, state.range(0), true);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tile", "threads"})->ArgsProduct({{256, 512, 1024, 2048}, {1, 2}});
  bench->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
}
BENCHMARK(rows_times_r<double>)->Name("gemm/x*R/f64")->Apply(shapes);
BENCHMARK(rows_times_r<float>)->Name("gemm/x*R/f32")->Apply(shapes);
BENCHMARK(r_times_columns<double>)->Name("gemm/Rt*x/f64")->Apply(shapes);
BENCHMARK(r_times_columns<float>)->Name("gemm/Rt*x/f32")->Apply(shapes);

}  // namespace
}  // namespace spinor::gemm_bench
