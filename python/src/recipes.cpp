#include "python/src/recipes.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <exception>
#include <string>
#include <vector>

#include "cli/failure.h"
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
  try {
    const Json step = {{name, parse_json(fields, name)}};
    const Json recipe = {{"default_stage", {{"default_modifiers", step}}}};
    const Recipe parsed = Recipe::parse(recipe.dump(), name);
    return nb::make_tuple("done", text(parsed.steps().front().modifier->arguments().dump()), "", "");
  } catch (const std::exception&) {
    const cli::Failure failure = cli::failure_of(std::current_exception(), "out of memory");
    return nb::make_tuple(failure.kind, text(failure.subject), text(failure.problem), text(failure.hint));
  }
}

}  // namespace

void define_recipes(nb::module_& module) {
  module.def("modifier_names", &modifier_names, "The modifiers that recipes can have.");
  module.def("modifier", &modifier, nb::arg("name"), nb::arg("fields"),
             "A modifier's fields as JSON, with the defaults of those that are not given. Returns as run().");
}

}  // namespace spinor::python
