// The dense products of a rotation: tiles of x R (rows by the matrix) and R^T x (the matrix by columns), R (n, n).
#include <benchmark/benchmark.h>

#include <string>

#include "spinor/base/parallel.h"
#include "spinor/linalg/gemm.h"

namespace spinor {
namespace {

// One tile a thread, all threads at once; flops of all together.
template <typename T>
void bench_tiles(benchmark::State& state, int64_t rows, int64_t cols, int64_t inner, bool transpose_a, int threads) {
  const Matrix<T> a = transpose_a ? Matrix<T>(inner, rows) : Matrix<T>(rows, inner);
  std::vector<Matrix<T>> b(static_cast<size_t>(threads), Matrix<T>(inner, cols));
  std::vector<Matrix<T>> c(static_cast<size_t>(threads), Matrix<T>(rows, cols));
  for (auto _ : state)
    parallel_for(threads, threads, [&](int64_t i, int) {
      gemm<T>(a.view(), b[static_cast<size_t>(i)].view(), c[static_cast<size_t>(i)].view(), transpose_a);
    });
  const double flops = 2.0 * static_cast<double>(rows * cols * inner) * threads;
  state.counters["flop/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

template <typename T>
void add(const std::string& type) {
  constexpr int64_t n = 2048;
  const auto name = [&](const std::string& shape, int threads) {
    return "gemm/" + shape + "/" + type + "/threads:" + std::to_string(threads);
  };
  for (const int threads : {1, 2}) {
    for (const int64_t rows : {128, 256, 512, 1024})
      benchmark::RegisterBenchmark(name(std::to_string(rows) + "x2048*R", threads).c_str(), bench_tiles<T>, rows, n, n,
                                   false, threads)
          ->UseRealTime();
    for (const int64_t cols : {128, 256, 512, 1024})
      benchmark::RegisterBenchmark(name("Rt*2048x" + std::to_string(cols), threads).c_str(), bench_tiles<T>, n, cols, n,
                                   true, threads)
          ->UseRealTime();
  }
}

[[maybe_unused]] const bool kAdded = (add<double>("f64"), add<float>("f32"), true);

}  // namespace
}  // namespace spinor
