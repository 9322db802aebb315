#include "spinor/runtime/score.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "spinor/runtime/testing.h"

namespace spinor::runtime::score_test {
namespace {

// Of all logits at once.
Scores expected_of(const at::Tensor& logits, const at::Tensor& reference, const at::Tensor& targets) {
  const at::Tensor given = logits.log_softmax(-1), wanted = reference.log_softmax(-1), next = targets.unsqueeze(1);
  const auto total = [](const at::Tensor& x) { return x.sum().item<double>(); };
  return {.negative_log_likelihood = -total(given.gather(1, next)),
          .reference_negative_log_likelihood = -total(wanted.gather(1, next)),
          .divergence = total(wanted.exp() * (wanted - given)),
          .squared_difference = total((logits - reference).square()),
          .largest_difference = (logits - reference).abs().max().item<double>(),
          .reference_variance = total(reference.var(-1, /*unbiased=*/false)),
          .agreements = logits.argmax(-1).eq(reference.argmax(-1)).sum().item<int64_t>(),
          .tokens = targets.size(0)};
}

void expect_near(const Scores& given, const Scores& expected, double error) {
  const auto near = [error](double a, double b) { EXPECT_NEAR(a, b, error * std::fabs(b)); };
  near(given.negative_log_likelihood, expected.negative_log_likelihood);
  near(given.reference_negative_log_likelihood, expected.reference_negative_log_likelihood);
  near(given.divergence, expected.divergence);
  near(given.squared_difference, expected.squared_difference);
  near(given.largest_difference, expected.largest_difference);
  near(given.reference_variance, expected.reference_variance);
  EXPECT_EQ(given.agreements, expected.agreements);
  EXPECT_EQ(given.tokens, expected.tokens);
}

class Score : public ::testing::Test {
 protected:
  static constexpr int64_t kVocabulary = 9000;  // more than two parts of it

  RewritePlan plan(const std::string& name, bool tied, int seed) const {
    const testing::TinyModel tiny{.layers = 1, .vocabulary = kVocabulary, .tied = tied, .biases = true};
    return testing::rotated(Model::describe(Checkpoint::open(testing::write_model(directory_ / name, tiny))),
                            {Spin::R1}, static_cast<uint64_t>(seed));
  }

  testing::TemporaryDirectory directory_;
};

TEST_F(Score, OfPartsOfTheVocabularyIsThatOfAll) {
  at::manual_seed(1);
  const at::Tensor targets = at::randint(kVocabulary, {50}, at::kLong);
  const RewritePlan model = plan("model", true, 1), other = plan("other", false, 2);
  for (const int64_t memory : {int64_t{1} << 30, int64_t{1}}) {  // heads that are held, and that are made part by part
    const RuntimeOptions options{.dtype = DType::F64, .memory = memory};
    Decoder given(model, options), reference(other, options);
    ASSERT_EQ(given.resident(), memory > 1);
    ASSERT_LT(given.head_part(), kVocabulary);
    // Large ones, so that the largest logit rises from part to part and probabilities differ.
    const at::Tensor hidden = 30 * at::randn({50, given.model().hidden_size()}, at::kDouble);
    const at::Tensor near = hidden + at::randn_like(hidden);
    expect_near(score(hidden, targets, given, near, &reference),
                expected_of(given.logits(hidden), reference.logits(near), targets), 1e-10);
    EXPECT_EQ(score(hidden, targets, given).divergence, 0);
    EXPECT_NEAR(score(hidden, targets, given).negative_log_likelihood,
                expected_of(given.logits(hidden), given.logits(hidden), targets).negative_log_likelihood, 1e-8);
  }
}

TEST_F(Score, OfEachTokenAddUpToThatOfAll) {
  at::manual_seed(2);
  Decoder decoder(plan("model", true, 1), {.dtype = DType::F64});
  const at::Tensor hidden = 30 * at::randn({20, decoder.model().hidden_size()}, at::kDouble);
  const at::Tensor logits = decoder.logits(hidden), likely = logits.argmax(-1);
  at::Tensor targets = likely.clone();
  targets.narrow(0, 0, 10).remainder_(kVocabulary - 1).add_(1);  // ten others
  double sum = 0;
  const std::vector<TokenScore> scores = score_tokens(hidden, targets, decoder);
  ASSERT_EQ(scores.size(), 20u);
  for (int64_t i = 0; i < 20; ++i) {
    const TokenScore& score = scores[static_cast<size_t>(i)];
    EXPECT_NEAR(score.log_likelihood, logits[i].log_softmax(-1)[targets[i].item<int64_t>()].item<double>(), 1e-9);
    EXPECT_EQ(score.most_likely, i >= 10);
    sum += score.log_likelihood;
  }
  EXPECT_NEAR(-sum, score(hidden, targets, decoder).negative_log_likelihood, 1e-9);
}

TEST_F(Score, OfLogitsThatAreNotFiniteIsNotFinite) {
  Decoder decoder(plan("model", true, 1), {.threads = 1});
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    const at::Tensor hidden = at::full({3, decoder.model().hidden_size()}, bad, at::kFloat);
    EXPECT_FALSE(std::isfinite(score(hidden, at::zeros({3}, at::kLong), decoder).negative_log_likelihood));
  }
}

}  // namespace
}  // namespace spinor::runtime::score_test
