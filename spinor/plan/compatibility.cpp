#include "spinor/plan/compatibility.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "spinor/base/error.h"
#include "spinor/base/nearest.h"
#include "spinor/model/linear_experts.h"

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

constexpr const char* kNoExperts = "leave the experts out with ignore, or run the model with spinor";

// The first linear of a single expert for which it holds; null if there is none.
template <typename Predicate>
const Module* find_expert(const RewritePlan& plan, Predicate predicate) {
  const std::vector<Module>& modules = plan.model().modules();
  const auto found =
      std::ranges::find_if(modules, [&](const Module& module) { return module.expert && predicate(module); });
  return found == modules.end() ? nullptr : &*found;
}

std::optional<Finding> quantized_experts(const RewritePlan& plan) {
  const Module* expert = find_expert(plan, [&](const Module& module) {
    const TensorPlan* tensor = plan.find(weight_name(module));
    return tensor && !tensor->edits.empty() && std::holds_alternative<Quantize>(tensor->edits.back());
  });
  if (!expert) return {};
  return Finding{expert->name, "stacks experts while it loads, and cannot do so with quantized ones", kNoExperts};
}

// Of a family of which it knows no others.
std::optional<Finding> experts_not_stacked(const RewritePlan& plan) {
  if (!has_linear_experts(plan.model())) return {};
  const Module* expert = find_expert(plan, [](const Module&) { return true; });
  return Finding{expert->name, "knows the experts of this family only as stacks, and not one by one", kNoExperts};
}

std::optional<Finding> experts_left_out(const RewritePlan& plan) {
  if (plan.model().architecture_name() != "GptOssForCausalLM") return {};
  const Module* expert = find_expert(plan, [](const Module&) { return true; });
  if (!expert) return {};
  return Finding{expert->name, "reads the experts of gpt-oss as stacks, and leaves single ones out without a word",
                 kNoExperts};
}

struct Rule {
  Client client;
  Check check;
};
constexpr Rule kRules[] = {
    {Client::transformers, dropped_online},
    {Client::transformers, packed_asymmetric},
    {Client::transformers, quantized_experts},
    {Client::transformers, experts_not_stacked},
    {Client::vllm, attention_online},
    {Client::vllm, stacked_inputs},
    {Client::vllm, biased_online},
    {Client::vllm, unknown_matrix},
    {Client::vllm, no_kernel},
    {Client::vllm, experts_left_out},
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
