#include "spinor/runtime/likelihood.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "spinor/base/error.h"
#include "spinor/runtime/score.h"

namespace spinor::runtime {
namespace {

using Tokens = std::vector<int64_t>;
// What the model is given, with the requests that it answers: two whose continuations differ in the last token alone
// need the same. Long ones first: what takes the most memory fails at once.
struct LongestFirst {
  bool operator()(const Tokens& a, const Tokens& b) const { return a.size() != b.size() ? a.size() > b.size() : a < b; }
};
using Inputs = std::map<Tokens, std::vector<size_t>, LongestFirst>;

// All tokens but the last, which is only predicted; not those before the window.
Tokens input_of(const Request& request, int64_t window) {
  Tokens tokens(request.context.begin(), request.context.end());
  tokens.insert(tokens.end(), request.continuation.begin(), request.continuation.end() - 1);
  if (window > 0 && std::ssize(tokens) > window) tokens.erase(tokens.begin(), tokens.end() - window);
  return tokens;
}

// Some of the inputs.
struct InputPart {
  std::vector<std::vector<at::Tensor>> rows;              // those of one length together
  std::vector<const std::vector<size_t>*> requests = {};  // that each answers
  int64_t tokens = 0;

  void add(const Inputs::value_type& input) {
    const at::Tensor row = at::tensor(input.first, at::kLong);
    if (rows.empty() || rows.back().front().size(0) != row.size(0)) rows.emplace_back();
    rows.back().push_back(row);
    requests.push_back(&input.second);
    tokens += row.size(0);
  }

  std::vector<Batch> batches() const {
    std::vector<Batch> batches;
    for (const auto& some : rows) batches.push_back({at::stack(some)});
    return batches;
  }
};

// The hidden states that predict the continuations, and their tokens, one request after the other.
struct Predictions {
  std::vector<at::Tensor> hidden;
  std::vector<int64_t> targets;
  std::vector<size_t> requests;

  void add(const at::Tensor& states, size_t request, const std::vector<int32_t>& continuation) {
    hidden.push_back(states.narrow(0, states.size(0) - std::ssize(continuation), std::ssize(continuation)));
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
  Inputs inputs;
  for (size_t i = 0; i < requests.size(); ++i)
    if (!requests[i].continuation.empty()) inputs[input_of(requests[i], window)].push_back(i);
  for (auto input = inputs.begin(); input != inputs.end();) {
    InputPart part;
    do part.add(*input);
    while (++input != inputs.end() && part.tokens < decoder.tokens_at_once());
    Predictions predictions;
    size_t row = 0;
    for (const at::Tensor& hidden : decoder.forward(part.batches()))
      for (const at::Tensor& states : hidden.unbind(0))
        for (const size_t i : *part.requests[row++]) predictions.add(states, i, requests[i].continuation);
    score_all(predictions, decoder, requests, answers);
    done(std::ssize(predictions.requests));
  }
}

}  // namespace spinor::runtime
