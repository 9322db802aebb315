// Walsh-Hadamard transforms beside memcpy of the same bytes. Bytes are those read plus those written; a name ends in
// the CPU level. For one transform divide the time by the rows (1 where none are named).
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "spinor/linalg/cpu.h"
#include "spinor/linalg/fwht.h"

namespace spinor::fwht_bench {
namespace {

template <typename T>
constexpr const char* kType = sizeof(T) == 4 ? "f32" : "f64";

template <typename T>
std::vector<T> normal(int64_t n) {
  std::mt19937 engine(1);
  std::normal_distribution<T> draw;
  std::vector<T> x(static_cast<size_t>(n));
  for (T& value : x) value = draw(engine);
  return x;
}

void count_bytes(benchmark::State& state, int64_t bytes) {
  state.SetBytesProcessed(state.iterations() * 2 * bytes);
}

// 1 / sqrt(n), so that a value transformed again and again keeps its size.
template <typename T>
T unit(int64_t n) {
  return static_cast<T>(1 / std::sqrt(static_cast<double>(n)));
}

template <typename T>
void bench_rows(benchmark::State& state, std::string_view level, int64_t rows, int64_t n) {
  set_cpu_level(level);
  auto x = normal<T>(rows * n);
  for (auto _ : state) fwht_rows(MatrixView<T>(x.data(), rows, n), unit<T>(n));
  count_bytes(state, rows * n * static_cast<int64_t>(sizeof(T)));
}

template <typename T>
void bench_columns(benchmark::State& state, std::string_view level, int64_t n, int64_t cols, int64_t stride) {
  set_cpu_level(level);
  auto x = normal<T>(n * stride);
  for (auto _ : state) fwht_columns(MatrixView<T>(x.data(), n, cols, stride), unit<T>(n));
  count_bytes(state, n * cols * static_cast<int64_t>(sizeof(T)));
}

void bench_memcpy(benchmark::State& state, int64_t bytes) {
  std::vector<char> from(static_cast<size_t>(bytes), 1), to(from);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), from.size());
    benchmark::ClobberMemory();
  }
  count_bytes(state, bytes);
}

template <typename T>
void register_level(std::string_view level) {
  const auto name = [&](const std::string& what) { return what + "/" + kType<T> + "/" + std::string(level); };
  for (const int64_t n : {16, 64, 128})
    benchmark::RegisterBenchmark(name("fwht_rows/" + std::to_string(16384 / n) + "x" + std::to_string(n)).c_str(),
                                 bench_rows<T>, level, 16384 / n, n);
  for (const int64_t n : {1024, 2048, 4096, 8192, 65536})
    benchmark::RegisterBenchmark(name("fwht_rows/1x" + std::to_string(n)).c_str(), bench_rows<T>, level, 1, n);
  benchmark::RegisterBenchmark(name("fwht_rows/256x4096").c_str(), bench_rows<T>, level, 256, 4096);
  const int64_t shapes[][3] = {{2048, 64, 64}, {2048, 64, 72}, {4096, 32, 32},
                               {4096, 32, 40}, {64, 512, 512}, {1024, 16, 16}};
  for (const auto& [n, cols, stride] : shapes)
    benchmark::RegisterBenchmark(
        name("fwht_columns/" + std::to_string(n) + "x" + std::to_string(cols) + "/stride:" + std::to_string(stride))
            .c_str(),
        bench_columns<T>, level, n, cols, stride);
}

const bool registered = [] {
  for (const int64_t bytes : {4096, 16384, 32768, 65536, 1 << 20, 4 << 20})
    benchmark::RegisterBenchmark(("memcpy/" + std::to_string(bytes)).c_str(), bench_memcpy, bytes);
  for (const std::string_view level : cpu_levels()) {
    register_level<float>(level);
    register_level<double>(level);
  }
  return true;
}();

}  // namespace
}  // namespace spinor::fwht_bench
