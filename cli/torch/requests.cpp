#include "cli/torch/requests.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/io/file.h"

namespace spinor::cli {
namespace {

void check_asked(const AskedRequest& asked, const Place& place) {
  const bool samples = asked.temperature || asked.top_p || asked.top_k || asked.seed;
  const bool writes = asked.max_new_tokens || !asked.stop.empty() || !asked.stop_tokens.empty() || samples;
  if (!asked.continuation && !asked.max_new_tokens)
    place.fail(place.name + " asks for nothing", "give it a \"continuation\" to score, or \"max_new_tokens\" to write");
  if (!asked.continuation) {
    if (*asked.max_new_tokens < 0) place.key("max_new_tokens").fail(place.name + ".max_new_tokens is negative");
    if (std::ranges::find(asked.stop, "") != asked.stop.end())
      place.key("stop").fail(place.name + ".stop has an empty text");
    return;
  }
  if (writes) place.fail(place.name + " has a continuation, and keys of a text that is to be written");
  if (asked.continuation->empty()) place.key("continuation").fail(place.name + ".continuation is empty");
}

}  // namespace

runtime::Request AskedRequest::request() const {
  runtime::Request result{.context = context, .continuation = continuation.value_or(std::vector<int>())};
  runtime::GenerateOptions& options = result.generate;
  options.max_new_tokens = max_new_tokens.value_or(0);
  options.temperature = temperature.value_or(options.temperature);
  options.top_k = top_k.value_or(options.top_k);
  options.top_p = top_p.value_or(options.top_p);
  options.seed = seed.value_or(options.seed);
  return result;
}

std::vector<AskedRequest> read_requests(const std::string& path) {
  const Json json = parse_json(read_text(path), path);
  if (!json.is_array()) throw Error(path, "is not a list of requests");
  std::vector<AskedRequest> requests;
  for (const Json& one : json) {
    const Place place{fmt::format("request {}", requests.size()), path};
    requests.push_back(read_fields<AskedRequest>(one, place));
    check_asked(requests.back(), place);
  }
  return requests;
}

}  // namespace spinor::cli
