#include "spinor/plan/compatibility.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "spinor/base/error.h"
#include "spinor/base/nearest.h"

namespace spinor {
namespace {

constexpr auto kClients =
    std::to_array<EnumName<Client>>({{Client::transformers, "transformers"}, {Client::vllm, "vllm"}});

constexpr const char* kNoOnline = "leave it out, or store the weights rotated back with format: dense";

struct Finding {
  std::string where, problem, instead;
};
using Check = std::optional<Finding> (*)(const RewritePlan&);

bool acts_in_attention(const OnlineTransform& online) {
  return online.location == "q_attn" || online.location == "k_cache";
}

template <typename Predicate>
const OnlineTransform* find_online(const RewritePlan& plan, Predicate predicate) {
  const auto found = std::ranges::find_if(plan.online(), predicate);
  return found == plan.online().end() ? nullptr : &*found;
}

struct QuantizedTensor {
  const TensorPlan* tensor;
  const WeightQuantization* quantization;
};

template <typename Predicate>
std::optional<QuantizedTensor> find_stored(const RewritePlan& plan, Predicate predicate) {
  for (const TensorPlan& tensor : plan.tensors()) {
    if (tensor.edits.empty() || !std::holds_alternative<Quantize>(tensor.edits.back())) continue;
    const WeightQuantization& quantization = std::get<Quantize>(tensor.edits.back()).quantization;
    if (predicate(quantization)) return QuantizedTensor{&tensor, &quantization};
  }
  return std::nullopt;
}

// R3 changes neither queries times keys nor anything else until keys are quantized.
std::optional<Finding> dropped_online(const RewritePlan& plan) {
  const auto* online = find_online(plan, [](const auto& o) { return !acts_in_attention(o); });
  if (!online) return {};
  return Finding{online->module,
                 fmt::format("drops the online transform {} at {} without a word and computes something else",
                             online->group, online->location),
                 std::string(kNoOnline) + "; README.md in OUT has code that applies it"};
}

std::optional<Finding> packed_asymmetric(const RewritePlan& plan) {
  const auto found =
      find_stored(plan, [](const WeightQuantization& q) { return q.format == "pack-quantized" && !q.args.symmetric; });
  if (!found) return {};
  return Finding{found->tensor->name, "fails to load packed asymmetric weights, unless it is told to dequantize them",
                 "load with CompressedTensorsConfig(dequantize=True), or choose a symmetric scheme"};
}

std::optional<Finding> attention_online(const RewritePlan& plan) {
  const auto* online = find_online(plan, acts_in_attention);
  if (!online) return {};
  return Finding{online->module,
                 fmt::format("has no {} at {} and fails to load its matrix", online->group, online->location),
                 "leave R3 out"};
}

std::optional<Finding> biased_online(const RewritePlan& plan) {
  const auto* online = find_online(plan, [&](const auto& o) {
    const Module* module = plan.model().find(o.module);
    return !acts_in_attention(o) && module && module->bias;
  });
  if (!online) return {};
  return Finding{online->module,
                 fmt::format("asserts that a linear with the online transform {} has no bias", online->group),
                 kNoOnline};
}

std::optional<Finding> stacked_inputs(const RewritePlan& plan) {
  std::map<std::string_view, const OnlineTransform*> inputs;
  for (const OnlineTransform& online : plan.online()) {
    if (online.location != "input") continue;
    const auto [first, added] = inputs.emplace(online.module, &online);
    if (!added)
      return Finding{
          online.module,
          fmt::format("applies one input transform to a linear: {}, not {}", online.group, first->second->group),
          "leave one of them out"};
  }
  return {};
}

std::optional<Finding> unknown_matrix(const RewritePlan& plan) {
  const auto* online = find_online(plan, [](const auto& o) {
    return !acts_in_attention(o) && (!o.r.peer_has_order() || !o.r.permutation().empty());
  });
  if (!online) return {};
  return Finding{online->module,
                 fmt::format("{}: compressed-tensors has no such matrix of size {}", online->group, online->r.size()),
                 "use hadamard or random-hadamard without randomize, with a block size (128 for groups of 128)"};
}

std::optional<Finding> no_kernel(const RewritePlan& plan) {
  const auto found = find_stored(plan, [](const WeightQuantization& q) {
    using enum QuantizationStrategy;
    const QuantizationArgs& args = q.args;
    const bool rows_or_groups = args.strategy == channel || args.strategy == group;
    if (q.format == "pack-quantized") return !rows_or_groups || (args.num_bits != 4 && args.num_bits != 8);
    return q.format == "int-quantized" &&
           (!rows_or_groups || !args.symmetric || (args.num_bits != 8 && args.num_bits != 4));
  });
  if (!found) return {};
  return Finding{found->tensor->name,
                 fmt::format("has no kernel for {}", describe(Quantize{*found->quantization}, 2, 2)),
                 "use 4 or 8 bits, symmetric, per channel or group: W4A16 or W8A8"};
}

struct Rule {
  Client client;
  Check check;
};
constexpr Rule kRules[] = {
    {Client::transformers, dropped_online},
    {Client::transformers, packed_asymmetric},
    {Client::vllm, attention_online},
    {Client::vllm, stacked_inputs},
    {Client::vllm, biased_online},
    {Client::vllm, unknown_matrix},
    {Client::vllm, no_kernel},
};

}  // namespace

std::span<const EnumName<Client>> enum_names(Client) {
  return kClients;
}

Client client_from(std::string_view name) {
  std::vector<std::string_view> names;
  for (const EnumName<Client>& row : kClients) {
    if (row.name == name) return row.value;
    names.push_back(row.name);
  }
  throw Error(std::string(name), "is no program that spinor knows the abilities of", suggest_name(name, names));
}

std::vector<Incompatibility> incompatibilities(const RewritePlan& plan) {
  std::vector<Incompatibility> all;
  for (const Rule& rule : kRules)
    if (const auto found = rule.check(plan)) all.push_back({rule.client, found->where, found->problem, found->instead});
  return all;
}

void require_compatible(const RewritePlan& plan, std::span<const Client> clients) {
  for (const Incompatibility& found : incompatibilities(plan))
    if (std::ranges::find(clients, found.client) != clients.end())
      throw Error(found.where, fmt::format("{} {}", name_in_table(found.client), found.problem), found.instead);
}

}  // namespace spinor
