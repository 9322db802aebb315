// Scales that are found where errors in some columns weigh more than in others.
#include <gtest/gtest.h>

#include "spinor/linalg/cpu.h"
#include "spinor/quant/observers.h"
#include "spinor/quant/testing.h"

namespace spinor::importance_test {
namespace {

using namespace testing_quant;
using enum QuantizationStrategy;

ObserverOptions imatrix() {
  return weight_observer({.observer = "imatrix_mse"}, {"args", "test"});
}

WeightLayout layout_of(QuantizationStrategy strategy, int64_t rows, int64_t cols) {
  QuantizationArgs args{.num_bits = 4, .symmetric = true, .strategy = strategy};
  if (strategy == group) args.group_size = 32;
  return {args, "pack-quantized", rows, cols, DType::F32};
}

std::vector<float> some_importance(int64_t cols) {
  std::vector<float> importance;
  for (int64_t i = 0; i < cols; ++i)
    importance.push_back(static_cast<float>(hash_of(static_cast<uint64_t>(i), 3) % 50));
  return importance;
}

class Importance : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { set_cpu_level(GetParam()); }
  void TearDown() override { set_cpu_level(cpu_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Levels, Importance, testing::ValuesIn(cpu_levels().begin(), cpu_levels().end()),
                         [](const auto& test) { return std::string(test.param); });

// An outlier and many small numbers: their scale is the outlier's unless that weighs nothing.
TEST_P(Importance, DecidesWhoseErrorsAreSmall) {
  Matrix<float> w(1, 32);
  for (int64_t i = 0; i < 32; ++i) w(0, i) = 0.01F * static_cast<float>(i);
  w(0, 7) = 8;
  const WeightLayout layout = layout_of(group, 1, 32);
  ObserverOptions to_the_end = imatrix();
  to_the_end.patience = 0;
  for (const float outlier : {1.0F, 0.0F}) {
    std::vector<float> importance(32, 1);
    importance[7] = outlier;
    const Matrix<float> back =
        decoded(layout, quantized(layout, w, to_the_end, QuantizationArithmetic::exact, importance));
    if (outlier == 1) {
      EXPECT_GT(back(0, 7), 4);
      EXPECT_EQ(back(0, 31), 0);
    } else {  // its range shrinks to the last step, a twentieth
      EXPECT_NEAR(back(0, 7), 0.4, 0.05);
      EXPECT_NEAR(back(0, 31), 0.31, 0.03);
    }
  }
}

// As float32 has it: 4 times the importance is 4 times each error, to the bit.
TEST_P(Importance, CountsByItsRatios) {
  const Matrix<float> w = awkward_weight(50, 96, 7);
  std::vector<float> importance = some_importance(96), scaled = importance;
  for (float& value : scaled) value *= 4;
  const std::vector<float> none(96, 0), same(96, 7);
  for (const QuantizationStrategy strategy : {channel, group}) {
    const WeightLayout layout = layout_of(strategy, 50, 96);
    const auto by = [&](const std::vector<float>& weights) {
      return quantized(layout, w, imatrix(), QuantizationArithmetic::exact, weights);
    };
    EXPECT_EQ(by(importance), by(scaled));
    EXPECT_NE(by(importance), by({}));
    EXPECT_EQ(by(none), by({}));
    EXPECT_EQ(by(same), by({}));
  }
}

// Sums of errors of parts of a group are added in another order than those of all of it.
TEST_P(Importance, IsThatOfTheColumnWhateverTheTile) {
  const Matrix<float> w = awkward_weight(50, 96, 8);
  const std::vector<float> importance = some_importance(96);
  for (const QuantizationStrategy strategy : {channel, group}) {
    const WeightLayout layout = layout_of(strategy, 50, 96);
    const auto expected = quantized(layout, w, imatrix(), QuantizationArithmetic::exact, importance);
    WeightEncoder encoder(layout, imatrix());
    encoder.set_importance(importance);
    const Cut cut{7, 32};
    observe(encoder, w, cut);
    EXPECT_EQ(encode(encoder, w, cut), expected) << static_cast<int>(strategy);
  }
}

}  // namespace
}  // namespace spinor::importance_test
