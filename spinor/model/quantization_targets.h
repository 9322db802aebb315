// Which scheme of a QuantizationConfig a module has.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "spinor/model/model.h"
#include "spinor/quant/config.h"

namespace spinor {

// What chooses between experts: never quantized. Read off tensor names alone, one looks like a linear.
bool is_router(const Module& module);

// The group whose target matches, or null. Where several match, compressed-tensors' order decides: exact names, then
// regexes, then classes, each in alphabetical order; the last group where one target is in several. `ignore` comes
// first.
const std::pair<std::string, QuantizationScheme>* find_group(const QuantizationConfig& config, const Module& module);

// Linears and embeddings whose group has weights, in the order of named_modules(). Routers of experts are never among
// them.
struct QuantizedModule {
  const Module* module;
  const std::pair<std::string, QuantizationScheme>* group;
};
std::vector<QuantizedModule> quantized_modules(const QuantizationConfig& config, const Model& model);

// with_linear_experts(model) if the config takes experts that the model has stacked, because they are quantized one by
// one; else nothing. Error for an `ignore` that names a stack, and not the linears that it becomes.
std::optional<Model> with_quantized_experts(const QuantizationConfig& config, const Model& model);

// The `ignore` that config.json has: every module that is not quantized, though another of its class is. Class by
// class; routers count as linears, and so do those of multi-token prediction, which programs load by the same config.
std::vector<std::string> modules_left_out(const std::vector<QuantizedModule>& quantized, const Model& model);

// Error at `place` for targets that match no module that can be quantized. Returns the ignore entries that match
// nothing.
std::vector<std::string> check_targets(const QuantizationConfig& config, const Model& model, const Place& place);

}  // namespace spinor
