#include "spinor/quant/activation_range.h"

#include <gtest/gtest.h>

#include <cstring>

#include "spinor/base/error.h"

namespace spinor {
namespace {

QuantizationArgs tensor_args(bool symmetric, Json kwargs = Json::object()) {
  QuantizationArgs args{.symmetric = symmetric};
  args.strategy = QuantizationStrategy::tensor;
  args.observer_kwargs = std::move(kwargs);
  return args;
}

float scale_of(const ActivationRange& range) {
  float value = 0;
  std::memcpy(&value, range.stored(DType::F32).front().data(), sizeof value);
  return value;
}

void add(ActivationRange& range, float low, float high) {
  range.add(std::span(&low, 1), std::span(&high, 1));
}

const Place kPlace{"scheme", "recipe"};

// The figures are those of compressed-tensors' formulas: the magnitude over 127.5, the width over 255.
TEST(ActivationRange, AMovingAverageGivesTheFirstBatchMostOfTheWeight) {
  ActivationRange range(tensor_args(true), {});
  add(range, -1, 2);
  add(range, -1, 4);
  EXPECT_FLOAT_EQ(scale_of(range), (2 + 0.01F * 2) / 127.5F);
}

TEST(ActivationRange, AStaticRangeHoldsAllBatchesAndAMemorylessOneTheLast) {
  ActivationRange all(tensor_args(true), {ActivationObserver::static_minmax});
  ActivationRange last(tensor_args(true), {ActivationObserver::memoryless_minmax});
  for (ActivationRange* range : {&all, &last}) {
    add(*range, -8, 2);
    add(*range, -1, 4);
  }
  EXPECT_FLOAT_EQ(scale_of(all), 8 / 127.5F);
  EXPECT_FLOAT_EQ(scale_of(last), 4 / 127.5F);
}

TEST(ActivationRange, AnAsymmetricOneHasAZeroPointAndReachesZero) {
  ActivationRange range(tensor_args(false), {});
  add(range, 1, 2);
  EXPECT_FLOAT_EQ(scale_of(range), 2 / 255.0F);
  EXPECT_EQ(static_cast<int8_t>(range.stored(DType::F32)[1].front()), -128);
}

TEST(ActivationRange, EveryHeadHasItsOwn) {
  ActivationRange range(tensor_args(true), {});
  const float low[] = {-1, -3}, high[] = {2, 1};
  range.add(low, high);
  EXPECT_EQ(range.stored(DType::BF16).front().size(), 4u);
}

TEST(ActivationRange, AGlobalScaleMakesTheLargestFp8ScaleReachTheLargestMagnitude) {
  QuantizationArgs args{.num_bits = 4, .type = QuantizationType::floating};
  args.strategy = QuantizationStrategy::tensor_group;
  ActivationRange range(args, {});
  add(range, -12, 6);
  EXPECT_FLOAT_EQ(scale_of(range), 448 * 6 / 12.0F);
}

TEST(ActivationRange, AScaleThatItsTypeCannotHoldIsAnError) {
  ActivationRange range(tensor_args(true), {});
  add(range, 0, 1e8F);
  EXPECT_THROW(range.stored(DType::F16), Error);
}

TEST(ActivationObserver, IsReadFromItsNameAndArguments) {
  EXPECT_EQ(activation_observer(tensor_args(true), kPlace).kind, ActivationObserver::minmax);
  const Json kwargs = {{"averaging_constant", 0.5}};
  EXPECT_EQ(activation_observer(tensor_args(true, kwargs), kPlace).averaging_constant, 0.5);
  QuantizationArgs mse = tensor_args(true);
  mse.observer = "mse";
  EXPECT_THROW(activation_observer(mse, kPlace), Error);
  EXPECT_THROW(activation_observer(tensor_args(true, {{"averaging_constant", 0}}), kPlace), Error);
  EXPECT_THROW(activation_observer(tensor_args(true, {{"maxshrink", 0.2}}), kPlace), Error);
}

}  // namespace
}  // namespace spinor
