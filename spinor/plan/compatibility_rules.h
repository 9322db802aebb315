// Rules of what a program loads, one row each. The tables are one a program: compatibility_vllm.cpp, ...
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/model/quantization_targets.h"
#include "spinor/plan/plan.h"

namespace spinor {

// What would be written, and which of its modules are stored quantized.
struct PlannedOutput {
  const RewritePlan& plan;
  std::vector<QuantizedModule> modules;
};

struct Finding {
  std::string where;   // module or tensor, the first that the rule applies to
  std::string detail;  // fills the {} of the rule's problem
};

struct Rule {
  std::optional<Finding> (*find)(const PlannedOutput&);
  std::string_view problem;  // after the program's name: "drops the online transform {} without a word"
  std::string_view instead;
};

std::span<const Rule> transformers_rules();
std::span<const Rule> vllm_rules();
std::span<const Rule> sglang_rules();
std::span<const Rule> llama_cpp_rules();

// Finders that several tables share.
// R4 and QuIP; R3 changes neither queries times keys nor anything else until keys are quantized.
std::optional<Finding> online_of_linears(const PlannedOutput& output);
std::optional<Finding> online_in_attention(const PlannedOutput& output);
std::optional<Finding> quantized_embedding(const PlannedOutput& output);
std::optional<Finding> quantized_outputs(const PlannedOutput& output);
// Inputs that are quantized in groups of more columns than divide them.
std::optional<Finding> undivided_inputs(const PlannedOutput& output);
// Of linears that one kernel computes, any but the last with rows that blocks do not divide: they would share a block.
std::optional<Finding> undivided_rows(const PlannedOutput& output);

bool acts_in_attention(const OnlineTransform& online);
std::string text_of(const QuantizationArgs& args);      // "8 bits int, token, dynamic"
std::string text_of(const QuantizationScheme& scheme);  // "weights of 4 bits int, channel, int-quantized"
Finding finding_of(const QuantizedModule& one);         // its name, and its scheme

// The first online transform, or the first quantized module, for which it holds; null if there is none.
template <typename Predicate>
const OnlineTransform* find_online(const PlannedOutput& output, Predicate predicate) {
  const auto& online = output.plan.online();
  const auto found = std::ranges::find_if(online, predicate);
  return found == online.end() ? nullptr : &*found;
}
template <typename Predicate>
std::optional<Finding> find_quantized(const PlannedOutput& output, Predicate predicate) {
  const auto found = std::ranges::find_if(output.modules, predicate);
  if (found == output.modules.end()) return {};
  return finding_of(*found);
}

}  // namespace spinor
