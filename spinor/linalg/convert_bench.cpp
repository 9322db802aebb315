// Stored elements to numbers and back, and the row pass of a rotation: load, transform, store. Bytes are the stored
// ones, read and written; the arrays are larger than the L2 cache, the work happens row block by row block within it.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "spinor/linalg/convert.h"
#include "spinor/linalg/cpu.h"
#include "spinor/linalg/fwht.h"

namespace spinor::convert_bench {
namespace {

constexpr int64_t kElements = 4 << 20;
constexpr int64_t kBlock = 32 << 10;  // elements of a row block

struct Case {
  std::string_view level;
  DType dtype;
  int64_t n;  // of the transform, 0 for none
};

template <typename T>
void bench_rewrite(benchmark::State& state, Case c) {
  set_cpu_level(c.level);
  const int64_t width = info(c.dtype).bits / 8;
  std::vector<std::byte> from(static_cast<size_t>(kElements * width)), to(from.size());
  std::vector<T> x(kBlock);
  for (int64_t i = 0; i < kBlock; ++i) x[static_cast<size_t>(i)] = static_cast<T>(std::sin(static_cast<double>(i)));
  bool finite = true;
  for (int64_t i = 0; i < kElements; i += kBlock) finite &= store(c.dtype, x.data(), from.data() + i * width, kBlock);
  for (auto _ : state) {
    for (int64_t i = 0; i < kElements; i += kBlock) {
      load(c.dtype, from.data() + i * width, x.data(), kBlock);
      if (c.n > 0) fwht_rows(MatrixView<T>(x.data(), kBlock / c.n, c.n), static_cast<T>(1 / std::sqrt(c.n)));
      finite &= store(c.dtype, x.data(), to.data() + i * width, kBlock);
    }
  }
  if (!finite) state.SkipWithError("not finite");
  state.SetBytesProcessed(state.iterations() * 2 * kElements * width);
}

template <typename T>
void register_case(const Case& c) {
  const std::string middle = c.n > 0 ? "fwht" + std::to_string(c.n) : "none";
  const std::string type = sizeof(T) == 4 ? "/f32/" : "/f64/";
  const std::string name = "rewrite/" + std::string(info(c.dtype).name) + "/" + middle + type + std::string(c.level);
  benchmark::RegisterBenchmark(name.c_str(), bench_rewrite<T>, c);
}

const bool registered = [] {
  for (const std::string_view level : cpu_levels()) {
    for (const Case& c : {Case{level, DType::BF16, 0}, Case{level, DType::F16, 0}, Case{level, DType::BF16, 2048},
                          Case{level, DType::BF16, 4096}}) {
      register_case<float>(c);
      register_case<double>(c);
    }
  }
  return true;
}();

}  // namespace
}  // namespace spinor::convert_bench
