// How likely continuations are: the part of answer() that needs no cache.
#pragma once

#include "spinor/runtime/answer.h"
#include "spinor/runtime/decoder.h"

namespace spinor::runtime {

// Fills in the answers to those of the requests that have a continuation; `done` is called with how many there are.
void answer_likelihoods(Decoder& decoder, std::span<const Request> requests, int64_t window,
                        const std::function<void(int64_t more)>& done, std::span<Answer> answers);

}  // namespace spinor::runtime
