// Recipes and their modifiers, as Python's classes ask about them.
#pragma once

#include <nanobind/nanobind.h>

namespace spinor::python {

void define_recipes(nanobind::module_& module);

}  // namespace spinor::python
