#include "spinor/learning/capture.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/runtime/testing.h"
#include "spinor/transform/rotate_model.h"

namespace spinor::learning::capture_test {
namespace {

constexpr int64_t kContext = 12;

class CaptureRows : public ::testing::Test {
 protected:
  spinor::testing::TemporaryDirectory directory_;
};

calibration::Samples samples_of(const Model& model, int64_t count) {
  calibration::Samples samples{.count = count, .context = kContext, .tokens = {}};
  for (int64_t i = 0; i < count * kContext; ++i)
    samples.tokens.push_back(static_cast<int32_t>((i * 7 + 3) % model.vocabulary_size()));
  return samples;
}

RewritePlan folded(const Model& model) {
  RewritePlan plan(model);
  rotate_model(model, plan, {.spin = {.rotations = {}}});
  return plan;
}

TEST_F(CaptureRows, TakesWhatEveryNormOfEveryLayerGives) {
  const Model model = spinor::testing::make_model(directory_);
  const Capture capture = capture_rows(folded(model), samples_of(model, 3), {.learn = 2, .first_token = 30});
  const at::Tensor& rows = capture.learn.stream.rows;
  const int64_t norms = 2 * model.num_layers();
  ASSERT_EQ(rows.size(0), norms * 2 * kContext);
  EXPECT_EQ(capture.judge.stream.rows.size(0), norms * kContext);
  EXPECT_EQ(rows.size(1), model.hidden_size());
  // RMSNorm without its weight: the root mean square is 1, but for epsilon and rounding to bfloat16.
  const at::Tensor rms = rows.to(at::kFloat).square().mean(1).sqrt();
  EXPECT_LT((rms - 1).abs().max().item<float>(), 0.02);
  EXPECT_EQ(capture.learn.stream.weights.sum().item<double>(), norms * 2 * (30 + kContext - 1));
}

TEST_F(CaptureRows, TokensThatAreLeftOutAreStoodForByOthers) {
  const Model model = spinor::testing::make_model(directory_);
  const int64_t places = 2 * model.num_layers() * 2;
  const CaptureOptions options{.learn = 2, .rows = places * 4, .judge_rows = places * 4, .first_token = 30};
  const Capture capture = capture_rows(folded(model), samples_of(model, 4), options);
  ASSERT_EQ(capture.learn.stream.rows.size(0), places * 4);
  EXPECT_NEAR(capture.learn.stream.weights.sum().item<double>(), places * (30 + kContext - 1), 1e-3);
  const Capture again = capture_rows(folded(model), samples_of(model, 4), options);
  EXPECT_TRUE(capture.learn.stream.rows.equal(again.learn.stream.rows));
}

TEST_F(CaptureRows, TakesValuesHeadByHead) {
  const Model model = spinor::testing::make_model(directory_);
  const Capture capture =
      capture_rows(folded(model), samples_of(model, 2), {.learn = 1, .stream = false, .values = true});
  EXPECT_FALSE(capture.learn.stream.rows.defined());
  ASSERT_EQ(std::ssize(capture.learn.values), model.num_layers());
  const RowSet& values = capture.learn.values.at(0);
  EXPECT_EQ(values.rows.size(1), model.value_block());
  EXPECT_EQ(values.rows.size(0) * values.rows.size(1), kContext * model.num_heads() * model.head_dim());
  EXPECT_EQ(values.weights.size(0), values.rows.size(0));
}

TEST_F(CaptureRows, OfWeightsTakesRowsOfTheFoldedReaders) {
  const Model model = spinor::testing::make_model(directory_);
  const Capture capture =
      capture_rows(folded(model), samples_of(model, 2), {.learn = 1, .rows = 50, .of_weights = true});
  const at::Tensor& rows = capture.learn.stream.rows;
  EXPECT_EQ(rows.size(1), model.hidden_size());
  EXPECT_EQ(rows.size(0), 50 / (5 * model.num_layers()) * 5 * model.num_layers());  // q, k, v, gate, up
}

}  // namespace
}  // namespace spinor::learning::capture_test
