// Which modules a target names: exactly compressed-tensors' match_named_modules and match_modules_set.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "spinor/model/model.h"

namespace spinor {

bool matches(const Module& module, std::string_view target);
// In named_modules order, each module once, if it matches a target and no ignore entry. The tied head and the embedding
// are two modules here, as in torch.
std::vector<const Module*> match_modules(const Model& model, std::span<const std::string> targets,
                                         std::span<const std::string> ignore = {});
// Sets of modules, one list per target, complete when each target has a match (norm fusion). Errors as the peer's: a
// module that matches two targets; a final incomplete set. No match at all: no sets.
std::vector<std::vector<std::vector<const Module*>>> match_module_sets(const Model& model,
                                                                       std::span<const std::string> targets);

}  // namespace spinor
