#include "spinor/runtime/answer.h"

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/runtime/decoder.h"
#include "spinor/runtime/likelihood.h"
#include "spinor/runtime/sample.h"
#include "spinor/runtime/texts.h"
#include "spinor/runtime/torch_errors.h"

namespace spinor::runtime {
namespace {

void check_request(const Request& request, int64_t window, int64_t vocabulary, const std::string& name) {
  if (request.context.empty())
    throw Error(name, "has an empty context, and nothing predicts a first token", "begin with the bos token");
  const auto outside = [&](int32_t token) { return token < 0 || token >= vocabulary; };
  if (std::ranges::any_of(request.context, outside) || std::ranges::any_of(request.continuation, outside))
    throw Error(name, fmt::format("has tokens that are not below the vocabulary's size {}", vocabulary),
                "the tokenizer does not belong to this model");
  if (window == 0) return;
  if (std::ssize(request.continuation) > window)
    throw Error(name,
                fmt::format("continues with {} tokens, and the window has {}", request.continuation.size(), window),
                "allow more: --context");
  if (request.continuation.empty() && request.generate.max_new_tokens >= window)
    throw Error(name,
                fmt::format("asks for {} tokens, and the window has {} with the context",
                            request.generate.max_new_tokens, window),
                "allow more: --context");
}

std::vector<Answer> answer_all(const RewritePlan& plan, std::span<const Request> requests, const AnswerOptions& options,
                               const RuntimeOptions& runtime) {
  const c10::InferenceMode inference;
  Decoder decoder(plan, runtime);
  for (size_t i = 0; i < requests.size(); ++i)
    check_request(requests[i], options.window, decoder.model().vocabulary_size(), fmt::format("request {}", i));
  std::vector<Answer> answers(requests.size());
  int64_t count = 0;
  const std::function<void(int64_t)> done = [&](int64_t more) {
    count += more;
    if (options.progress) options.progress(count, std::ssize(requests));
  };
  answer_likelihoods(decoder, requests, options.window, done, answers);
  answer_texts(decoder, requests, options, runtime, done, answers);
  return answers;
}

}  // namespace

std::vector<Answer> answer(const RewritePlan& plan, std::span<const Request> requests, const AnswerOptions& options,
                           const RuntimeOptions& runtime) {
  for (const Request& request : requests) check_sampling(request.generate);
  return with_torch_errors([&] { return answer_all(plan, requests, options, runtime); });
}

}  // namespace spinor::runtime
