#include "spinor/runtime/likelihood.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "spinor/base/error.h"
#include "spinor/runtime/score.h"
#include "spinor/runtime/stems.h"

namespace spinor::runtime {
namespace {

// The hidden states that predict the continuations, and their tokens, one request after the other.
struct Predictions {
  std::vector<at::Tensor> hidden;
  std::vector<int64_t> targets;
  std::vector<size_t> requests;

  void add(const at::Tensor& states, size_t request, const std::vector<int32_t>& continuation) {
    hidden.push_back(states);
    targets.insert(targets.end(), continuation.begin(), continuation.end());
    requests.push_back(request);
  }
};

void check_finite(double log_likelihood, size_t request) {
  if (!std::isfinite(log_likelihood))
    throw Error(fmt::format("request {}", request), "has logits that are not numbers",
                "the model overflows in this --dtype: use float32");
}

void score_all(const Predictions& predictions, Decoder& decoder, std::span<const Request> requests,
               std::span<Answer> answers) {
  const std::vector<TokenScore> scores =
      score_tokens(at::cat(predictions.hidden), at::tensor(predictions.targets, at::kLong), decoder);
  auto score = scores.begin();
  for (const size_t i : predictions.requests) {
    answers[i] = {.log_likelihood = 0, .greedy = true};
    for (size_t token = 0; token < requests[i].continuation.size(); ++token, ++score) {
      answers[i].log_likelihood += score->log_likelihood;
      answers[i].greedy &= score->most_likely;
    }
    check_finite(answers[i].log_likelihood, i);
  }
}

}  // namespace

void answer_likelihoods(Decoder& decoder, std::span<const Request> requests, int64_t window,
                        const std::function<void(int64_t more)>& done, std::span<Answer> answers) {
  const Stems stems = stems_of(requests, window, decoder.can_continue());
  for (auto stem = stems.begin(); stem != stems.end();) {
    StemBatches some;
    do some.add(*stem);
    while (++stem != stems.end() && some.tokens() < decoder.tokens_at_once());
    Predictions predictions;
    some.run(decoder, requests,
             [&](size_t i, const at::Tensor& states) { predictions.add(states, i, requests[i].continuation); });
    score_all(predictions, decoder, requests, answers);
    done(std::ssize(predictions.requests));
  }
}

}  // namespace spinor::runtime
