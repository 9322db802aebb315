#include "spinor/modifier/quip_modifier.h"

#include <utility>

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

QuIPModifier::QuIPModifier(QuipArguments arguments, const Place& place) : arguments_(std::move(arguments)) {
  check_transform_type(arguments_.options.transform_type, place.key("transform_type"));
  if (arguments_.learnable) place.key("learnable").fail("learnable is not supported right now");
  if (arguments_.transform_config) check_not_learnable(*arguments_.transform_config, place.key("transform_config"));
}

void QuIPModifier::prepare(const Model& model, RewritePlan&, Warnings&) {
  if (arguments_.transform_config) return;
  TransformConfig& config = arguments_.transform_config.emplace(quip(arguments_.options));
  choose_types(config, model);
  if (is_automatic(arguments_.options.transform_type)) arguments_.options.transform_type = type_of_groups(config);
}

void QuIPModifier::rewrite(const Model& model, RewritePlan& plan, Warnings&) {
  TransformConfig config = *arguments_.transform_config;
  for (auto& [group, scheme] : config.config_groups)
    if (!scheme.seed) scheme.seed = arguments_.options.seed;
  plan.ask_for(arguments_.options.precision);
  apply_paired(config, model, plan);
}

}  // namespace spinor
