#include "spinor/transform/apply.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "spinor/base/error.h"
#include "spinor/model/match.h"
#include "spinor/transform/auto_operation.h"
#include "spinor/transform/factory.h"
#include "spinor/transform/given_rotations.h"
#include "spinor/transform/transform_size.h"

namespace spinor {
namespace {

using enum TransformLocation;

// One group while it is applied. Its matrices are drawn from one stream, one a size, when a size is first seen: the
// order of the draws is part of what a seed means.
struct Group {
  std::string_view name;
  const TransformScheme& scheme;
  const TransformType& type;
  Random random;
  bool fixes_ones = false;  // it rotates a stream that LayerNorms read
  std::map<int64_t, Rotation> by_size = {};
};

// The modules on whose same side the group acts online, which undoes what it does to their weights.
std::set<const Module*> undone_online(const Group& group, TransformLocation location, const Model& model) {
  std::set<const Module*> modules;
  for (const TransformArgs& args : group.scheme.apply)
    if (args.location == (location == weight_input ? input : output))
      for (const Module* module : match_modules(model, args.targets, args.ignore)) modules.insert(module);
  return modules;
}

// T of a weight location, and what the labels of its edits say: "R1", "R1'" transposed, "R1^-1" inverted.
struct Factor {
  Rotation t;
  std::string label;
};

bool has_weight_location(const TransformScheme& scheme) {
  return std::ranges::any_of(scheme.apply, [](const TransformArgs& args) { return !is_online(args.location); });
}

// An online transform may run in any floating type; a weight is edited in float32 or float64.
void check_precision(std::string_view group, const TransformScheme& scheme) {
  const std::string& name = scheme.precision;
  if (name == "torch.float64" || name == "torch.float32") return;
  const bool online =
      std::ranges::any_of(scheme.apply, [](const TransformArgs& args) { return is_online(args.location); });
  if (online && (name == "torch.bfloat16" || name == "torch.float16")) return;
  throw Error(std::string(group), fmt::format("weights cannot be transformed in precision {}", name),
              "use float64 or float32");
}

const TransformType& type_of(std::string_view group, const TransformScheme& scheme) {
  if (scheme.type != kGivenType) return find_transform_type(scheme.type);
  static const TransformType given = {.name = kGivenType, .make = {}};
  if (!scheme.given.empty()) return given;
  throw Error(std::string(group), "stands for matrices of the user's own, which are not here",
              "give their file: --rotation FILE by command, rotation_file in a recipe");
}

const Rotation& given_for(const Group& group, const Module& module) {
  const GivenMatrices& given = group.scheme.given;
  if (const auto found = given.find(module.layer); found != given.end()) return found->second;
  if (const auto found = given.find(kEveryLayer); found != given.end()) return found->second;
  throw Error(module.name, fmt::format("no {} was given for its layer", group.name),
              "give one for every layer, or one for all");
}

const Rotation& rotation_for(Group& group, int64_t size, const Module& module, TransformLocation location) {
  if (!group.scheme.given.empty()) return given_for(group, module);
  if (const auto found = group.by_size.find(size); found != group.by_size.end()) return found->second;
  const bool float32 = is_online(location) && group.scheme.precision != "torch.float64";
  if (!group.type.orthogonal && float32 && group.scheme.precision != "torch.float32")
    throw Error(std::string(group.name),
                fmt::format("{} cannot be drawn in {}", group.type.name, group.scheme.precision),
                "use float32 or float64");
  try {
    Rotation r = group.type.make({size, group.scheme.randomize, float32, group.fixes_ones}, group.random);
    return group.by_size.emplace(size, std::move(r)).first->second;
  } catch (const Error& error) {
    throw Error(module.weight ? weight_name(module) : module.name,
                fmt::format("{}: {} {}", group.name, error.subject(), error.problem()), error.hint());
  }
}

Factor make_factor(const Group& group, const Rotation& r, bool inverse) {
  std::string plain(group.name);
  if (!inverse) return {r, std::move(plain)};
  if (r.orthogonal()) return {r.transposed(), transposed_label(plain)};
  return {r.inverse(), plain + "^-1"};
}

void edit(RewritePlan& plan, const Module& module, TransformLocation location, const Factor& f) {
  if (location == weight_input)
    AutoOperation::rotate_input(plan, module, f.t, f.label);
  else
    AutoOperation::rotate_output(plan, module, f.t, f.label);
}

// Its matrix is stored as <module>.<group>_<location>.weight, which must be one tensor.
void add_online(RewritePlan& plan, const Module& module, const Group& group, TransformLocation location, Rotation t) {
  OnlineTransform online{module.name, std::string(group.name), location, std::move(t)};
  if (online.group.find('.') != std::string::npos)
    throw Error(online.group, "cannot be part of a tensor's name, as it must for an online transform",
                "choose a name without '.'");
  for (const OnlineTransform& other : plan.online())
    if (other.module == online.module && other.group == online.group && other.location == online.location)
      throw Error(module.name, fmt::format("has two transforms of {} at {}", online.group, name_of(location)),
                  "narrow the targets, or put one of them into a group of its own");
  plan.add_online(std::move(online));
}

// Matrices of the user's own are of the model's layers; a head for multi-token prediction does without.
bool does_without(const Group& group, const Module& module) {
  const GivenMatrices& given = group.scheme.given;
  return module.role == Role::mtp && !given.empty() && !given.contains(module.layer) && !given.contains(kEveryLayer);
}

void apply(const TransformArgs& args, Group& group, const Model& model, RewritePlan& plan) {
  for (const std::string& target : args.targets)
    if (match_modules(model, {&target, 1}).empty())
      throw Error(target, fmt::format("{}: no module of the model matches this target", group.name));
  const std::set<const Module*> undone = undone_online(group, args.location, model);
  for (const Module* module : match_modules(model, args.targets, args.ignore)) {
    if (does_without(group, *module)) continue;
    const int64_t size = transform_size(model, *module, group.name, group.scheme, args.location);
    const Factor factor = make_factor(group, rotation_for(group, size, *module, args.location), args.inverse);
    if (is_online(args.location))
      add_online(plan, *module, group, args.location, factor.t);
    else if (undone.contains(module))
      plan.edit_undone_online([&] { edit(plan, *module, args.location, factor); });
    else
      edit(plan, *module, args.location, factor);
  }
}

}  // namespace

bool rotates(const TransformScheme& scheme, const Model& model, const Stream& stream) {
  if (stream.writers.empty()) return false;  // of an unknown architecture
  return std::ranges::any_of(scheme.apply, [&](const TransformArgs& args) {
    return args.location == weight_output &&
           std::ranges::any_of(match_modules(model, args.targets, args.ignore),
                               [&](const Module* module) { return module == stream.writers.front(); });
  });
}

bool fixes_ones(const TransformScheme& scheme, const Model& model) {
  const auto streams = model.streams();
  return std::ranges::any_of(streams,
                             [&](const Stream* stream) { return stream->centred && rotates(scheme, model, *stream); });
}

void apply(const TransformConfig& config, const Model& model, RewritePlan& plan) {
  // Groups get the names they have among all that were applied: those are the names of their tensors.
  TransformConfig all = plan.transform_config().is_null()
                            ? TransformConfig()
                            : transform_config_from_json(plan.transform_config(), "transform_config");
  const size_t before = all.config_groups.size();
  all.merge(config);
  for (size_t i = before; i < all.config_groups.size(); ++i) {
    auto& [name, scheme] = all.config_groups[i];
    if (scheme.requires_grad)
      throw Error(name, "is to be learned first (requires_grad)",
                  "give --calibration FILE to a recipe whose SpinQuantModifier has it, or set requires_grad: false");
    check_precision(name, scheme);
    if (has_weight_location(scheme) && scheme.precision == "torch.float64") plan.ask_for(Precision::float64);
    const TransformType& type = type_of(name, scheme);
    scheme.type = type.name;  // compressed-tensors' spelling of it
    Group group{name, scheme, type, Random(scheme.seed.value_or(kPeerSeed)), fixes_ones(scheme, model)};
    for (const TransformArgs& args : scheme.apply) apply(args, group, model, plan);
  }
  if (!all.empty()) plan.set_transform_config(to_json(all));
}

}  // namespace spinor
