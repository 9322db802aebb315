#include "spinor/modifier/quantization_modifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "spinor/base/error.h"
#include "spinor/family/architecture.h"
#include "spinor/family/forward_row.h"
#include "spinor/model/fused_linears.h"
#include "spinor/model/module_name.h"
#include "spinor/modifier/stored_config.h"
#include "spinor/quant/observers.h"
#include "spinor/transform/fold_online.h"
#include "spinor/transform/paired.h"

namespace spinor {
namespace {

bool needs_scale(const std::optional<QuantizationArgs>& args) {
  return args && args->dynamic != QuantizationDynamic::yes;
}

// What the runtimes that read such checkpoints know, and the config alone cannot say.
void check_static(const char* what, const std::optional<QuantizationArgs>& args, const Place& place) {
  if (!needs_scale(args)) return;
  activation_observer(*args, place);
  using enum QuantizationStrategy;
  const bool global = args->strategy == tensor_group && args->dynamic == QuantizationDynamic::local;
  const bool one = args->strategy == tensor || args->strategy == attn_head;
  if (!global && !(one && args->dynamic == QuantizationDynamic::no))
    place.fail(std::string(what) + ": static scales are per tensor or per attention head",
               "use strategy: tensor, or dynamic: true");
}

void check_activations(const QuantizationConfig& config, const Place& place) {
  check_static("kv_cache_scheme", config.kv_cache_scheme, place.key("kv_cache_scheme"));
  if (config.kv_cache_scheme && config.kv_cache_scheme->dynamic == QuantizationDynamic::local)
    place.key("kv_cache_scheme").fail("kv_cache_scheme cannot be dynamic: local", "use strategy: tensor");
  for (const auto& [name, scheme] : config.config_groups) {
    check_static("input_activations", scheme.input_activations, place);
    check_static("output_activations", scheme.output_activations, place);
  }
}

void check_dense(const QuantizationConfig& config, const Place& place) {
  for (const auto& [name, scheme] : config.config_groups)
    if (scheme.format == "dense" && scheme.weights &&
        asks_for_importance(*scheme.weights, weight_observer(*scheme.weights, place)))
      place.fail("format: dense is not supported with " + *scheme.weights->observer + " yet",
                 "leave the format (--format by command) out, then run spinor dequantize");
}

// Linears that one kernel reads together share one global scale, as in llm-compressor.
std::string shared_scale(const Module& module, const QuantizationArgs& args) {
  return args.strategy == QuantizationStrategy::tensor_group ? fused_name(module.name) : std::string();
}

bool targets_ends(const std::vector<QuantizedModule>& modules, const Model& model) {
  return std::ranges::any_of(
      modules, [&](const QuantizedModule& m) { return m.module == model.embedding() || m.module == model.head(); });
}

}  // namespace

QuantizationModifier::QuantizationModifier(QuantizationArguments arguments, const Place& place)
    : QuantizationModifier(arguments, resolve(arguments, place), place) {}

QuantizationModifier::QuantizationModifier(QuantizationArguments arguments, QuantizationConfig config,
                                           const Place& place)
    : arguments_(std::move(arguments)), subject_(place.subject), config_(std::move(config)) {
  check_activations(config_, place);
  check_dense(config_, place);
  if (arguments_.transform_config) check_not_learnable(*arguments_.transform_config, place.key("transform_config"));
}

bool QuantizationModifier::is_dense() const {
  return std::ranges::any_of(config_.config_groups,
                             [](const auto& group) { return group.second.weights && group.second.format == "dense"; });
}

void QuantizationModifier::prepare(const Model& model, RewritePlan&, Warnings& warnings) {
  const std::vector<std::string> unused = check_targets(config_, model, {name(), subject_});
  for (const std::string& target : unused) warnings.push_back("ignore: no module matches '" + target + "'");
  const bool all_dense = std::ranges::all_of(
      config_.config_groups, [](const auto& group) { return !group.second.weights || group.second.format == "dense"; });
  if (is_dense() && !all_dense)
    throw Error(name(), "has groups with format: dense and groups without", "make all of them dense, or none");
  if ((is_dense() || arguments_.format == "dense") && config_.kv_cache_scheme)
    throw Error(name(), "has kv_cache_scheme, and with format: dense no config says so", "leave one of them out");
  if (config_.kv_cache_scheme && !model.architecture())
    throw Error(name(), "has kv_cache_scheme, and which modules attend is not known of this architecture",
                "give a row for it: --architecture FILE");
  const auto* row = model.architecture();
  if (needs_scale(config_.kv_cache_scheme) && row->forward && row->forward->latent)
    throw Error(name(), "has a static kv_cache_scheme, which is not supported for latent attention",
                "use dynamic: true, or leave it out");
  warn_about_observers(warnings);
}

// Where an imatrix observer has no inputs to weigh.
void QuantizationModifier::warn_about_observers(Warnings& warnings) const {
  const Place place{name(), subject_};
  const auto warn_static = [&](const std::string& group, const std::optional<QuantizationArgs>& args) {
    if (needs_scale(args) && activation_observer(*args, place).search.imatrix)
      warnings.push_back(group + ": " + *args->observer +
                         " weighs inputs of weights alone; use minmax or mse for activations (all count the same now)");
  };
  for (const auto& [group, scheme] : config_.config_groups) {
    if (scheme.weights) {
      const ObserverOptions observer = weight_observer(*scheme.weights, place);
      if (observer.imatrix && !asks_for_importance(*scheme.weights, observer))
        warnings.push_back(
            group + ": " + *scheme.weights->observer +
            " weighs inputs where each row has scales of its own; use mse, or strategy: channel or group (all "
            "count the same now)");
    }
    warn_static(group, scheme.input_activations);
    warn_static(group, scheme.output_activations);
  }
  warn_static("kv_cache_scheme", config_.kv_cache_scheme);
}

void QuantizationModifier::rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) {
  if (arguments_.transform_config) apply_paired(*arguments_.transform_config, model, plan);
  quantize(model, plan, warnings);
  if (is_dense()) fold_online(plan);
}

void QuantizationModifier::quantize(const Model& model, RewritePlan& plan, Warnings& warnings) const {
  const Place place{name(), subject_};
  const std::vector<QuantizedModule> modules = quantized_modules(config_, model);
  for (const QuantizedModule& one : modules)
    if (is_quantized(*one.module, plan))
      place.fail(one.module->name + " is quantized by another modifier already", "name it in ignore of one of them");
  if (targets_ends(modules, model)) plan.untie();
  const bool dense = is_dense();
  for (const QuantizedModule& one : modules) {
    WeightQuantization quantization = make_quantization(one, warnings);
    if (dense)
      plan.edit_weight(*one.module, QuantizeDequantize{std::move(quantization)});
    else
      plan.edit_weight(*one.module, Quantize{std::move(quantization)});
  }
  if (dense) return;
  calibrate(modules, model, plan);
  if (!modules.empty() || config_.kv_cache_scheme)
    plan.set_quantization(stored_config(modules, model, plan, config_.kv_cache_scheme, place));
}

WeightQuantization QuantizationModifier::make_quantization(const QuantizedModule& one, Warnings& warnings) const {
  const QuantizationScheme& scheme = one.group->second;
  const Place place{name(), subject_};
  const bool linear = one.module->kind == ModuleKind::linear;
  WeightQuantization quantization{
      .args = *scheme.weights,
      .format = is_dense() ? format_of({.weights = scheme.weights}, place) : *scheme.format,
      .observer = weight_observer(*scheme.weights, place),
      .arithmetic = arguments_.compat ? QuantizationArithmetic::peer : QuantizationArithmetic::exact,
      .fused = shared_scale(*one.module, *scheme.weights),
      .gptq = linear ? gptq() : std::nullopt};
  if (!asks_for_importance(quantization.args, quantization.observer)) return quantization;
  quantization.importance = linear;
  if (!linear && quantization.observer.strict)
    throw Error(one.module->name, "is an embedding, without inputs that weigh, and its imatrix observer is strict",
                "give it another observer, or leave strict out");
  if (!linear)
    warnings.push_back(one.module->name + ": " + *scheme.weights->observer +
                       " weighs inputs of linears; use mse for embeddings (all count the same now)");
  return quantization;
}

void QuantizationModifier::calibrate(const std::vector<QuantizedModule>& modules, const Model& model,
                                     RewritePlan& plan) const {
  const auto add = [&](const std::string& module, const char* place, int layer,
                       const std::optional<QuantizationArgs>& args) {
    if (needs_scale(args)) plan.calibrate({module, place, layer, *args});
  };
  for (const QuantizedModule& one : modules) {
    add(one.module->name, "input", one.module->layer, one.group->second.input_activations);
    add(one.module->name, "output", one.module->layer, one.group->second.output_activations);
  }
  if (!config_.kv_cache_scheme) return;
  std::vector<std::string> keys;
  for (const AttentionRow* row : model.architecture()->attentions()) keys.push_back(row->key);
  for (const Module* key : model.named(keys))
    for (const char* place : {"k", "v"})
      add(std::string(parent_of(key->name)), place, key->layer, config_.kv_cache_scheme);
}

}  // namespace spinor
