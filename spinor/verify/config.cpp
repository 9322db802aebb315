#include "spinor/verify/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "spinor/model/config_difference.h"

namespace spinor::verify {
namespace {

std::string text_of_value(const Json& value) {
  return value.is_null() ? "nothing" : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Of one attention.
struct Inner {
  std::vector<const Rotation*> queries, keys;

  bool cancel() const {
    return std::ranges::equal(queries, keys, [](const Rotation* q, const Rotation* k) {
      return q->stores_the_same(*k) && keeps_products(*q);
    });
  }
};

}  // namespace

void check_config(const Model& source, const Model& output, Report& report) {
  const std::vector<ConfigDifference> differences = config_differences(source, output);
  for (const ConfigDifference& one : differences)
    report.add(
        {"config",
         {one.key},
         "config.json",
         1,
         0,
         fmt::format("config.json says {}, the source's {}", text_of_value(one.output), text_of_value(one.source))});
  if (differences.empty()) report.add({"config", {"config.json"}, "config.json", 0, 0, {}});
}

void check_attention(const Side& side, Report& report) {
  std::map<std::string, Inner> attentions;
  for (const OnlineTransform& online : side.online()) {
    if (online.location == TransformLocation::q_attn) attentions[online.module].queries.push_back(&online.r);
    if (online.location == TransformLocation::k_cache) attentions[online.module].keys.push_back(&online.r);
  }
  for (const auto& [module, inner] : attentions)
    report.add({"online",
                {module},
                "attention",
                inner.cancel() ? 0.0 : 1.0,
                0.5,
                "queries and keys are not transformed alike by an orthogonal matrix, so their products change"});
}

}  // namespace spinor::verify
