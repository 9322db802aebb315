// The file of requests that answer reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/runtime/answer.h"

namespace spinor::cli {

// One of them: with a continuation, or with max_new_tokens and what follows it here.
struct AskedRequest {
  std::vector<int> context = {};
  std::optional<std::vector<int>> continuation = {};
  std::optional<int64_t> max_new_tokens = {};
  std::vector<std::string> stop = {};  // texts before which it ends
  std::vector<int> stop_tokens = {};   // as if they were end tokens of the model
  std::optional<double> temperature = {}, top_p = {};
  std::optional<int64_t> top_k = {};
  std::optional<uint64_t> seed = {};

  template <class Visitor>
  void fields(Visitor& v) {
    v("context", context, required);
    v("continuation", continuation);
    v("max_new_tokens", max_new_tokens);
    v("stop", one_or_many(stop));
    v("stop_tokens", stop_tokens);
    v("temperature", temperature);
    v("top_p", top_p);
    v("top_k", top_k);
    v("seed", seed);
  }

  runtime::Request request() const;
};

// A JSON list. Error naming the file and the request for what is none.
std::vector<AskedRequest> read_requests(const std::string& path);

}  // namespace spinor::cli
