// Text, token by token. Needs no header of libtorch.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/runtime/options.h"

namespace spinor::runtime {

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  double temperature = 0;  // 0: always the most likely token
  int64_t top_k = 0;       // only the k most likely; 0: all
  double top_p = 1;        // only the most likely that together have this probability (arXiv 1904.09751)
  uint64_t seed = 0;
};

// Called with each new token; false ends it.
using TokenVisitor = std::function<bool(int32_t token)>;

// Continues the prompt until max_new_tokens, or until one of the model's end_tokens(), which is the last one returned.
// Errors as of Decoder and end_tokens(), and for an empty prompt.
std::vector<int32_t> generate(const RewritePlan& plan, std::span<const int32_t> prompt, const GenerateOptions& options,
                              const RuntimeOptions& runtime, const TokenVisitor& visit = {});

}  // namespace spinor::runtime
