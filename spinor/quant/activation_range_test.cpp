#include "spinor/quant/activation_range.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"
#include "spinor/linalg/cpu.h"
#include "spinor/quant/golden_testing.h"
#include "spinor/quant/testing.h"

namespace spinor::activation_range_test {
namespace {

using namespace testing_quant;

QuantizationArgs tensor_args(bool symmetric) {
  QuantizationArgs args{.symmetric = symmetric};
  args.strategy = QuantizationStrategy::tensor;
  return args;
}

std::vector<float> floats(const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

float scale_of(const ActivationRange& range) {
  return floats(range.stored(DType::F32).front()).front();
}

bool add(ActivationRange& range, std::vector<float> values, int64_t rows = 1, int64_t slots = 1) {
  std::vector<Range> of = range.of({values.data(), rows, std::ssize(values) / rows}, slots, 1);
  if (of.empty()) return false;
  range.add(std::move(of));
  return true;
}

const Place kPlace{"scheme", "recipe"};

// The figures are those of compressed-tensors' formulas: the magnitude over 127.5, the width over 255.
TEST(ActivationRange, AMovingAverageGivesTheFirstBatchMostOfTheWeight) {
  ActivationRange range(tensor_args(true), {});
  EXPECT_TRUE(add(range, {-1, 2}));
  EXPECT_TRUE(add(range, {-1, 4}));
  EXPECT_FLOAT_EQ(scale_of(range), (2 + 0.01F * 2) / 127.5F);
}

TEST(ActivationRange, AStaticRangeHoldsAllBatchesAndAMemorylessOneTheLast) {
  ActivationRange all(tensor_args(true), {.averaging = Averaging::all});
  ActivationRange last(tensor_args(true), {.averaging = Averaging::last});
  for (ActivationRange* range : {&all, &last}) {
    EXPECT_TRUE(add(*range, {-8, 2}));
    EXPECT_TRUE(add(*range, {-1, 4}));
  }
  EXPECT_FLOAT_EQ(scale_of(all), 8 / 127.5F);
  EXPECT_FLOAT_EQ(scale_of(last), 4 / 127.5F);
}

TEST(ActivationRange, AnAsymmetricOneHasAZeroPointAndReachesZero) {
  ActivationRange range(tensor_args(false), {});
  EXPECT_TRUE(add(range, {1, 2}));
  EXPECT_FLOAT_EQ(scale_of(range), 2 / 255.0F);
  EXPECT_EQ(static_cast<int8_t>(range.stored(DType::F32)[1].front()), -128);
}

TEST(ActivationRange, EverySlotHasItsOwn) {
  ActivationRange range(tensor_args(true), {});
  EXPECT_TRUE(add(range, {1, 0, 3, 0, 0, 2, -4, 0}, 2, 2));
  const auto scales = floats(range.stored(DType::F32).front());
  ASSERT_EQ(scales.size(), 2u);
  EXPECT_FLOAT_EQ(scales[0], 2 / 127.5F);
  EXPECT_FLOAT_EQ(scales[1], 4 / 127.5F);
}

TEST(ActivationRange, AGlobalScaleMakesTheLargestFp8ScaleReachTheLargestMagnitude) {
  QuantizationArgs args{.num_bits = 4, .type = QuantizationType::floating};
  args.strategy = QuantizationStrategy::tensor_group;
  ActivationRange range(args, {});
  EXPECT_TRUE(add(range, {1, 6, -12, 2}, 1, 2));
  EXPECT_FLOAT_EQ(scale_of(range), 448 * 6 / 12.0F);
}

TEST(ActivationRange, RefusesWhatIsNotFinite) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    ActivationRange range(tensor_args(true), {});
    EXPECT_FALSE(add(range, {1, bad, 2, 3}, 2));
    EXPECT_TRUE(range.empty());
  }
}

TEST(ActivationRange, AScaleThatItsTypeCannotHoldIsAnError) {
  ActivationRange range(tensor_args(true), {});
  EXPECT_TRUE(add(range, {0, 1e8F}));
  EXPECT_THROW(range.stored(DType::F16), Error);
}

TEST(ActivationRange, DoesNotDependOnThreads) {
  const Matrix<float> x = awkward_weight(700, 96, 3);
  for (const char* name : {"minmax", "mse"}) {
    QuantizationArgs args = tensor_args(false);
    args.observer = name;
    std::vector<std::vector<std::byte>> first;
    for (const int threads : {1, 2, 5}) {
      ActivationRange range(args, activation_observer(args, kPlace));
      range.add(range.of(x.view(), 1, threads));
      if (first.empty()) first = range.stored(DType::F32);
      EXPECT_EQ(range.stored(DType::F32), first) << name << " " << threads;
    }
  }
}

TEST(ActivationObserver, IsReadFromItsNameAndArguments) {
  EXPECT_FALSE(activation_observer(tensor_args(true), kPlace).search.mse);
  QuantizationArgs args = tensor_args(true);
  args.observer_kwargs = {{"averaging_constant", 0.5}, {"maxshrink", 0.1}};
  args.observer = "mse";
  const ActivationObserver found = activation_observer(args, kPlace);
  EXPECT_TRUE(found.search.mse && found.averaging == Averaging::moving);
  EXPECT_EQ(found.averaging_constant, 0.5);
  EXPECT_EQ(found.search.maxshrink, 0.1);
  for (const Json& kwargs : {Json{{"averaging_constant", 0}}, Json{{"constant", 0.2}}}) {
    args.observer_kwargs = kwargs;
    EXPECT_THROW(activation_observer(args, kPlace), Error);
  }
  args.observer = "imatrix_mse";
  args.observer_kwargs = {{"strict", true}};
  EXPECT_THROW(activation_observer(args, kPlace), Error);
}

Matrix<float> golden_batch(const Json& shape, uint64_t seed) {
  Matrix<float> x = awkward_weight(shape[0], shape[1], seed);
  for (float& value : x.data) value = std::clamp(value, -8.0F, 8.0F) * static_cast<float>(seed);
  return x;
}

// What llm-compressor's observers make of the same batches: tests/golden/make_activation_ranges.py. Two steps of a
// search may have errors so close that the order of additions decides; none of these cases has such steps.
TEST(ActivationRange, GivesThePeersScales) {
  const Json cases = golden_cases("activation_ranges.json");
  EXPECT_GE(cases.size(), 30u);
  for (const std::string_view level : cpu_levels()) {
    set_cpu_level(level);
    for (const Json& one : cases) {
      QuantizationArgs args = args_of(one["args"]);
      args.observer = one["args"]["observer"].get<std::string>();
      ActivationRange range(args, activation_observer(args, kPlace));
      for (const uint64_t seed : one["seeds"])
        range.add(range.of(golden_batch(one["shape"], seed).view(), one["slots"], 2));
      const auto stored = range.stored(DType::F32);
      EXPECT_EQ(floats(stored[0]), one["scale"].get<std::vector<float>>()) << one;
      if (stored.size() < 2) continue;
      const auto* zeros = reinterpret_cast<const int8_t*>(stored[1].data());
      EXPECT_EQ(std::vector<int8_t>(zeros, zeros + stored[1].size()), one["zero_point"].get<std::vector<int8_t>>())
          << one;
    }
  }
  set_cpu_level(cpu_levels().back());
}

}  // namespace
}  // namespace spinor::activation_range_test
