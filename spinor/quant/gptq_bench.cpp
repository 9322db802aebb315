// GPTQ of a weight on two threads, its scales and the factor of its Hessian given. A rate of elements, and of
// multiply-adds as two operations: half of cols^2 for each row.
#include <benchmark/benchmark.h>

#include <cmath>
#include <numeric>
#include <random>
#include <string>

#include "spinor/quant/gptq.h"
#include "spinor/quant/testing.h"

namespace spinor::gptq_bench {
namespace {

struct Case {
  const char* name;
  QuantizationArgs args;
  const char* format;
};

const Case kCases[] = {
    {"int4_group128", {.num_bits = 4, .group_size = 128, .strategy = QuantizationStrategy::group}, "pack-quantized"},
    {"nvfp4",
     {.num_bits = 4,
      .type = QuantizationType::floating,
      .group_size = 16,
      .strategy = QuantizationStrategy::tensor_group},
     "nvfp4-pack-quantized"},
};

float wave(size_t i) {
  return std::sin(static_cast<float>(i * 7919 % 100003));
}

// A factor of no Hessian in particular; errors that reach a column are as large as its own.
Matrix<float> factor(int64_t n) {
  Matrix<float> lower(n, n);
  const float size = 1 / std::sqrt(static_cast<float>(n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) lower(i, j) = size * wave(static_cast<size_t>(i * n + j));
    lower(i, i) = 1;
  }
  return lower;
}

void bench_gptq(benchmark::State& state, const Case& c, int64_t rows, int64_t cols, int64_t block_size) {
  Matrix<float> w(rows, cols);
  for (size_t i = 0; i < w.data.size(); ++i) w.data[i] = wave(i);
  WeightEncoder encoder({c.args, c.format, rows, cols, DType::BF16});
  observe_weight(encoder, w.view(), 2);
  const Matrix<float> lower = factor(cols);
  std::vector<int64_t> order(static_cast<size_t>(cols));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  Matrix<uint8_t> codes(rows, cols);
  for (auto _ : state)
    benchmark::DoNotOptimize(gptq(encoder, {w.view(), codes.view(), lower.view(), order}, block_size, 2));
  state.SetItemsProcessed(state.iterations() * rows * cols);
  state.counters["flop/s"] =
      benchmark::Counter(static_cast<double>(rows * cols * cols), benchmark::Counter::kIsIterationInvariantRate);
}

const bool registered = [] {
  const auto add = [](const Case& c, int64_t rows, int64_t cols, int64_t block_size) {
    const std::string name = "gptq/" + std::string(c.name) + "/" + std::to_string(rows) + "x" + std::to_string(cols) +
                             "/block:" + std::to_string(block_size) + "/threads:2";
    benchmark::RegisterBenchmark(name.c_str(), bench_gptq, c, rows, cols, block_size)
        ->MeasureProcessCPUTime()
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  for (const Case& c : kCases)
    for (const int64_t block_size : {32, 64, 128, 256}) add(c, 1024, 4096, block_size);
  add(kCases[0], 4096, 14336, 128);
  return true;
}();

}  // namespace
}  // namespace spinor::gptq_bench
