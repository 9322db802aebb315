// Tasks as Python calls them.
#pragma once

#include <nanobind/nanobind.h>

#include <functional>
#include <string>

#include "python/src/work.h"
#include "spinor/base/json.h"

namespace spinor::python {

namespace nb = nanobind;

// Text of files and paths may be anything.
nb::str text(const std::string& bytes);

// Does the task while other Python threads run, and tells the listener what happens. Python's signal handlers run on
// its main thread, when that asks. Whatever they or the listener raise stops the work first: nobody waits for it any
// more.
// Returns ("done", json, text, problem), or (kind, subject, problem, hint) if it failed.
nb::tuple run_to_its_end(Task task, const nb::callable& listener);

// What takes no time. Returns as run_to_its_end().
nb::tuple run_at_once(const std::function<Json()>& work);

}  // namespace spinor::python
