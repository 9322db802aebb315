#include "spinor/modifier/learning_arguments.h"

#include <fmt/format.h>

#include <cmath>
#include <span>
#include <string_view>

#include "spinor/base/list.h"
#include "spinor/base/nearest.h"

namespace spinor {
namespace {

void check_names(const std::vector<std::string>& names, std::span<const std::string_view> known, const Place& place) {
  for (size_t i = 0; i < names.size(); ++i)
    if (!contains(known, names[i]))
      place.item(i).fail(fmt::format("'{}' is nothing that can be learned", names[i]), suggest_name(names[i], known));
}

void check_positive(int64_t value, const Place& place) {
  if (value < 1) place.fail(fmt::format("{} must be at least 1, not {}", place.name, value));
}

}  // namespace

void check_learning(const LearningArguments& arguments, const LearnableNames& names, const Place& place) {
  check_names(arguments.rotations, names.rotations, place.key("rotations"));
  check_names(arguments.scales, names.scales, place.key("scales"));
  if (arguments.permutation && !names.permutation)
    place.key("permutation").fail("permutation: channels of an MLP are put in order by a SpinQuantModifier");
  const std::pair<const char*, int64_t> counts[] = {{"steps", arguments.steps.value_or(1)},
                                                    {"batch", arguments.batch.value_or(1)},
                                                    {"samples", arguments.samples},
                                                    {"holdout", arguments.holdout},
                                                    {"context", arguments.context - 1}};
  for (const auto& [key, value] : counts) check_positive(value, place.key(key));
  const std::pair<const char*, std::optional<int64_t>> bits[] = {{"activation_bits", arguments.activation_bits},
                                                                 {"kv_bits", arguments.kv_bits}};
  for (const auto& [key, value] : bits)
    if (value && *value != 16 && (*value < 2 || *value > 8))
      place.key(key).fail(fmt::format("{} must be 2 to 8, or 16 for not quantized, not {}", key, *value));
  if (const double rate = arguments.learning_rate.value_or(1); !std::isfinite(rate) || rate <= 0)
    place.key("learning_rate").fail("learning_rate must be a positive number");
  if (arguments.first_token && !(std::isfinite(*arguments.first_token) && *arguments.first_token > 0))
    place.key("first_token").fail("first_token must be a positive number: it weighs a row");
}

}  // namespace spinor
