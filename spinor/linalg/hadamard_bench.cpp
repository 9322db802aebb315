// hadamard_rows|columns/<order>/base<base>/<type>: ns of CPU time per element, one thread, 2 MiB a call. For each order
// the peer's base, which bit-equality needs, and the smallest.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "spinor/linalg/hadamard.h"

namespace spinor::hadamard_bench {
namespace {

template <typename T>
Matrix<T> ones(int64_t rows, int64_t cols) {
  Matrix<T> x(rows, cols);
  x.data.assign(x.data.size(), T(1));
  return x;
}

// No growth from pass to pass: n * (1 / sqrt(n))^2 = 1.
template <typename T>
void run(benchmark::State& state, const Hadamard& h, bool columns) {
  const int64_t n = h.order(), fitting = (2 << 20) / static_cast<int64_t>(sizeof(T)) / n / 32 * 32;
  const int64_t others = std::max<int64_t>(32, fitting);
  Matrix<T> x = columns ? ones<T>(n, others) : ones<T>(others, n);
  const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(n)));
  for (auto _ : state) {
    if (columns)
      h.columns(x.view(), scale, true);
    else
      h.rows(x.view(), scale, true);
    benchmark::DoNotOptimize(x.data.data());
  }
  state.counters["ns/element"] =
      benchmark::Counter(static_cast<double>(x.data.size()) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

template <typename T>
void add(const Hadamard& h, const char* type) {
  for (const bool columns : {false, true}) {
    const std::string name = std::string(columns ? "hadamard_columns/" : "hadamard_rows/") + std::to_string(h.order()) +
                             "/base" + std::to_string(h.base()) + "/" + type;
    benchmark::RegisterBenchmark(name.c_str(), [h, columns](benchmark::State& state) {
      run<T>(state, h, columns);
    })->Unit(benchmark::kMicrosecond);
  }
}

const bool registered = [] {
  for (const int64_t n : {576, 1536, 3584, 5120, 14336, 18944}) {
    for (const Hadamard& h : {Hadamard::of_order(n), Hadamard::smallest_base(n)}) {
      add<double>(h, "f64");
      add<float>(h, "f32");
    }
  }
  return true;
}();

}  // namespace
}  // namespace spinor::hadamard_bench
