// Texts, token by token: the part of answer() that needs caches.
#pragma once

#include "spinor/runtime/answer.h"
#include "spinor/runtime/decoder.h"

namespace spinor::runtime {

// Fills in the answers to those of the requests that have no continuation; `done` is called with how many there are.
void answer_texts(Decoder& decoder, std::span<const Request> requests, const AnswerOptions& options,
                  const RuntimeOptions& runtime, const std::function<void(int64_t more)>& done,
                  std::span<Answer> answers);

}  // namespace spinor::runtime
