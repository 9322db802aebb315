#include "spinor/plan/compatibility.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "spinor/base/error.h"
#include "spinor/base/nearest.h"
#include "spinor/plan/compatibility_rules.h"

namespace spinor {
namespace {

constexpr auto kClients = std::to_array<EnumName<Client>>({{Client::transformers, "transformers"},
                                                           {Client::vllm, "vllm"},
                                                           {Client::sglang, "sglang"},
                                                           {Client::llama_cpp, "llama.cpp"}});

std::span<const Rule> rules_of(Client client) {
  switch (client) {
    case Client::transformers:
      return transformers_rules();
    case Client::vllm:
      return vllm_rules();
    case Client::sglang:
      return sglang_rules();
    case Client::llama_cpp:
      return llama_cpp_rules();
  }
  return {};
}

PlannedOutput output_of(const RewritePlan& plan) {
  if (!plan.quantization()) return {plan, {}};
  return {plan, quantized_modules(*plan.quantization(), plan.model())};
}

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

std::vector<Incompatibility> incompatibilities(const RewritePlan& plan, std::span<const Client> clients) {
  const PlannedOutput output = output_of(plan);
  std::vector<Incompatibility> all;
  for (const EnumName<Client>& row : kClients) {
    if (std::ranges::find(clients, row.value) == clients.end()) continue;
    for (const Rule& rule : rules_of(row.value))
      if (const auto found = rule.find(output))
        all.push_back({row.value, found->where, fmt::format(fmt::runtime(rule.problem), found->detail),
                       std::string(rule.instead)});
  }
  return all;
}

void require_compatible(const RewritePlan& plan, std::span<const Client> clients) {
  for (const Incompatibility& found : incompatibilities(plan, clients))
    throw Error(found.where, fmt::format("{} {}", name_in_table(found.client), found.problem), found.instead);
}

}  // namespace spinor
