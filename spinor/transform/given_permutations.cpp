#include "spinor/transform/given_permutations.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"

namespace spinor {
namespace {

constexpr const char* kPermutationLabel = "P";

std::string first_name(const std::vector<HiddenChannels>& channels) {
  const auto found = std::ranges::find_if(channels, [](const auto& one) { return why_ordered(one).empty(); });
  if (found == channels.end()) return "this model has none: " + why_ordered(channels.front());
  return fmt::format("this model has permutation.{}, and so on in each layer", found->name);
}

}  // namespace

const HiddenChannels& find_channels(const std::vector<HiddenChannels>& channels, const std::string& name,
                                    const std::string& subject) {
  const auto found = std::ranges::find(channels, name, &HiddenChannels::name);
  if (found == channels.end())
    throw Error(subject, fmt::format("{} does not read the channels of an MLP", name), first_name(channels));
  if (const std::string reason = why_ordered(*found); !reason.empty())
    throw Error(subject, "its channels keep their order: " + reason, first_name(channels));
  return *found;
}

void check_order(const HiddenChannels& channels, std::span<const int64_t> order, const std::string& subject) {
  const int64_t n = channels.reader.size;
  if (std::ssize(order) != n) throw Error(subject, fmt::format("has {} entries for {} channels", order.size(), n));
  std::vector<bool> seen(order.size());
  for (const int64_t channel : order) {
    if (channel < 0 || channel >= n) throw Error(subject, fmt::format("has {}, and there are {} channels", channel, n));
    if (seen[static_cast<size_t>(channel)])
      throw Error(subject, fmt::format("has {} twice", channel), "a permutation has every channel once");
    seen[static_cast<size_t>(channel)] = true;
  }
}

void apply_permutations(const GivenPermutations& permutations, const Model& model, RewritePlan& plan, bool inverse) {
  if (permutations.empty()) return;
  const std::vector<HiddenChannels> all = hidden_channels(model);
  for (const auto& [name, order] : permutations) {
    const HiddenChannels& channels = find_channels(all, name, name);
    check_order(channels, *order, name);
    const Rotation forward = Rotation::reordering(*order), r = inverse ? forward.transposed() : forward;
    for (const LinearPart& rows : channels.writers()) {
      plan.edit_weight(*rows.linear, MultiplyLeft{r.transposed(), kPermutationLabel, rows.part});
      if (rows.linear->bias) plan.edit_bias(*rows.linear, MultiplyRight{r, kPermutationLabel, rows.part});
    }
    plan.edit_weight(*channels.reader.linear, MultiplyRight{r, kPermutationLabel, {}});
  }
}

}  // namespace spinor
