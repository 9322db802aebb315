#include "spinor/learning/capture.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/runtime/decoder.h"
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
  const at::Tensor rows = capture.learn.stream.rows.all();
  const int64_t norms = 2 * model.num_layers();
  ASSERT_EQ(rows.size(0), norms * 2 * kContext);
  EXPECT_EQ(capture.judge.stream.rows.count(), norms * kContext);
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
  ASSERT_EQ(capture.learn.stream.rows.count(), places * 4);
  EXPECT_NEAR(capture.learn.stream.weights.sum().item<double>(), places * (30 + kContext - 1), 1e-3);
  const Capture again = capture_rows(folded(model), samples_of(model, 4), options);
  EXPECT_TRUE(capture.learn.stream.rows.all().equal(again.learn.stream.rows.all()));
}

TEST_F(CaptureRows, TakesValuesHeadByHead) {
  const Model model = spinor::testing::make_model(directory_);
  const Capture capture =
      capture_rows(folded(model), samples_of(model, 2), {.learn = 1, .stream = false, .values = true});
  EXPECT_FALSE(capture.learn.stream.rows.defined());
  ASSERT_EQ(std::ssize(capture.learn.values), model.num_layers());
  const RowSet& values = capture.learn.values.at(0);
  EXPECT_EQ(values.rows.width(), model.value_block());
  EXPECT_EQ(values.rows.count() * values.rows.width(), kContext * model.num_heads() * model.head_dim());
  EXPECT_EQ(values.weights.size(0), values.rows.count());
}

TEST_F(CaptureRows, OutputsAreTheOriginalsStates) {
  const Model model = spinor::testing::make_model(directory_);
  const calibration::Samples samples = samples_of(model, 3);
  const Capture capture = capture_rows(folded(model), samples, {.learn = 1, .outputs = true});
  const at::Tensor tokens = at::tensor(samples.tokens, at::kInt).to(at::kLong).reshape({3, kContext}).narrow(0, 1, 2);
  runtime::Decoder original(RewritePlan(model), {}), same(folded(model), {.saved = DType::F32});
  const at::Tensor expected = original.logits(original.forward(tokens));
  ASSERT_EQ(capture.outputs.sizes().vec(), (std::vector<int64_t>{2, kContext, model.hidden_size()}));
  // Norms are folded in float32.
  EXPECT_LT((same.logits(capture.outputs) - expected).abs().max().item<double>(), 1e-5);
}

TEST_F(CaptureRows, OfWeightsTakesRowsOfTheFoldedReaders) {
  const Model model = spinor::testing::make_model(directory_);
  const Capture capture =
      capture_rows(folded(model), samples_of(model, 2), {.learn = 1, .rows = 50, .of_weights = true});
  const at::Tensor rows = capture.learn.stream.rows.all();
  EXPECT_EQ(rows.size(1), model.hidden_size());
  EXPECT_EQ(rows.size(0), 50 / (5 * model.num_layers()) * 5 * model.num_layers());  // q, k, v, gate, up
}

TEST_F(CaptureRows, AreTheSameInAFile) {
  const Model model = spinor::testing::make_model(directory_);
  for (const bool of_weights : {false, true}) {
    CaptureOptions options{
        .learn = 2, .rows = 70, .of_weights = of_weights, .values = true, .scratch = directory_.path()};
    const Capture memory = capture_rows(folded(model), samples_of(model, 3), options);
    options.memory = 100;
    const Capture file = capture_rows(folded(model), samples_of(model, 3), options);
    ASSERT_TRUE(file.learn.stream.rows.stored().file);
    for (const auto part : {&Capture::learn, &Capture::judge}) {
      EXPECT_TRUE((memory.*part).stream.rows.all().equal((file.*part).stream.rows.all()));
      EXPECT_TRUE((memory.*part).stream.weights.equal((file.*part).stream.weights));
      ASSERT_EQ((memory.*part).values.size(), (file.*part).values.size());
      for (const auto& [layer, values] : (memory.*part).values)
        EXPECT_TRUE(values.rows.all().equal((file.*part).values.at(layer).rows.all()));
    }
  }
}

}  // namespace
}  // namespace spinor::learning::capture_test
