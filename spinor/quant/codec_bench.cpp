// Weights to codes and back on one core, float32 elements read or written; a weight larger than the L2 cache goes
// through tile by tile, as a plan cuts it.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstring>
#include <string>

#include "spinor/linalg/cpu.h"
#include "spinor/quant/testing.h"

namespace spinor::codec_bench {
namespace {

using namespace testing_quant;
using enum QuantizationStrategy;

constexpr int64_t kRows = 1024, kCols = 2048;

struct Case {
  const char* name;
  QuantizationArgs args;
  const char* format;
};

QuantizationArgs integers(int bits, bool symmetric, QuantizationStrategy strategy) {
  QuantizationArgs args{.num_bits = bits, .symmetric = symmetric, .strategy = strategy};
  if (strategy == group) args.group_size = 128;
  return args;
}

QuantizationArgs floats(int bits, QuantizationStrategy strategy, int64_t group_size = 0) {
  QuantizationArgs args{.num_bits = bits, .type = QuantizationType::floating, .strategy = strategy};
  if (group_size != 0) args.group_size = group_size;
  if (strategy == block) args.block_structure = {128, 128};
  return args;
}

const Case kCases[] = {
    {"int4_group128", integers(4, true, group), "pack-quantized"},
    {"int4_group128_asym", integers(4, false, group), "pack-quantized"},
    {"int3_group128", integers(3, true, group), "pack-quantized"},
    {"int8_channel", integers(8, true, channel), "int-quantized"},
    {"fp8_channel", floats(8, channel), "float-quantized"},
    {"fp8_block128", floats(8, block), "float-quantized"},
    {"nvfp4", floats(4, tensor_group, 16), "nvfp4-pack-quantized"},
    {"mxfp4", floats(4, group, 32), "mxfp4-pack-quantized"},
};

WeightLayout layout_of(const Case& c) {
  return {c.args, c.format, kRows, kCols, DType::BF16};
}

Matrix<float> weight() {
  Matrix<float> w(kRows, kCols);
  for (size_t i = 0; i < w.data.size(); ++i) w.data[i] = std::sin(static_cast<float>(i * 7919 % 100003));
  return w;
}

void bench_encode(benchmark::State& state, const Case& c, QuantizationArithmetic arithmetic, bool mse) {
  const Matrix<float> w = weight();
  const Cut cut{128, kCols};
  for (auto _ : state) {
    WeightEncoder encoder(layout_of(c), {.mse = mse}, arithmetic);
    observe(encoder, w, cut);
    benchmark::DoNotOptimize(encode(encoder, w, cut));
  }
  state.SetBytesProcessed(state.iterations() * kRows * kCols * 4);
  state.SetItemsProcessed(state.iterations() * kRows * kCols);
}

void bench_decode(benchmark::State& state, const Case& c) {
  auto tensors = quantized(layout_of(c), weight());
  const WeightDecoder decoder(layout_of(c), {tensors.begin() + 1, tensors.end()});
  Matrix<float> w(128, kCols);
  const int64_t stride = decoder.row_bytes(kCols);
  for (auto _ : state) {
    for (int64_t row = 0; row < kRows; row += w.rows)
      decoder.decode(row, 0, tensors[0].data() + row * stride, stride, w.view());
    benchmark::DoNotOptimize(w.data.data());
  }
  state.SetBytesProcessed(state.iterations() * kRows * kCols * 4);
}

const bool registered = [] {
  for (const Case& c : kCases) {
    const std::string shape = std::string(c.name) + "/" + std::to_string(kRows) + "x" + std::to_string(kCols);
    const auto add = [&](const std::string& what, QuantizationArithmetic arithmetic, bool mse) {
      benchmark::RegisterBenchmark((what + "/" + shape + "/bf16").c_str(), bench_encode, c, arithmetic, mse);
    };
    add("encode", QuantizationArithmetic::exact, false);
    add("encode_peer", QuantizationArithmetic::peer, false);
    add("encode_mse", QuantizationArithmetic::exact, true);
    benchmark::RegisterBenchmark(("decode/" + shape + "/bf16").c_str(), bench_decode, c);
  }
  return true;
}();

}  // namespace
}  // namespace spinor::codec_bench
