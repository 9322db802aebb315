#include "spinor/transform/early_vocabulary.h"

#include <algorithm>

namespace spinor {
namespace {

using enum TransformLocation;

enum class ModuleTarget { weight, input_activations, output_activations };
constexpr EnumName<ModuleTarget> kModuleTargets[] = {{ModuleTarget::weight, "weight"},
                                                     {ModuleTarget::input_activations, "input_activations"},
                                                     {ModuleTarget::output_activations, "output_activations"}};
std::span<const EnumName<ModuleTarget>> enum_names(ModuleTarget) {
  return kModuleTargets;
}

struct CallArgs {
  std::optional<bool> first, transpose;

  template <class Visitor>
  void fields(Visitor& v) {
    v("first", first);
    v("transpose", transpose);
  }
};

struct CreationArgs {
  std::optional<int64_t> size;

  template <class Visitor>
  void fields(Visitor& v) {
    v("size", size);
  }
};

struct EarlyArgs {
  std::vector<std::string> targets, ignore;
  std::vector<ModuleTarget> module_targets;
  std::optional<CallArgs> call_args;

  template <class Visitor>
  void fields(Visitor& v) {
    v("targets", one_or_many(targets), required);
    v("module_targets", module_targets, required);
    v("ignore", one_or_many(ignore));
    v("call_args", call_args);
  }
};

struct EarlyScheme {
  std::string transform_type;
  std::vector<EarlyArgs> groups;
  std::optional<CreationArgs> transform_creation_args;

  template <class Visitor>
  void fields(Visitor& v) {
    v("transform_type", transform_type, required);
    v("groups", groups, required);
    v("transform_creation_args", transform_creation_args);
  }
};

struct EarlyConfig {
  std::vector<std::pair<std::string, EarlyScheme>> transform_groups;

  template <class Visitor>
  void fields(Visitor& v) {
    v("transform_groups", transform_groups, required);
  }
};

// W <- T^T W and W <- W T^T are what weight locations do, with T = M, or M^-1 if inverse.
void add_weight(const EarlyArgs& args, const CallArgs& call, std::vector<TransformArgs>& apply) {
  const bool left = call.first.value_or(true), transposed = call.transpose.value_or(false);
  apply.push_back({args.targets, left ? weight_output : weight_input, !transposed, args.ignore});
  apply.push_back({args.targets, left ? output : input, transposed, args.ignore});
}

void add(const EarlyArgs& args, const Place& place, std::vector<TransformArgs>& apply) {
  const CallArgs call = args.call_args.value_or(CallArgs());
  const bool weight = std::ranges::find(args.module_targets, ModuleTarget::weight) != args.module_targets.end();
  if (weight && args.module_targets.size() > 1)
    place.key("module_targets")
        .fail(place.name + ": what acts on a weight is undone on its activations already",
              "leave weight alone, or the others");
  if (!weight && call.first)
    place.key("call_args")
        .key("first")
        .fail(place.name + ": activations are always multiplied from the right", "leave `first` out");
  if (weight) return add_weight(args, call, apply);
  for (const ModuleTarget target : args.module_targets)
    apply.push_back({args.targets, target == ModuleTarget::input_activations ? input : output,
                     call.transpose.value_or(false), args.ignore});
}

TransformScheme translated(const EarlyScheme& early, const Place& place) {
  TransformScheme scheme;
  scheme.type = early.transform_type;
  for (size_t i = 0; i < early.groups.size(); ++i) add(early.groups[i], place.key("groups").item(i), scheme.apply);
  if (!early.transform_creation_args || !early.transform_creation_args->size) return scheme;
  scheme.head_dim = early.transform_creation_args->size;
  if (*scheme.head_dim < 1)
    place.key("transform_creation_args").key("size").fail(place.name + ": size must be 1 or more");
  return scheme;
}

}  // namespace

TransformConfig read_transform_groups(const Json& json, const Place& place) {
  const auto early = read_fields<EarlyConfig>(json, place);
  TransformConfig config;
  for (const auto& [name, scheme] : early.transform_groups)
    config.config_groups.emplace_back(name, translated(scheme, place.key("transform_groups").key(name)));
  return config;
}

}  // namespace spinor
