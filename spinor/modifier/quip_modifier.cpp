#include "spinor/modifier/quip_modifier.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/modifier/rotation_file.h"
#include "spinor/transform/automatic_type.h"
#include "spinor/transform/paired.h"

namespace spinor {

void read_value(const Json& json, QuipList out, const Place& place) {
  std::vector<std::string> names = read_fields<std::vector<std::string>>(json, place);
  out.list.clear();
  for (size_t i = 0; i < names.size(); ++i) {
    for (char& c : names[i]) c = c == 'V' ? 'v' : c == 'U' ? 'u' : c;
    out.list.push_back(read_fields<Quip>(names[i], place.item(i)));
  }
}

void to_json(Json& json, const QuipList& rotations) {
  json = Json::array();
  for (const Quip rotation : rotations.list) json.push_back(name_in_table(rotation));
}

namespace {

void check_learnable_group(const TransformConfig& config, const Place& place) {
  for (const std::string& group : with_requires_grad(config))
    if (group != kInputGroup)
      place.key("config_groups").key(group).fail("only a group called v is learnable", "set requires_grad: false");
}

bool has_inputs(const TransformConfig& config) {
  return std::ranges::any_of(config.config_groups, [](const auto& group) { return group.first == kInputGroup; });
}

}  // namespace

QuIPModifier::QuIPModifier(QuipArguments arguments, const Place& place) : arguments_(std::move(arguments)) {
  constexpr std::string_view kRotations[] = {"v"};
  check_transform_type(arguments_.options.transform_type, place.key("transform_type"));
  check_learning(arguments_.learning, {kRotations, {}, false}, place.key("learning"));
  check_digest_of(arguments_.rotation_file, arguments_.rotation_digest, place);
  if (arguments_.transform_config) check_learnable_group(*arguments_.transform_config, place.key("transform_config"));
}

Json QuIPModifier::arguments() const {
  Json json = write_fields(arguments_);
  // llm-compressor does not know these keys.
  record_file(arguments_, recorded_as_, json);
  return json;
}

void QuIPModifier::read_in(const std::filesystem::path& directory) {
  begin_in(directory, arguments_.rotation_file);
}

TransformConfig QuIPModifier::config_for(const Model& model) const {
  if (arguments_.transform_config) return *arguments_.transform_config;
  TransformConfig config = quip(arguments_.options);
  choose_types(config, model);
  return config;
}

// No norm is folded: that takes a rotation of the residual stream.
std::optional<Learnable::Request> QuIPModifier::to_learn(const Model& model) const {
  if (!wants_learning(arguments_)) return {};
  if (!model.architecture()) Model::describe(model.checkpoint());  // says why it cannot be run
  Request request{.start = {.spin = {.precision = arguments_.options.precision, .seed = arguments_.options.seed},
                            .transform_config = config_for(model),
                            .norm_mappings = std::vector<NormMapping>()},
                  .learnable = true,
                  .learning = arguments_.learning};
  if (!has_inputs(*request.start.transform_config))
    throw Error(name(), "learns v alone, which is not among the rotations", "add v, or set learnable: false");
  clear_requires_grad(request.start.transform_config);
  transforms_of(model, request.start);  // an error now, not after the learning
  return request;
}

void QuIPModifier::take_learned(const Found& found) {
  take_found(found, arguments_, recorded_as_);
}

void QuIPModifier::prepare(const Model& model, RewritePlan&, Warnings&) {
  if (wants_learning(arguments_))
    throw Error(name(), "learnable: true takes a text to learn from", "give --calibration FILE to rotate or quantize");
  given_ = read_recorded(arguments_.rotation_file, arguments_.rotation_digest, model);
  if (!given_.scales.empty() || !given_.permutations.empty())
    throw Error(*arguments_.rotation_file, "has exact scales or permutations, which a QuIPModifier does not apply",
                "give it to a SpinQuantModifier, or a file of its own to each");
  if (arguments_.transform_config) return;
  const TransformConfig& config = arguments_.transform_config.emplace(config_for(model));
  if (is_automatic(arguments_.options.transform_type)) arguments_.options.transform_type = type_of_groups(config);
}

void QuIPModifier::rewrite(const Model& model, RewritePlan& plan, Warnings&) {
  TransformConfig config = *arguments_.transform_config;
  use_given(given_, model, config);
  for (auto& [group, scheme] : config.config_groups)
    if (!scheme.seed) scheme.seed = arguments_.options.seed;
  plan.ask_for(arguments_.options.precision);
  apply_paired(config, model, plan);
}

}  // namespace spinor
