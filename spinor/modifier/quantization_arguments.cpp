#include "spinor/modifier/quantization_arguments.h"

#include "spinor/quant/observers.h"
#include "spinor/quant/presets.h"

namespace spinor {
namespace {

struct ObserverNames {
  std::optional<std::string> weights = {}, input = {}, output = {};

  template <class Visitor>
  void fields(Visitor& v) {
    v("weights", weights);
    v("input", input);
    v("output", output);
  }
};

ObserverNames observers_of(const QuantizationArguments& arguments, const Place& place) {
  const ObserverNames single{arguments.weight_observer, arguments.input_observer, arguments.output_observer};
  if (arguments.observer.is_null()) return single;
  if (single.weights || single.input || single.output)
    place.key("observer")
        .fail("observer and weight_observer, input_observer or output_observer say the same", "give one of them");
  if (arguments.observer.is_string()) return {.weights = arguments.observer.get<std::string>()};
  return read_fields<ObserverNames>(arguments.observer, place.key("observer"));
}

// As llm-compressor: the override, else what the scheme has, else the default; none for what is dynamic.
void set_observer(std::optional<QuantizationArgs>& args, const std::optional<std::string>& override,
                  const char* otherwise) {
  if (!args || (!override && args->observer)) return;
  args->observer = override;
  if (!override && args->dynamic != QuantizationDynamic::yes) args->observer = otherwise;
}

std::vector<std::pair<std::string, QuantizationScheme>> groups_of_scheme(const QuantizationArguments& arguments,
                                                                         const Place& place) {
  Json scheme = arguments.scheme;
  if (scheme.is_string()) scheme = {{scheme.get<std::string>(), arguments.targets}};
  if (!scheme.is_object())
    place.fail("scheme is neither a preset nor a map of presets to targets", "write scheme: W4A16");
  std::vector<std::pair<std::string, QuantizationScheme>> groups;
  for (const auto& [name, value] : scheme.items()) {
    const Place here = arguments.scheme.is_string() ? place : place.key(name);
    std::vector<std::string> targets;
    read_value(value, one_or_many(targets), here);
    groups.emplace_back("group_" + std::to_string(groups.size()), preset(name, std::move(targets), here));
    check_scheme(groups.back().second, here);
  }
  return groups;
}

// Groups that name no module and quantize nothing are left out.
QuantizationConfig config_of_schemes(const QuantizationArguments& arguments, bool groups, const Place& place) {
  if (groups && !arguments.scheme.is_null())
    place.key("config_groups").fail("scheme and config_groups exclude each other", "give one of them");
  QuantizationConfig config{.ignore = arguments.ignore};
  config.kv_cache_scheme = arguments.kv_cache_scheme;
  if (groups)
    read_value(*arguments.config_groups, GroupsField{config.config_groups}, place.key("config_groups"));
  else if (!arguments.scheme.is_null())
    config.config_groups = groups_of_scheme(arguments, place.key("scheme"));
  std::erase_if(config.config_groups, [](const auto& group) { return group.second.targets.empty(); });
  if (!config.config_groups.empty() || config.kv_cache_scheme) return config;
  if (groups && !arguments.config_groups->empty())
    place.key("config_groups").fail("no group names a module", "give a group targets: [Linear], and weights");
  if (groups)
    place.key("config_groups").fail("config_groups is empty", "name a group and its scheme, or write scheme: W4A16");
  place.fail("says neither scheme nor config_groups nor kv_cache_scheme", "write scheme: W4A16, or another preset");
}

}  // namespace

QuantizationConfig resolve(const QuantizationArguments& arguments, const Place& place) {
  const bool groups = arguments.config_groups && !arguments.config_groups->is_null();
  QuantizationConfig config = config_of_schemes(arguments, groups, place);
  const ObserverNames observers = observers_of(arguments, place);
  for (auto& [name, scheme] : config.config_groups) {
    set_observer(scheme.weights, observers.weights, "memoryless_minmax");
    set_observer(scheme.input_activations, observers.input, "minmax");
    set_observer(scheme.output_activations, observers.output, "minmax");
    if (!scheme.format) scheme.format = arguments.format;
    scheme.format = format_of(scheme, groups ? place.key("config_groups").key(name) : place);
    if (scheme.weights) weight_observer(*scheme.weights, place);
    if (!scheme.weights && (scheme.input_activations || scheme.output_activations))
      place.fail("the scheme of " + name + " has activations and no weights, which is not supported yet",
                 "give it weights, or leave it out");
  }
  return config;
}

}  // namespace spinor
