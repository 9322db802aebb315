#include "spinor/runtime/answer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "spinor/runtime/evaluate.h"
#include "spinor/runtime/testing.h"

namespace spinor::runtime::answer_test {
namespace {

class Answers : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  Model model_ = testing::make_model(directory_, {.biases = true});
  RewritePlan plan_{model_};
  RuntimeOptions runtime_{.dtype = DType::F64, .threads = 1, .saved = DType::F64};

  static Request scored(std::vector<int32_t> context, std::vector<int32_t> continuation) {
    return {.context = std::move(context), .continuation = std::move(continuation)};
  }
  static Request written(std::vector<int32_t> context, const GenerateOptions& options = {.max_new_tokens = 6}) {
    return {.context = std::move(context), .generate = options};
  }
  std::vector<Answer> answers(std::span<const Request> requests, const AnswerOptions& options = {}) const {
    return answer(plan_, requests, options, runtime_);
  }
  Answer alone(const Request& request, const AnswerOptions& options = {}) const {
    return answers(std::span(&request, 1), options).front();
  }
  // The sum over all tokens but the first.
  double of_evaluate(const std::vector<int32_t>& tokens) const {
    const Evaluation result = evaluate(plan_, tokens, {}, runtime_);
    return -std::log(result.perplexity) * static_cast<double>(result.tokens);
  }
};

TEST_F(Answers, LikelihoodsAreThoseOfEvaluate) {
  const std::vector<int32_t> tokens = testing::tokens(30, 40);
  for (const int bits : {16, 4}) {
    if (bits < 16) {
      runtime_.activations = runtime_.kv = LowBits{.bits = bits};
      runtime_.saved = std::nullopt;
      plan_ = testing::rotated(model_, testing::kAllSpins);
      testing::quantize(model_, plan_, bits);
    }
    const Answer whole = alone(scored({tokens[0]}, {tokens.begin() + 1, tokens.end()}));
    EXPECT_NEAR(whole.log_likelihood, of_evaluate(tokens), 1e-9);
    const Answer first = alone(scored({tokens[0]}, {tokens.begin() + 1, tokens.begin() + 12}));
    const Answer second = alone(scored({tokens.begin(), tokens.begin() + 12}, {tokens.begin() + 12, tokens.end()}));
    EXPECT_NEAR(first.log_likelihood + second.log_likelihood, whole.log_likelihood, 1e-9);
  }
}

// Of many lengths, two that need the same input, and texts between them; held weights and weights made layer by layer.
TEST_F(Answers, AreThoseOfEachRequestAlone) {
  std::vector<Request> requests;
  for (uint32_t i = 0; i < 12; ++i) {
    requests.push_back(scored(testing::tokens(3 + i % 5, 40, i), testing::tokens(1 + i % 3, 40, i + 50)));
    requests.push_back(written(testing::tokens(2 + i % 3, 40, i), {.max_new_tokens = 3 + i % 2}));
  }
  requests.push_back(scored({7, 8}, {9, 10}));
  requests.push_back(scored({7, 8, 9}, {11}));
  requests.push_back(written({7, 8}, {.max_new_tokens = 0}));
  // Contexts that several share: of two lengths, with continuations of several, also one that is longer than its
  // context.
  for (uint32_t i = 0; i < 5; ++i) {
    const std::vector<int32_t> context = testing::tokens(i < 3 ? 9 : 7, 40, i + 80);
    for (uint32_t j = 0; j < 4; ++j) requests.push_back(scored(context, testing::tokens(1 + j * (i + 1) % 6, 40, j)));
  }
  requests.push_back(scored({5, 6}, testing::tokens(9, 40)));
  requests.push_back(scored({5, 6}, testing::tokens(2, 40)));
  for (const int64_t memory : {int64_t{1} << 30, int64_t{1}}) {
    runtime_.memory = memory;
    const std::vector<Answer> together = answers(requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      const Answer expected = alone(requests[i]);
      EXPECT_NEAR(together[i].log_likelihood, expected.log_likelihood, 1e-10) << i;
      EXPECT_EQ(together[i].greedy, expected.greedy) << i;
      EXPECT_EQ(together[i].tokens, expected.tokens) << i;
    }
  }
}

TEST_F(Answers, WhatIsWrittenGreedilyIsGreedy) {
  const std::vector<int32_t> context = {3, 1, 4};
  std::vector<int32_t> text = alone(written(context)).tokens;
  EXPECT_EQ(text, generate(plan_, context, {.max_new_tokens = 6}, runtime_));
  EXPECT_TRUE(alone(scored(context, text)).greedy);
  text[3] = (text[3] + 1) % 40;
  EXPECT_FALSE(alone(scored(context, text)).greedy);
}

TEST_F(Answers, OfALongContextTheLastTokensCount) {
  const std::vector<int32_t> tokens = testing::tokens(20, 40);
  const auto last = [&](int64_t count) { return std::vector<int32_t>(tokens.end() - count, tokens.end()); };
  const AnswerOptions eight{.window = 8};
  EXPECT_EQ(alone(scored(tokens, {1, 2, 3}), eight).log_likelihood, alone(scored(last(6), {1, 2, 3})).log_likelihood);
  EXPECT_EQ(alone(written(tokens), eight).tokens, alone(written(last(2))).tokens);
  EXPECT_EQ(alone(scored(tokens, last(8)), eight).log_likelihood, alone(scored(last(1), last(8))).log_likelihood);
}

TEST_F(Answers, TextsEndWhereTheCallerSays) {
  std::vector<Request> requests;
  for (uint32_t i = 0; i < 5; ++i) requests.push_back(written(testing::tokens(4, 40, i), {.max_new_tokens = 8}));
  const std::vector<Answer> whole = answers(requests);
  std::vector<int64_t> count(requests.size());
  AnswerOptions options;
  options.visit = [&](size_t request, int32_t token) {
    EXPECT_EQ(token, whole[request].tokens[static_cast<size_t>(count[request])]);
    return ++count[request] < static_cast<int64_t>(request) + 1;
  };
  std::vector<int64_t> done;
  options.progress = [&](int64_t some, int64_t all) {
    EXPECT_EQ(all, 5);
    done.push_back(some);
  };
  const std::vector<Answer> cut = answers(requests, options);
  for (size_t i = 0; i < cut.size(); ++i)
    EXPECT_EQ(cut[i].tokens,
              std::vector<int32_t>(whole[i].tokens.begin(), whole[i].tokens.begin() + std::ssize(cut[i].tokens)));
  EXPECT_EQ(count, (std::vector<int64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(done, (std::vector<int64_t>{1, 2, 3, 4, 5}));
}

TEST_F(Answers, SayWhatTheyCannotDo) {
  const auto message = [&](const Request& request, const AnswerOptions& options = {}) {
    const std::vector<Request> two = {scored({1}, {2}), request};
    return testing::message_of([&] { answers(two, options); });
  };
  EXPECT_EQ(message(scored({}, {1})),
            "request 1: has an empty context, and nothing predicts a first token; begin with the bos token");
  EXPECT_EQ(message(scored({1}, {40})),
            "request 1: has tokens that are not below the vocabulary's size 40; the "
            "tokenizer does not belong to this model");
  EXPECT_EQ(message(scored({1, -1}, {3})), message(scored({1}, {40})));
  EXPECT_EQ(message(scored({1}, {1, 2, 3}), {.window = 2}),
            "request 1: continues with 3 tokens, and the window has 2; allow more: --context");
  EXPECT_EQ(message(written({1}), {.window = 6}),
            "request 1: asks for 6 tokens, and the window has 6 with the context; allow more: --context");
  EXPECT_EQ(message(written({1}, {.temperature = -1})), "sampling: needs temperature >= 0, top_p > 0 and top_k >= 0");
  std::stop_source stop;
  stop.request_stop();
  runtime_.stop = stop.get_token();
  EXPECT_THROW(alone(scored({1}, {2})), Stopped);
}

}  // namespace
}  // namespace spinor::runtime::answer_test
