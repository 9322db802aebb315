// A model in Python's memory, rewritten where it is.
#pragma once

#include <nanobind/nanobind.h>

namespace spinor::python {

void define_memory(nanobind::module_& module);

}  // namespace spinor::python
