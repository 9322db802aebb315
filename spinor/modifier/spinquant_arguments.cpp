#include "spinor/modifier/spinquant_arguments.h"

#include "spinor/modifier/rotation_file.h"

namespace spinor {

void read_value(const Json& json, SpinList out, const Place& place) {
  std::vector<std::string> names = read_fields<std::vector<std::string>>(json, place);
  out.list.clear();
  for (size_t i = 0; i < names.size(); ++i) {
    for (char& c : names[i]) c = c == 'r' ? 'R' : c;
    out.list.push_back(read_fields<Spin>(names[i], place.item(i)));
  }
}

void to_json(Json& json, const SpinList& spins) {
  json = Json::array();
  for (const Spin spin : spins.list) json.push_back(name_in_table(spin));
}

namespace {

// R1 and R2 can be learned; anything else that asks for a gradient is refused.
void check_learnable_groups(const TransformConfig& config, const Place& place) {
  for (const auto& [group, scheme] : config.config_groups)
    if (scheme.requires_grad && group != "R1" && group != "R2")
      place.key("config_groups")
          .key(group)
          .fail("only groups called R1 and R2 are learnable", "set requires_grad: false");
}

}  // namespace

void check_arguments(const SpinQuantArguments& arguments, const Place& place) {
  check_transform_type(arguments.transform_type, place.key("transform_type"));
  constexpr std::string_view kRotations[] = {"R1", "R2"}, kScales[] = {"m", "k", "v"};
  check_learning(arguments.learning, {kRotations, kScales, true}, place.key("learning"));
  check_digest_of(arguments.rotation_file, arguments.rotation_digest, place);
  if (arguments.seeds < 1) place.key("seeds").fail("seeds must be at least 1");
  if (arguments.seeds > 1 && arguments.transform_type == "hadamard" && !arguments.randomize)
    place.key("seeds").fail("seeds are of types that are drawn, and hadamard is not",
                            "use transform_type: random-hadamard");
  if (arguments.transform_config) check_learnable_groups(*arguments.transform_config, place.key("transform_config"));
}

}  // namespace spinor
