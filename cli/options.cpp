#include "cli/options.h"

namespace spinor::cli {
namespace {

// CLI11 names a value's type, or what a check allows.
const char* kind_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return "flag";
  const std::string type = option.get_type_name();
  if (type.starts_with("FLOAT")) return "float";
  return type.starts_with("INT") || type.starts_with("UINT") ? "int" : "text";
}

Json option_json(const CLI::Option& option) {
  const bool list = option.get_expected_max() > 1;
  const bool named = !option.get_lnames().empty();
  return {{"name", named ? "--" + option.get_lnames().front() : option.get_single_name()},
          {"group", option.get_group()},
          {"help", option.get_description()},
          {"kind", kind_of(option)},
          {"list", list},
          {"required", option.get_required()},
          {"default", option.get_default_str().empty() ? Json() : Json(option.get_default_str())}};
}

// A group of options is an app without a name.
void add_options(Json& options, const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) options.push_back(option_json(*option));
  for (const CLI::App* group : app.get_subcommands([](const CLI::App*) { return true; })) add_options(options, *group);
}

}  // namespace

Json options_json(const CommandLine& line) {
  Json commands = Json::object();
  const CLI::App& app = line.app();
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    Json options = Json::array();
    add_options(options, *command);
    commands[command->get_name()] = {{"about", command->get_description()}, {"options", options}};
  }
  return commands;
}

}  // namespace spinor::cli
