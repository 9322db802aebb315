#include "spinor/plan/statistics.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/plan/testing.h"

namespace spinor::statistics_test {
namespace {

TEST(OutlierStatistics, ARequestToStopEndsThem) {
  const testing::TemporaryDirectory directory;
  const Model model = Model::describe(Checkpoint::open(testing::write_model(directory / "model", {.hidden = 64})));
  const RewritePlan plan(model);
  EXPECT_FALSE(outlier_statistics(plan).empty());
  std::stop_source caller;
  caller.request_stop();
  EXPECT_THROW(outlier_statistics(plan, {}, 1, caller.get_token()), Stopped);
}

}  // namespace
}  // namespace spinor::statistics_test
