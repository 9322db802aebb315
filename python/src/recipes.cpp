#include "python/src/recipes.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "python/src/run.h"
#include "spinor/base/json.h"
#include "spinor/modifier/modifier_types.h"
#include "spinor/modifier/recipe.h"

namespace spinor::python {
namespace {

std::vector<std::string> modifier_names() {
  std::vector<std::string> names;
  for (const ModifierType& type : modifier_types()) names.push_back(type.name);
  return names;
}

nb::tuple modifier(const std::string& name, const std::string& fields) {
  return run_at_once([&] {
    const Json step = {{name, parse_json(fields, name)}};
    const Json recipe = {{"default_stage", {{"default_modifiers", step}}}};
    const Recipe parsed = Recipe::parse(recipe.dump(), name);
    return parsed.steps().front().modifier->arguments();
  });
}

}  // namespace

void define_recipes(nb::module_& module) {
  module.def("modifier_names", &modifier_names, "The modifiers that recipes can have.");
  module.def("modifier", &modifier, nb::arg("name"), nb::arg("fields"),
             "A modifier's fields as JSON, with the defaults of those that are not given. Returns as run().");
}

}  // namespace spinor::python
