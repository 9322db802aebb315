#include "spinor/runtime/evaluate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>

#include "spinor/runtime/decoder.h"
#include "spinor/runtime/testing.h"
#include "spinor/transform/stored_online.h"

namespace spinor::runtime::evaluate_test {
namespace {

using testing::message_of;

std::vector<std::array<int64_t, 3>> cut(int64_t tokens, const EvaluateOptions& options) {
  std::vector<std::array<int64_t, 3>> result;
  for (const Window& window : windows(tokens, options)) result.push_back({window.begin, window.tokens, window.scored});
  return result;
}
using Cut = std::vector<std::array<int64_t, 3>>;  // begin, tokens, scored

TEST(Windows, AreWholeAndLeaveOutTheFirstTokenOfEach) {
  EXPECT_EQ(cut(10, {.context = 4}), (Cut{{0, 4, 3}, {4, 4, 3}}));
  EXPECT_EQ(cut(8, {.context = 4, .stride = 4}), (Cut{{0, 4, 3}, {4, 4, 3}}));
}

TEST(Windows, ScoreEveryTokenAfterABos) {
  EXPECT_EQ(cut(10, {.context = 4, .bos = 1}), (Cut{{0, 3, 3}, {3, 3, 3}, {6, 3, 3}}));
  EXPECT_EQ(cut(1, {.context = 4, .bos = 1}), (Cut{{0, 1, 1}}));
  EXPECT_EQ(cut(2, {.context = 2, .bos = 1}), (Cut{{0, 1, 1}, {1, 1, 1}}));
}

TEST(Windows, WithAStrideScoreWhatNoneBeforeHasScored) {
  EXPECT_EQ(cut(9, {.context = 4, .stride = 2}), (Cut{{0, 4, 3}, {2, 4, 2}, {4, 4, 2}}));
  EXPECT_EQ(cut(7, {.context = 4, .stride = 1, .bos = 1}),
            (Cut{{0, 3, 3}, {1, 3, 1}, {2, 3, 1}, {3, 3, 1}, {4, 3, 1}}));
}

TEST(Windows, AShortTextIsOne) {
  EXPECT_EQ(cut(3, {}), (Cut{{0, 3, 2}}));
  EXPECT_EQ(cut(3, {.context = 8, .stride = 5}), (Cut{{0, 3, 2}}));
  EXPECT_EQ(cut(3, {.context = 8, .bos = 1}), (Cut{{0, 3, 3}}));
}

TEST(Windows, SamplesAreTheFirst) {
  EXPECT_EQ(cut(100, {.context = 4, .samples = 2}), (Cut{{0, 4, 3}, {4, 4, 3}}));
  EXPECT_EQ(cut(7, {.context = 4, .samples = 5}), (Cut{{0, 4, 3}}));
}

TEST(Windows, RefuseWhatMakesNoSense) {
  const auto message = [](int64_t tokens, const EvaluateOptions& options) {
    return message_of([&] { windows(tokens, options); });
  };
  EXPECT_EQ(message(1, {}), "text: has 1 tokens: there is nothing to predict");
  EXPECT_EQ(message(0, {.bos = 1}), "text: has 0 tokens: there is nothing to predict");
  EXPECT_EQ(message(9, {.context = 1}), "context: is 1: windows have at least two tokens");
  EXPECT_EQ(message(9, {.context = 4, .stride = 5}), "windows: of 4 tokens cannot begin every 5");
  EXPECT_EQ(message(9, {.context = 4, .stride = 4, .bos = 1}), "windows: of 4 tokens cannot begin every 4");
  EXPECT_EQ(message(9, {.context = 4, .stride = -1}), "windows: of 4 tokens cannot begin every -1");
}

// With the first window's first token only where there is a bos, and up to where the last whole window ends.
RC_GTEST_PROP(Windows, EveryTokenIsScoredOnce, ()) {
  const bool bos = *rc::gen::arbitrary<bool>();
  const int64_t context = *rc::gen::inRange<int64_t>(2, 20), tokens = *rc::gen::inRange<int64_t>(2, 200);
  const int64_t stride = *rc::gen::inRange<int64_t>(1, context - (bos ? 1 : 0) + 1);
  const EvaluateOptions options{
      .context = context, .stride = stride, .bos = bos ? std::optional<int32_t>(1) : std::nullopt};
  std::vector<int> scored(static_cast<size_t>(tokens));
  const auto all = windows(tokens, options);
  for (const Window& window : all) {
    RC_ASSERT(window.tokens + (bos ? 1 : 0) <= context);
    for (int64_t i = window.begin + window.tokens - window.scored; i < window.begin + window.tokens; ++i)
      ++scored.at(static_cast<size_t>(i));
  }
  const auto end = static_cast<size_t>(all.back().begin + all.back().tokens);
  for (size_t i = 0; i < scored.size(); ++i) {
    const bool first = i == 0 || (stride == all.front().tokens && i % static_cast<size_t>(stride) == 0);
    RC_ASSERT(scored[i] == (i < end && (bos || !first) ? 1 : 0));
  }
}

TEST(Evaluate, StopsWhenAskedTo) {
  const testing::TemporaryDirectory directory;
  const Model model = testing::make_model(directory);
  const std::vector<int32_t> text = testing::tokens(100, 40);
  std::stop_source stop;
  const RuntimeOptions runtime{.threads = 1, .stop = stop.get_token()};
  int batches = 0;
  const auto show = [&](int64_t, int64_t, double) {
    ++batches;
    stop.request_stop();
  };
  EXPECT_GT(evaluate(RewritePlan(model), text, {.context = 16}, runtime).perplexity, 1);
  EXPECT_THROW(
      evaluate(RewritePlan(model), text, {.context = 16}, {.threads = 1, .memory = 1, .stop = stop.get_token()}, show),
      Stopped);
  EXPECT_EQ(batches, 1);
}

TEST(Evaluate, ARotationChangesNothingAndItsReferenceAgrees) {
  const testing::TemporaryDirectory directory;
  const Model model = testing::make_model(directory, {.biases = true});
  const std::vector<int32_t> text = testing::tokens(100, 40);
  const EvaluateOptions options{.context = 16, .stride = 8};
  const RewritePlan source(model), rotated = testing::rotated(model, testing::kAllSpins);
  // In float64 throughout, so that weights are not rounded in between.
  const RuntimeOptions runtime{.dtype = DType::F64, .threads = 1, .saved = DType::F64};
  const Evaluation plain = evaluate(source, text, options, runtime);
  Reference reference(source, runtime);
  const Evaluation result = evaluate(rotated, reference, text, options, runtime);
  EXPECT_FALSE(plain.divergence.has_value());
  EXPECT_EQ(plain.windows, 11);
  EXPECT_EQ(plain.tokens, 15 + 10 * 8);
  EXPECT_EQ(result.reference_perplexity, plain.perplexity);
  EXPECT_NEAR(result.perplexity, plain.perplexity, 1e-9 * plain.perplexity);
  EXPECT_EQ(result.top1_agreement, 1);
  EXPECT_LE(std::fabs(*result.divergence), 1e-12);
  EXPECT_LE(*result.logits_max, 1e-9);
  EXPECT_LE(*result.logits_rms, *result.logits_max);
}

TEST(Evaluate, ProgressEndsWithTheResult) {
  const testing::TemporaryDirectory directory;
  const RewritePlan plan(testing::make_model(directory));
  std::vector<int64_t> done;
  double last = 0;
  // So little memory that each window goes through the layers alone.
  const Evaluation result = evaluate(plan, testing::tokens(40, 40), {.context = 10}, {.threads = 1, .memory = 1},
                                     [&](int64_t windows_done, int64_t all, double perplexity) {
                                       EXPECT_EQ(all, 4);
                                       done.push_back(windows_done);
                                       last = perplexity;
                                     });
  EXPECT_EQ(done, (std::vector<int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(last, result.perplexity);
}

TEST(Evaluate, TheReferenceRunsWithoutTheLowBits) {
  const testing::TemporaryDirectory directory;
  const RewritePlan plan(testing::make_model(directory));
  const std::vector<int32_t> text = testing::tokens(64, 40);
  const RuntimeOptions plain{.threads = 1};
  RuntimeOptions low = plain;
  low.activations = LowBits{.bits = 4};
  low.kv = LowBits{.bits = 4};
  Reference reference(plan, low);
  const Evaluation result = evaluate(plan, reference, text, {.context = 32}, low);
  EXPECT_EQ(result.reference_perplexity, evaluate(plan, text, {.context = 32}, plain).perplexity);
  EXPECT_GT(*result.divergence, 1e-6);
}

TEST(Evaluate, AReferenceThatKeepsItsStatesGivesTheSame) {
  const testing::TemporaryDirectory directory;
  const Model model = testing::make_model(directory);
  const std::vector<int32_t> text = testing::tokens(64, 40);
  RuntimeOptions runtime{.threads = 1};
  Reference forgets(RewritePlan(model), runtime), keeps(RewritePlan(model), runtime, Reference::Keep::states);
  for (const int bits : {3, 4}) {
    runtime.activations = LowBits{.bits = bits};
    for (const int64_t context : {32, 16, 32}) {
      const EvaluateOptions options{.context = context};
      const Evaluation expected = evaluate(RewritePlan(model), forgets, text, options, runtime);
      const Evaluation result = evaluate(RewritePlan(model), keeps, text, options, runtime);
      EXPECT_EQ(result.divergence, expected.divergence);
      EXPECT_EQ(result.reference_perplexity, expected.reference_perplexity);
    }
  }
}

TEST(Evaluate, AReferenceWhoseStatesAreKnownDoesNotRunForThem) {
  const testing::TemporaryDirectory directory;
  const Model model = testing::make_model(directory);
  const RuntimeOptions runtime{.threads = 1};
  const std::vector<int32_t> text = testing::tokens(64, 40), other = testing::tokens(64, 40, 8);
  const at::Tensor rows = at::tensor(text, at::kInt).to(at::kLong).reshape({4, 16});
  // Other states than its own, to see that they are what is compared with.
  const RewritePlan plan(model);
  Decoder decoder(plan, runtime);
  Reference known(plan, runtime, rows, 2 * decoder.forward(rows)), runs(plan, runtime);
  const EvaluateOptions options{.context = 16};
  EXPECT_GT(*evaluate(plan, known, text, options, runtime).divergence, 0.01);
  EXPECT_EQ(evaluate(plan, runs, text, options, runtime).divergence, 0);
  EXPECT_EQ(evaluate(plan, known, other, options, runtime).divergence, 0);
}

TEST(Evaluate, AReferenceHasTheSameVocabulary) {
  const testing::TemporaryDirectory directory, other;
  const RewritePlan plan(testing::make_model(directory));
  Reference reference(RewritePlan(testing::make_model(other, {.vocabulary = 48})), {});
  EXPECT_EQ(testing::message_of([&] { evaluate(plan, reference, testing::tokens(9, 40), {}, {}); }, other.path()),
            "model: has a vocabulary of 48, not of 40; a reference has the same tokens");
}

}  // namespace
}  // namespace spinor::runtime::evaluate_test
