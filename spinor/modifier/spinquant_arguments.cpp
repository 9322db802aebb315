#include "spinor/modifier/spinquant_arguments.h"

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

void check_arguments(const SpinQuantArguments& arguments, const Place& place) {
  check_transform_type(arguments.transform_type, place.key("transform_type"));
  if (arguments.learnable) place.key("learnable").fail("learnable is not supported right now");
  if (arguments.rotation_digest && !arguments.rotation_file)
    place.key("rotation_digest").fail("is the digest of no file", "give rotation_file, too");
  if (arguments.transform_config) check_not_learnable(*arguments.transform_config, place.key("transform_config"));
}

}  // namespace spinor
