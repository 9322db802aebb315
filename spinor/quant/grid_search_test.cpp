#include "spinor/quant/grid_search.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"

namespace spinor::grid_search_test {
namespace {

using Steps = GridSearch::Steps;

GridSearch search(ObserverOptions options, DType arithmetic = DType::F32) {
  options.mse = true;
  ScaleRule rule{.numbers = {.bits = 4, .arithmetic = arithmetic}, .dtype = arithmetic};
  return {options, rule};
}

TEST(GridSearch, HasAsManyStepsAsTheGridHasBelowMaxshrink) {
  EXPECT_EQ(search({}).steps(), 20);
  EXPECT_EQ(search({.maxshrink = 0.5}).steps(), 50);
  EXPECT_EQ(search({.maxshrink = 0.29}).steps(), 28);  // 0.29 * 100 is a little less than 29; the peer cuts it off, too
  EXPECT_EQ(search({.maxshrink = 0}).steps(), 0);
}

TEST(GridSearch, AnImprovementIsSmallerThanAllBefore) {
  const std::vector<double> errors = {5, 6, 4, 4, 3, 10};
  EXPECT_EQ(search({}).improvements(errors), Steps(0b010101u));
  // In BF16 4.001 and 4 are the same.
  const std::vector<double> close = {4.001, 4, 3.9};
  EXPECT_EQ(search({}, DType::BF16).improvements(close), Steps(0b101u));
  const std::vector<double> infinite = {1e39, 1e39};
  EXPECT_TRUE(search({}).improvements(infinite).none());
}

TEST(GridSearch, EndsAfterStepsInWhichNoGroupImproved) {
  const GridSearch patient = search({.patience = 5}), hasty = search({.patience = 1});
  EXPECT_EQ(hasty.tried(0b1011), Steps(0b111u));  // step 2 is the last that is tried
  EXPECT_EQ(patient.tried(0b1011) & Steps(0b1011), Steps(0b1011u));
  EXPECT_EQ(patient.tried(1 | 1 << 6), Steps(0b111111u));  // idle from 1 to 5
  EXPECT_TRUE(patient.tried(1 | 1 << 5)[5]);               // idle from 1 to 4 only
  EXPECT_EQ(patient.tried(0), Steps(0b11111u));
}

TEST(GridSearch, ShrinksToTheLastImprovement) {
  const Range range{-1, 2};
  EXPECT_EQ(search({}).found(range, 0).high, 2);
  EXPECT_EQ(search({}).found(range, 1).high, 2);
  EXPECT_EQ(search({}).found(range, 0b1001).high, 2 * 0.97F);
  EXPECT_EQ(search({}).found(range, 0b1001).low, -0.97F);
}

TEST(GridSearch, BeginsAtTheExpandedRange) {
  const GridSearch expanded = search({.expand = 1.5, .maxshrink = 0.5, .grid = 200});
  EXPECT_EQ(expanded.steps(), 100);
  EXPECT_EQ(expanded.found({-1, 2}, 0).high, 3);
  EXPECT_EQ(expanded.found({-1, 2}, Steps().set(99)).high, 3 * (1 - 99 / 200.0F));
}

TEST(GridSearch, OfImatrixTriesTheLastStepTooAndComparesInFloat) {
  EXPECT_EQ(search({.imatrix = true, .maxshrink = 0.95, .grid = 20}).steps(), 20);
  EXPECT_EQ(search({.imatrix = true, .maxshrink = 0, .grid = 20}).steps(), 2);
  const std::vector<double> close = {4.001, 4, 3.9};
  EXPECT_EQ(search({.imatrix = true}, DType::BF16).improvements(close), Steps(0b111u));
  EXPECT_TRUE(search({.imatrix = true, .maxshrink = 1, .patience = 0}).tried(1)[100]);
}

TEST(GridSearch, HasABoundOnItsSteps) {
  EXPECT_EQ(search({.maxshrink = 0.64, .grid = 200}).steps(), GridSearch::kMaxSteps);
  EXPECT_THROW(search({.maxshrink = 0.65, .grid = 200}), Error);
}

TEST(GridSearch, StepsWithOneScaleShareTheirErrors) {
  std::vector<float> x(32);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) * 0.1F;
  const std::vector<Affine> candidates = {{0.5F, 0}, {0.5F, 0}, {0.25F, 0}, {0.5F, 0}};
  std::vector<double> errors(4);
  search({}).add_errors(candidates, x.data(), 32, errors.data());
  EXPECT_EQ(errors[0], errors[1]);
  EXPECT_EQ(errors[0], errors[3]);
  EXPECT_NE(errors[0], errors[2]);
}

}  // namespace
}  // namespace spinor::grid_search_test
