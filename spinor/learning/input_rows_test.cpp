#include "spinor/learning/input_rows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/runtime/testing.h"
#include "spinor/transform/given_inputs.h"
#include "spinor/transform/quip.h"

namespace spinor::learning::input_rows_test {
namespace {

constexpr int64_t kContext = 12;

class InputRowsTest : public ::testing::Test {
 protected:
  spinor::testing::TemporaryDirectory directory_;
  Model model_ = spinor::testing::make_model(directory_);
  std::vector<InputSet> sets_ = input_sets(quip({}).config_groups[0].second, model_);

  calibration::Samples samples(int64_t count) const {
    calibration::Samples all{.count = count, .context = kContext, .tokens = {}};
    for (int64_t i = 0; i < count * kContext; ++i)
      all.tokens.push_back(static_cast<int32_t>((i * 7 + 3) % model_.vocabulary_size()));
    return all;
  }
};

TEST_F(InputRowsTest, EveryLayerGivesWhatItsSetsReadAndNoMore) {
  const InputRowOptions options{.learn = 2, .rows = 2 * 4, .judge_rows = 1000, .first_token = 30};
  std::vector<int64_t> layers;
  for_input_rows(RewritePlan(model_), samples(3), sets_, options, [&](int64_t layer, std::vector<InputRows> rows) {
    layers.push_back(layer);
    EXPECT_EQ(rows.size(), 4U);
    for (const InputRows& input : rows) {
      EXPECT_EQ(input.set->front()->layer, layer);
      const at::Tensor &learn = input.learn.weights, &judge = input.judge.weights;
      ASSERT_EQ(learn.size(0), 2 * 4);
      ASSERT_EQ(judge.size(0), kContext);
      // Those that were drawn stand for the others.
      EXPECT_NEAR(learn.sum().item<double>(), 2 * (30 + kContext - 1), 1e-3);
      EXPECT_NEAR(judge.sum().item<double>(), 30 + kContext - 1, 1e-3);
      EXPECT_EQ(input.learn.rows.width(), input.set->front()->shape.in);
    }
  });
  EXPECT_EQ(layers, (std::vector<int64_t>{0, 1}));
}

// However long they are in the model: an attention sink counts as the token it is.
TEST_F(InputRowsTest, RowsAreAllOfOneLength) {
  for (const bool of_weights : {false, true})
    for_input_rows(RewritePlan(model_), samples(2), sets_, {.learn = 1, .of_weights = of_weights},
                   [&](int64_t, std::vector<InputRows> rows) {
                     for (const InputRows& input : rows) {
                       const at::Tensor squares = input.learn.rows.all().to(at::kFloat).square().mean(1);
                       EXPECT_LT((squares - 1).abs().max().item<double>(), 0.01)  // bfloat16 rounds each by 2^-9
                           << input.set->front()->name;
                     }
                   });
}

}  // namespace
}  // namespace spinor::learning::input_rows_test
