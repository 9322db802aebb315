// rotation_right|left/<order>/signs|fixing_ones/<type>: ns of CPU time per element, one thread, 2 MiB a call: what a
// rotation that fixes the ones vector costs beside one that does not.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>

#include "spinor/linalg/fixing_ones.h"

namespace spinor::fixing_ones_bench {
namespace {

template <typename T>
void run(benchmark::State& state, const Rotation& r, bool left) {
  const int64_t n = r.size(), fitting = (2 << 20) / static_cast<int64_t>(sizeof(T)) / n / 32 * 32;
  const int64_t others = std::max<int64_t>(32, fitting);
  Matrix<T> x = left ? Matrix<T>(n, others) : Matrix<T>(others, n);
  x.data.assign(x.data.size(), T(1));
  std::vector<T> scratch;
  for (auto _ : state) {
    if (left)
      r.multiply_left(x.view(), scratch);
    else
      r.multiply_right(x.view(), scratch);
    benchmark::DoNotOptimize(x.data.data());
  }
  state.counters["ns/element"] =
      benchmark::Counter(static_cast<double>(x.data.size()) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

template <typename T>
void add(const Rotation& r, const std::string& kind, const char* type) {
  for (const bool left : {false, true}) {
    const std::string name =
        std::string(left ? "rotation_left/" : "rotation_right/") + std::to_string(r.size()) + "/" + kind + "/" + type;
    benchmark::RegisterBenchmark(name.c_str(), [r, left](benchmark::State& state) {
      run<T>(state, r, left);
    })->Unit(benchmark::kMicrosecond);
  }
}

const bool registered = [] {
  for (const int64_t n : {768, 2048, 2560, 4096, 4544, 8192}) {
    Random random;
    const std::vector<int8_t> left = random.signs(n), right = random.signs(n);
    const Rotation signs = Rotation::hadamard(Hadamard::smallest_base(n), left);
    const Rotation fixing = hadamard_fixing_ones(n, left, right);
    add<double>(signs, "signs", "f64");
    add<double>(fixing, "fixing_ones", "f64");
    add<float>(signs, "signs", "f32");
    add<float>(fixing, "fixing_ones", "f32");
  }
  return true;
}();

}  // namespace
}  // namespace spinor::fixing_ones_bench
