#include "spinor/learning/learn.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/io/testing.h"
#include "spinor/learning/testing.h"
#include "spinor/linalg/fixing_ones.h"
#include "spinor/linalg/nearest_orthogonal.h"
#include "spinor/quant/activation.h"
#include "spinor/runtime/matrices.h"

namespace spinor::learning::learn_test {
namespace {

using testing::heavy_rows;

constexpr int64_t kRows = 600, kSize = 64;

LearnOptions few_steps(std::string objective = "psot") {
  LearnOptions options;
  options.objective = std::move(objective);
  options.quantizer = RowQuantizer{ActivationQuantizer::token_args(4, false)};
  options.optimizer = {.learning_rate = 0.02, .steps = 30};
  options.batch = 256;
  return options;
}

std::string message_of(const at::Tensor& rows, const at::Tensor& weights, const Matrix<double>& start,
                       const LearnOptions& options = few_steps()) {
  try {
    learn_rotation(rows, weights, start, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(LearnRotation, LowersEveryObjectiveAlsoOnRowsThatItDidNotSee) {
  const at::Tensor all = heavy_rows(2 * kRows, kSize).to(at::kFloat), w = at::ones({kRows});
  const at::Tensor rows = all.narrow(0, 0, kRows), held_out = all.narrow(0, kRows, kRows);
  const Matrix<double> start = testing::rotation_of(kSize);
  for (const Objective& objective : objectives()) {
    if (objective.of_network()) continue;  // network_test
    const LearnOptions options = few_steps(std::string(objective.name));
    const Learned learned = learn_rotation(rows, w, start, options);
    EXPECT_EQ(std::ssize(learned.losses), 30);
    const double before = mean_loss(held_out, w, start, options);
    EXPECT_LT(mean_loss(held_out, w, learned.rotation, options), 0.97 * before) << objective.name;
    EXPECT_NEAR(learned.losses.front(), before, 0.2 * before) << objective.name;  // of a batch of the same kind
    const at::Tensor r = runtime::tensor_of(learned.rotation);
    EXPECT_LE((r.mm(r.t()) - at::eye(kSize, at::kDouble)).abs().max().item<double>(), kOrthogonal);
  }
}

TEST(LearnRotation, LearnsOneBlockOfABlockDiagonalRotation) {
  const at::Tensor rows = heavy_rows(kRows, kSize).to(at::kFloat), w = at::ones({kRows});
  const Matrix<double> start = testing::rotation_of(16);
  const LearnOptions options = few_steps("range");
  const Learned learned = learn_rotation(rows, w, start, options);
  EXPECT_EQ(learned.rotation.rows, 16);
  EXPECT_LT(mean_loss(rows, w, learned.rotation, options), mean_loss(rows, w, start, options));
  Matrix<double> whole(kSize, kSize);
  for (int64_t i = 0; i < kSize; ++i)
    for (int64_t j = 0; j < 16; ++j) whole(i, i / 16 * 16 + j) = learned.rotation(i % 16, j);
  const double expected = mean_loss(rows, w, whole, options);
  EXPECT_NEAR(mean_loss(rows, w, learned.rotation, options), expected, 1e-6 * expected);
}

TEST(LearnRotation, KeepsTheOnesFixed) {
  Random random(4);
  LearnOptions options = few_steps();
  options.optimizer.fixes_ones = true;
  const at::Tensor rows = heavy_rows(kRows, kSize).to(at::kFloat);
  const Matrix<double> start = random_orthogonal_fixing_ones(kSize, random);
  const Learned learned = learn_rotation(rows, at::ones({kRows}), start, options);
  EXPECT_LE(ones_error(learned.rotation), kOrthogonal);
  EXPECT_LT(learned.losses.back(), learned.losses.front());
}

TEST(LearnRotation, DependsOnTheSeedAndOnWeights) {
  const at::Tensor rows = heavy_rows(kRows, kSize).to(at::kBFloat16), w = at::ones({kRows});
  const Matrix<double> start = testing::rotation_of(kSize);
  LearnOptions options = few_steps("range");
  options.optimizer.steps = 3;
  const Learned one = learn_rotation(rows, w, start, options);
  EXPECT_EQ(learn_rotation(rows, w, start, options).rotation.data, one.rotation.data);
  EXPECT_NE(learn_rotation(rows, w * at::arange(1, kRows + 1), start, options).rotation.data, one.rotation.data);
  options.seed = 1;
  EXPECT_NE(learn_rotation(rows, w, start, options).losses, one.losses);
}

TEST(LearnRotation, SaysWhichRowIsNotFinite) {
  const at::Tensor rows = heavy_rows(kRows, kSize).to(at::kFloat), w = at::ones({kRows});
  const Matrix<double> start = testing::rotation_of(kSize);
  rows[417][3] = NAN;
  const std::string expected = "R1: row 417 of those to learn from has a value that is not finite";
  EXPECT_EQ(message_of(rows, w, start).substr(0, expected.size()), expected);
  rows[417][3] = INFINITY;
  EXPECT_EQ(message_of(rows, w, start).substr(0, expected.size()), expected);
  EXPECT_THROW(mean_loss(rows, w, start, few_steps()), Error);
  rows[417][3] = 1e30F;
  w[417] = 1e6;
  EXPECT_NE(message_of(rows, w, start, few_steps("weights")).find("overflows in step 0"), std::string::npos);
}

TEST(LearnRotation, RefusesWhatDoesNotFit) {
  const at::Tensor rows = heavy_rows(8, kSize).to(at::kFloat), w = at::ones({8});
  const Matrix<double> start = testing::rotation_of(kSize);
  EXPECT_EQ(message_of(rows, w.narrow(0, 0, 7), start), "R1: 8 rows have 7 weights");
  EXPECT_EQ(message_of(rows.narrow(0, 0, 0), w.narrow(0, 0, 0), start), "R1: there are no rows to learn from");
  EXPECT_EQ(message_of(rows, w, testing::rotation_of(24)),
            "R1: is of shape (24, 24), which does not divide rows of 64");
  const at::Tensor none = w.clone();
  none[5] = 0;
  EXPECT_EQ(message_of(rows, none, start), "R1: row 5 has the weight 0, which is not a positive number");
  LearnOptions options = few_steps();
  options.optimizer.steps = 0;
  EXPECT_EQ(message_of(rows, w, start, options), "R1: cannot be learned in 0 steps of 256 rows");
  EXPECT_NE(message_of(rows, w, start, few_steps("kurtosis")), "");
}

TEST(LearnRotation, StopsWhenAsked) {
  const at::Tensor rows = heavy_rows(8, kSize).to(at::kFloat);
  std::stop_source source;
  LearnOptions options = few_steps();
  options.stop = source.get_token();
  int64_t steps = 0;
  options.progress = [&](int64_t step, double) {
    steps = step + 1;
    if (step == 4) source.request_stop();
  };
  EXPECT_THROW(learn_rotation(rows, at::ones({8}), testing::rotation_of(kSize), options), Stopped);
  EXPECT_EQ(steps, 5);
}

TEST(LearnRotation, GoesOnWhereItWasStopped) {
  const spinor::testing::TemporaryDirectory directory;
  const at::Tensor rows = heavy_rows(kRows, kSize).to(at::kFloat), w = at::ones({kRows});
  const Matrix<double> start = testing::rotation_of(kSize);
  LearnOptions options = few_steps("range");
  for (const StepRule rule : {StepRule::adam, StepRule::sgd}) {
    options.optimizer.rule = rule;
    options.work = nullptr;
    options.stop = {};
    const Learned whole = learn_rotation(rows, w, start, options);
    WorkDirectory work(directory / "r.safetensors", rule == StepRule::adam);
    for (const int64_t last : {4, 11, -1}) {
      std::stop_source source;
      int64_t first = -1;
      options.work = &work;
      options.stop = source.get_token();
      options.progress = [&](int64_t step, double) {
        if (first < 0) first = step;
        if (step == last - 1) source.request_stop();
      };
      if (last > 0) {
        EXPECT_THROW(learn_rotation(rows, w, start, options), Stopped);
        continue;
      }
      const Learned learned = learn_rotation(rows, w, start, options);
      EXPECT_EQ(first, 11);
      EXPECT_EQ(learned.losses, whole.losses);
      EXPECT_EQ(learned.rotation.data, whole.rotation.data);
    }
    options.progress = {};
  }
}

}  // namespace
}  // namespace spinor::learning::learn_test
