#include "spinor/quant/gptq.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "spinor/base/error.h"
#include "spinor/linalg/cpu.h"
#include "spinor/quant/gptq_testing.h"
#include "spinor/quant/testing.h"

namespace spinor::gptq_test {
namespace {

using namespace testing_quant;
using enum QuantizationStrategy;
using enum QuantizationType;

constexpr int64_t kRows = 37, kCols = 96;

WeightLayout layout_of(const char* format, QuantizationType type, int bits, bool symmetric,
                       QuantizationStrategy strategy, int64_t group_size = 32) {
  QuantizationArgs args{.num_bits = bits, .type = type, .symmetric = symmetric, .strategy = strategy};
  if (strategy == group || strategy == tensor_group) args.group_size = group_size;
  if (strategy == block) args.block_structure = {24, 40};
  return {args, format, kRows, kCols, DType::F32};
}

std::vector<WeightLayout> all_layouts() {
  std::vector<WeightLayout> all;
  for (const QuantizationStrategy strategy : {tensor, channel, group, block}) {
    for (const bool symmetric : {true, false})
      for (const int bits : {3, 4, 8}) all.push_back(layout_of("pack-quantized", integer, bits, symmetric, strategy));
    all.push_back(layout_of("int-quantized", integer, 8, false, strategy));
    all.push_back(layout_of("float-quantized", floating, 8, true, strategy));
  }
  all.push_back(layout_of("nvfp4-pack-quantized", floating, 4, true, tensor_group, 16));
  all.push_back(layout_of("mxfp4-pack-quantized", floating, 4, true, group));
  all.push_back(layout_of("mxfp8-quantized", floating, 8, true, group));
  return all;
}

std::string name_of(const WeightLayout& layout) {
  return layout.format + " of " + std::to_string(layout.args.num_bits) + " bits, " +
         std::string(name_in_table(*layout.args.strategy)) + (layout.args.symmetric ? "" : ", asymmetric");
}

Matrix<float> ordinary_weight(int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  Matrix<float> w(rows, cols);
  for (float& x : w.data) x = normal(engine);
  return w;
}

// X X' of inputs that hang together, dampened.
Matrix<double> hessian(int64_t n, uint32_t seed) {
  const Matrix<float> x = ordinary_weight(n, 2 * n, seed);
  Matrix<double> h(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t k = 0; k < 2 * n; ++k)
        h(i, j) += (x(i, k) + 0.7 * x(0, k)) * (x(j, k) + 0.7 * x(0, k)) / static_cast<double>(2 * n);
  for (int64_t i = 0; i < n; ++i) h(i, i) += 0.01;
  return h;
}

std::vector<int64_t> ascending(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<std::vector<int64_t>> orders(int64_t n) {
  std::vector<std::vector<int64_t>> all(3, ascending(n));
  std::ranges::reverse(all[1]);
  std::ranges::shuffle(all[2], std::mt19937(5));
  return all;
}

WeightEncoder observed(const WeightLayout& layout, const Matrix<float>& w,
                       QuantizationArithmetic arithmetic = QuantizationArithmetic::exact) {
  WeightEncoder encoder(layout, {}, arithmetic);
  observe_weight(encoder, w.view(), 1);
  return encoder;
}

class Gptq : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { set_cpu_level(GetParam()); }
  void TearDown() override { set_cpu_level(cpu_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Levels, Gptq, testing::ValuesIn(cpu_levels().begin(), cpu_levels().end()),
                         [](const auto& test) { return std::string(test.param); });

// A value that lies on the edge between two codes to float's precision may fall on either side, and then the rest of
// its row differs as well, to the same effect: so nearly all rows are equal, and the error of the others is nearly as
// large.
TEST_P(Gptq, CodesAreThoseOfTheClassicalForm) {
  const Matrix<float> w = ordinary_weight(kRows, kCols, 1);
  const Matrix<double> h = hessian(kCols, 2);
  int64_t rows = 0, equal_rows = 0;
  for (const WeightLayout& layout : all_layouts()) {
    const WeightEncoder encoder = observed(layout, w);
    for (const auto& order : orders(kCols)) {
      const Matrix<float> lower = narrowed(cholesky(permuted(h, order)));
      const std::vector<int64_t> columns(order.rbegin(), order.rend());
      const Classical expected(encoder, w, h, columns);
      for (const int64_t block_size : {1, 24, 200}) {
        const Result result = quantized_by(encoder, w, lower, order, block_size);
        for (int64_t i = 0; i < kRows; ++i, ++rows) {
          bool equal = true;
          for (int64_t k = 0; k < kCols; ++k)
            equal = equal && result.codes(i, columns[static_cast<size_t>(k)]) == expected.codes(i, k);
          equal_rows += equal ? 1 : 0;
        }
      }
    }
  }
  EXPECT_GE(static_cast<double>(equal_rows), 0.99 * static_cast<double>(rows)) << rows;
}

TEST_P(Gptq, ErrorsAreThoseOfTheOutputsAndSmallerThanWithoutIt) {
  const Matrix<float> w = ordinary_weight(kRows, kCols, 3);
  const Matrix<double> h = hessian(kCols, 4);
  for (const WeightLayout& layout : all_layouts()) {
    const WeightEncoder encoder = observed(layout, w);
    const auto order = orders(kCols)[2];
    const Result result = quantized_by(encoder, w, narrowed(cholesky(permuted(h, order))), order);
    const auto expected = output_errors(w, result.w, h);
    const auto nearest = output_errors(w, decoded(layout, quantized(layout, w)), h);
    // Float sums of 96 terms, and differences of w and q that are rounded relative to w: 2^-24 / 2^-8 of them at 8
    // bits.
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(result.errors[i] / expected[i], 1, 1e-3) << name_of(layout);
    EXPECT_LT(std::reduce(expected.begin(), expected.end()), 0.9 * std::reduce(nearest.begin(), nearest.end()))
        << name_of(layout);
  }
}

TEST_P(Gptq, IndependentInputsLeavePlainRounding) {
  Matrix<float> identity(kCols, kCols);
  for (int64_t k = 0; k < kCols; ++k) identity(k, k) = 1;
  const Matrix<float> w = awkward_weight(kRows, kCols, 5);
  for (const WeightLayout& layout : all_layouts()) {
    const auto expected = quantized(layout, w);
    const Matrix<float> back = decoded(layout, expected);
    for (const auto& order : orders(kCols)) {
      const WeightEncoder encoder = observed(layout, w);
      const Result result = quantized_by(encoder, w, identity, order);
      const int64_t stride = encoder.row_bytes(kCols);
      std::vector<std::byte> packed(static_cast<size_t>(kRows * stride), std::byte{255});
      encoder.pack(result.codes.view(), packed.data(), stride);
      ASSERT_EQ(packed, expected[0]) << name_of(layout);
      ASSERT_EQ(std::memcmp(result.w.data.data(), back.data.data(), back.data.size() * 4), 0) << name_of(layout);
      for (size_t i = 1; i < expected.size(); ++i) ASSERT_EQ(encoder.small_tensor(i), expected[i]) << name_of(layout);
    }
  }
}

TEST_P(Gptq, NeitherThreadsNorTheRowsOfACallMatter) {
  constexpr int64_t kMany = 300;  // of several tiles, and no multiple of any
  const Matrix<float> w = ordinary_weight(kMany, kCols, 6);
  const auto order = orders(kCols)[2];
  const Matrix<float> lower = narrowed(cholesky(permuted(hessian(kCols, 7), order)));
  for (WeightLayout layout : all_layouts()) {
    layout.rows = kMany;
    const WeightEncoder encoder = observed(layout, w);
    const Result alone = quantized_by(encoder, w, lower, order);
    for (const int threads : {2, 3, 8})
      ASSERT_EQ(quantized_by(encoder, w, lower, order, 24, threads), alone) << name_of(layout);
  }
}

TEST(GptqLevels, LevelsWithFusedMultiplyAddsGiveTheSameBits) {
  const Matrix<float> w = ordinary_weight(kRows, kCols, 8);
  const auto order = orders(kCols)[2];
  const Matrix<float> lower = narrowed(cholesky(permuted(hessian(kCols, 9), order)));
  for (const WeightLayout& layout : all_layouts()) {
    const WeightEncoder encoder = observed(layout, w);
    const Result expected = quantized_by(encoder, w, lower, order);
    for (const std::string_view level : cpu_levels()) {
      if (level == "baseline") continue;  // rounds products
      set_cpu_level(level);
      EXPECT_EQ(quantized_by(encoder, w, lower, order), expected) << name_of(layout) << " " << level;
    }
    set_cpu_level(cpu_levels().back());
  }
}

TEST_P(Gptq, AnySizeAndAnyBlock) {
  for (const auto [rows, cols, block_size] :
       {std::array<int64_t, 3>{5, 70, 24}, {1, 1, 128}, {129, 33, 32}, {2, 64, 1}, {64, 65, 64}, {3, 200, 64}}) {
    WeightLayout layout = layout_of("int-quantized", integer, 4, false, channel);
    layout.rows = rows;
    layout.cols = cols;
    const Matrix<float> w = ordinary_weight(rows, cols, 10);
    const Matrix<double> h = hessian(cols, 11);
    const auto order = orders(cols)[2];
    const WeightEncoder encoder = observed(layout, w);
    const Result result = quantized_by(encoder, w, narrowed(cholesky(permuted(h, order))), order, block_size, 2);
    const auto expected = output_errors(w, result.w, h);
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(result.errors[i], expected[i], 1e-3 * expected[i] + 1e-12);
    const Classical classical(encoder, w, h, {order.rbegin(), order.rend()});
    int64_t equal = 0;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t k = 0; k < cols; ++k)
        equal += result.codes(i, order[static_cast<size_t>(cols - 1 - k)]) == classical.codes(i, k) ? 1 : 0;
    EXPECT_GE(static_cast<double>(equal), 0.99 * static_cast<double>(rows * cols)) << rows << " x " << cols;
  }
}

// A weight of one block beside the surroundings of a larger matrix.
TEST_P(Gptq, ViewsKeepTheirSurroundings) {
  const WeightLayout layout = layout_of("pack-quantized", integer, 4, true, group);
  const Matrix<float> w = ordinary_weight(kRows, kCols, 12);
  const auto order = orders(kCols)[0];
  const Matrix<float> lower = narrowed(cholesky(permuted(hessian(kCols, 13), order)));
  const WeightEncoder encoder = observed(layout, w);
  const Result expected = quantized_by(encoder, w, lower, order);
  Matrix<float> large(kRows + 2, kCols + 3);
  Matrix<uint8_t> codes(kRows + 2, kCols + 5);
  std::ranges::fill(large.data, 7.0F);
  std::ranges::fill(codes.data, uint8_t{77});
  const auto inside = large.view().block(1, 2, kRows, kCols);
  for (int64_t i = 0; i < kRows; ++i) std::copy_n(w.view().row(i), kCols, inside.row(i));
  gptq(encoder, {inside, codes.view().block(1, 3, kRows, kCols), lower.view(), order}, 24, 2);
  for (int64_t i = 0; i < large.rows; ++i)
    for (int64_t j = 0; j < large.cols; ++j) {
      const bool in = i >= 1 && i <= kRows && j >= 2 && j < kCols + 2;
      ASSERT_EQ(large(i, j), in ? expected.w(i - 1, j - 2) : 7);
    }
  for (int64_t i = 0; i < codes.rows; ++i)
    for (int64_t j = 0; j < codes.cols; ++j) {
      const bool in = i >= 1 && i <= kRows && j >= 3 && j < kCols + 3;
      ASSERT_EQ(codes(i, j), in ? expected.codes(i - 1, j - 3) : 77);
    }
}

// The peer divides in float32 here, as its working copy of the weight is; what codes stand for has the scales' dtype.
TEST_P(Gptq, PeersArithmeticRoundsTheWeightAndWhatCodesStandFor) {
  Matrix<float> identity(kCols, kCols);
  for (int64_t k = 0; k < kCols; ++k) identity(k, k) = 1;
  const Matrix<float> w = awkward_weight(kRows, kCols, 14);
  for (const DType dtype : {DType::BF16, DType::F16}) {
    for (WeightLayout layout : all_layouts()) {
      layout.dtype = dtype;
      const WeightEncoder encoder = observed(layout, w, QuantizationArithmetic::peer);
      const Result result = quantized_by(encoder, w, identity, orders(kCols)[1]);
      Numbers numbers = encoder.numbers();
      const DType arithmetic = std::exchange(numbers.arithmetic, DType::F32);
      for (int64_t i = 0; i < kRows; ++i)
        for (int64_t j = 0; j < kCols; ++j) {
          const Affine affine = affine_at(encoder, i, j);
          float x = 0, back = 0;
          uint8_t code = 0;
          round_row(dtype, &w(i, j), 1, &x);
          quantize(numbers, &x, 1, {1, 1}, &affine, &code);
          ASSERT_TRUE(dequantize(numbers, &code, 1, {1, 1}, &affine, &back));
          round_row(arithmetic, &back, 1, &back);
          ASSERT_EQ(result.codes(i, j), code) << name_of(layout);
          ASSERT_EQ(result.w(i, j), back) << name_of(layout);
        }
    }
  }
}

// Whatever the errors that arrive, codes are codes: the decoder takes them.
TEST_P(Gptq, LargeErrorsStayWithinTheCodes) {
  Matrix<float> lower(kCols, kCols);
  for (int64_t i = 0; i < kCols; ++i)
    for (int64_t j = 0; j <= i; ++j) lower(i, j) = i == j ? 0.01F : static_cast<float>((i * 7 + j * 3) % 5 - 2);
  const Matrix<float> w = ordinary_weight(kRows, kCols, 15);
  for (const WeightLayout& layout : all_layouts()) {
    const WeightEncoder encoder = observed(layout, w);
    const Result result = quantized_by(encoder, w, lower, ascending(kCols));
    for (int64_t i = 0; i < kRows; ++i)
      for (int64_t j = 0; j < kCols; ++j) {
        const Affine affine = affine_at(encoder, i, j);
        float back = 0;
        ASSERT_TRUE(dequantize(encoder.numbers(), &result.codes(i, j), 1, {1, 1}, &affine, &back)) << name_of(layout);
        ASSERT_EQ(back, result.w(i, j)) << name_of(layout);
      }
  }
}

TEST_P(Gptq, ScalesAreTheMseSearchs) {
  const WeightLayout layout = layout_of("pack-quantized", integer, 4, true, group);
  const Matrix<float> w = ordinary_weight(kRows, kCols, 16);
  WeightEncoder encoder(layout, {.mse = true});
  observe_weight(encoder, w.view(), 2);
  const auto expected = quantized(layout, w, {.mse = true});
  for (size_t i = 1; i < expected.size(); ++i) EXPECT_EQ(encoder.small_tensor(i), expected[i]);
}

std::string error_of(const auto& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(GptqErrors, WhatHasNoAnswerIsRefused) {
  const WeightLayout layout = layout_of("pack-quantized", integer, 4, true, group);
  Matrix<float> w = ordinary_weight(kRows, kCols, 17);
  const WeightEncoder encoder = observed(layout, w);
  const auto order = ascending(kCols);
  for (const float bad : {0.0F, -1.0F, NAN, INFINITY}) {
    Matrix<float> lower = narrowed(cholesky(hessian(kCols, 18)));
    lower(7, 7) = bad;
    EXPECT_EQ(error_of([&] { quantized_by(encoder, w, lower, order); }),
              "weight: the Hessian of its inputs is not positive definite at 7; dampen it more");
  }
  for (const float bad : {NAN, INFINITY, 3e38F}) {
    Matrix<float> lower = narrowed(cholesky(hessian(kCols, 18)));
    for (int64_t k = 0; k < 9; ++k) lower(9, k) = bad;
    EXPECT_EQ(error_of([&] { quantized_by(encoder, w, lower, order); }),
              "weight: the error of row 0 is not finite; dampen the Hessian more");
  }
  w(3, 4) = NAN;
  EXPECT_NE(error_of([&] { observed(layout, w); }).find("finite"), std::string::npos);
}

}  // namespace
}  // namespace spinor::gptq_test
