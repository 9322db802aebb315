#include "spinor/transform/given_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/model/inputs_key.h"
#include "spinor/model/match.h"
#include "spinor/transform/given_rotations.h"

namespace spinor {
namespace {

using Sets = std::vector<std::vector<const Module*>>;
using NamedScheme = std::pair<std::string, TransformScheme>;

void check_input_group(const TransformScheme& scheme) {
  for (const TransformArgs& args : scheme.apply)
    if (args.location != TransformLocation::input && args.location != TransformLocation::weight_input)
      throw Error(kInputGroup,
                  fmt::format("acts at {}, where no linear has a matrix of its own", name_of(args.location)),
                  "put that into a group of another name");
}

const std::vector<const Module*>& set_of(const std::map<std::string, const std::vector<const Module*>*>& sets,
                                         const std::string& first) {
  if (const auto found = sets.find(first); found != sets.end()) return *found->second;
  throw Error(fmt::format("{}.{}", kInputGroup, first),
              "is not the first of those linears among the targets that read the same",
              "name the first of them: q_proj for q_proj, k_proj and v_proj");
}

// What each of a scheme's arguments acts on.
using Matches = std::vector<std::set<const Module*>>;

Matches matches_of(const TransformScheme& scheme, const Model& model) {
  Matches matches;
  for (const TransformArgs& args : scheme.apply) {
    const std::vector<const Module*> found = match_modules(model, args.targets, args.ignore);
    matches.emplace_back(found.begin(), found.end());
  }
  return matches;
}

// The scheme for these linears alone, which share the matrix.
TransformScheme scheme_of_set(const TransformScheme& scheme, const Matches& matches,
                              const std::vector<const Module*>& set, const Rotation& r) {
  if (scheme.head_dim && *scheme.head_dim != r.size())
    throw Error(fmt::format("{}.{}", kInputGroup, set.front()->name),
                fmt::format("is of size {}, not of {}", r.size(), *scheme.head_dim),
                "leave transform_block_size (or head_dim) out");
  TransformScheme own = scheme;
  own.type = kGivenType;
  own.randomize = false;
  own.given = {{kEveryLayer, r}};
  if (r.size() != set.front()->shape.in) own.head_dim = r.size();
  own.apply.clear();
  for (size_t i = 0; i < scheme.apply.size(); ++i) {
    TransformArgs mine = scheme.apply[i];
    mine.targets.clear();
    mine.ignore.clear();
    for (const Module* linear : set)
      if (matches[i].contains(linear)) mine.targets.push_back(linear->name);
    if (!mine.targets.empty()) own.apply.push_back(std::move(mine));
  }
  return own;
}

// Leaves these linears out; false: nothing is left to act on.
bool leave_out(TransformScheme& scheme, const Matches& matches, const std::vector<const Module*>& taken) {
  const std::set<const Module*> out(taken.begin(), taken.end());
  const auto stays = [&](const Module* module) { return !out.contains(module); };
  if (std::ranges::none_of(matches, [&](const auto& found) { return std::ranges::any_of(found, stays); })) return false;
  for (TransformArgs& args : scheme.apply)
    for (const Module* linear : taken) args.ignore.push_back(linear->name);
  return true;
}

}  // namespace

std::vector<std::vector<const Module*>> input_sets(const TransformScheme& scheme, const Model& model) {
  std::set<const Module*> inputs;
  for (const TransformArgs& args : scheme.apply)
    if (args.location == TransformLocation::input)
      for (const Module* module : match_modules(model, args.targets, args.ignore))
        if (module->kind == ModuleKind::linear) inputs.insert(module);
  Sets sets;
  std::map<std::string, size_t> places;
  for (const Module& module : model.modules()) {
    if (!inputs.contains(&module)) continue;
    const auto [place, is_new] = places.emplace(inputs_key(module), sets.size());
    if (is_new) sets.emplace_back();
    sets[place->second].push_back(&module);
  }
  return sets;
}

void use_given_inputs(const GivenInputs& given, const Model& model, TransformConfig& config) {
  if (given.empty()) return;
  const auto group = std::ranges::find(config.config_groups, kInputGroup, &NamedScheme::first);
  if (group == config.config_groups.end())
    throw Error(fmt::format("{}.{}", kInputGroup, given.begin()->first),
                "is for the inputs of one linear, and no v is among the rotations",
                "give the file as rotation_file of a QuIPModifier whose rotations have v");
  TransformScheme& drawn = group->second;
  check_input_group(drawn);
  const Sets sets = input_sets(drawn, model);
  std::map<std::string, const std::vector<const Module*>*> by_first;
  for (const std::vector<const Module*>& set : sets) by_first.emplace(set.front()->name, &set);
  const Matches matches = matches_of(drawn, model);
  std::vector<NamedScheme> own;
  std::vector<const Module*> taken;
  for (const auto& [name, r] : given) {
    const std::vector<const Module*>& set = set_of(by_first, name);
    own.emplace_back(fmt::format("{}_{}", kInputGroup, own.size()), scheme_of_set(drawn, matches, set, r));
    taken.insert(taken.end(), set.begin(), set.end());
  }
  const auto after = leave_out(drawn, matches, taken) ? group + 1 : config.config_groups.erase(group);
  config.config_groups.insert(after, std::make_move_iterator(own.begin()), std::make_move_iterator(own.end()));
}

}  // namespace spinor
