// Many requests of one model: how likely continuations are, and texts. Needs no header of libtorch.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "spinor/runtime/generate.h"

namespace spinor::runtime {

struct Request {
  std::vector<int32_t> context;
  // How likely is this? Empty: a text is asked for.
  std::vector<int32_t> continuation = {};
  GenerateOptions generate = {};
};

struct Answer {
  double log_likelihood = 0;         // of the continuation, in nats: the sum over its tokens
  bool greedy = false;               // whether each of its tokens is the most likely one
  std::vector<int32_t> tokens = {};  // of the text, as generate() returns it
};

struct AnswerOptions {
  int64_t window = 0;  // most tokens that the model sees, the first of a context are left out; 0: all
  std::function<void(int64_t done, int64_t all)> progress = {};
  // Called with each new token of a text; false ends that text.
  std::function<bool(size_t request, int32_t token)> visit = {};
};

// The model is made once. Requests go through the layers together: of any length where likelihoods are asked for, texts
// next token by next token. What others are asked for changes no answer but for the last bits. Logits are made of what
// predicts a continuation alone. Errors as of Decoder and generate(), naming the request, and for an empty context, for
// a continuation or a text that the window does not hold, and for logits that are not numbers.
std::vector<Answer> answer(const RewritePlan& plan, std::span<const Request> requests, const AnswerOptions& options,
                           const RuntimeOptions& runtime);

}  // namespace spinor::runtime
