#include "spinor/plan/calibration_share.h"

#include <gtest/gtest.h>

namespace spinor::calibration_share_test {
namespace {

TEST(CalibrationOwners, TheDearestGoFirstToWhoHasLeast) {
  const std::map<std::string, double> costs = {{"a", 3}, {"b", 9}, {"c", 3}, {"d", 4}, {"e", 2}};
  const std::map<std::string, int> owners = calibration_owners(costs, 2);
  EXPECT_EQ(owners, (std::map<std::string, int>{{"b", 0}, {"d", 1}, {"a", 1}, {"c", 1}, {"e", 0}}));
}

TEST(CalibrationOwners, OneHasAllAndManyHaveOneEach) {
  for (const auto& [key, owner] : calibration_owners({{"a", 1}, {"b", 2}}, 1)) EXPECT_EQ(owner, 0) << key;
  EXPECT_EQ(calibration_owners({{"a", 1}, {"b", 2}}, 5), (std::map<std::string, int>{{"b", 0}, {"a", 1}}));
}

TEST(CalibrationCost, IsThatOfTheProducts) {
  WeightQuantization gptq{.args = {}, .format = "pack-quantized", .gptq = GptqOptions()};
  EXPECT_EQ(calibration_cost(gptq, 10, 30), 30 * 30 * (30.0 / 3 + 3 * 10));
  EXPECT_LT(calibration_cost({.args = {}, .format = "pack-quantized", .importance = true}, 100, 3000),
            calibration_cost(gptq, 100, 3000));
}

}  // namespace
}  // namespace spinor::calibration_share_test
